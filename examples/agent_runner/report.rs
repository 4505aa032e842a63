//! What happened, lane by lane.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::outcome::Outcome;
use crate::timing::Stay;

/// The jobs of every lane that had any.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lanes: BTreeMap<String, Tally>,
    jobs: usize,
    succeeded: usize,
    not_run: usize,
}

#[derive(Debug, Default)]
struct Tally {
    failed: usize,
    timed_out: usize,
    stalled: usize,
    interrupted: usize,
    waits: Vec<Duration>,
    runs: Vec<Duration>,
}

impl Report {
    /// Counts a job that is over: where it ran, once for each lane it held.
    pub(crate) fn record(&mut self, lanes: &[&str], outcome: &Outcome, stay: Option<Stay>) {
        self.jobs += 1;
        self.succeeded += usize::from(matches!(outcome, Outcome::Succeeded));
        match stay {
            Some(stay) => {
                for lane in lanes {
                    self.tally(lane).count(outcome, stay);
                }
            }
            None => self.not_run += 1,
        }
    }

    pub(crate) const fn went_well(&self) -> bool {
        self.succeeded == self.jobs
    }

    fn tally(&mut self, lane: &str) -> &mut Tally {
        self.lanes.entry(lane.to_owned()).or_default()
    }
}

impl Tally {
    fn count(&mut self, outcome: &Outcome, stay: Stay) {
        self.waits.push(stay.wait);
        self.runs.push(stay.run);
        match outcome {
            Outcome::Failed(_) => self.failed += 1,
            Outcome::TimedOut(_) => self.timed_out += 1,
            Outcome::Stalled(_) => self.stalled += 1,
            Outcome::Interrupted(_) => self.interrupted += 1,
            Outcome::Succeeded | Outcome::NotRun => {}
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.lanes.keys().map(|name| name.chars().count()).max();
        let width = widest.unwrap_or_default().max("lane".len());
        writeln!(
            f,
            "{:width$}   ran  failed  timed out  stalled  interrupted  \
             wait p50      p95   run p50      p95",
            "lane"
        )?;
        for (name, tally) in &self.lanes {
            writeln!(f, "{name:width$}  {tally}")?;
        }
        let Self {
            jobs,
            succeeded,
            not_run,
            ..
        } = self;
        write!(
            f,
            "{succeeded} of {jobs} jobs went well, {not_run} were not run"
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [wait_50, wait_95] = percentiles(&self.waits);
        let [run_50, run_95] = percentiles(&self.runs);
        write!(
            f,
            "{:>4}  {:>6}  {:>9}  {:>7}  {:>11}  {wait_50:>7.2}s {wait_95:>7.2}s  {run_50:>7.2}s {run_95:>7.2}s",
            self.runs.len(),
            self.failed,
            self.timed_out,
            self.stalled,
            self.interrupted,
        )
    }
}

/// The 50th and the 95th, by nearest rank: times that really occurred.
fn percentiles(times: &[Duration]) -> [f64; 2] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    [50, 95].map(|percent| {
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted
            .get(rank.saturating_sub(1))
            .map_or(0.0, Duration::as_secs_f64)
    })
}
