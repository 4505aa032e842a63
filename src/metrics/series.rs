//! From differences to the recorder. Everything here calls it, and so is called with no
//! lock held.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, with_recorder};

use super::names::{
    COUNTS, COUNTS_LEN, EVENTS, EVENTS_LEN, LENGTHS, LENGTHS_LEN, LEVELS, LEVELS_LEN, Named,
    OUTCOMES, SETTLED,
};
use crate::runtime::guarded;
use crate::sync::Arc;

/// What is shown together: a lane that is configured by its name, or all lanes of a
/// pattern.
pub(super) struct Series {
    pub(super) label: Arc<str>,
    handles: OnceLock<Handles>,
}

/// A recorder's.
struct Handles {
    levels: [Gauge; LEVELS_LEN],
    counts: [Counter; COUNTS_LEN],
    settled: [Counter; OUTCOMES.len()],
    lengths: [Histogram; LENGTHS_LEN],
}

/// What has changed since the recorder was told last.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) levels: [i64; LEVELS_LEN],
    pub(super) counts: [u64; COUNTS_LEN],
    pub(super) settled: [u64; OUTCOMES.len()],
    /// By their place in [`LENGTHS`].
    pub(super) lengths: Vec<(usize, Duration)>,
}

const METADATA: Metadata<'static> = Metadata::new("laneway", Level::INFO, Some("laneway"));

impl Series {
    pub(super) const fn new(label: Arc<str>) -> Self {
        let handles = OnceLock::new();
        Self { label, handles }
    }

    pub(super) fn record(&self, change: &Change) {
        let handles = self.handles();
        for (gauge, by) in handles.levels.iter().zip(change.levels) {
            if by != 0 {
                told(|| gauge.increment(float(by)));
            }
        }
        let counts = handles.counts.iter().zip(change.counts);
        let settled = handles.settled.iter().zip(change.settled);
        for (counter, by) in counts.chain(settled) {
            if by != 0 {
                told(|| counter.increment(by));
            }
        }
        for (of, length) in &change.lengths {
            if let Some(histogram) = handles.lengths.get(*of) {
                told(|| histogram.record(*length));
            }
        }
    }

    /// Made by whoever comes first, and not in the turn of others: what runs meanwhile
    /// may come here again.
    fn handles(&self) -> &Handles {
        if self.handles.get().is_none() {
            let made = Handles::of(&self.label);
            // Those of another may be there by now, which are as good.
            if let Err(needless) = self.handles.set(made) {
                told(|| drop(needless));
            }
        }
        self.handles.get_or_init(Handles::none)
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let handles = self.handles.take();
        told(|| drop(handles));
    }
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Series")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Handles {
    fn of(lane: &Arc<str>) -> Self {
        let key = |named: &Named| Key::from_parts(named.name, vec![lane_label(lane)]);
        Self {
            levels: LEVELS.each_ref().map(|named| gauge(&key(named))),
            counts: COUNTS.each_ref().map(|named| counter(&key(named))),
            settled: OUTCOMES.map(|outcome| {
                let labels = vec![lane_label(lane), Label::new("outcome", outcome)];
                counter(&Key::from_parts(SETTLED.name, labels))
            }),
            lengths: LENGTHS.each_ref().map(|named| histogram(&key(named))),
        }
    }

    fn none() -> Self {
        Self {
            levels: std::array::from_fn(|_| Gauge::noop()),
            counts: std::array::from_fn(|_| Counter::noop()),
            settled: std::array::from_fn(|_| Counter::noop()),
            lengths: std::array::from_fn(|_| Histogram::noop()),
        }
    }
}

/// The handles of the log of events.
pub(super) fn of_events() -> [Counter; EVENTS_LEN] {
    EVENTS
        .each_ref()
        .map(|named| counter(&Key::from_static_name(named.name)))
}

/// Tells the recorder what all of them mean.
pub(super) fn describe() {
    type Describe = fn(&dyn Recorder, &Named);
    let gauge: Describe = |recorder, named| {
        recorder.describe_gauge(named.name.into(), Some(named.unit), named.help.into());
    };
    let counter: Describe = |recorder, named| {
        recorder.describe_counter(named.name.into(), Some(named.unit), named.help.into());
    };
    let histogram: Describe = |recorder, named| {
        recorder.describe_histogram(named.name.into(), Some(named.unit), named.help.into());
    };
    let all: [(Describe, &[Named]); 5] = [
        (gauge, &LEVELS),
        (counter, &COUNTS),
        (counter, &[SETTLED]),
        (counter, &EVENTS),
        (histogram, &LENGTHS),
    ];
    for (describe, all) in all {
        for named in all {
            told(|| with_recorder(|recorder| describe(recorder, named)));
        }
    }
}

fn gauge(key: &Key) -> Gauge {
    let register = || with_recorder(|recorder| recorder.register_gauge(key, &METADATA));
    told(register).unwrap_or_else(Gauge::noop)
}

fn counter(key: &Key) -> Counter {
    let register = || with_recorder(|recorder| recorder.register_counter(key, &METADATA));
    told(register).unwrap_or_else(Counter::noop)
}

fn histogram(key: &Key) -> Histogram {
    let register = || with_recorder(|recorder| recorder.register_histogram(key, &METADATA));
    told(register).unwrap_or_else(Histogram::noop)
}

fn lane_label(lane: &Arc<str>) -> Label {
    Label::new("lane", lane.to_string())
}

/// Calls the recorder. One that panics has only itself to blame for its numbers (S14).
pub(super) fn told<R>(call: impl FnOnce() -> R) -> Option<R> {
    guarded("a metrics recorder", call)
}

/// Levels are of tasks and slots, which are few.
#[expect(clippy::cast_precision_loss, reason = "no lane counts to 2^53")]
const fn float(level: i64) -> f64 {
    level as f64
}
