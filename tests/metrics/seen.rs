//! What a recorder was told, on the thread of a test.

use std::collections::BTreeMap;

use metrics::{LocalRecorderGuard, Unit};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// Its name, and its labels by name.
type Series = (String, BTreeMap<String, String>);

pub(crate) struct Seen {
    snapshotter: Snapshotter,
    /// What it hands out is what came since it was asked last.
    values: BTreeMap<Series, Value>,
    _guard: LocalRecorderGuard<'static>,
}

#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) kind: &'static str,
    pub(crate) unit: Option<Unit>,
    pub(crate) help: Option<String>,
    number: f64,
    lengths: Vec<f64>,
}

impl Seen {
    /// Installs a recorder for this thread, as long as this lasts.
    pub(crate) fn install() -> Self {
        let recorder: &'static DebuggingRecorder = Box::leak(Box::default());
        Self {
            snapshotter: recorder.snapshotter(),
            values: BTreeMap::new(),
            _guard: metrics::set_default_local_recorder(recorder),
        }
    }

    pub(crate) fn all(&mut self) -> &BTreeMap<Series, Value> {
        for (key, unit, help, value) in self.snapshotter.snapshot().into_vec() {
            let kind = match key.kind() {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let (name, labels) = key.into_parts().1.into_parts();
            let labels = labels.into_iter().map(|label| {
                let (name, value) = label.into_parts();
                (name.into_owned(), value.into_owned())
            });
            let help = help.map(|help| help.to_string());
            let series = (name.as_str().to_owned(), labels.collect());
            let seen = self.values.entry(series).or_insert(Value {
                kind,
                unit,
                help,
                number: 0.0,
                lengths: Vec::new(),
            });
            match value {
                DebugValue::Counter(count) => {
                    seen.number += f64::from(u32::try_from(count).unwrap());
                }
                DebugValue::Gauge(by) => seen.number += *by,
                DebugValue::Histogram(lengths) => {
                    seen.lengths
                        .extend(lengths.into_iter().map(|length| *length));
                }
            }
        }
        &self.values
    }

    fn find(&mut self, name: &str, labels: &[(&str, &str)]) -> Option<&Value> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let series = (name.to_owned(), labels.iter().map(own).collect());
        self.all().get(&series)
    }

    /// Of a gauge or a counter of this lane or pattern.
    #[track_caller]
    pub(crate) fn number(&mut self, name: &str, lane: &str) -> f64 {
        let found = self.find(name, &[("lane", lane)]).map(|seen| seen.number);
        found.unwrap_or_else(|| panic!("no {name} of {lane}"))
    }

    #[track_caller]
    pub(crate) fn settled(&mut self, lane: &str, outcome: &str) -> f64 {
        let labels = [("lane", lane), ("outcome", outcome)];
        let found = self.find("laneway_tasks_settled_total", &labels);
        found.map(|seen| seen.number).expect(outcome)
    }

    /// Of one that is the scheduler's.
    #[track_caller]
    pub(crate) fn total(&mut self, name: &str) -> f64 {
        self.find(name, &[]).map(|seen| seen.number).expect(name)
    }

    /// Of a histogram, in seconds.
    #[track_caller]
    pub(crate) fn lengths(&mut self, name: &str, lane: &str) -> Vec<f64> {
        let found = self.find(name, &[("lane", lane)]);
        found.map(|seen| seen.lengths.clone()).expect(name)
    }

    pub(crate) fn lanes(&mut self) -> Vec<String> {
        let of = |series: &Series| series.1.get("lane").cloned();
        let mut lanes: Vec<String> = self.all().keys().filter_map(of).collect();
        lanes.sort();
        lanes.dedup();
        lanes
    }

    #[track_caller]
    pub(crate) fn assert_levels(&mut self, lane: &str, expected: [u32; 5]) {
        let names = [
            "laneway_tasks_queued",
            "laneway_tasks_active",
            "laneway_tasks_parked",
            "laneway_tasks_orphans",
            "laneway_max_concurrent",
        ];
        let levels = names.map(|name| self.number(name, lane));
        assert_eq!(levels, expected.map(f64::from), "{names:?} of {lane}");
    }
}
