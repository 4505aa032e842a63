//! The host in production.

use std::panic::catch_unwind;
use std::time::Duration;

use tokio::runtime::RuntimeFlavor;

pub(crate) use tokio::runtime::{Handle, Id};
pub(crate) use tokio::spawn;
pub(crate) use tokio::task::{AbortHandle, JoinHandle};
pub(crate) use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};

#[expect(
    clippy::disallowed_methods,
    reason = "crate::clock, the one place that reads time, reads it here"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Whether the runtime of the caller has timers. One without panics here and
/// nowhere else, so no lock may be held: a panic hook is user code.
pub(crate) fn has_timers() -> bool {
    catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

/// What a worker of tokio woke last waits for that very worker: no other may
/// have it, not even while the worker is blocked in the poll that woke it. So
/// that this is never a driver, something that does nothing is woken after it
/// (S8).
pub(crate) fn step_aside() {
    if let Ok(handle) = Handle::try_current()
        && handle.runtime_flavor() != RuntimeFlavor::CurrentThread
    {
        drop(handle.spawn(std::future::ready(())));
    }
}
