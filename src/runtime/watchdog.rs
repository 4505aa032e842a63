//! A plain thread that sees to the lanes while no runtime does.
//!
//! The drivers are tasks, and a runtime whose every thread is blocked polls no
//! task. This thread asks nothing of a runtime. While nobody waits and no
//! moment is overdue it sleeps; otherwise it wakes the drivers now and then,
//! and looks whether they come. Of one that does not, the runtime is stuck:
//! that is said, and overdue moments are seen to here, so that slots are taken
//! all the same (S8).

use std::thread::{self, Thread};
use std::time::Duration;

use super::driver::Heard;
use super::log;
use super::shared::Shared;
use crate::engine::{TICK, Time};
use crate::host::Id;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, Weak};

/// How late a moment may be before somebody asks why.
const OVERDUE: Duration = Duration::from_millis(500);
/// How long a driver has to come, and how often it is woken while somebody
/// waits.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Watchdog {
    thread: Thread,
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Watch {
    /// Lanes that have waiters.
    waiting: AtomicUsize,
    stuck: Mutex<Vec<Rung>>,
}

/// A runtime whose driver was woken.
#[derive(Clone, Debug)]
pub(crate) struct Rung {
    pub(crate) runtime: Id,
    pub(crate) at: Time,
    pub(super) driver: Heard,
}

impl Rung {
    /// It was woken long ago, and has not come.
    fn is_stuck(&self, now: Time) -> bool {
        now >= self.at + PATIENCE && !self.driver.has_come()
    }
}

impl Watchdog {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// The system has no thread for it.
    pub(crate) fn start(shared: Weak<Shared>) -> std::io::Result<Self> {
        let watch = Arc::new(Watch {
            waiting: AtomicUsize::new(0),
            stuck: Mutex::default(),
        });
        let builder = thread::Builder::new().name("laneway-watchdog".into());
        let thread = builder.spawn({
            let watch = Arc::clone(&watch);
            move || watch.run(&shared)
        })?;
        let thread = thread.thread().clone();
        Ok(Self { thread, watch })
    }

    /// There is a new first moment, somebody waits, or the scheduler is gone.
    pub(super) fn look_up(&self) {
        self.thread.unpark();
    }

    /// A lane has waiters now, or has none any more.
    pub(super) fn lane_waits(&self, waits: bool) {
        if waits {
            // Only the first one finds it asleep.
            if self.watch.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
                self.look_up();
            }
        } else {
            self.watch.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Runtimes that are stuck now.
    pub(crate) fn stuck(&self) -> Vec<Rung> {
        let stuck = self.watch.stuck.lock();
        let is_stuck = |stuck: &&Rung| !stuck.driver.has_come();
        stuck.iter().filter(is_stuck).cloned().collect()
    }
}

impl Watch {
    fn run(&self, shared: &Weak<Shared>) {
        let mut rung = Vec::new();
        loop {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let pause = self.look(&shared, &mut rung);
            // It may be the last, and nobody is to wait for this thread.
            drop(shared);
            match pause {
                Some(pause) => thread::park_timeout(pause),
                None => thread::park(),
            }
        }
    }

    /// Says how long there is nothing to do; `None` where somebody will say.
    fn look(&self, shared: &Arc<Shared>, rung: &mut Vec<Rung>) -> Option<Duration> {
        let now = shared.clock.now();
        // One that has come is well, and one whose runtime has gone is nobody's.
        rung.retain(|rung| !rung.driver.has_come() && shared.drivers.serves(rung.runtime));
        self.note(now, rung);
        let first = shared.timers.first();
        let overdue = first.is_some_and(|at| now >= at + OVERDUE);
        let stuck = rung.iter().filter(|rung| rung.is_stuck(now)).count();
        // Nobody else sees to any moment, and to an overdue one nobody has.
        let alone = stuck == shared.drivers.len() && (stuck > 0 || overdue);
        if alone {
            while shared.see_to_moments(shared.clock.now()).is_some() {}
        }
        if overdue || self.waiting.load(Ordering::Relaxed) > 0 {
            // One that is stuck is awake already, for whenever it can come.
            shared.drivers.ring_others(rung, now);
        }
        let first = shared.timers.first();
        if alone {
            first.map(|at| at.since(now).clamp(TICK, PATIENCE))
        } else if rung.is_empty() {
            first.map(|at| (at + OVERDUE).since(now).max(TICK))
        } else {
            Some(PATIENCE)
        }
    }

    /// Says of which runtimes it is known from now on that they are stuck.
    fn note(&self, now: Time, rung: &[Rung]) {
        let mut stuck = self.stuck.lock();
        let before = std::mem::take(&mut *stuck);
        stuck.extend(rung.iter().filter(|rung| rung.is_stuck(now)).cloned());
        let is_new = |rung: &&Rung| !before.iter().any(|old| old.runtime == rung.runtime);
        let fresh: Vec<Rung> = stuck.iter().filter(is_new).cloned().collect();
        drop(stuck);
        for runtime in fresh {
            log::runtime_stuck(&runtime, now);
        }
    }
}
