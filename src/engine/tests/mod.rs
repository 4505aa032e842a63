//! The engine against its promises, one file a subject; a test is named after
//! the promise it holds.
//!
//! `oracle::sim` is the shell of these tests, and checks after every input what
//! holds at all times. `storm` brings its own, lighter one.

mod audit;
mod blocked;
mod contract;
mod detach;
mod door;
mod groups;
#[cfg(feature = "replay")]
mod implied;
mod journal;
mod limits;
mod machine;
mod orphans;
mod outlook;
mod parked;
mod queued;
mod quiet;
mod silence;
mod slots;
mod stall;
mod storm;
mod supersede;
mod verbs;
mod words;

use super::oracle::sim;

use std::path::PathBuf;

/// Tries every input that is kept for a fuzz target, and says how many operations
/// they were.
fn corpus(target: &'static str, run: fn(&[u8]) -> u64) -> u64 {
    struct Replay(&'static str, PathBuf);

    impl Drop for Replay {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let (target, file) = (self.0, self.1.display());
                eprintln!("replay: cargo +nightly fuzz run {target} {file}");
            }
        }
    }

    let home = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");
    if !std::path::Path::new(home).exists() {
        // What is published of the crate is without its fuzzer.
        return u64::MAX;
    }
    let files = std::fs::read_dir(format!("{home}/corpus/{target}")).expect("a corpus");
    let (mut cases, mut operations) = (0, 0);
    for file in files {
        let path = file.expect("a listing").path();
        let bytes = std::fs::read(&path).expect("a file of the corpus");
        let _replay = Replay(target, path);
        cases += 1;
        operations += run(&bytes);
    }
    println!("proof: layer=engine test=corpus_of_{target} cases={cases} operations={operations}");
    operations
}
