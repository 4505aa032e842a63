//! The one place that reads time; a lint keeps it so.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the place that the lint protects"
)]

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::engine::Time;
use crate::host::{self, Instant};

/// Maps tokio's clock, which tests can pause, to the engine's.
///
/// One start for the whole process: tasks of one scheduler may await tasks of
/// another, and their times are compared. So nobody has to carry it along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock;

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(host::now)
}

impl Clock {
    #[inline]
    pub(crate) fn now(self) -> Time {
        let now = host::now();
        self.time(now)
    }

    pub(crate) fn time(self, instant: Instant) -> Time {
        let start = start();
        match instant.checked_duration_since(start) {
            Some(after) => Time::START + after,
            None => Time::START.before(start.duration_since(instant)),
        }
    }

    /// The instant of a time, no further away than tokio's timers reach.
    pub(crate) fn instant(self, time: Time) -> Instant {
        // A good year.
        const REACH: Duration = Duration::from_secs(1 << 25);
        let start = start();
        if time < Time::START {
            // A paused clock may stand before the start of the process's.
            let before = Time::START.since(time);
            return start.checked_sub(before).unwrap_or(start);
        }
        start
            + time
                .since(Time::START)
                .min(host::now().duration_since(start) + REACH)
    }
}

/// Microseconds since the Unix epoch, where fences start (S11).
pub(crate) fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}
