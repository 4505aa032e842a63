//! Why a control verb did nothing.

use std::time::Duration;

use super::InvalidDuration;
use crate::TaskId;
use crate::sync::Arc;

/// Why a control verb did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No such task is queued or active: it was settled, or never existed.
    #[error("no task {id} is queued or active")]
    UnknownTask {
        /// The id as given.
        id: TaskId,
    },
    /// The task is not an orphan, so there is nothing to forget.
    #[error("task {id} is not an orphan")]
    NotAnOrphan {
        /// The task.
        id: TaskId,
    },
    /// The task is queued, or was already asked to end, so its silence cannot
    /// be extended.
    #[error("task {id} is not running: it is queued, or was asked to end")]
    NotRunning {
        /// The task.
        id: TaskId,
    },
    /// The lane was closed or shut down.
    #[error("lane {lane:?} is closed")]
    Closed {
        /// The lane's name.
        lane: Arc<str>,
    },
    /// The duration cannot work.
    #[error(transparent)]
    Duration(#[from] InvalidDuration),
}

/// [`Lane::wait_active`](crate::Lane::wait_active) ran out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{still_active} tasks are still active after {waited:?}")]
#[non_exhaustive]
pub struct WaitActiveError {
    /// How many of the tasks that were active at the call still are.
    pub still_active: usize,
    /// How long was waited.
    pub waited: Duration,
}
