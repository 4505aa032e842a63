//! Why a task has no value.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use super::{Cycle, InvalidOption};
use crate::TaskId;
use crate::engine::{End, Limit, Reason, Refused};
use crate::sync::{Arc, Mutex};

/// Why [`run`](crate::Lane::run), or a [`TaskHandle`](crate::TaskHandle), has
/// no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It made no progress for its stall ceiling, and its slot was reclaimed.
    #[error(
        "task {id} in lane {lane:?} stalled: no progress for {idle:?} (ceiling {ceiling:?}), {elapsed:?} after its start"
    )]
    Stalled {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// How long it had been active.
        elapsed: Duration,
        /// How long it had made no progress.
        idle: Duration,
        /// Its stall ceiling.
        ceiling: Duration,
    },
    /// A lane timeout, or its own deadline, ran out.
    #[error(
        "task {id} in lane {lane:?} timed out: {limit} limit of {allowed:?}, after {elapsed:?}, idle for {idle:?}"
    )]
    TimedOut {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// Which limit.
        limit: Limit,
        /// What the limit granted.
        allowed: Duration,
        /// How long it had been active; for [`Limit::Wait`], queued.
        elapsed: Duration,
        /// How long it had made no progress.
        idle: Duration,
    },
    /// It was cancelled while it waited; it never ran.
    #[error("task {id} in lane {lane:?} was cancelled in the queue after {waited:?}: {reason}")]
    CancelledQueued {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// Why.
        reason: Reason,
        /// How long it was queued.
        waited: Duration,
    },
    /// It was cancelled while it ran; what it had done by then is done.
    #[error("task {id} in lane {lane:?} was cancelled while active, after {elapsed:?}: {reason}")]
    Cancelled {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// Why.
        reason: Reason,
        /// How long it had been active.
        elapsed: Duration,
    },
    /// The queue was cleared; it never ran.
    #[error("task {id} was cleared from the queue of lane {lane:?} after {waited:?}")]
    Cleared {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// How long it was queued.
        waited: Duration,
    },
    /// The lane is draining: it was refused, or handed back from the queue; it
    /// never ran. Not a failure: try later, or elsewhere.
    #[error("lane {lane:?} is draining; task {id} did not run: try later")]
    Draining {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
    },
    /// The lane's queue is full; it was refused. Try later, or elsewhere.
    #[error("the queue of lane {lane:?} is full, {queued} of {capacity}; task {id} was refused")]
    QueueFull {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// How many tasks may be queued.
        capacity: usize,
        /// How many were.
        queued: usize,
    },
    /// The lane had no free slot, and it was not to wait
    /// ([`OnBusy::Reject`](crate::OnBusy::Reject)).
    #[error("lane {lane:?} is busy{}; task {id} was refused", super::slot::held_by(*holder))]
    Busy {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// Who holds a slot; one of them, where there are several. `None` where
        /// the lane is paused, or its group has no room.
        holder: Option<TaskId>,
    },
    /// The wait for it would have closed a circle of tasks that wait for each
    /// other, none of which could move. Nobody else was disturbed.
    #[error("to wait for task {id} in lane {lane:?} would be a deadlock: {cycle}")]
    WouldDeadlock {
        /// The lane's name.
        lane: Arc<str>,
        /// The task that was waited for.
        id: TaskId,
        /// Who waits for whom.
        cycle: Cycle,
        /// It left the queue, and never ran. Where this is false only the wait of
        /// this handle was refused, and the task goes on: await the handle again
        /// when the circle is broken, or drop it.
        withdrawn: bool,
    },
    /// The lane is closed; it was refused.
    #[error("lane {lane:?} is closed; task {id} was refused")]
    Closed {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
    },
    /// The lane was shut down while it was queued; it never ran.
    #[error("lane {lane:?} was shut down; task {id} did not run")]
    Shutdown {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
    },
    /// The last [`Lanes`](crate::Lanes) was dropped while it was queued; it
    /// never ran.
    #[error("the scheduler of lane {lane:?} was dropped; task {id} did not run")]
    SchedulerDropped {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
    },
    /// The tokio runtime that was to run it, or ran it, was shut down.
    #[error("the tokio runtime of task {id} in lane {lane:?} was shut down")]
    RuntimeShutdown {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
    },
    /// It panicked.
    #[error("task {id} in lane {lane:?} panicked: {payload}")]
    Panicked {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// What it panicked with.
        payload: PanicPayload,
    },
    /// There is no tokio runtime with timers here; nothing was queued.
    #[error("no tokio runtime with timers is entered here")]
    NoRuntime,
    /// An option cannot work; nothing was queued.
    #[error(transparent)]
    Invalid(#[from] InvalidOption),
}

