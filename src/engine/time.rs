//! The engine's own clock reading: a number that only compares and adds.

use std::time::Duration;

/// An instant on the scheduler's monotonic clock, in nanoseconds.
///
/// The scheduler starts at [`Time::START`] and not at zero, so that a task may
/// have waited since before the scheduler existed (`waited(d)`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Time(u64);

/// The longest duration that a limit may name, about 73 years: from
/// [`Time::START`] it neither underflows nor overflows the clock.
pub(crate) const LONGEST: Duration = Duration::from_nanos(1 << 61);

impl Time {
    /// When the scheduler was built.
    pub(crate) const START: Self = Self(1 << 61);
    /// Never.
    pub(crate) const FAR: Self = Self(u64::MAX);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time elapsed since `earlier`; zero if that is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Self;

    /// Saturates at [`Time::FAR`].
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

/// A duration that may be without end, in half the memory of an
/// `Option<Duration>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Span(u64);

impl Span {
    pub(crate) const ENDLESS: Self = Self(u64::MAX);

    pub(crate) const fn of(span: Duration) -> Self {
        Self(nanos(span))
    }

    /// From one moment to a later one.
    pub(crate) const fn between(earlier: Time, later: Time) -> Self {
        Self(later.0.saturating_sub(earlier.0))
    }

    pub(crate) fn duration(self) -> Option<Duration> {
        (self != Self::ENDLESS).then(|| Duration::from_nanos(self.0))
    }
}

impl From<Option<Duration>> for Span {
    #[inline]
    fn from(span: Option<Duration>) -> Self {
        span.map_or(Self::ENDLESS, Self::of)
    }
}

impl std::ops::Add<Span> for Time {
    type Output = Self;

    /// Saturates at [`Time::FAR`], where what is endless ends.
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A duration as nanoseconds, saturating: anything longer is never reached.
pub(crate) const fn nanos(span: Duration) -> u64 {
    span.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(span.subsec_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_may_have_waited_since_before_the_scheduler_existed() {
        assert_eq!(Time::START.since(Time::START.before(LONGEST)), LONGEST);
        assert_eq!(Time::from_nanos(7).as_nanos(), 7);
    }

    #[test]
    fn saturates_at_both_ends() {
        assert_eq!(Time::START + Duration::MAX, Time::FAR);
        assert_eq!(Time::START.before(Duration::MAX), Time::from_nanos(0));
        assert_eq!(Time::START.since(Time::FAR), Duration::ZERO);
        assert_eq!(
            Span::between(Time::FAR, Time::START),
            Span::of(Duration::ZERO)
        );
        assert_eq!((Time::START + LONGEST).since(Time::START), LONGEST);
    }

    #[test]
    fn what_is_endless_ends_never() {
        let span = |span: Option<Duration>| (Span::from(span), Span::from(span).duration());
        assert_eq!(span(None), (Span::ENDLESS, None));
        assert_eq!(span(Some(LONGEST)), (Span::of(LONGEST), Some(LONGEST)));
        assert_eq!(Time::START + Span::ENDLESS, Time::FAR);
        assert_eq!(Time::START + Span::of(LONGEST), Time::START + LONGEST);
    }
}
