//! How long a job waited for each of its two lanes, and held it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Stamped as the job moves on. A job whose future is dropped on the way leaves
/// the later stamps out.
#[derive(Debug)]
pub(crate) struct Timing {
    submitted: Instant,
    in_session: OnceLock<Instant>,
    in_main: OnceLock<Instant>,
}

/// The part of one lane in the life of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    pub(crate) wait: Duration,
    pub(crate) run: Duration,
}

/// Both lanes of a job that ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stays {
    pub(crate) session: Stay,
    pub(crate) main: Stay,
}

impl Timing {
    pub(crate) fn submitted() -> Self {
        Self {
            submitted: now(),
            in_session: OnceLock::new(),
            in_main: OnceLock::new(),
        }
    }

    pub(crate) fn got_session(&self) {
        self.in_session.get_or_init(now);
    }

    pub(crate) fn got_main(&self) {
        self.in_main.get_or_init(now);
    }

    /// To be asked when the job is over; `None` if it never got both its slots.
    pub(crate) fn stays(&self) -> Option<Stays> {
        let (&in_session, &in_main) = (self.in_session.get()?, self.in_main.get()?);
        let over = now();
        Some(Stays {
            session: Stay {
                wait: in_session.duration_since(self.submitted),
                run: over.duration_since(in_session),
            },
            main: Stay {
                wait: in_main.duration_since(in_session),
                run: over.duration_since(in_main),
            },
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
