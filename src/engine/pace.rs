//! How fast tasks come to wait in a lane, how fast they are served, and what
//! that says of how long one more will wait.
//!
//! Kept as averages that forget: a new interval weighs an eighth, so that an
//! average is of the last dozen or so. Nothing is touched where a task finds
//! its slot free: of such a lane there is nothing to say.

use std::time::Duration;

use super::time::{Time, nanos};

/// How many intervals make a history.
const ENOUGH: u32 = 4;
/// What a new interval weighs among many: `1 / 2^SHIFT`.
const SHIFT: u32 = 3;
/// How many times the usual an interval counts at the most in which nobody
/// waited: the lane had a rest, and tasks do not come more slowly for that.
const REST: u64 = 8;

/// What a lane remembers of its waiters; O(1) to keep and to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Between two tasks that come to wait, in nanoseconds; of so many.
    arrival: u64,
    arrivals: u32,
    dispatches: u32,
    /// Between two that are served while somebody waits.
    dispatch: u64,
    /// How long those who were served had waited.
    waited: u64,
    arrived_at: Time,
    /// The last dispatch, or the first arrival after it that found nobody
    /// waiting: before that there was nobody to be served.
    dispatched_at: Time,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self {
            arrival: 0,
            arrivals: 0,
            dispatches: 0,
            dispatch: 0,
            waited: 0,
            arrived_at: Time::FAR,
            dispatched_at: Time::FAR,
        }
    }

    /// A task comes to wait; `alone` if it finds nobody waiting.
    pub(super) fn arrived(&mut self, now: Time, alone: bool) {
        let mut interval = between(self.arrived_at, now);
        let first = std::mem::replace(&mut self.arrived_at, now) == Time::FAR;
        if alone {
            self.dispatched_at = now;
            interval = interval.min(self.arrival.saturating_mul(REST));
        }
        // Of a rest alone nobody can tell how fast they come when they do.
        let only_rests = alone && self.arrivals == 0;
        if !(first || only_rests) {
            learn(&mut self.arrival, self.arrivals, interval);
            self.arrivals = self.arrivals.saturating_add(1);
        }
    }

    /// A waiter is served that has waited for so long.
    pub(super) fn dispatched(&mut self, now: Time, waited: Duration) {
        let interval = between(self.dispatched_at, now);
        self.dispatched_at = now;
        learn(&mut self.dispatch, self.dispatches, interval);
        learn(&mut self.waited, self.dispatches, nanos(waited));
        self.dispatches = self.dispatches.saturating_add(1);
    }

    /// The lane dispatches again after a pause, which was no slowness of it.
    pub(super) const fn resumed(&mut self, now: Time) {
        self.dispatched_at = now;
    }

    /// How many tasks come to wait in a second. It falls while none comes for
    /// longer than usual; `None` without enough of a history.
    pub(crate) fn arrivals_per_second(&self, now: Time) -> Option<f64> {
        let silent = between(self.arrived_at, now);
        (self.arrivals >= ENOUGH).then(|| per_second(self.arrival.max(silent)))
    }

    /// How many waiters are served in a second, while there are any. It falls
    /// while none is served for longer than usual; `None` without enough of a
    /// history.
    pub(crate) fn dispatches_per_second(&self, now: Time) -> Option<f64> {
        let silent = between(self.dispatched_at, now);
        (self.dispatches >= ENOUGH).then(|| per_second(self.dispatch.max(silent)))
    }

    /// How long those who were served of late had waited.
    pub(crate) fn waited(&self) -> Option<Duration> {
        (self.dispatches >= ENOUGH).then(|| Duration::from_nanos(self.waited))
    }

    /// How much longer a waiter will wait that has so many ahead of it, if the
    /// lane goes on as it did. Where nobody was served for longer than usual,
    /// the next one is taken to need as long once more.
    pub(crate) fn expected_wait(&self, queued_ahead: usize, now: Time) -> Option<Duration> {
        let next = self.dispatch.max(between(self.dispatched_at, now));
        let ahead = u64::try_from(queued_ahead).unwrap_or(u64::MAX);
        let wait = self.dispatch.saturating_mul(ahead).saturating_add(next);
        (self.dispatches >= ENOUGH).then(|| Duration::from_nanos(wait))
    }
}

/// One more of an average of so many. The first ones weigh more.
#[inline]
const fn learn(usual: &mut u64, seen: u32, sample: u64) {
    let shift = if seen < SHIFT { seen } else { SHIFT };
    if sample >= *usual {
        *usual += (sample - *usual) >> shift;
    } else {
        *usual -= (*usual - sample) >> shift;
    }
}

/// In nanoseconds; nothing where the first never was.
fn between(first: Time, then: Time) -> u64 {
    then.as_nanos().saturating_sub(first.as_nanos())
}

