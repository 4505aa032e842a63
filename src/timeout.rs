//! Lane timeouts: what a lane or a caller grants a task.

use std::time::Duration;

use crate::engine::LONGEST;
use crate::error::InvalidDuration;

/// Where a [`LaneTimeout`] begins: `Timeout::idle(…).budget(…)`.
///
/// ```
/// use std::time::Duration;
/// use laneway::Timeout;
///
/// let model_call = Timeout::idle(Duration::from_secs(30))
///     .budget(Duration::from_secs(600))
///     .wait(Duration::from_secs(120))
///     .grace(Duration::from_secs(5));
/// # let _ = model_call;
/// ```
#[derive(Debug)]
pub struct Timeout(());

impl Timeout {
    /// Only an idle part; see [`LaneTimeout::idle`].
    #[must_use]
    pub const fn idle(limit: Duration) -> LaneTimeout {
        LaneTimeout::NONE.idle(limit)
    }

    /// Only a budget; see [`LaneTimeout::budget`].
    #[must_use]
    pub const fn budget(limit: Duration) -> LaneTimeout {
        LaneTimeout::NONE.budget(limit)
    }

    /// Only a wait limit; see [`LaneTimeout::wait`].
    #[must_use]
    pub const fn wait(limit: Duration) -> LaneTimeout {
        LaneTimeout::NONE.wait(limit)
    }

    /// Only a grace; see [`LaneTimeout::grace`].
    #[must_use]
    pub const fn grace(limit: Duration) -> LaneTimeout {
        LaneTimeout::NONE.grace(limit)
    }
}

/// A lane timeout: up to four limits, each of which may be left unset.
///
/// A lane's configuration, a handle made by [`Lane::with_timeout`] and a
/// task's own options may each carry one; per field, the tighter wins.
///
/// [`Lane::with_timeout`]: crate::Lane::with_timeout
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LaneTimeout {
    pub(crate) idle: Option<Duration>,
    pub(crate) budget: Option<Duration>,
    pub(crate) wait: Option<Duration>,
    pub(crate) grace: Option<Duration>,
}

impl LaneTimeout {
    pub(crate) const NONE: Self = Self {
        idle: None,
        budget: None,
        wait: None,
        grace: None,
    };

    /// How long a task may be active without progress. The same clock as the
    /// stall ceiling's; of the two, the tighter wins. A [`phase`] replaces
    /// both while it is held.
    ///
    /// [`phase`]: crate::TaskContext::phase
    #[must_use]
    pub const fn idle(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// How long a task may be active in all, from the grant of its slot.
    #[must_use]
    pub const fn budget(mut self, limit: Duration) -> Self {
        self.budget = Some(limit);
        self
    }

    /// How long a task may be queued, from its submission.
    #[must_use]
    pub const fn wait(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }

    /// How long a task that listens may take to end by itself once it was
    /// asked to, before it is dropped. Zero drops it at once.
    #[must_use]
    pub const fn grace(mut self, limit: Duration) -> Self {
        self.grace = Some(limit);
        self
    }

    /// Per field, the tighter of the two.
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        let tighter = |a: Option<Duration>, b: Option<Duration>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            idle: tighter(self.idle, other.idle),
            budget: tighter(self.budget, other.budget),
            wait: tighter(self.wait, other.wait),
            grace: tighter(self.grace, other.grace),
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidDuration> {
        check_limit("the idle timeout", self.idle)?;
        check_limit("the budget", self.budget)?;
        check_limit("the wait timeout", self.wait)?;
        check_span("the grace", self.grace)
    }
}

/// A limit that may not be zero.
pub(crate) fn check_limit(
    what: &'static str,
    limit: Option<Duration>,
) -> Result<(), InvalidDuration> {
    match limit {
        Some(given) if given.is_zero() => Err(InvalidDuration { what, given }),
        limit => check_span(what, limit),
    }
}

/// A span that may be zero, but must fit the clock.
pub(crate) fn check_span(
    what: &'static str,
    span: Option<Duration>,
) -> Result<(), InvalidDuration> {
    match span {
        Some(given) if given > LONGEST => Err(InvalidDuration { what, given }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn per_field_the_tighter_wins() {
        let lane = Timeout::idle(SECOND * 3).budget(SECOND * 9);
        let task = Timeout::idle(SECOND * 5).budget(SECOND * 7).wait(SECOND);
        assert_eq!(
            lane.tighter(task),
            Timeout::idle(SECOND * 3).budget(SECOND * 7).wait(SECOND)
        );
    }

    #[test]
    fn s18_zero_and_overflow_are_refused() {
        assert!(Timeout::idle(Duration::ZERO).check().is_err());
        assert!(Timeout::budget(Duration::MAX).check().is_err());
        assert!(Timeout::wait(Duration::ZERO).check().is_err());
        assert!(Timeout::grace(Duration::ZERO).check().is_ok());
        assert!(Timeout::grace(Duration::MAX).check().is_err());
        assert!(Timeout::idle(LONGEST).check().is_ok());
    }
}
