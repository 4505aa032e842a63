//! Tasks that never end, in every way we know, mixed with healthy ones: the
//! healthy ones have their values, everybody who can be told is told, the slots
//! come free, and whoever comes later runs (S4, S7, S8, S14).
//!
//! `LANEWAY_ROUNDS` says how often each test goes round, each time with another
//! seed; `LANEWAY_SEED` repeats one of them.

#[path = "../common/mod.rs"]
mod common;

mod callbacks;
mod kinds;
mod leaving;
mod mixtures;
mod proof;
#[path = "../random/mod.rs"]
mod random;
mod real_time;
mod runtimes;
mod shrunk;
mod simulated;
mod waits;
mod wakers;