/// Finite and above zero, whatever the interval.
fn per_second(interval: u64) -> f64 {
    Duration::from_nanos(interval.max(1)).as_secs_f64().recip()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Time {
        Time::START + SECOND * u32::try_from(seconds).unwrap()
    }

    /// Waiters come and are served every so many seconds, `queued` of them at
    /// all times, until `until`.
    fn steady(every: u64, until: u64) -> Pace {
        let mut pace = Pace::new();
        pace.arrived(at(0), true);
        for second in (every..=until).step_by(usize::try_from(every).unwrap()) {
            pace.arrived(at(second), false);
            pace.dispatched(at(second), SECOND * 10);
        }
        pace
    }

    #[test]
    fn it_takes_no_more_memory_than_a_lane_can_spare() {
        assert!(size_of::<Pace>() <= 48);
    }

    #[test]
    fn what_goes_on_as_it_did_is_told_as_it_was() {
        let pace = steady(4, 400);
        assert_eq!(pace.arrivals_per_second(at(400)), Some(0.25));
        assert_eq!(pace.dispatches_per_second(at(400)), Some(0.25));
        assert_eq!(pace.waited(), Some(SECOND * 10));
        assert_eq!(pace.expected_wait(0, at(400)), Some(SECOND * 4));
        assert_eq!(pace.expected_wait(9, at(402)), Some(SECOND * 40));
    }

    #[test]
    fn nothing_is_told_of_too_little() {
        let mut pace = Pace::new();
        pace.arrived(at(0), true);
        for second in 1..=3 {
            pace.arrived(at(second), false);
            pace.dispatched(at(second), SECOND);
        }
        let told = |pace: &Pace| {
            let rates = (
                pace.arrivals_per_second(at(4)),
                pace.dispatches_per_second(at(4)),
            );
            (rates, pace.waited(), pace.expected_wait(0, at(4)))
        };
        assert_eq!(told(&Pace::new()), ((None, None), None, None));
        assert_eq!(told(&pace), ((None, None), None, None));
        pace.arrived(at(4), false);
        pace.dispatched(at(4), SECOND);
        assert_eq!(
            told(&pace),
            ((Some(1.0), Some(1.0)), Some(SECOND), Some(SECOND))
        );
    }

    #[test]
    fn rates_fall_while_nothing_happens_for_longer_than_usual() {
        let pace = steady(4, 400);
        assert_eq!(pace.arrivals_per_second(at(404)), Some(0.25));
        assert_eq!(pace.arrivals_per_second(at(500)), Some(0.01));
        assert_eq!(pace.dispatches_per_second(at(500)), Some(0.01));
        // The next one needs as long once more, those behind it as ever.
        assert_eq!(pace.expected_wait(2, at(500)), Some(SECOND * 108));
    }

    #[test]
    fn a_rest_is_no_slowness() {
        let mut pace = steady(4, 400);
        pace.arrived(at(10_000), true);
        assert_eq!(pace.expected_wait(0, at(10_001)), Some(SECOND * 4));
        pace.dispatched(at(10_004), SECOND * 4);
        assert_eq!(pace.dispatches_per_second(at(10_004)), Some(0.25));
        // Of the pause between two arrivals eight usual ones are counted.
        let slower = pace.arrivals_per_second(at(10_000)).unwrap();
        assert!((0.1..0.25).contains(&slower), "{slower}");
    }

    #[test]
    fn a_pause_is_no_slowness() {
        let mut pace = steady(4, 400);
        pace.resumed(at(10_000));
        pace.dispatched(at(10_000), SECOND);
        pace.dispatched(at(10_004), SECOND);
        let wait = pace.expected_wait(0, at(10_004)).unwrap();
        assert!(wait <= SECOND * 4, "{wait:?}");
    }

    #[test]
    fn a_rest_before_any_history_leaves_no_trace() {
        let mut pace = Pace::new();
        for second in [0, 10_000, 20_000] {
            pace.arrived(at(second), true);
        }
        for second in 20_001..20_010 {
            pace.arrived(at(second), false);
        }
        assert_eq!(pace.arrivals_per_second(at(20_009)), Some(1.0));
    }

    #[test]
    fn a_queue_that_grows_comes_faster_than_it_goes() {
        let mut pace = Pace::new();
        for second in 0..100 {
            pace.arrived(at(second), second == 0);
            if second % 5 == 4 {
                pace.dispatched(at(second), SECOND);
            }
        }
        assert_eq!(pace.arrivals_per_second(at(99)), Some(1.0));
        let served = pace.dispatches_per_second(at(99)).unwrap();
        assert!((0.2..0.21).contains(&served), "{served}");
    }

    #[test]
    fn it_follows_a_lane_that_changes_within_a_few_dozen() {
        let mut pace = steady(4, 400);
        for n in 1..=40 {
            let now = at(400) + SECOND / 10 * n;
            pace.arrived(now, false);
            pace.dispatched(now, SECOND);
        }
        let rate = pace.dispatches_per_second(at(404)).unwrap();
        assert!((8.0..=10.0).contains(&rate), "{rate}");
    }

    proptest! {
        #[test]
        fn whatever_happens_rates_are_numbers_and_averages_within_what_was_seen(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0u64..1 << 62), 0..60),
            ahead in any::<usize>(),
            later in any::<u64>(),
        ) {
            let (mut pace, mut now) = (Pace::new(), Time::START);
            let (mut longest, mut waits) = (0, 0);
            for (arrives, alone, span) in steps {
                now = now + Duration::from_nanos(span >> (span % 60));
                longest = longest.max(now.since(Time::START).as_nanos());
                if arrives {
                    pace.arrived(now, alone);
                } else {
                    pace.dispatched(now, Duration::from_nanos(span));
                    waits = waits.max(span);
                }
            }
            let asked = Time::from_nanos(later);
            for rate in [pace.arrivals_per_second(asked), pace.dispatches_per_second(asked)] {
                prop_assert!(rate.is_none_or(|rate| rate.is_finite() && rate > 0.0));
            }
            prop_assert!(u128::from(pace.dispatch.max(pace.arrival)) <= longest);
            prop_assert!(pace.waited <= waits);
            let wait = pace.expected_wait(ahead, asked);
            prop_assert!(wait.is_none_or(|wait| wait >= Duration::from_nanos(pace.dispatch)));
        }
    }
}
