//! Locks and the clock of the example, which stands outside the crate.

use std::sync::{MutexGuard, PoisonError};

use tokio::time::Instant;

#[expect(
    clippy::disallowed_types,
    reason = "the example stands outside the crate"
)]
pub(crate) type Mutex<T> = std::sync::Mutex<T>;

/// Nothing here is left half done by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tokio's clock, which the demo pauses.
#[expect(
    clippy::disallowed_methods,
    reason = "the example stands outside the crate"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
