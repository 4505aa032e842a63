//! The engine against its promises, one file a subject; a test is named after
//! the promise it holds.
//!
//! `sim` is the shell of these tests, and checks after every input what holds
//! at all times. `model` and `storm` bring their own, lighter ones.

mod blocked;
mod detach;
mod limits;
mod model;
mod orphans;
mod properties;
mod queued;
mod shell;
mod silence;
mod sim;
mod slots;
mod stall;
mod storm;
mod verbs;
