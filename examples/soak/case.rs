//! One task that was submitted: what it was, what may end it, and its answer.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use laneway::{AcquireError, Limit, Priority, Reason, TaskContext, TaskError, TaskId};

use crate::book::{Book, Stamps, Verb};
use crate::kind::Kind;
use crate::proof::Proof;
use crate::sync::{Count, Flag, Mutex, SeqCst, lock, now};
use crate::workshop::Workshop;
use crate::world::World;

pub(crate) struct Case {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// The lanes that it holds slots of, in the order of its chain.
    pub(crate) places: Vec<Place>,
    /// How long it may be active until its slot is gone, if it hangs.
    pub(crate) limit: Option<Duration>,
    pub(crate) key: Option<usize>,
    /// Somebody was about to cancel it by its handle or its id.
    pub(crate) cancelled: Flag,
    pub(crate) id: OnceLock<TaskId>,
    pub(crate) priority: OnceLock<Priority>,
    pub(crate) shop: Option<Arc<Workshop>>,
    parent: Option<Arc<Self>>,
    key_before: u64,
    key_then: bool,
    submitted: Instant,
    started: OnceLock<Instant>,
    runs: Count,
    cx: Mutex<Option<TaskContext>>,
    pub(crate) pulse: Pulse,
    proof: Arc<Proof>,
}

/// One of its lanes, as it was when the task was about to come.
pub(crate) struct Place {
    pub(crate) book: Arc<Book>,
    pub(crate) fence_floor: u64,
    before: Stamps,
    spoken_then: Stamps,
}

impl Place {
    fn of(book: &Arc<Book>) -> Self {
        Self {
            fence_floor: book.ended_fence(),
            before: book.stamps(),
            spoken_then: book.speaking(),
            book: Arc::clone(book),
        }
    }

    /// Whether a verb may have met the task here.
    fn spoken(&self, verb: Verb) -> bool {
        let verb = verb as usize;
        self.spoken_then[verb] > 0 || self.book.stamps()[verb] > self.before[verb]
    }
}

impl Case {
    /// To be called before the task is submitted.
    pub(crate) fn open(
        world: &Arc<World>,
        books: &[&Arc<Book>],
        kind: Kind,
        limit: Option<Duration>,
        key: Option<usize>,
        shop: Option<&Arc<Workshop>>,
        parent: Option<&Arc<Self>>,
    ) -> Ticket {
        let number = world.proof.tasks.fetch_add(1, SeqCst);
        let places = books.iter().map(|book| Place::of(book)).collect();
        let key_before = key.map_or(0, |key| world.keys[key].load(SeqCst));
        let key_then = world.keys_in_use.load(SeqCst) > 0;
        let case = Arc::new(Self {
            number,
            kind,
            places,
            limit,
            key,
            cancelled: Flag::default(),
            id: OnceLock::new(),
            priority: OnceLock::new(),
            parent: parent.cloned(),
            shop: shop.cloned(),
            key_before,
            key_then,
            submitted: now(),
            started: OnceLock::new(),
            runs: Count::default(),
            cx: Mutex::default(),
            pulse: Pulse::default(),
            proof: Arc::clone(&world.proof),
        });
        lock(&world.ledger).insert(number, Arc::clone(&case));
        Ticket {
            case,
            world: Arc::clone(world),
            answered: false,
            droppable: parent.is_some(),
        }
    }

