//! What the engine promises, written a second time and naively: the oracle
//! that the state-machine tests and the fuzzer share.
//!
//! | file | subject |
//! |---|---|
//! | `sim`, `shell` | the shell in miniature that drives the engine |
//! | `ops`, `bytes` | everything that the engine can be told, and how a fuzzer says it |
//! | `trial`, `tell` | tells it, and judges what it did after every operation |
//! | `elsewhere` | what it is told of a task that gathers slots, or waits for somebody |
//! | `model` | the lane as lists: who has a slot and who is next (S1, S5, S6, S10) |
//! | `book`, `life` | what became of each task, and why (S2, S3, S4, S8, S9, S17, S19, S20) |
//! | `notices` | what was said about it (S10, S17) |
//! | `limits`, `punctual` | when a task is due, and whether it was in time (S8, S19) |
//! | `hall` | several lanes of one group, and who of them is next (S1, S5, S6) |
//! | `quiet` | when a lane that does not move must say so (S16) |
//! | `facts` | what its journal says of it all |
//!
//! Nothing here asks the engine why it did something: it is told what callers
//! and runners did, sees what they were told, and computes from that alone what
//! had to happen, by when, and what must not have.

#![cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the unit tests use more of the shell than the fuzzer"
    )
)]

mod book;
pub(crate) mod bytes;
mod elsewhere;
pub(in crate::engine) mod facts;
pub(in crate::engine) mod hall;
mod life;
mod limits;
mod model;
mod notices;
pub(in crate::engine) mod ops;
mod punctual;
mod quiet;
mod shell;
pub(in crate::engine) mod sim;
mod tell;
pub(in crate::engine) mod trial;
