//! The engine against its promises, one file a subject; a test is named after
//! the promise it holds.
//!
//! `oracle::sim` is the shell of these tests, and checks after every input what
//! holds at all times. `storm` brings its own, lighter one.

mod blocked;
mod contract;
mod detach;
mod door;
mod limits;
mod machine;
mod orphans;
mod queued;
mod silence;
mod slots;
mod stall;
mod storm;
mod verbs;

use super::oracle::sim;
