//! Paused clocks that stand apart, in one process. Alone in its file, since it
//! has to make the first scheduler of its process.

mod common;

use std::future::pending;
use std::time::Duration;

use common::{CEILING, ceilinged, now};
use laneway::TaskError;

/// Clocks that were paused at different moments, in one process: each is exact.
#[test]
fn a_paused_clock_that_stands_behind_is_as_exact_as_any() {
    let paused = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let behind = paused();
    // The first scheduler of the process, a good while after that clock.
    std::thread::sleep(Duration::from_millis(50));
    for runtime in [paused(), behind] {
        runtime.block_on(async {
            let (_lanes, main) = ceilinged(1);
            let began = now();
            let phantom = main.spawn(async |_| pending::<()>().await);
            let ran_at = main.run(async |_| now()).await.unwrap();
            assert_eq!(ran_at - began, CEILING);
            match phantom.await {
                Err(TaskError::Stalled { idle, .. }) => assert_eq!(idle, CEILING),
                other => panic!("{other:?}"),
            }
        });
    }
}
