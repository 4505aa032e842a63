//! Why a task did not wait for somebody, or not long enough.

use std::time::Duration;

use super::InvalidDuration;
use crate::sync::Arc;

/// Why [`TaskContext::waiting`](crate::TaskContext::waiting) has no value. But
/// for [`NotActive`](Self::NotActive), the task goes on as it was, with the slots
/// that it had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitingError {
    /// It was not there in time.
    #[error("{what:?} was not there within {limit:?}")]
    LimitPassed {
        /// What the task waited for.
        what: Arc<str>,
        /// How long it may.
        limit: Duration,
    },
    /// The task does not hold a slot of this lane, so that it cannot give it
    /// back.
    #[error("the slot of lane {lane:?} cannot be given back: the task holds those of {held:?}")]
    NotHeld {
        /// The lane's name.
        lane: String,
        /// The lanes whose slots it holds, in the order of its chain.
        held: Vec<Arc<str>>,
    },
    /// Lanes are entered in the order of the chain, so that a slot is not given
    /// back while one further on is kept: others that hold the one and wait for
    /// the other would never get it.
    #[error(
        "the slot of lane {lane:?} cannot be given back while that of {kept:?}, which is further on, is kept"
    )]
    OutOfOrder {
        /// The lane whose slot was to be given back.
        lane: Arc<str>,
        /// The lane further on.
        kept: Arc<str>,
    },
    /// As many tasks are parked as may be.
    #[error("lane {lane:?} has {max_parked} parked tasks, and may not have more")]
    TooMany {
        /// The lane's name.
        lane: Arc<str>,
        /// How many it may have.
        max_parked: usize,
    },
    /// The task waits for something else already.
    #[error("the task is parked already: it waits for {what:?}")]
    AlreadyParked {
        /// What it waits for.
        what: Arc<str>,
    },
    /// The task is over, or was asked to end; or it is a slot by hand that gave its slot
    /// back and dropped the wait for which it did.
    #[error("the task is over, or was asked to end")]
    NotActive,
    /// The limit cannot work.
    #[error(transparent)]
    Limit(#[from] InvalidDuration),
}
