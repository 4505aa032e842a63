//! Named lanes with `max_concurrent` slots that cannot wedge and say why they
//! wait.
//!
//! A **lane** is a named queue with a number of **slots**. A **task** waits for
//! a slot, holds it while it runs, and gives it back. A task that makes no
//! **progress** for its **stall ceiling** is asked to end, and if that does
//! not help its slot is taken: whoever waits behind it runs, its siblings are
//! not disturbed, its caller is told what happened.
//!
//! # The shape
//!
//! Three layers, each of which can be read alone.
//!
//! * `engine` decides. A state machine of one lane that knows no clock, no
//!   lock and no runtime: time comes in, effects come out.
//! * `runtime` carries out, on tokio. One method locks the engine, feeds it one
//!   input, and carries out the effects after the lock is released.
//! * Observers (snapshots, explanations, the log of events, metrics, `tracing` events and spans)
//!   read facts and steer nothing.
//!
//! # What Rust cannot do
//!
//! Nobody but its runner can drop a future. When a task is asked to end, its
//! runner drops it, and its slot goes on afterwards; when the runner does not
//! come, because nobody polls it or a poll is blocked, the slot is taken and
//! the task is an **orphan** until its runner lets go. A thread that blocks
//! cannot be stopped at all. An orphan may still have side effects: ask
//! [`TaskContext::is_current`] before one, or pass on the
//! [`fence`](TaskContext::fence), or make the lane
//! [`strict`](LaneConfig::strict).
//!
//! A plain `tokio::spawn` inside a task loses the task's context, unless the
//! future is wrapped: [`TaskContext::scope`], or [`TaskContext::spawn`], whose
//! children end with their task.
//!
//! # Features
//!
//! * `serde`: snapshots and explanations serialize, and how lanes are set is read from a file.
//! * `metrics`: what lanes do, as numbers for the recorder of the `metrics` facade; see
//!   `LanesBuilder::metrics`.
//! * `replay`: what a scheduler was told is recorded and saved, and a test has its engine
//!   decide it once more: a stall in production becomes a test.
//! * `testing`: hostile futures, and a harness in virtual time, for tests of
//!   one's own runner.

mod builder;
mod chain;
mod charter;
mod clock;
mod config;
#[cfg(feature = "serde")]
mod config_file;
mod control;
mod engine;
mod error;
mod events;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod host;
mod lane;
mod lanes;
mod metrics;
#[cfg(all(test, any(laneway_loom, laneway_shuttle)))]
mod models;
mod observe;
mod options;
mod pattern;
mod plan;
mod reconfigure;
mod repair;
#[cfg(feature = "replay")]
pub mod replay;
mod runtime;
mod snapshot;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod timeout;
mod waitpoint;

pub use builder::LanesBuilder;
pub use chain::Chain;
pub use config::{LaneConfig, OnDeadlock, OnFull};
#[cfg(feature = "serde")]
pub use config_file::LanesConfig;
pub use engine::TaskId;
pub use engine::{BlockedBy, Bound, Counted, Drift, Follows, Limit, OnStall, Priority, Reason};
pub use error::{
    AcquireError, ChainError, ConfigError, ControlError, Cycle, CycleTask, FlattenTask,
    InvalidDuration, InvalidName, InvalidOption, LaneNameError, MemberProblem, NameProblem,
    PanicPayload, PatternProblem, ResumeError, TaskError, TryAcquireError, WaitActiveError,
    WaitingError, WaitpointCancelled, WaitpointError, WaitsFor,
};
pub use events::{
    Event, EventCounters, EventKind, EventStream, EventsOff, Outcome, Overflow, Reclaimed,
};
pub use group::GroupConfig;
pub use lane::Lane;
pub use lanes::Lanes;
pub use observe::{
    Cause, Diagnosis, Due, Finding, LaneExplanation, LaneNode, Never, Problem, Remedy, Stage,
    TaskExplanation, TaskNode, Wait, WaitGraph,
};
pub use options::{OnBusy, TaskBuilder, WaitInfo};
pub use reconfigure::{LaneChange, Reconfigure};
pub use repair::{RepairReport, Repaired};
pub use runtime::{
    Always, Descendants, Drain, DrainReport, Inbox, OfferHandle, Offered, Parked, Phase,
    QueuedWork, Reservation, ReturnedTask, Run, Scoped, SharedHandle, Slot, Standing, TaskContext,
    TaskHandle, TaskStatus, Tracked, TrackedRead, Waiting, When, progress, progress_note,
};
pub use snapshot::{
    Counters, GroupSnapshot, LaneOrigin, LaneSnapshot, LaneState, Limits, MemberSnapshot, Pace,
    ParkedSnapshot, Snapshot, StuckRuntime, TaskSnapshot, WaitpointSnapshot,
};
pub use timeout::{LaneTimeout, Timeout};
pub use waitpoint::{Waitpoint, WaitpointToken};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
