//! What goes wrong with waitpoints.

use super::InvalidName;
use crate::sync::Arc;

/// Why [`Lanes::waitpoint`](crate::Lanes::waitpoint) made none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitpointError {
    /// The key cannot work.
    #[error(transparent)]
    Invalid(#[from] InvalidName),
    /// There is one of this key that is neither resumed nor over.
    #[error("there is a waitpoint {key:?} already")]
    Taken {
        /// The key.
        key: Arc<str>,
    },
}

/// A [`Waitpoint`](crate::Waitpoint) was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waitpoint {key:?} was cancelled")]
#[non_exhaustive]
pub struct WaitpointCancelled {
    /// Its key.
    pub key: Arc<str>,
}

/// Why a waitpoint was neither resumed nor cancelled by this call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// There is none of this key: it was resumed, is over, or never was.
    #[error("there is no waitpoint {key:?}: it was resumed, is over, or never was")]
    Unknown {
        /// The key.
        key: Arc<str>,
    },
    /// It waits for a value of another type.
    #[error("waitpoint {key:?} waits for a {expected}, and not for a {given}")]
    WrongType {
        /// The key.
        key: Arc<str>,
        /// The type that it waits for.
        expected: &'static str,
        /// The type that was given.
        given: &'static str,
    },
    /// It was resumed before.
    #[error("waitpoint {key:?} was resumed before")]
    AlreadyResumed {
        /// The key.
        key: Arc<str>,
    },
    /// It was cancelled before.
    #[error("waitpoint {key:?} was cancelled before")]
    Cancelled {
        /// The key.
        key: Arc<str>,
    },
    /// Whoever waited for it is gone.
    #[error("nobody waits at waitpoint {key:?} any more")]
    Abandoned {
        /// The key.
        key: Arc<str>,
    },
}
