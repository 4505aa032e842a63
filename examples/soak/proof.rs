//! What was tried, what was checked, and what was found to be wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::{Count, Mutex, SeqCst, lock};

/// Kept over all epochs.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// Submitted, and of those begun.
    pub(crate) tasks: Count,
    pub(crate) ran: Count,
    pub(crate) orphans_max: Count,
    pub(crate) planned_panics: Count,
    late_ms: Count,
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

    /// How late the machine woke a thread that slept.
    pub(crate) fn was_late(&self, late: Duration) {
        let ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        self.late_ms.fetch_max(ms, SeqCst);
    }

    /// At most, so far.
    pub(crate) fn lateness(&self) -> Duration {
        Duration::from_millis(self.late_ms.load(SeqCst))
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
