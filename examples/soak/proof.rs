//! What was tried, what was checked, and what was found to be wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::{Count, Mutex, SeqCst, lock, now};

const MOMENT: Duration = Duration::from_millis(10);

/// Kept over all epochs.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// Submitted, and of those begun.
    pub(crate) tasks: Count,
    pub(crate) ran: Count,
    pub(crate) orphans_max: Count,
    pub(crate) planned_panics: Count,
    late_ms: Count,
    /// When a thread of no runtime was awake last, which sleeps for a moment each time.
    awake: Mutex<Option<Instant>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    checks: Mutex<BTreeMap<&'static str, u64>>,
    violations: Mutex<Vec<String>>,
}

impl Proof {
    pub(crate) fn fault(&self, kind: &'static str) {
        *lock(&self.faults).entry(kind).or_default() += 1;
    }

    pub(crate) fn faults(&self) -> u64 {
        lock(&self.faults).values().sum()
    }

    /// One look at one promise; `wrong` says what was seen where it is broken.
    pub(crate) fn check(&self, promise: &'static str, holds: bool, wrong: impl FnOnce() -> String) {
        *lock(&self.checks).entry(promise).or_default() += 1;
        if !holds {
            let what = format!("{promise}: {}", wrong());
            eprintln!("VIOLATION {what}");
            lock(&self.violations).push(what);
        }
    }

    /// Measures how late the machine wakes a thread, for as long as the soak runs.
    pub(crate) fn watch_the_machine(self: &Arc<Self>) {
        let proof = Arc::downgrade(self);
        std::thread::spawn(move || {
            while let Some(proof) = proof.upgrade() {
                let late = proof.lateness_now();
                proof.late_ms.fetch_max(millis(late), SeqCst);
                *lock(&proof.awake) = Some(now());
                drop(proof);
                std::thread::sleep(MOMENT);
            }
        });
    }

    /// It may be late right now, and not know yet.
    fn lateness_now(&self) -> Duration {
        let awake = *lock(&self.awake);
        let since = awake.map_or(Duration::ZERO, |at| now().duration_since(at));
        since.saturating_sub(MOMENT)
    }

    /// At most, so far.
    pub(crate) fn lateness(&self) -> Duration {
        let so_far = Duration::from_millis(self.late_ms.load(SeqCst));
        so_far.max(self.lateness_now())
    }

    pub(crate) fn violations(&self) -> usize {
        lock(&self.violations).len()
    }

    /// Planned panics are counted and not printed; any other is a violation,
    /// wherever it comes from.
    pub(crate) fn watch_panics(self: &Arc<Self>) {
        let proof = Arc::clone(self);
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().is::<Planned>() {
                proof.planned_panics.fetch_add(1, SeqCst);
            } else {
                let trace = std::backtrace::Backtrace::force_capture();
                proof.check("S14", false, || {
                    format!("nobody planned this: {panic}\n{trace}")
                });
            }
        }));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What faulty tasks panic with.
#[derive(Debug)]
pub(crate) struct Planned;

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} tasks submitted, {} begun, {} faults",
            self.tasks.load(SeqCst),
            self.ran.load(SeqCst),
            self.faults()
        )?;
        for (kind, count) in lock(&self.faults).iter() {
            writeln!(f, "  {count:>9}  {kind}")?;
        }
        writeln!(f, "checked")?;
        for (promise, count) in lock(&self.checks).iter() {
            writeln!(f, "  {count:>9}  {promise}")?;
        }
        writeln!(
            f,
            "{} orphans at most at one moment, {} panics planned, threads woken up to {:?} late",
            self.orphans_max.load(SeqCst),
            self.planned_panics.load(SeqCst),
            self.lateness()
        )?;
        for violation in lock(&self.violations).iter() {
            writeln!(f, "VIOLATION {violation}")?;
        }
        Ok(())
    }
}
