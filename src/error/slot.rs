//! Why there is no slot.

use std::time::Duration;

use super::{Cycle, InvalidOption};
use crate::TaskId;
use crate::engine::{End, Reason, Refused};
use crate::sync::Arc;

/// Why [`Lane::acquire`](crate::Lane::acquire) gave no slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// It was queued for longer than its wait timeout.
    #[error("task {id} in lane {lane:?} waited {waited:?}; its wait timeout is {allowed:?}")]
    TimedOut {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// The limit.
        allowed: Duration,
        /// How long it was queued.
        waited: Duration,
    },
    /// It was cancelled in the queue.
    #[error("task {id} in lane {lane:?} was cancelled in the queue after {waited:?}: {reason}")]
    Cancelled {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// Why.
        reason: Reason,
        /// How long it was queued.
        waited: Duration,
    },
    /// The queue was cleared.
    #[error("task {id} was cleared from the queue of lane {lane:?} after {waited:?}")]
    Cleared {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
        /// How long it was queued.
        waited: Duration,
    },
    /// The lane is draining. Try later, or elsewhere.
    #[error("lane {lane:?} is draining; try later")]
    Draining {
        /// The lane's name.
        lane: Arc<str>,
    },
    /// The lane's queue is full. Try later, or elsewhere.
    #[error("the queue of lane {lane:?} is full, {queued} of {capacity}")]
    QueueFull {
        /// The lane's name.
        lane: Arc<str>,
        /// How many tasks may be queued.
        capacity: usize,
        /// How many were.
        queued: usize,
    },
    /// The lane has no free slot, and the caller was not to wait
    /// ([`OnBusy::Reject`](crate::OnBusy::Reject)).
    #[error("lane {lane:?} is busy{}", held_by(*holder))]
    Busy {
        /// The lane's name.
        lane: Arc<str>,
        /// Who holds a slot; one of them, where there are several. `None` where
        /// the lane is paused, or its group has no room.
        holder: Option<TaskId>,
    },
    /// The wait would have closed a circle of tasks that wait for each other,
    /// none of which could move. Nobody else was disturbed.
    #[error("to wait for lane {lane:?} would be a deadlock: {cycle}")]
    WouldDeadlock {
        /// The lane's name.
        lane: Arc<str>,
        /// The task that was to wait; it left the queue.
        id: TaskId,
        /// Who waits for whom.
        cycle: Cycle,
    },
    /// The lane is closed.
    #[error("lane {lane:?} is closed")]
    Closed {
        /// The lane's name.
        lane: Arc<str>,
    },
    /// The scheduler was shut down, or dropped, while it was queued.
    #[error("lane {lane:?} was shut down while task {id} was queued")]
    Shutdown {
        /// The lane's name.
        lane: Arc<str>,
        /// The task.
        id: TaskId,
    },
    /// There is no tokio runtime with timers here.
    #[error("no tokio runtime with timers is entered here")]
    NoRuntime,
    /// An option cannot work; nothing was queued.
    #[error(transparent)]
    Invalid(#[from] InvalidOption),
}

impl AcquireError {
    pub(crate) fn new(lane: Arc<str>, id: TaskId, end: End) -> Self {
        match end {
            End::TimedOut {
                allowed, elapsed, ..
            } => Self::TimedOut {
                lane,
                id,
                allowed,
                waited: elapsed,
            },
            End::CancelledQueued { reason, waited } => Self::Cancelled {
                lane,
                id,
                reason,
                waited,
            },
            End::Cancelled { reason, elapsed } => Self::Cancelled {
                lane,
                id,
                reason,
                waited: elapsed,
            },
            End::Stalled { elapsed, .. } => Self::Cancelled {
                lane,
                id,
                reason: Reason::Stalled,
                waited: elapsed,
            },
            End::Cleared { waited } => Self::Cleared { lane, id, waited },
            End::Returned { .. } => Self::Draining { lane },
            End::Refused { lane: serial, why } => Self::refused(lane, serial, why),
            End::Completed
            | End::Shutdown { .. }
            | End::SchedulerDropped { .. }
            | End::RuntimeShutdown => Self::Shutdown { lane, id },
        }
    }

    /// `serial` is the number of the lane that refused it.
    pub(crate) fn refused(lane: Arc<str>, serial: u64, why: Refused) -> Self {
        match why {
            Refused::Draining { .. } => Self::Draining { lane },
            Refused::QueueFull { capacity, queued } => Self::QueueFull {
                lane,
                capacity,
                queued,
            },
            Refused::NoSlot { holder } => Self::Busy {
                lane,
                holder: holder.map(|key| TaskId { lane: serial, key }),
            },
            Refused::NoKey => Self::Invalid(InvalidOption::NoKey),
            Refused::Closed | Refused::Shutdown | Refused::Merged => Self::Closed { lane },
        }
    }

    /// Whether the same call may succeed later, on this lane.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Draining { .. }
                | Self::QueueFull { .. }
                | Self::Busy { .. }
                | Self::TimedOut { .. }
        )
    }
}

impl TryAcquireError {
    pub(crate) fn new(lane: Arc<str>, end: End) -> Self {
        match end {
            End::Refused { why, .. } => Self::refused(lane, why),
            _ => Self::NoSlot { lane },
        }
    }

    pub(crate) fn refused(lane: Arc<str>, why: Refused) -> Self {
        match why {
            Refused::Draining { .. } => Self::Draining { lane },
            Refused::NoSlot { .. } | Refused::QueueFull { .. } => Self::NoSlot { lane },
            Refused::NoKey => Self::Invalid(InvalidOption::NoKey),
            Refused::Closed | Refused::Shutdown | Refused::Merged => Self::Closed { lane },
        }
    }
}

/// Who is in the way, if that is a task.
pub(super) fn held_by(holder: Option<TaskId>) -> String {
    holder.map_or_else(String::new, |id| format!(": task {id} holds a slot"))
}

/// Why [`Lane::try_acquire`](crate::Lane::try_acquire) gave no slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// All slots are held, or others wait for one, or the lane is paused, or its
    /// group has no room.
    #[error("lane {lane:?} has no free slot, or is paused, or its group, if any, has no room")]
    NoSlot {
        /// The lane's name.
        lane: Arc<str>,
    },
    /// The lane is draining. Try later, or elsewhere.
    #[error("lane {lane:?} is draining; try later")]
    Draining {
        /// The lane's name.
        lane: Arc<str>,
    },
    /// The lane is closed.
    #[error("lane {lane:?} is closed")]
    Closed {
        /// The lane's name.
        lane: Arc<str>,
    },
    /// There is no tokio runtime with timers here.
    #[error("no tokio runtime with timers is entered here")]
    NoRuntime,
    /// An option cannot work; nothing was taken.
    #[error(transparent)]
    Invalid(#[from] InvalidOption),
}