    pub(crate) fn proof(&self) -> &Proof {
        &self.proof
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| &*place.book.traits.name)
    }

    /// Each of its lanes has room for more orphans than there are.
    pub(crate) fn is_roomy(&self) -> bool {
        self.places.iter().all(|place| place.book.traits.roomy)
    }

    /// How often its body has run by now.
    pub(crate) fn starts(&self, cx: &TaskContext) -> u64 {
        *lock(&self.cx) = Some(cx.clone());
        let _ = self.started.set(now());
        self.runs.fetch_add(1, SeqCst) + 1
    }

    /// For the audit. A child has its parent's priority, if that is more urgent.
    pub(crate) fn tells_its_rank(&self, world: &World, cx: &TaskContext) {
        if let (None, Some(priority)) = (&self.parent, self.priority.get()) {
            lock(&world.ranks).insert(cx.id(), *priority);
        }
    }

    pub(crate) fn has_started(&self) -> bool {
        self.started.get().is_some()
    }

    /// How long it has been active, by the soak's own clock.
    pub(crate) fn active_for(&self) -> Option<Duration> {
        self.started.get().map(|at| now().duration_since(*at))
    }

    /// Of one of its lanes: where one was taken, the others may be at their bound.
    pub(crate) fn holds_any_slot(&self) -> bool {
        let holds = |cx: &TaskContext| self.names().any(|name| cx.fence_in(name).is_some());
        lock(&self.cx).as_ref().is_some_and(holds)
    }

    pub(crate) fn holds_slot(&self) -> bool {
        lock(&self.cx).as_ref().is_some_and(TaskContext::is_current)
    }

    /// It means to be quicker, but was silent for so long all the same, since the
    /// machine was late. When it was granted its slot it does not know.
    fn was_slower_than(&self, ceiling: Duration) -> bool {
        let silence = || now().duration_since(self.submitted);
        self.pulse.longest_silence().unwrap_or_else(silence) >= ceiling
    }

    /// Whether this end can be what somebody did to this very task, to its
    /// lane, its runtime or its scheduler, since it was submitted.
    fn explains(&self, world: &World, error: &TaskError) -> bool {
        let ending = world.ending.load(SeqCst);
        let of_itself = match error {
            TaskError::Stalled { .. } => self.kind.may_stall(),
            TaskError::TimedOut { limit, .. } => match limit {
                Limit::Wait => self.kind == Kind::Impatient,
                _ => self.kind.may_time_out(),
            },
            TaskError::Cancelled { reason, .. } | TaskError::CancelledQueued { reason, .. } => {
                self.explains_reason(world, *reason)
            }
            TaskError::Cleared { .. } => self.spoken(Verb::Clear),
            TaskError::Draining { .. } => self.drained(ending),
            TaskError::Closed { .. } => ending || self.was_closed(),
            TaskError::Shutdown { .. } | TaskError::SchedulerDropped { .. } => ending,
            TaskError::RuntimeShutdown { .. } => self.runtime_gone(),
            TaskError::Panicked { .. } => self.kind == Kind::Panics,
            _ => false,
        };
        // What its parent is asked, it is asked.
        of_itself
            || self
                .parent
                .as_ref()
                .is_some_and(|parent| parent.explains(world, error))
    }

    /// As [`explains`](Self::explains), of a slot by hand.
    fn explains_no_slot(&self, world: &World, error: &AcquireError) -> bool {
        let ending = world.ending.load(SeqCst);
        match error {
            // Its limits run from the grant, and its caller may be late for it.
            AcquireError::TimedOut { .. } => self.kind.may_time_out(),
            AcquireError::Cancelled { reason, .. } => {
                let stalled = *reason == Reason::Stalled && self.kind.may_stall();
                stalled || self.explains_reason(world, *reason)
            }
            AcquireError::Cleared { .. } => self.spoken(Verb::Clear),
            AcquireError::Draining { .. } => self.drained(ending),
            AcquireError::Closed { .. } => ending || self.was_closed(),
            AcquireError::Shutdown { .. } => ending,
            _ => false,
        }
    }

    pub(crate) fn explains_reason(&self, world: &World, reason: Reason) -> bool {
        let ending = world.ending.load(SeqCst);
        match reason {
            Reason::User => self.cancelled.load(SeqCst) || self.spoken(Verb::CancelAll),
            Reason::Superseded => {
                let later = |key: usize| world.keys[key].load(SeqCst) > self.key_before;
                self.key.is_some_and(|key| self.key_then || later(key))
            }
            Reason::Signal => self.kind == Kind::Signalled,
            Reason::Reset => self.spoken(Verb::Reset),
            Reason::Draining => self.drained(ending),
            Reason::Shutdown => ending,
            Reason::RuntimeShutdown => self.runtime_gone(),
            _ => false,
        }
    }

    fn spoken(&self, verb: Verb) -> bool {
        self.places.iter().any(|place| place.spoken(verb))
    }

    /// Once closed, a lane stays so.
    fn was_closed(&self) -> bool {
        let closed = |place: &Place| place.book.stamps()[Verb::Close as usize] > 0;
        self.places.iter().any(closed)
    }

    fn drained(&self, ending: bool) -> bool {
        self.spoken(Verb::Drain) || ending
    }

    pub(crate) fn runtime_gone(&self) -> bool {
        self.shop
            .as_ref()
            .is_some_and(|shop| shop.killed.load(SeqCst))
    }
}

