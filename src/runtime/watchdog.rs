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

use super::cell::TaskCell;
use super::domain::DomainRef;
use super::driver::Heard;
use super::log;
use super::shared::Shared;
use crate::engine::{TICK, Time};
use crate::host::Id;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering, Weak};

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
    /// It sleeps until it is woken, or until some moment is overdue.
    dozes: AtomicBool,
    stuck: Mutex<Vec<Rung>>,
}

/// A runtime whose driver was woken.
#[derive(Clone, Debug)]
pub(crate) struct Rung {
    pub(crate) runtime: Id,
    pub(crate) at: Time,
    driver: Heard,
    /// When it is looked whether it has any of our tasks.
    ask_at: Time,
}

impl Rung {
    pub(super) const fn new(runtime: Id, at: Time, driver: Heard) -> Self {
        Self {
            runtime,
            at,
            driver,
            ask_at: at,
        }
    }

    /// Whether any of our tasks was submitted there. A runtime that has none, and is
    /// just not driven, is nobody's trouble; and it is asked more and more seldom.
    fn concerns(&mut self, shared: &Shared) -> bool {
        let now = shared.clock.now();
        self.ask_at = now + now.since(self.at);
        let is_here = |domain: &DomainRef| {
            let here = |task: &TaskCell| task.home() == Some(self.runtime);
            domain.read(|engine| engine.records().any(|(_, record)| here(&record.payload)))
        };
        shared.all().iter().any(is_here)
    }

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
        let watch = Arc::new(Watch::new());
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
            // Only the first one may find it asleep. Either this sees that it is, or it
            // sees the lane before it sleeps.
            if self.watch.waiting.fetch_add(1, Ordering::SeqCst) == 0
                && self.watch.dozes.load(Ordering::SeqCst)
            {
                self.look_up();
            }
        } else {
            self.watch.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Runtimes that are stuck now.
    pub(crate) fn stuck(&self) -> Vec<Rung> {
        let stuck = self.watch.stuck.lock();
        let is_stuck = |stuck: &&Rung| !stuck.driver.has_come();
        stuck.iter().filter(is_stuck).cloned().collect()
    }
}

/// What the thread remembers from one look to the next.
#[derive(Default)]
struct Round {
    /// Drivers that were woken and have not come yet.
    rung: Vec<Rung>,
    /// No driver is woken again before that.
    ring_at: Time,
}

/// What is to be done next.
enum Next {
    /// Nothing, until this time is over or somebody says otherwise.
    Doze(Option<Duration>),
    /// Another look, after so long.
    Look(Duration),
}

impl Watch {
    fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            dozes: AtomicBool::new(false),
            stuck: Mutex::default(),
        }
    }

    fn run(&self, shared: &Weak<Shared>) {
        let mut round = Round::default();
        loop {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let next = self.look(&shared, &mut round);
            // It may be the last, and nobody is to wait for this thread.
            drop(shared);
            self.dozes
                .store(matches!(next, Next::Doze(_)), Ordering::SeqCst);
            match next {
                // Somebody has come meanwhile, who may not have seen that it dozes.
                Next::Doze(_) if self.waiting.load(Ordering::SeqCst) > 0 => {}
                Next::Doze(None) => thread::park(),
                Next::Doze(Some(pause)) | Next::Look(pause) => thread::park_timeout(pause),
            }
        }
    }

    fn look(&self, shared: &Arc<Shared>, round: &mut Round) -> Next {
        let now = shared.clock.now();
        let Round { rung, ring_at } = round;
        // One that has come is well, and one whose runtime has gone is nobody's.
        rung.retain(|rung| !rung.driver.has_come() && shared.drivers.serves(rung.runtime));
        self.note(shared, now, rung);
        let first = shared.timers.first();
        let overdue = first.is_some_and(|at| now >= at + OVERDUE);
        let waited_for = self.waiting.load(Ordering::SeqCst) > 0;
        let stuck = rung.iter().filter(|rung| rung.is_stuck(now)).count();
        // Nobody else sees to any moment, and to an overdue one nobody has.
        let alone = stuck == shared.drivers.len() && (stuck > 0 || overdue);
        if alone {
            while shared.see_to_moments(shared.clock.now()).is_some() {}
        }
        if (overdue || waited_for) && now >= *ring_at {
            // One that is stuck is awake already, for whenever it can come.
            shared.drivers.ring_others(rung, now);
            *ring_at = now + PATIENCE;
        }
        match shared.timers.first() {
            Some(at) if alone => Next::Look(at.since(now).clamp(TICK, PATIENCE)),
            _ if overdue || waited_for || !rung.is_empty() => Next::Look(PATIENCE),
            first => Next::Doze(first.map(|at| (at + OVERDUE).since(now).max(TICK))),
        }
    }

    /// Says of which runtimes it is known from now on that they are stuck: of those
    /// that have anything to do with our tasks.
    fn note(&self, shared: &Shared, now: Time, rung: &mut [Rung]) {
        let before: Vec<Id> = {
            let mut stuck = self.stuck.lock();
            stuck.retain(|known| rung.iter().any(|rung| rung.runtime == known.runtime));
            stuck.iter().map(|known| known.runtime).collect()
        };
        for rung in rung {
            let known = before.contains(&rung.runtime);
            if known || !rung.is_stuck(now) || now < rung.ask_at || !rung.concerns(shared) {
                continue;
            }
            self.stuck.lock().push(rung.clone());
            log::runtime_stuck(rung, now);
        }
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;
    use crate::{LaneConfig, Lanes};

    /// S8: it may sleep with no moment to look at, or until a later one. Whoever
    /// does not wake it is a test that hangs.
    #[test]
    fn s8_a_new_first_moment_wakes_it() {
        let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
        let lanes = lanes.build().unwrap();
        let domain = lanes.lane("main").unwrap().domain;
        let watch = Arc::new(Watch::new());
        let thread = thread::current();
        domain
            .shared
            .watchdog
            .get_or_init(|| Watchdog { thread, watch });
        domain.arm(Time::from_nanos(1));
        thread::park();
    }
}
