//! Each path once under callgrind. `scripts/instructions` runs this and
//! compares.

use gungraun::prelude::*;
use laneway_instructions::{self as paths, World};

macro_rules! path {
    ($($name:ident, $world:expr;)*) => {
        $(
            #[library_benchmark]
            #[bench::of($world)]
            fn $name(world: World) -> World {
                paths::$name(world)
            }
        )*
        library_benchmark_group!(name = core, benchmarks = [$($name),*]);
    };
}

path! {
    run_by_handle, World::free();
    run_by_name, World::free();
    spawn, World::free();
    settle_with_waiter, World::with_waiters();
    submit_and_cancel, World::full();
    acquire, World::free();
    progress, World::free();
    ambient_progress, World::free();
}

main!(
    // glibc picks its `memcpy` by the processor: the plain one is everywhere.
    config = LibraryBenchmarkConfig::default()
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM,-Prefer_No_VZEROUPPER:glibc.malloc.tcache_count=65535");
    library_benchmark_groups = core
);
