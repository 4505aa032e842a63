//! From one lane to differences.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::Counter;

use super::names::{COUNTS_LEN, EVENTS, EVENTS_LEN, LEVELS_LEN, OUTCOMES};
use super::series::{Change, Series, describe, of_events, told};
use crate::engine::{End, Fact, Limit, What};
use crate::events::EventCounters;
use crate::plan::Origin;
use crate::runtime::{Engine, trim};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// The series of one scheduler, by their labels. It is a leaf among the locks.
#[derive(Debug)]
pub(crate) struct Meters {
    series: Mutex<HashMap<Arc<str>, Arc<Series>>>,
}

/// One lane's.
#[derive(Debug)]
pub(crate) struct Meter(Box<Inner>);

#[derive(Debug)]
struct Inner {
    /// A leaf among the locks.
    state: Mutex<State>,
    /// There is something to tell.
    due: AtomicBool,
}

#[derive(Debug)]
struct State {
    series: Arc<Series>,
    now: Totals,
    told: Totals,
    lengths: Vec<(usize, Duration)>,
    /// What is due to series that it was in before.
    owed: Vec<(Arc<Series>, Change)>,
}

/// Of one lane, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    levels: [i64; LEVELS_LEN],
    counts: [u64; COUNTS_LEN],
    settled: [u64; OUTCOMES.len()],
    warnings: u64,
}

// The places in `LENGTHS`.
const WAIT: usize = 0;
const RUN: usize = 1;
const IDLE: usize = 2;

impl Meters {
    /// Tells the recorder what there will be.
    pub(crate) fn new() -> Self {
        describe();
        let series = Mutex::new(HashMap::new());
        Self { series }
    }

    pub(crate) fn meter(&self, origin: &Origin, lane: &Arc<str>) -> Meter {
        let series = self.series_of(label(origin, lane).unwrap_or(lane));
        Meter(Box::new(Inner {
            state: Mutex::new(State {
                series,
                now: Totals::default(),
                told: Totals::default(),
                lengths: Vec::new(),
                owed: Vec::new(),
            }),
            // So that its series are there before anything happens in it.
            due: AtomicBool::new(true),
        }))
    }

    /// The lane is set by something else from now on. One that is removed stays what
    /// it was.
    pub(crate) fn relabel(&self, meter: &Meter, origin: &Origin, lane: &Arc<str>) {
        if let Some(label) = label(origin, lane) {
            let series = self.series_of(label);
            meter.move_to(series);
        }
    }

    /// Drops the series of which there is no lane; those of a pattern are made again
    /// when there is one (S15).
    pub(crate) fn forget_unused(&self) {
        let unused: Vec<_> = {
            let mut series = self.series.lock();
            let unused = series.extract_if(|_, series| Arc::strong_count(series) == 1);
            let unused = unused.collect();
            trim(&mut series);
            unused
        };
        // Handles are the recorder's own code.
        drop(unused);
    }

    fn series_of(&self, label: &Arc<str>) -> Arc<Series> {
        let mut series = self.series.lock();
        let made = || Arc::new(Series::new(Arc::clone(label)));
        let found = series.entry(Arc::clone(label)).or_insert_with(made);
        Arc::clone(found)
    }
}

/// There are as many as are written down somewhere, however many lanes there are.
const fn label<'a>(origin: &'a Origin, lane: &'a Arc<str>) -> Option<&'a Arc<str>> {
    match origin {
        Origin::Named => Some(lane),
        Origin::Pattern(pattern) => Some(pattern),
        Origin::Removed => None,
    }
}

impl Meter {
    /// What the lane, which is locked, has come to. O(1) beside the facts that it wrote
    /// down.
    #[inline(never)]
    pub(crate) fn note(&self, engine: &mut Engine, deadlocks: u64) {
        let mut state = self.0.state.lock();
        state.now.read(engine, deadlocks);
        for fact in engine.news().into_iter().flat_map(|news| news.facts()) {
            state.add(fact);
        }
        if state.now != state.told || !state.lengths.is_empty() {
            self.0.due.store(true, Ordering::Release);
        }
    }

    /// Tells the recorder; called with no lock held (S13).
    #[inline]
    pub(crate) fn flush(&self) {
        if self.0.due.load(Ordering::Acquire) {
            self.flush_now();
        }
    }

    #[inline(never)]
    fn flush_now(&self) {
        let (owed, series, change) = {
            let mut state = self.0.state.lock();
            self.0.due.store(false, Ordering::Relaxed);
            let owed = std::mem::take(&mut state.owed);
            (owed, Arc::clone(&state.series), state.take())
        };
        for (series, change) in owed {
            series.record(&change);
        }
        series.record(&change);
    }

    /// The lane is gone, and with it what there was in it.
    pub(crate) fn retire(&self) {
        self.0.state.lock().now.levels = Default::default();
        self.flush_now();
    }