impl TaskError {
    /// `End::Completed` has no error of its own: a value that never came is
    /// the runtime's doing.
    pub(crate) fn new(lane: Arc<str>, id: TaskId, end: End) -> Self {
        match end {
            End::Stalled {
                elapsed,
                idle,
                ceiling,
            } => Self::Stalled {
                lane,
                id,
                elapsed,
                idle,
                ceiling,
            },
            End::TimedOut {
                limit,
                allowed,
                elapsed,
                idle,
            } => Self::TimedOut {
                lane,
                id,
                limit,
                allowed,
                elapsed,
                idle,
            },
            End::Cancelled { reason, elapsed } => Self::Cancelled {
                lane,
                id,
                reason,
                elapsed,
            },
            End::CancelledQueued { reason, waited } => Self::CancelledQueued {
                lane,
                id,
                reason,
                waited,
            },
            End::Cleared { waited } => Self::Cleared { lane, id, waited },
            End::Returned { .. } => Self::Draining { lane, id },
            End::Shutdown { .. } => Self::Shutdown { lane, id },
            End::SchedulerDropped { .. } => Self::SchedulerDropped { lane, id },
            End::Refused { lane: serial, why } => Self::refused(lane, id, serial, why),
            End::Completed | End::RuntimeShutdown => Self::RuntimeShutdown { lane, id },
        }
    }

    /// `serial` is the number of the lane that refused it.
    pub(crate) fn refused(lane: Arc<str>, id: TaskId, serial: u64, why: Refused) -> Self {
        match why {
            Refused::Draining { .. } => Self::Draining { lane, id },
            Refused::QueueFull { capacity, queued } => Self::QueueFull {
                lane,
                id,
                capacity,
                queued,
            },
            Refused::NoSlot { holder } => Self::Busy {
                lane,
                id,
                holder: holder.map(|key| TaskId { lane: serial, key }),
            },
            Refused::NoKey => Self::Invalid(InvalidOption::NoKey),
            Refused::Closed | Refused::Shutdown | Refused::Merged => Self::Closed { lane, id },
        }
    }

    /// Whether the task did not run and may, if it is submitted later or
    /// elsewhere: the lane was draining or busy, or its queue was full.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Draining { .. } | Self::QueueFull { .. } | Self::Busy { .. }
        )
    }

    /// Which task this is about, where there was one.
    #[must_use]
    pub const fn id(&self) -> Option<TaskId> {
        match self {
            Self::Stalled { id, .. }
            | Self::TimedOut { id, .. }
            | Self::CancelledQueued { id, .. }
            | Self::Cancelled { id, .. }
            | Self::Cleared { id, .. }
            | Self::Draining { id, .. }
            | Self::QueueFull { id, .. }
            | Self::Busy { id, .. }
            | Self::WouldDeadlock { id, .. }
            | Self::Closed { id, .. }
            | Self::Shutdown { id, .. }
            | Self::SchedulerDropped { id, .. }
            | Self::RuntimeShutdown { id, .. }
            | Self::Panicked { id, .. } => Some(*id),
            Self::NoRuntime | Self::Invalid(_) => None,
        }
    }
}

/// The message of a panic, where it had one.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned())
}

/// What a task panicked with. Printed, it is the panic's message.
pub struct PanicPayload {
    message: String,
    // In a mutex so that the error is `Sync`: payloads need not be.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl PanicPayload {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        Self {
            message: message_of(&*payload),
            payload: Mutex::new(payload),
        }
    }

    /// The message, where the panic had one.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The payload itself, for [`std::panic::resume_unwind`].
    #[must_use]
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.payload.into_inner()
    }
}

impl fmt::Display for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PanicPayload").field(&self.message).finish()
    }
}

/// Flattens what a fallible task gives.
///
/// ```
/// use laneway::{FlattenTask, TaskError};
///
/// #[derive(Debug)]
/// enum AgentError {
///     Model(String),
///     Task(TaskError),
/// }
///
/// impl From<TaskError> for AgentError {
///     fn from(error: TaskError) -> Self {
///         Self::Task(error)
///     }
/// }
///
/// async fn turn(lane: &laneway::Lane) -> Result<String, AgentError> {
///     lane.run(async |_| Err(AgentError::Model("overloaded".into())))
///         .await
///         .flatten_task()
/// }
/// ```
pub trait FlattenTask {
    /// What the task itself gives.
    type Output;

    /// The task's own result, with a [`TaskError`] turned into its error.
    fn flatten_task(self) -> Self::Output;
}

impl<T, E: From<TaskError>> FlattenTask for Result<Result<T, E>, TaskError> {
    type Output = Result<T, E>;

    fn flatten_task(self) -> Result<T, E> {
        self?
    }
}
