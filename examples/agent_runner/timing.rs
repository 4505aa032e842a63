//! How long a job waited for its slots, and held them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Stamped as the job moves on.
#[derive(Debug)]
pub(crate) struct Timing {
    submitted: Instant,
    started: OnceLock<Instant>,
}

/// A job that ran: its wait for all its slots, and its time with them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    pub(crate) wait: Duration,
    pub(crate) run: Duration,
}

impl Timing {
    pub(crate) fn submitted() -> Self {
        Self {
            submitted: now(),
            started: OnceLock::new(),
        }
    }

    pub(crate) fn started(&self) {
        self.started.get_or_init(now);
    }

    /// To be asked when the job is over; `None` if it never started.
    pub(crate) fn stay(&self) -> Option<Stay> {
        let &started = self.started.get()?;
        Some(Stay {
            wait: started.duration_since(self.submitted),
            run: now().duration_since(started),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rule keeps the crate on its own clock; this is a user of the crate"
)]
fn now() -> Instant {
    Instant::now()
}
