//! The engine: decides everything, does nothing.
//!
//! A [`Lane`] is the state machine of one lane. Every input is a method that
//! takes the time; every consequence is an [`Effect`] that is returned. The
//! engine knows no clock, no lock, no atomic, no runtime and no randomness, so
//! the same inputs give the same effects, and a million tasks run through it
//! in a second of test.
//!
//! # The driving contract
//!
//! Hold your lock, call one method, look at [`Lane::rearm`], release the lock,
//! come back with [`Lane::watch_over`] and [`Lane::tick`] when the moment it named
//! has come, and carry out the effects in their order, outside the lock. For every
//! [`Effect::Inspect`], read the task's [`Facts`] and call [`Lane::judge`];
//! for [`Effect::InspectHolders`], [`Lane::judge_blocked`]; for
//! [`Effect::Overlooked`], [`Lane::mend`].
//!
//! # Why facts are asked for
//!
//! Progress is one store to an atomic that the engine never sees. When a
//! task's moment comes, the engine asks for the facts, and mostly learns that
//! the task has moved and when to ask again. So a task that progresses a
//! million times a second costs the lane nothing.
//!
//! | file | subject |
//! |---|---|
//! | `lane` | slots and waiters: submit, dispatch, release |
//! | `judge` | whether a task whose moment has come is due |
//! | `reclaim` | how a task is ended: ask, then take |
//! | `park` | who waits for somebody, and may have given its slot back |
//! | `control` | the control verbs |
//! | `group` | a budget that several lanes share |
//! | `quiet` | who is not to be served yet |
//! | `supersede` | how a newer task takes the place of older ones |
//! | `audit` | whether what is kept agrees with the tasks, and mending it |
//! | `view` | what can be asked without changing anything |
//! | `outlook` | what time will do to a task |
//! | `blocked` | when a lane that does not move is worth a warning |
//! | `pace` | how fast a lane's waiters come and are served |
//! | `journal`, `fact` | what happened, for whoever keeps a log of it |
//! | `recorder`, `input`, `implied` | what the engine was told, for whoever wants to see it decide again |
//! | `queue` | who is next |
//! | `door` | who waits for a place in a full queue |
//! | `timers` | the next moment of each task |
//! | `slab` | tasks by key |
//! | `entry`, `task`, `id`, `effects`, `vocabulary`, `time` | the words |

mod audit;
mod blocked;
mod control;
mod door;
mod effects;
mod entry;
mod fact;
#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod faults;
mod group;
mod id;
#[cfg(feature = "replay")]
mod implied;
#[cfg(feature = "replay")]
mod input;
mod journal;
mod judge;
mod lane;
#[cfg(any(fuzzing, all(test, not(any(laneway_loom, laneway_shuttle)))))]
pub(crate) mod oracle;
mod outlook;
mod pace;
mod park;
mod queue;
mod quiet;
mod reclaim;
mod recorder;
mod slab;
mod supersede;
mod task;
#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests;
mod time;
mod timers;
mod view;
mod vocabulary;

pub use audit::{Counted, Drift};
pub(crate) use blocked::Holders;
pub use effects::BlockedBy;
pub(crate) use effects::{Blocked, Effect, Effects, Grant, Notice, Reclaim, Recovery};
pub(crate) use entry::{Accepted, Entry, IfFull, Refused, Released};
pub(crate) use fact::{Ahead, Fact, More, Told, What};
#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
pub(crate) use faults::{Fault, GroupFault};
pub(crate) use group::Group;
pub use id::TaskId;
#[cfg(feature = "replay")]
pub(crate) use input::{Input, Label, Stood, having_waited};
pub(crate) use journal::{Names, News};
pub(crate) use judge::Verdict;
pub(crate) use lane::{Lane, Leftover, Mode, Settings, Tally};
pub(crate) use outlook::Outlook;
pub use outlook::{Bound, Follows};
pub(crate) use pace::Pace;
pub use queue::Priority;
#[cfg(feature = "replay")]
pub(crate) use recorder::Comer;
pub(crate) use recorder::{Recorder, Step};
pub(crate) use slab::{Key, trim};
pub(crate) use supersede::Older;
pub(crate) use task::{Ceiling, End, Facts, Gone, Record, Spec, State, TICK};
pub(crate) use time::{LONGEST, Span, Time};
pub use vocabulary::{Limit, OnStall, Reason};
