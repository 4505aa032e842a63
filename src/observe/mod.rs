//! What an operator asks: why does this wait, and what is to be done about it.
//!
//! Observers read facts and steer nothing. They read one task, lane or group after
//! the other, and hold no lock but while they read one of them; so what they tell is
//! no moment of the whole, and what ended between two reads is left out.
//!
//! | file | subject |
//! |---|---|
//! | `explanation` | why a task, or a lane's first waiter, waits, as data |
//! | `graph` | the tasks and lanes of that, each told once |
//! | `walk` | how they are read |
//! | `flow` | who goes on by itself |
//! | `cause` | what all of it comes to, and what to do |
//! | `text` | the same to be read |
//! | `diagnosis`, `diagnosis_text` | what is wrong, worst first |
//! | `span` | durations to be read |

mod cause;
mod diagnosis;
mod diagnosis_text;
mod explanation;
mod flow;
mod graph;
mod span;
mod text;
mod walk;

pub(crate) use diagnosis::diagnose;
pub use diagnosis::{Diagnosis, Finding, Problem};
pub use explanation::{Cause, LaneExplanation, Never, Remedy, TaskExplanation};
pub(crate) use explanation::{lane, task};
pub use graph::{Due, LaneNode, Stage, TaskNode, Wait, WaitGraph};