/// When a task reports progress, by the soak's own clock, and how long it was
/// silent at most.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Option<(Instant, Duration)>>);

impl Pulse {
    /// From before the last report to after this one: never less than what the
    /// scheduler can have seen.
    pub(crate) fn beat(&self, report: impl FnOnce()) {
        let mut last = lock(&self.0);
        let before = now();
        report();
        let silent =
            |(since, longest): (Instant, Duration)| longest.max(now().duration_since(since));
        *last = Some((before, last.map(silent).unwrap_or_default()));
    }

    /// Up to now.
    fn longest_silence(&self) -> Option<Duration> {
        lock(&self.0).map(|(since, longest)| longest.max(now().duration_since(since)))
    }
}

/// Whether, by what its caller is told, the body never began.
const fn never_ran(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::CancelledQueued { .. }
            | TaskError::Cleared { .. }
            | TaskError::Draining { .. }
            | TaskError::Closed { .. }
            | TaskError::Shutdown { .. }
            | TaskError::SchedulerDropped { .. }
            | TaskError::TimedOut {
                limit: Limit::Wait,
                ..
            }
    )
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, kind, .. } = self;
        let lanes: Vec<&str> = self.names().collect();
        write!(f, "task {number} ({kind:?}) of {lanes:?}")?;
        write!(
            f,
            ", submitted {:?} ago",
            now().duration_since(self.submitted)
        )?;
        match self.active_for() {
            Some(active) => write!(f, ", started {active:?} ago")?,
            None => write!(f, ", not started")?,
        }
        write!(f, ", limit {:?}, id {:?}", self.limit, self.id.get())
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The right, and the duty, to answer one case once.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) case: Arc<Case>,
    world: Arc<World>,
    answered: bool,
    droppable: bool,
}

impl Ticket {
    /// Its caller means to drop it, and to get no answer.
    pub(crate) const fn may_drop(mut self) -> Self {
        self.droppable = true;
        self
    }

    pub(crate) fn answer(mut self, answer: &Result<u64, TaskError>) {
        let (case, proof) = (&self.case, &self.world.proof);
        let runs = case.runs.load(SeqCst);
        match answer {
            Ok(value) => {
                let right = *value == case.number && runs == 1 && case.kind.may_finish();
                proof.check("S2", right, || {
                    format!("{case} ran {runs} times and gave {value}")
                });
                if case.kind == Kind::Steady {
                    proof.check("S9", true, String::new);
                }
            }
            Err(TaskError::Stalled { ceiling, .. }) if case.kind == Kind::Steady => {
                proof.check("S9", case.was_slower_than(*ceiling), || {
                    format!("{case} reported progress in time, and stalled: {answer:?}")
                });
            }
            Err(error) => {
                proof.check("S4", case.explains(&self.world, error), || {
                    format!("{case}: nobody did anything that explains {error:?}")
                });
                proof.check("S2", !never_ran(error) || runs == 0, || {
                    format!("{case} ran {runs} times and was told {error:?}")
                });
            }
        }
        self.close();
    }

    /// It was to have a slot by hand, and has none.
    pub(crate) fn refused(mut self, error: &AcquireError) {
        let (case, proof) = (&self.case, &self.world.proof);
        proof.check("S4", case.explains_no_slot(&self.world, error), || {
            format!("{case}: nobody did anything that explains {error:?}")
        });
        self.close();
    }

    /// It ended in a way that is no answer: a slot that was given back, or a
    /// future or a handle that its caller dropped.
    pub(crate) fn done(mut self) {
        self.close();
    }

    fn close(&mut self) {
        self.answered = true;
        let known = lock(&self.world.ledger).remove(&self.case.number).is_some();
        lock(&self.case.cx).take();
        let case = &self.case;
        self.world
            .proof
            .check("S7", known, || format!("{case} was answered twice"));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let excused = self.droppable || self.case.runtime_gone();
        let case = &self.case;
        self.world.proof.check("S7", excused, || {
            format!("{case}: its caller was never answered")
        });
        self.close();
    }
}
