//! Errors, one enum per operation, each with the facts that its caller needs.

mod control;
mod deadlock;
mod input;
mod slot;
mod task;
mod waiting;
mod waitpoint;

pub use control::{ControlError, WaitActiveError};
pub use deadlock::{Cycle, CycleTask, WaitsFor};
pub(crate) use input::check_name;
pub use input::{
    ChainError, ConfigError, InvalidDuration, InvalidName, InvalidOption, LaneNameError,
    MemberProblem, NameProblem, PatternProblem,
};
pub use slot::{AcquireError, TryAcquireError};
pub(crate) use task::message_of;
pub use task::{FlattenTask, PanicPayload, TaskError};
pub use waiting::WaitingError;
pub use waitpoint::{ResumeError, WaitpointCancelled, WaitpointError};
