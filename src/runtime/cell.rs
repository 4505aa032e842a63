//! What the parties to one task share: its runner, its handle, its contexts,
//! the driver, and the engine's effects.

use std::any::Any;
use std::task::Waker;

use super::domain::DomainRef;
use super::flags::{Flag, Flags};
use super::inbox::Letter;
use super::job::Waiting;
use super::links::Links;
use super::parts::{Limits, Parts, Rare};
use super::wakers::{Ticket, Wakers, drop_guarded, wake_all};
use super::word::{AtomicWord, Word};
use crate::TaskId;
use crate::clock::Clock;
use crate::engine::{End, Key, Reason, Spec, State, Time};
use crate::host;
use crate::options::Options;
use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicU32, AtomicU64, Mutex, Ordering, Serials};

pub(crate) type Meta = Arc<dyn Any + Send + Sync>;

pub(crate) struct TaskCell {
    /// `None` only between two tasks; see [`spare`](super::spare).
    domain: Option<DomainRef>,
    /// Where it is granted anything but what its lane grants everybody, by the
    /// terms with which the lane was made.
    spec: Option<Arc<Spec>>,
    labels: Option<Box<Labels>>,
    /// Where it was submitted.
    home: Option<host::Id>,

    pub(crate) word: AtomicWord,
    index: AtomicU32,
    seq: AtomicU64,
    fence: AtomicU64,
    started: AtomicU64,
    /// Cleared in the critical section that takes or frees the slot (S11).
    held: AtomicBool,
    flags: Flags,

    /// Polls of its runner that began or ended; odd while one is under way.
    /// Nobody else writes it.
    turn: AtomicU32,

    /// The last report; zero where there was none.
    progress: AtomicU64,
    /// The last sign of life that is no report: its claim, or the end of a
    /// wait for one of our lanes.
    stirred: AtomicU64,

    /// The reason and stage of the ask; see [`Asked`].
    asked: AtomicU8,
    /// How many futures listen for the cancel signal.
    listeners: AtomicU32,
    /// Hooks that are still to run, and children that are still there.
    pub(crate) hooks: AtomicU32,
    pub(crate) children: AtomicU32,

    pub(crate) shared: Mutex<Parts>,
}

/// What its submitter calls it.
#[derive(Clone, Default)]
pub(crate) struct Labels {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) key: Option<Arc<str>>,
    /// Which of those that share its key it is.
    pub(super) serial: u64,
    pub(crate) meta: Option<Meta>,
    /// The message that it is for.
    pub(crate) letter: Option<Letter>,
    /// It is no task, but a slot of this one's, or its place in line for one.
    principal: Option<Arc<TaskCell>>,
}

/// Of tasks that have a key.
static SERIALS: Serials = Serials::from(1);

/// How far the ask has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) reason: Reason,
    /// No grace is left: the runner is to drop the future.
    pub(crate) drop_now: bool,
}

const DROP_NOW: u8 = 1 << 7;
const END_TEARDOWN: u8 = 1 << 6;
const REASON: u8 = END_TEARDOWN - 1;

impl TaskCell {
    /// Of no task yet.
    pub(super) fn blank() -> Self {
        Self {
            domain: None,
            spec: None,
            labels: None,
            home: None,
            word: AtomicWord::new(Word::Queued),
            index: AtomicU32::new(0),
            seq: AtomicU64::new(0),
            fence: AtomicU64::new(0),
            started: AtomicU64::new(0),
            held: AtomicBool::new(false),
            flags: Flags::none(),
            turn: AtomicU32::new(0),
            progress: AtomicU64::new(0),
            stirred: AtomicU64::new(0),
            asked: AtomicU8::new(0),
            listeners: AtomicU32::new(0),
            hooks: AtomicU32::new(0),
            children: AtomicU32::new(0),
            shared: Mutex::new(Parts::new()),
        }
    }

