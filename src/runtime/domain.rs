//! One domain: an engine behind its lock, and the one way to reach it.

use super::cell::TaskCell;
use super::drain::Returned;
use super::group::{GroupCell, Seat};
use super::inbox::Offers;
use super::inherit::Heirs;
use super::links::{self, Gathered};
use super::sequel::{Sequel, Staged};
use super::shared::{Shared, Standing};
use super::terms::InForce;
use super::wakers::Wakers;
use crate::engine::{Effects, End, Facts, Key, Mode, Reason, Recorder, Spec, State, Time, Verdict};
use crate::metrics::Meter;
use crate::plan::Terms;
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, Weak};

use super::facts;
use super::word::Word;

pub(crate) type Engine = Recorder<Arc<TaskCell>>;
pub(crate) type Actions = Effects<Arc<TaskCell>>;

#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) serial: u64,
    pub(crate) name: Arc<str>,
    pub(crate) shared: Arc<Shared>,
    /// How it is set.
    pub(crate) terms: InForce,
    /// What a task is granted that says nothing itself, by the terms with which
    /// the lane was made.
    pub(crate) base: Arc<Spec>,
    /// Made while the scheduler runs, and so perhaps to go when nobody uses it.
    pub(super) counted: bool,
    /// Handles, tasks and slots that refer to it, where they are counted.
    pub(super) users: AtomicUsize,
    seat: Mutex<Seat>,
    has_waiters: AtomicBool,
    admits_descendants: AtomicBool,
    pub(crate) idle: Mutex<Wakers>,
    pub(super) offers: Offers,
    pub(super) heirs: Heirs,
    /// The lane whose warning stands for this one's, as of the last look.
    pub(super) defers_to: Mutex<Option<Weak<Self>>>,
    /// Waits for it that closed a circle.
    pub(crate) deadlocks: AtomicU64,
    /// Where metrics are turned on.
    pub(super) meter: Option<Meter>,
    /// What a drain hands back, while somebody awaits its report.
    pub(crate) returned: Mutex<Returned>,
}

impl Domain {
    pub(crate) fn new(
        serial: u64,
        name: Arc<str>,
        shared: Arc<Shared>,
        terms: Arc<Terms>,
        counted: bool,
        engine: Engine,
        meter: Option<Meter>,
    ) -> Self {
        Self {
            serial,
            name,
            base: Arc::clone(&terms.base),
            shared,
            terms: InForce::new(terms),
            counted,
            users: AtomicUsize::new(0),
            seat: Mutex::new(Seat::alone(engine)),
            has_waiters: AtomicBool::new(false),
            admits_descendants: AtomicBool::new(false),
            idle: Mutex::new(Wakers::new()),
            offers: Offers::default(),
            heirs: Heirs::new(),
            defers_to: Mutex::new(None),
            deadlocks: AtomicU64::new(0),
            meter,
            returned: Mutex::new(Returned::default()),
        }
    }

    /// Feeds the engine one input and carries out what follows.
    ///
    /// Nothing else locks the engine to change it, but for
    /// [`release`](Self::release). What must be seen before
    /// the next holder starts (fence, `is_current`) is written under the lock;
    /// everything else, user code above all, happens after it (S13).
    #[inline]
    pub(crate) fn act<R>(
        self: &Arc<Self>,
        input: impl FnOnce(&mut Engine, &mut Actions) -> R,
    ) -> R {
        let mut sequel = Sequel::new();
        let output = self.feed(input, &mut sequel);
        if sequel.is_nothing() {
            // It holds nothing, which the compiler does not know.
            std::mem::forget(sequel);
        } else {
            sequel.carry_out(self);
        }
        self.tell_readers();
        output
    }

    /// The first half of [`act`](Self::act), for a verb that is spoken to many
    /// lanes: what follows in one of them must not start anything in another
    /// that has not heard of it yet. Wakes nobody, not even the driver.
    pub(crate) fn stage<R>(
        self: &Arc<Self>,
        input: impl FnOnce(&mut Engine, &mut Actions) -> R,
    ) -> (R, Staged) {
        let mut sequel = Sequel::new();
        let output = self.feed(input, &mut sequel);
        let domain = Arc::clone(self);
        (output, Staged { domain, sequel })
    }

    #[inline]
    fn feed<R>(
        self: &Arc<Self>,
        input: impl FnOnce(&mut Engine, &mut Actions) -> R,
        sequel: &mut Sequel,
    ) -> R {
        let mut seat = self.seat.lock();
        if !seat.is_alone() {
            drop(seat);
            return self.feed_in_group(input, sequel);
        }
        let output = input(&mut seat.engine, &mut sequel.effects);
        sequel.note(self, &mut seat.engine);
        output
    }

