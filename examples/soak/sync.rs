//! Locks, counters and the clock of the soak. They are not the crate's own: the
//! soak must not be wrong wherever the crate is.

use std::sync::MutexGuard;
use std::time::Instant;

pub(crate) use std::sync::atomic::Ordering::SeqCst;

#[expect(clippy::disallowed_types, reason = "the soak stands outside the crate")]
pub(crate) type Mutex<T> = std::sync::Mutex<T>;
#[expect(clippy::disallowed_types, reason = "the soak stands outside the crate")]
pub(crate) type Condvar = std::sync::Condvar;
#[expect(clippy::disallowed_types, reason = "the soak stands outside the crate")]
pub(crate) type Count = std::sync::atomic::AtomicU64;
#[expect(clippy::disallowed_types, reason = "the soak stands outside the crate")]
pub(crate) type Flag = std::sync::atomic::AtomicBool;

/// Planned panics may poison a lock; what is under it is good all the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[expect(clippy::disallowed_methods, reason = "a soak runs on real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