    /// From now on it is this task's; it was nobody's before.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        domain: DomainRef,
        spec: Option<Arc<Spec>>,
        options: Option<&mut Options>,
        parent: Option<Arc<Self>>,
    ) {
        self.domain = Some(domain);
        self.spec = spec;
        let parts = self.shared.get_mut();
        parts.parent = parent;
        if let Some(options) = options {
            self.labels = Labels::of(options).map(Box::new);
            if let Some((_, call)) = options.on_wait.take() {
                parts.rare().on_wait = Some(call);
            }
        }
    }

    pub(crate) const fn submitted_on(&mut self, runtime: host::Id) {
        self.home = Some(runtime);
    }

    pub(crate) fn bind(&mut self, blocking: bool, body: Waiting) {
        self.flags.set_first(Flag::Detached);
        if blocking {
            self.flags.set_first(Flag::Blocking);
        }
        self.shared.get_mut().body = body;
    }

    /// It stands for a slot of another task, or its place in line for one.
    /// `bound` where that task is not there to poll it.
    pub(super) fn stand_for(&mut self, principal: Arc<Self>, bound: Option<host::Id>) {
        self.home = bound;
        if bound.is_some() {
            self.flags.set_first(Flag::Detached);
        }
        self.labels = Some(Box::new(Labels {
            name: principal.labels().and_then(|labels| labels.name.clone()),
            principal: Some(principal),
            ..Labels::default()
        }));
    }

    /// It needs slots in other lanes, beside its own.
    pub(super) fn link(&mut self, links: Links) {
        self.shared.get_mut().rare().links = Some(Arc::new(links));
        self.flags.set_first(Flag::Linked);
    }

    /// Whether it has, or had, more to it than its own slot.
    #[inline]
    pub(super) fn is_linked(&self) -> bool {
        self.flags.has(Flag::Linked)
    }

    /// From now on it has.
    pub(super) fn set_linked(&self) {
        self.flags.set(Flag::Linked);
    }

    #[inline]
    pub(super) fn is_adrift(&self) -> bool {
        self.flags.has(Flag::Adrift)
    }

    pub(super) fn set_adrift(&self, adrift: bool) {
        if adrift {
            self.flags.set(Flag::Adrift);
        } else {
            self.flags.unset(Flag::Adrift);
        }
    }

    /// It has a slot again, which a stand-in was granted.
    pub(super) fn regain(&self, fence: u64) {
        self.fence.store(fence, Ordering::Relaxed);
        self.held.store(true, Ordering::Release);
    }

    /// Makes it nobody's again, if there was nothing out of the ordinary about
    /// its task: no key, watcher, hook, callback or child is left, so that a
    /// settlement would only drop what is dropped here. Says whether it did.
    pub(super) fn clear(&mut self) -> bool {
        // By name, so that nothing is forgotten that comes to be added.
        let Self {
            domain,
            // Set for the next task.
            spec: _,
            fence: _,
            index: _,
            labels,
            home,
            word,
            seq,
            started,
            // Not its own any more, or it would not be let go of.
            held: _,
            turn,
            progress,
            stirred,
            asked,
            flags,
            // Each of them is somebody who would have the cell, or left a trace
            // in its parts.
            listeners: _,
            hooks: _,
            children: _,
            shared,
        } = self;
        let parts = shared.get_mut();
        if parts.peek().is_some() || !parts.body.is_nobody() || labels.is_some() {
            return false;
        }
        let (parent, wakers) = (parts.parent.take(), parts.clear());
        if parent.is_some() || wakers.0.is_some() || wakers.1.is_some() {
            drop_guarded((parent, wakers));
        }
        *home = None;
        flags.reset();
        word.set(Word::Queued);
        // Of no lane: whoever finds it by its key before it joins one ends
        // nobody (S4).
        seq.store(0, Ordering::Relaxed);
        started.store(0, Ordering::Relaxed);
        turn.store(0, Ordering::Relaxed);
        progress.store(0, Ordering::Relaxed);
        stirred.store(0, Ordering::Relaxed);
        asked.store(0, Ordering::Relaxed);
        // Last: it may be the last that its lane was kept by.
        *domain = None;
        true
    }

    // What the engine's critical section writes.

    #[inline]
    pub(crate) fn enter_lane(&self, key: Key) {
        self.index.store(key.index, Ordering::Relaxed);
        self.seq.store(key.seq, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn granted(&self, fence: u64, at: Time, word: Word) {
        self.fence.store(fence, Ordering::Relaxed);
        self.started.store(at.as_nanos(), Ordering::Relaxed);
        self.held.store(true, Ordering::Release);
        self.word.set(word);
    }

    #[inline]
    pub(crate) fn lose(&self) {
        self.held.store(false, Ordering::Release);
    }

    // Identity.

    #[inline]
    pub(crate) fn domain(&self) -> &DomainRef {
        self.domain.as_ref().expect("a task has a lane")
    }

    #[inline]
    pub(crate) fn spec(&self) -> &Spec {
        self.spec.as_deref().unwrap_or(&self.domain().base)
    }

    pub(crate) fn is_bound_to(&self, runtime: host::Id) -> bool {
        self.is_detached() && self.home == Some(runtime)
    }

    /// Where it runs, if it is detached.
    pub(crate) fn bound(&self) -> Option<host::Id> {
        self.home.filter(|_| self.is_detached())
    }

    /// Where it was submitted, and is polled unless it was moved.
    pub(crate) const fn home(&self) -> Option<host::Id> {
        self.home
    }

    fn is_detached(&self) -> bool {
        self.flags.has(Flag::Detached)
    }

    pub(crate) fn is_blocking(&self) -> bool {
        self.flags.has(Flag::Blocking)
    }

    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.labels.as_deref()
    }

    /// The task whose slot, or place in line, this is, if it is no task itself.
    #[inline]
    pub(crate) fn principal(&self) -> Option<&Arc<Self>> {
        self.labels()?.principal.as_ref()
    }

    /// It is not part of the task any more that it stands for.
    pub(super) fn dismiss(&self) {
        self.flags.set(Flag::Dismissed);
    }

    pub(super) fn is_dismissed(&self) -> bool {
        self.flags.has(Flag::Dismissed)
    }

    /// The task that this is, or stands for.
    #[inline]
    pub(crate) fn whose(self: &Arc<Self>) -> &Arc<Self> {
        self.principal().unwrap_or(self)
    }

    #[inline]
    pub(crate) fn links(&self) -> Option<Arc<Links>> {
        if !self.is_linked() {
            return None;
        }
        self.shared.lock().peek()?.links.clone()
    }

    /// Whether it has its slot and cannot be claimed yet.
    pub(crate) fn gathers(&self) -> bool {
        self.links().is_some_and(|links| links.gather(self))
    }

    /// Whether it waits for a slot, its own or another that it needs to begin.
    #[inline]
    pub(super) fn is_in_line(&self) -> bool {
        match self.word.get() {
            Word::Queued => true,
            Word::Granted => self.gathers(),
            _ => false,
        }
    }

    pub(crate) fn letter(&self) -> Option<&Letter> {
        self.labels()?.letter.as_ref()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.labels()?.name.as_deref()
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.labels()?.key.as_deref()
    }

    #[inline]
    pub(crate) fn slot_key(&self) -> Key {
        Key {
            index: self.index.load(Ordering::Relaxed),
            seq: self.seq.load(Ordering::Relaxed),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> TaskId {
        if let Some(task) = self.principal() {
            return task.id();
        }
        TaskId {
            lane: self.domain().serial,
            key: self.slot_key(),
        }
    }

    pub(crate) fn fence(&self) -> u64 {
        self.fence.load(Ordering::Relaxed)
    }

    pub(crate) fn started(&self) -> Time {
        Time::from_nanos(self.started.load(Ordering::Relaxed))
    }

    pub(crate) fn is_current(&self) -> bool {
        self.holds() && self.links().is_none_or(|links| links.are_current())
    }

    /// Its runner is not through with it, and nobody has ended it; with or without
    /// its slots.
    pub(super) fn is_under_way(&self) -> bool {
        self.word.get() == Word::Running
    }

    /// Whether it has its own slot, whatever else it needs.
    pub(crate) fn holds(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Whether its slot was taken and it runs on
    /// ([`OnStall::Detach`](crate::OnStall::Detach)).
    pub(super) fn runs_without(&self) -> bool {
        let key = self.slot_key();
        let state = || {
            self.domain()
                .read(|engine| engine.record(key).map(|record| record.state))
        };
        !self.holds() && state() == Some(State::Detached)
    }

    /// Its time starts now: it has all its slots.
    pub(crate) fn restart(&self, now: Time) {
        self.started.store(now.as_nanos(), Ordering::Relaxed);
    }

    // Where it stands.

    /// A poll of its runner begins, or ends.
    #[inline]
    pub(super) fn turn_over(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
    }

    /// No future of its own is polled: a slot that is held by hand, or a thread.
    pub(super) fn is_by_hand(&self) -> bool {
        self.turn() == 0 || self.is_blocking()
    }

    pub(super) fn turn(&self) -> u32 {
        self.turn.load(Ordering::Relaxed)
    }

    // Signs of life.

    /// One clock read and one store; the rest of the scheduler learns of it
    /// when it has a reason to look.
    #[inline]
    pub(crate) fn report_progress(&self) {
        self.progress
            .store(Clock.now().as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn last_report(&self) -> Option<Time> {
        match self.progress.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Time::from_nanos(at)),
        }
    }

    /// Its silence is granted until then, or until later where it was before.
    pub(crate) fn extend(&self, until: Time) {
        let mut parts = self.shared.lock();
        let granted = &mut parts.rare().limits.extended;
        *granted = (*granted).max(Some(until));
    }

    /// It was seen to live, which is not a report of progress.
    pub(crate) fn stir(&self, at: Time) {
        self.stirred.fetch_max(at.as_nanos(), Ordering::Relaxed);
    }

    /// Its child's report, kept beyond the child.
    pub(crate) fn inherit_report(&self, at: Time) {
        self.progress.fetch_max(at.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn stirred(&self) -> Time {
        Time::from_nanos(self.stirred.load(Ordering::Relaxed)).max(self.started())
    }

    #[inline]
    pub(crate) fn now(&self) -> Time {
        Clock.now()
    }

    // The ask.

    #[inline]
    pub(crate) fn asked(&self) -> Option<Asked> {
        let code = self.asked.load(Ordering::Acquire);
        let reason = Reason::from_code((code & REASON).checked_sub(1)?)?;
        Some(Asked {
            reason,
            drop_now: code & DROP_NOW != 0,
        })
    }

    /// Raises the cancel signal. The first reason stands.
    pub(crate) fn raise(&self, reason: Reason, drop_now: bool) {
        let flag = if drop_now { DROP_NOW } else { 0 };
        let fresh = (reason as u8 + 1) | flag;
        if self
            .asked
            .compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            self.asked.fetch_or(flag, Ordering::AcqRel);
        }
        let (runner, signal) = {
            let mut parts = self.shared.lock();
            (parts.runner.take(), parts.take(Rare::signal))
        };
        wake_all(signal);
        wake_all(runner);
    }

    /// Its end is under way, and this is the latest that it comes.
    pub(crate) fn set_take_at(&self, at: Time) {
        self.shared.lock().rare().limits.take_at = Some(at);
    }

    pub(crate) fn end_teardown(&self) {
        self.asked
            .fetch_or(END_TEARDOWN | DROP_NOW, Ordering::AcqRel);
        self.wake_runner();
    }

    pub(crate) fn teardown_is_over(&self) -> bool {
        self.asked.load(Ordering::Acquire) & END_TEARDOWN != 0
    }

    pub(crate) fn listens(&self) -> bool {
        self.flags.has(Flag::Listens)
            || self.listeners.load(Ordering::Relaxed) > 0
            || self.hooks.load(Ordering::Relaxed) > 0
    }

    /// Whether there is anything to do between its future's end and its
    /// slot's.
    #[inline]
    pub(crate) fn has_teardown(&self) -> bool {
        self.hooks.load(Ordering::Acquire) > 0 || self.children.load(Ordering::Acquire) > 0
    }

    /// Nobody will ask how it ended.
    pub(crate) fn unheard(&self) {
        self.flags.set(Flag::Unheard);
    }

    /// Somebody will, after all: it was merged into this task.
    pub(super) fn heard(&self) {
        self.flags.unset(Flag::Unheard);
    }

    pub(crate) fn is_unheard(&self) -> bool {
        self.flags.has(Flag::Unheard)
    }

    pub(crate) fn poll_for_signal(&self) {
        // It may be asked for in a loop, and a write that changes nothing costs more.
        if !self.flags.has(Flag::Listens) {
            self.flags.set(Flag::Listens);
        }
    }

    /// It waits for something else than when that was looked at last.
    pub(super) fn waits_change(&self) {
        self.flags.set(Flag::WaitsChange);
    }

    #[inline]
    pub(super) fn waits_differ(&self) -> bool {
        self.flags.has(Flag::WaitsChange)
    }

    /// The same, once.
    #[inline]
    pub(super) fn take_waits_change(&self) -> bool {
        self.flags.take(Flag::WaitsChange)
    }

    pub(crate) fn listen(&self) {
        self.listeners.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unlisten(&self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }

    // Wakers. They are cloned and dropped outside the lock (S13).

    pub(crate) fn set_runner(&self, waker: &Waker) {
        if self
            .shared
            .lock()
            .runner
            .as_ref()
            .is_some_and(|old| old.will_wake(waker))
        {
            return;
        }
        let fresh = waker.clone();
        let old = self.shared.lock().runner.replace(fresh);
        drop_guarded(old);
    }

    /// Registers whoever awaits its handle; there is one handle.
    pub(crate) fn set_joiner(&self, waker: &Waker) {
        let fresh = waker.clone();
        let old = self.shared.lock().joiner.replace(fresh);
        drop_guarded(old);
    }

    pub(crate) fn wake_runner(&self) {
        let runner = self.shared.lock().runner.take();
        wake_all(runner);
    }

    pub(crate) fn register(
        &self,
        which: fn(&mut Rare) -> &mut Wakers,
        ticket: &mut Ticket,
        waker: &Waker,
    ) {
        let fresh = waker.clone();
        let old = which(self.shared.lock().rare()).register(ticket, fresh);
        drop_guarded(old);
    }

    pub(crate) fn deregister(&self, which: fn(&mut Rare) -> &mut Wakers, ticket: &Ticket) {
        let mut parts = self.shared.lock();
        let old = parts.peek_mut().map(|rare| which(rare).remove(ticket));
        drop(parts);
        drop_guarded(old);
    }

    // The end.

    /// Tells whoever waits for this task how it ended; only the first call
    /// counts (S2), and says so.
    pub(crate) fn settle(&self, end: End) -> bool {
        if self.started.load(Ordering::Relaxed) == 0 {
            // It was in line until now, and whoever waited with it was not
            // stalling (S9).
            self.stir(self.now());
        }
        let (ended, runner) = {
            let mut parts = self.shared.lock();
            if !parts.settle(end) {
                return false;
            }
            (parts.end(), parts.runner.take())
        };
        if self.labels.is_some() {
            self.domain().shared.keys.forget(self);
            self.domain().offers.forget(self);
        }
        wake_all(runner);
        ended.carry_out(&end);
        true
    }

    pub(crate) fn settled(&self) -> Option<End> {
        self.shared.lock().settled()
    }

    /// Its slot is free, or not its own any more.
    pub(crate) fn left(&self) {
        let leavers = self.shared.lock().take(Rare::leavers);
        wake_all(leavers);
    }

    /// What it says it is doing: its last note, or the phase it entered since.
    pub(crate) fn note(&self) -> Option<Arc<str>> {
        self.shared.lock().peek()?.note.clone()
    }

    pub(crate) fn phase(&self) -> Option<Arc<str>> {
        let parts = self.shared.lock();
        let phase = parts.peek()?.phases.last()?;
        Some(Arc::clone(&phase.text))
    }

    /// The limits of its own, beside what it was granted.
    pub(crate) fn limits(&self) -> Limits {
        let parts = self.shared.lock();
        parts.peek().map_or_else(Limits::default, Rare::limits)
    }
}

impl Labels {
    /// The task of which this is no more than a part.
    pub(super) fn part_of(&self) -> Option<TaskId> {
        self.principal.as_ref().map(|task| task.id())
    }

    /// `None` where there are none.
    fn of(options: &mut Options) -> Option<Self> {
        let labels = Self {
            name: options.name.take(),
            serial: options.key.as_ref().map_or(0, |_| SERIALS.next()),
            key: options.key.take(),
            meta: options.meta.take(),
            letter: options.letter.take(),
            principal: None,
        };
        let any = labels.name.is_some()
            || labels.key.is_some()
            || labels.meta.is_some()
            || labels.letter.is_some();
        any.then_some(labels)
    }
}

impl Drop for TaskCell {
    /// Whoever holds it last pays nothing for a user's value that panics as it
    /// goes (S14).
    fn drop(&mut self) {
        if let Some(labels) = self.labels.take() {
            drop_guarded(labels);
        }
    }
}

impl std::fmt::Debug for TaskCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id())
            .field("lane", &self.domain().name)
            .field("name", &self.name())
            .field("word", &self.word.get())
            .finish_non_exhaustive()
    }
}