    /// The same for a lane of a group: the group is locked before its lanes.
    #[cold]
    #[inline(never)]
    fn feed_in_group<R>(
        self: &Arc<Self>,
        input: impl FnOnce(&mut Engine, &mut Actions) -> R,
        sequel: &mut Sequel,
    ) -> R {
        let Some(group) = self.group() else {
            return self.feed(input, sequel);
        };
        let mut hall = group.lock();
        let mut seat = self.seat.lock();
        let Some(member) = seat.member_of(&group) else {
            // It has changed its group between the two locks.
            drop((seat, hall));
            return self.feed(input, sequel);
        };
        hall.enter(member, &mut seat.engine);
        let output = input(&mut seat.engine, &mut sequel.effects);
        hall.leave(member, &mut seat.engine);
        sequel.note(self, &mut seat.engine);
        drop(seat);
        let first = hall.serve(&mut sequel.beside);
        if sequel.effects.reports_reclaim() {
            let engine = &mut self.seat.lock().engine;
            hall.verify(engine, first, &mut sequel.effects);
            engine.note_reclaims(&sequel.effects);
            self.write_down(engine);
        }
        output
    }

    /// Reads the engine; changes nothing.
    pub(crate) fn read<R>(&self, question: impl FnOnce(&Engine) -> R) -> R {
        let seat = self.seat.lock();
        let Some(group) = seat.group() else {
            return question(&seat.engine);
        };
        drop(seat);
        let hall = group.lock();
        let mut seat = self.seat.lock();
        if let Some(member) = seat.member_of(&group) {
            // So that it knows what blocks it now.
            hall.look(member, &mut seat.engine);
        }
        question(&seat.engine)
    }

    /// The group that it is in.
    pub(crate) fn group(&self) -> Option<Arc<GroupCell>> {
        self.seat.lock().group()
    }

    /// The group that it is in, and whose share of its budget is its own.
    pub(crate) fn share(&self) -> Option<(Arc<GroupCell>, usize)> {
        let seat = self.seat.lock();
        let group = seat.group()?;
        let share = seat.share_of(&group)?;
        Some((group, share))
    }

    /// For the group, which is locked.
    pub(super) fn seat(&self) -> &Mutex<Seat> {
        &self.seat
    }

    pub(crate) fn now(&self) -> Time {
        self.shared.clock.now()
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.has_waiters.load(Ordering::Relaxed)
    }

    /// Whether tasks submitted by this lane's own tasks pass through drains.
    pub(crate) fn admits_descendants(&self) -> bool {
        // In this order: what is announced no more, this lane has heard of (S7).
        self.shared.announces_admission() || self.admits_descendants.load(Ordering::Relaxed)
    }

    /// The driver came: looks at everything whose moment has come.
    pub(crate) fn fire(self: &Arc<Self>) {
        let now = self.now();
        self.act(|engine, effects| {
            // A lane that is being set anew owes slots that it gives at the end
            // of that, and there is nothing wrong with it.
            if engine.overlooked().is_some() && self.shared.reconfiguring.try_lock().is_some() {
                engine.watch_over(effects);
            }
            engine.tick(now, effects);
        });
        // A pause that is over may have been the last thing to keep it.
        if self.counted && self.users.load(Ordering::Acquire) == 0 {
            self.shared.retire(self);
        }
    }

    /// A task may be due. Its facts are read outside the lock, since they
    /// reach into other tasks.
    pub(crate) fn inspect(self: &Arc<Self>, key: Key, task: &Arc<TaskCell>) {
        if links::detached(task) {
            return;
        }
        let now = self.now();
        let facts = facts::read(task, now);
        let unclaimed = self.act(|engine, effects| {
            let mut unclaimed = None;
            // Its own signs once more, since they may have changed on the way
            // to the lock.
            let facts = facts.refreshed(&facts::at_hand(task));
            match engine.judge(now, key, task.spec(), &facts, effects) {
                Verdict::Nothing => {}
                Verdict::Unclaim if task.word.shift(Word::Granted, Word::Asleep) => {
                    unclaimed = Some(pass_on(engine, now, task, effects));
                }
                Verdict::CallOff { end } if task.word.shift(Word::Granted, Word::Cancelled) => {
                    task.lose();
                    engine.call_off(now, key, end, effects);
                }
                Verdict::Unclaim | Verdict::CallOff { .. } => engine.claimed(now, key),
                Verdict::Take { detach } => {
                    let forced = engine.is_beyond_bounds(key);
                    if !self.shared.orphans.reserve(forced) {
                        let bound = self.shared.orphans.bound();
                        engine.refuse_take(now, key, bound, bound, effects);
                    } else if detach {
                        engine.detach(now, key, task.spec(), &facts, effects);
                    } else {
                        // The word decides what the caller is told: if its
                        // runner holds a value by now, that is delivered.
                        expire(task, engine, key);
                        let facts = facts::at_hand(task);
                        engine.take(now, key, &facts, effects);
                    }
                }
                Verdict::Over { end } => {
                    part_with(task, State::Detached, end.reason());
                    let facts = facts::at_hand(task);
                    engine.end_active(now, key, end, task.spec(), &facts, effects);
                }
            }
            if let Some(take_at) = engine.take_at(key, task.spec()) {
                task.set_take_at(take_at);
            }
            unclaimed
        });
        self.passed_on(task, unclaimed);
    }