    fn move_to(&self, series: Arc<Series>) {
        let mut state = self.0.state.lock();
        if state.series.label == series.label {
            return;
        }
        let levels = state.now.levels;
        state.now.levels = Default::default();
        let change = state.take();
        state.now.levels = levels;
        let former = std::mem::replace(&mut state.series, series);
        state.owed.push((former, change));
        self.0.due.store(true, Ordering::Release);
    }
}

impl State {
    /// What the recorder is to be told.
    fn take(&mut self) -> Change {
        let (now, told) = (self.now, std::mem::replace(&mut self.told, self.now));
        Change {
            levels: std::array::from_fn(|of| now.levels[of] - told.levels[of]),
            counts: std::array::from_fn(|of| now.counts[of] - told.counts[of]),
            settled: std::array::from_fn(|of| now.settled[of] - told.settled[of]),
            lengths: std::mem::take(&mut self.lengths),
        }
    }

    fn add(&mut self, fact: &Fact) {
        match &fact.what {
            What::Dispatched { waited, .. } => {
                self.lengths
                    .push((WAIT, waited.duration().unwrap_or_default()));
            }
            What::Settled {
                end, panicked, ran, ..
            } => {
                let end = end.as_deref().unwrap_or(&End::Completed);
                let outcome = if *panicked { "panicked" } else { end.outcome() };
                if let Some(of) = OUTCOMES.iter().position(|known| *known == outcome) {
                    self.now.settled[of] += 1;
                }
                let ran = ran.duration().or_else(|| active_for(end));
                self.lengths.extend(ran.map(|ran| (RUN, ran)));
            }
            What::Reclaimed(came) => {
                if let End::Stalled { idle, .. } | End::TimedOut { idle, .. } = came.end {
                    self.lengths.push((IDLE, idle));
                }
            }
            What::Blocked(blocked) if !blocked.healthy => self.now.warnings += 1,
            _ => {}
        }
    }
}

/// How long one that was ended had its slot, if it had one.
fn active_for(end: &End) -> Option<Duration> {
    match *end {
        End::TimedOut {
            limit: Limit::Wait, ..
        } => None,
        End::Stalled { elapsed, .. }
        | End::TimedOut { elapsed, .. }
        | End::Cancelled { elapsed, .. } => Some(elapsed),
        _ => None,
    }
}

impl Totals {
    fn read(&mut self, engine: &Engine, deadlocks: u64) {
        let tally = engine.tally();
        let slots = engine.settings().max_concurrent;
        // A lane has no more tasks than that, and what is added up stays exact.
        let slots = slots.min(u32::MAX as usize);
        let levels = [
            engine.waiters(),
            engine.active(),
            engine.parked(),
            engine.orphans(),
            slots,
        ];
        self.levels = levels.map(|level| i64::try_from(level).unwrap_or(i64::MAX));
        self.counts = [
            tally.submitted,
            tally.started,
            tally.reclaimed,
            tally.recovered,
            tally.ineffective,
            tally.taken,
            tally.late,
            deadlocks,
            tally.repaired,
            self.warnings,
        ];
    }
}

/// The log of events, of all lanes.
pub(crate) struct EventMeter {
    told: Mutex<[u64; EVENTS_LEN]>,
    handles: OnceLock<[Counter; EVENTS_LEN]>,
}

impl EventMeter {
    pub(crate) fn new() -> Self {
        Self {
            told: Mutex::new([0; EVENTS_LEN]),
            handles: OnceLock::new(),
        }
    }

    /// Tells the recorder; called with no lock held (S13).
    pub(crate) fn report(&self, counters: EventCounters) {
        if self.handles.get().is_none() {
            let made = of_events();
            if let Err(needless) = self.handles.set(made) {
                told(|| drop(needless));
            }
        }
        let now = [counters.published, counters.streamed, counters.dropped];
        // Of two that come at once, the one with the older counts may come last.
        let mut last = self.told.lock();
        let new =
            std::array::from_fn::<u64, { EVENTS.len() }, _>(|of| now[of].saturating_sub(last[of]));
        *last = std::array::from_fn(|of| now[of].max(last[of]));
        drop(last);
        for (counter, by) in self.handles.get().into_iter().flatten().zip(new) {
            if by > 0 {
                told(|| counter.increment(by));
            }
        }
    }
}

impl Drop for EventMeter {
    fn drop(&mut self) {
        let handles = self.handles.take();
        told(|| drop(handles));
    }
}

impl std::fmt::Debug for EventMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventMeter").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use crate::{LaneConfig, Lanes};

    #[test]
    fn s15_series_go_when_their_lanes_have_gone() {
        let lanes = Lanes::builder().metrics().build().unwrap();
        for n in 0..200 {
            let name = format!("lane {n}");
            let add = lanes.reconfigure(|change| change.add_lane(&name, LaneConfig::new(1)));
            add.unwrap();
            let remove = lanes.reconfigure(|change| change.remove_lane(&name));
            remove.unwrap();
        }
        let series = lanes.shared().meters.as_ref().unwrap().series.lock();
        // The last one went after the last look.
        assert!(series.len() <= 1, "{series:?}");
        assert!(series.capacity() < 100);
    }
}
