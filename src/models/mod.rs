//! The locking shell under model checkers: a few threads, a few operations, and
//! every way in which they can interleave (loom), or very many of them at
//! random (shuttle).
//!
//! The models speak the public API, on the host of `host::in_a_model`, whose
//! tasks are polled and whose clock is moved by the threads of the model. What
//! is checked in every interleaving: what the model itself asserts, that
//! whoever could go on was woken, that nobody is left in a lane, and that
//! every lane and scheduler is freed.
//!
//! ```text
//! RUSTFLAGS="--cfg laneway_loom" cargo test --profile models --lib models::
//! RUSTFLAGS="--cfg laneway_shuttle" cargo test --profile models --lib models::
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `queue` | joining, being granted, leaving the queue |
//! | `busy` | superseding, and messages for whoever runs |
//! | `chains` | a task in several lanes |
//! | `parking` | a task that waits for somebody |
//! | `door` | before a full queue |
//! | `ending` | done, asked, taken, dropped: who was first |
//! | `waiting` | handles, signals, idle: no lost wake-up |
//! | `moments` | the driver, progress, ceilings, claims |
//! | `verbs` | resize, pause, close, drain, shutdown |
//! | `names` | lanes and keys that come and go |
//! | `circles` | waits that close a circle |
//! | `groups` | lanes that share a budget |
//! | `plans` | lanes that are set anew |
//! | `events` | the log of events and its readers |
//! | `three` | three threads at once |
//! | `crowd` | many tasks (shuttle) |

mod busy;
mod chains;
mod circles;
#[cfg(laneway_shuttle)]
mod crowd;
mod door;
mod ending;
mod events;
mod explore;
mod groups;
mod moments;
mod names;
mod parking;
mod plans;
mod queue;
#[cfg(laneway_shuttle)]
mod schedule;
mod three;
mod verbs;
mod waiting;
mod world;