    /// What follows outside of the lock, if a grant was passed on.
    fn passed_on(&self, task: &Arc<TaskCell>, unclaimed: Option<Gathered>) {
        if let Some(gathered) = unclaimed {
            task.left();
            self.offers.announce(task);
            links::unclaimed(task, gathered);
        }
    }

    /// A slot further on was passed on since nobody polls this task, and so is its own
    /// (S20).
    pub(super) fn unclaim(self: &Arc<Self>, task: &Arc<TaskCell>) {
        let now = self.now();
        let unclaimed = self.act(|engine, effects| {
            // Unless it is polled again by now, and in line again.
            let unclaimed = !task.gathers() && task.word.shift(Word::Granted, Word::Asleep);
            unclaimed.then(|| pass_on(engine, now, task, effects))
        });
        self.passed_on(task, unclaimed);
    }

    /// Ends one task in this way, wherever it is.
    pub(super) fn end(self: &Arc<Self>, task: &Arc<TaskCell>, end: End) {
        let now = self.now();
        self.act(|engine, effects| {
            let key = task.slot_key();
            let Some(record) = engine.record(key) else {
                return;
            };
            if task.word.shift(Word::Granted, Word::Cancelled) {
                task.lose();
                let end = end.of_waiter(now.since(record.place.since));
                engine.call_off(now, key, end, effects);
            } else if !record.state.waits() {
                let end = end.of_holder(now.since(record.started));
                part_with(task, record.state, end.reason());
                let facts = facts::at_hand(task);
                engine.end_active(now, key, end, task.spec(), &facts, effects);
                if let Some(take_at) = engine.take_at(key, task.spec()) {
                    task.set_take_at(take_at);
                }
            }
        });
    }

    /// Ends one task, wherever it is; false if it is past ending.
    pub(crate) fn cancel(self: &Arc<Self>, key: Key, reason: Reason) -> bool {
        let now = self.now();
        self.act(|engine, effects| cancel_locked(engine, now, key, reason, effects))
    }

    pub(super) fn arm(self: &Arc<Self>, at: Time) {
        if self.shared.timers.arm(self, at) {
            self.shared.drivers.wake();
            if let Some(watchdog) = self.shared.watchdog.get() {
                watchdog.look_up();
            }
        }
    }

    /// Whether nothing distinguishes it from a lane that would be made anew.
    pub(super) fn is_pristine(&self, standing: Standing) -> bool {
        let terms = self.terms.get();
        if terms.keep() {
            return false;
        }
        let reported = !self.returned.lock().expected;
        self.read(|engine| {
            let as_made = || {
                standing.is_that_of(engine, self.now())
                    && engine.settings() == &terms.config.settings(self.shared.observe_only)
            };
            engine.is_idle()
                && engine.orphans() == 0
                // A drain of all lanes is yet to count what it has done.
                && (reported || engine.tally().submitted == 0)
                // Nobody will ask for one that was removed.
                && (terms.is_removed() || as_made())
        })
    }

    /// Removed by a change of the configuration, and run out.
    pub(crate) fn is_over(&self) -> bool {
        self.terms.with(Terms::is_removed)
            && self.read(|engine| engine.is_idle() && engine.orphans() + engine.parked() == 0)
    }

    /// Whether what happens is written down, as far as there is anything to say.
    pub(super) fn is_observed(&self) -> bool {
        self.shared.hub.is_some() || self.meter.is_some()
    }

    /// What happened is counted, and goes to the log, if there is one, before the lock
    /// is released.
    #[inline]
    pub(super) fn write_down(&self, engine: &mut Engine) {
        if let Some(meter) = &self.meter {
            meter.note(engine, self.deadlocks.load(Ordering::Relaxed));
        }
        if let Some(news) = engine.news() {
            match &self.shared.hub {
                Some(hub) => hub.write(self.serial, news),
                None => news.clear(),
            }
        }
    }

