//! When a lane that does not move is worth a word (S16).

use std::time::Duration;

use super::effects::Blocked;
use super::fact::What;
use super::lane::Lane;
use super::task::TICK;
use super::time::Time;

/// The longest that a repeated warning backs off to.
const LONGEST_STEP: Duration = Duration::from_secs(10 * 60);

/// Since when waiters have seen no dispatch, and when to say so.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The last dispatch, or the first arrival after the lane last moved.
    /// Later arrivals do not move it, not even where each of them gives up
    /// before the next comes: traffic must not keep a blocked lane silent.
    since: Time,
    counting: bool,
    /// The pause between two looks; doubles with each warning.
    step: Duration,
    check: Option<Time>,
    warnings: u32,
    suppressed: u64,
}

/// What the shell saw of a lane's holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Holders {
    /// The latest sign of life among them.
    pub(crate) active_at: Option<Time>,
    /// One of them waits for another of our lanes that has waiters of its
    /// own: that lane speaks, since it is the root.
    pub(crate) root_speaks: bool,
}

impl Watch {
    pub(crate) const fn new() -> Self {
        Self {
            since: Time::START,
            counting: false,
            step: Duration::ZERO,
            check: None,
            warnings: 0,
            suppressed: 0,
        }
    }

    pub(super) fn queued(&mut self, now: Time, warn_after: Duration) {
        if !self.counting {
            self.counting = true;
            self.begin(now, warn_after);
        } else if self.warnings > 0 {
            self.suppressed += 1;
        }
    }

    /// Begins to count: on a first arrival, and on every dispatch. The driver is
    /// not told: it comes at the moment it knows of, and learns of the later one.
    pub(super) fn begin(&mut self, now: Time, warn_after: Duration) {
        self.since = now;
        self.step = warn_after;
        self.check = Some(now + warn_after);
        self.warnings = 0;
        self.suppressed = 0;
    }

    /// What is worth a word is another length of time from now on: warnings
    /// begin anew, and count from where they counted.
    pub(super) fn set_anew(&mut self, warn_after: Duration) {
        if self.counting {
            self.begin(self.since, warn_after);
        }
    }

    /// A slot came free and nobody waited for it, somebody found one free, or
    /// the last waiter was dispatched.
    pub(super) const fn moved(&mut self) {
        self.counting = false;
    }

    pub(super) fn due(&mut self, now: Time, queued: usize) -> bool {
        // With nobody there to look for, the moment stays: whoever comes next
        // is looked at then, and not a whole step later.
        let due = queued > 0 && self.check.is_some_and(|at| at <= now);
        if due {
            self.check = None;
        }
        due
    }

    /// With an empty queue nothing is due, whatever was set before.
    pub(super) fn next_check(&self, queued: usize) -> Option<Time> {
        self.check.filter(|_| queued > 0)
    }
}

impl<P: Clone> Lane<P> {
    /// A moment that has come is not set again, or the driver would spin.
    pub(super) fn warn_after(&self) -> Duration {
        self.settings.warn_after.max(TICK)
    }

    /// Whether [`judge_blocked`](Self::judge_blocked) would warn now.
    pub(crate) fn would_warn(&self, now: Time, holders: Holders) -> bool {
        let long = now.since(self.watch.since) >= self.warn_after();
        long && self.blocked_by().is_some() && !self.is_healthy(now, holders)
    }

    /// The holders are to be looked at once more, a tick from now, before
    /// anything is said of them.
    pub(crate) fn look_again(&mut self, now: Time) {
        // A dispatch in between has set the next moment.
        self.watch.check.get_or_insert(now + TICK);
    }

    fn is_healthy(&self, now: Time, holders: Holders) -> bool {
        // A pause that ends by itself is nothing to wake anybody for.
        let resumes = self.resume_at.is_some();
        let silent_since = holders.active_at.unwrap_or(self.watch.since);
        let moving = now.since(silent_since) < self.warn_after();
        holders.root_speaks || resumes || moving
    }

    /// The holders were looked at: says what is worth saying, and when to look
    /// again.
    pub(crate) fn judge_blocked(&mut self, now: Time, holders: Holders) -> Option<Blocked> {
        let now = self.advance(now);
        let warn_after = self.warn_after();
        let Some(by) = self.blocked_by() else {
            // They gave up since it was asked: the next one is looked at.
            self.watch.check = Some(now);
            return None;
        };
        if now.since(self.watch.since) < warn_after {
            // It moved since it was asked, or since the last waiter gave up.
            self.watch.check = Some(self.watch.since + warn_after);
            return None;
        }
        let silent_since = holders.active_at.unwrap_or(self.watch.since);
        let moving = now.since(silent_since) < warn_after;
        let healthy = self.is_healthy(now, holders);
        let blocked = Blocked {
            by,
            healthy,
            blocked_for: now.since(self.watch.since),
            active: self.active(),
            max_concurrent: self.settings.max_concurrent,
            queued: self.waiters(),
            suppressed: self.watch.suppressed,
        };
        if healthy {
            let again = if moving { silent_since } else { now };
            self.watch.check = Some(again + warn_after);
        } else {
            self.watch.warnings += 1;
            self.watch.suppressed = 0;
            self.watch.check = Some(now + self.watch.step);
            self.watch.step = (self.watch.step * 2).min(LONGEST_STEP.max(warn_after));
        }
        self.note_lane(Some(now), || What::Blocked(Box::new(blocked)));
        Some(blocked)
    }
}