    /// Whoever waits for what happened is woken, and what counts it is told, with no
    /// lock held.
    #[inline]
    pub(crate) fn tell_readers(&self) {
        if let Some(hub) = &self.shared.hub {
            hub.wake();
        }
        if let Some(meter) = &self.meter {
            meter.flush();
        }
    }

    #[inline]
    pub(super) fn hint(&self, engine: &Engine) {
        let waiters = engine.waiters() > 0;
        if waiters != self.has_waiters.load(Ordering::Relaxed) {
            self.has_waiters.store(waiters, Ordering::Relaxed);
            if let Some(watchdog) = self.shared.watchdog.get() {
                watchdog.lane_waits(waiters);
            }
        }
        let admits = matches!(
            engine.mode(),
            Mode::Draining {
                admit_descendants: true,
                ..
            }
        );
        if admits != self.admits_descendants.load(Ordering::Relaxed) {
            self.admits_descendants.store(admits, Ordering::Relaxed);
        }
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // Nobody holds a slot in it any more, so nothing follows.
        if let Some(group) = self.group() {
            group.lock().dismiss(self, &mut self.seat.lock());
        }
        if let Some(meter) = &self.meter {
            meter.retire();
        }
    }
}

/// What follows once the word of a grant was moved that nobody came for.
fn pass_on(
    engine: &mut Engine,
    now: Time,
    task: &Arc<TaskCell>,
    effects: &mut Actions,
) -> Gathered {
    task.lose();
    // Its message may be taken again.
    task.domain().offers.put(task);
    engine.unclaim(now, task.slot_key(), effects);
    links::unclaim(task)
}

/// Moves the word of a task that did not end by itself, before its slot is
/// taken.
fn expire(task: &TaskCell, engine: &Engine, key: Key) {
    let reason = engine
        .record(key)
        .and_then(|record| record.end())
        .map_or(Reason::User, |end| end.reason());
    task.word.shift(Word::Running, ended_word(reason));
}

/// The same for one that runs on without its slot: once its caller is told how that
/// ended, nobody polls it any more (S2).
fn part_with(task: &TaskCell, state: State, reason: Reason) {
    if state == State::Detached {
        task.word.shift(Word::Running, ended_word(reason));
    }
}

pub(crate) const fn ended_word(reason: Reason) -> Word {
    match reason {
        Reason::Stalled | Reason::TimedOut => Word::Expired,
        _ => Word::Cancelled,
    }
}

/// [`Domain::cancel`], inside the critical section.
pub(crate) fn cancel_locked(
    engine: &mut Engine,
    now: Time,
    key: Key,
    reason: Reason,
    effects: &mut Actions,
) -> bool {
    let Some(record) = engine.record(key) else {
        return false;
    };
    let task = Arc::clone(&record.payload);
    let waits = record.state.waits();
    // Whoever moves the word first decides: a grant that nobody came for is
    // taken back as if it had never been made.
    let withdrawn = withdraw(&task);
    part_with(&task, record.state, reason);
    // A waiter loses its place, whatever else is known of it.
    let facts = if waits {
        Facts::default()
    } else {
        facts::at_hand(&task)
    };
    let found = engine.cancel(now, key, reason, withdrawn, task.spec(), &facts, effects);
    if let Some(take_at) = engine.take_at(key, task.spec()) {
        task.set_take_at(take_at);
    }
    found
}

/// Takes back a grant or a place in line that no runner has come for.
pub(crate) fn withdraw(task: &TaskCell) -> bool {
    let granted = task.word.shift(Word::Granted, Word::Cancelled);
    if granted {
        task.lose();
    } else if !task.word.shift(Word::Asleep, Word::Cancelled) {
        task.word.shift(Word::Queued, Word::Cancelled);
    }
    granted
}

/// A reference to a domain. A lane that was made while the scheduler runs goes
/// when the last of them does, unless it is to be kept.
pub(crate) struct DomainRef(Arc<Domain>);

impl DomainRef {
    /// Only the directory makes the first one, under its lock.
    pub(super) fn first(domain: &Arc<Domain>) -> Self {
        if domain.counted {
            domain.users.fetch_add(1, Ordering::Relaxed);
        }
        Self(Arc::clone(domain))
    }
}

impl Clone for DomainRef {
    fn clone(&self) -> Self {
        Self::first(&self.0)
    }
}

impl std::ops::Deref for DomainRef {
    type Target = Arc<Domain>;

    fn deref(&self) -> &Arc<Domain> {
        &self.0
    }
}

impl Drop for DomainRef {
    fn drop(&mut self) {
        // Release and acquire: the directory sees what the last user did.
        if self.0.counted && self.0.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.shared.retire(&self.0);
        }
    }
}
