//! One lane: who holds a slot, who waits, and who is next.

use std::time::Duration;

use super::blocked::Watch;
use super::door::Door;
use super::effects::{Effect, Effects, Grant, Notice, Reclaim, Recovery};
use super::entry::{Accepted, Entry, IfFull, Line, Refused, Released, Room};
use super::fact::{Ahead, What};
use super::group::Gate;
use super::journal::Journal;
use super::pace::Pace;
use super::queue::{Place, Queue};
use super::slab::{Key, Slab};
use super::task::{CLAIM, End, Gone, Record, Spec, State};
use super::time::{Span, Time};
use super::timers::Timers;

/// What a lane is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Settings {
    pub(crate) max_concurrent: usize,
    /// `None`: as many as `max_concurrent`.
    pub(crate) max_orphans: Option<usize>,
    pub(crate) aging: Duration,
    pub(crate) warn_after: Duration,
    /// Stalls are reported and nothing is reclaimed for them.
    pub(crate) observe_only: bool,
    /// How many may be in the queue; `usize::MAX` where nobody set a bound.
    pub(crate) queue_capacity: usize,
    /// How many may have given their slot back and be parked.
    pub(crate) max_parked: Option<usize>,
}

/// The state machine of one lane.
///
/// `P` stands for a task in the effects; the engine clones it and hands it
/// back, and never drops the last of it under the shell's lock.
#[derive(Debug)]
pub(crate) struct Lane<P> {
    pub(super) settings: Settings,
    pub(super) mode: Mode,
    /// What its group has left for it, if it is in one.
    pub(super) gate: Gate,
    /// Closed for good, whatever a drain does besides.
    pub(super) closed: bool,
    /// A drain is about to settle waiters; none is dispatched until it has.
    pub(super) settling: bool,
    pub(super) paused: bool,
    pub(super) resume_at: Option<Time>,
    pub(super) tasks: Slab<Record<P>>,
    pub(super) queue: Queue,
    pub(super) door: Option<Box<Door>>,
    /// Tasks whose quiet window is not over.
    pub(super) quiet: usize,
    /// Who holds a slot, in no order; each record knows its place in it.
    pub(super) holders: Vec<Key>,
    pub(super) orphans: usize,
    /// Those who gave their slot back, and are to come for another.
    pub(super) parked: usize,
    pub(super) timers: Timers,
    pub(super) watch: Watch,
    pub(super) pace: Pace,
    pub(super) tally: Tally,
    /// Where somebody keeps a log.
    pub(super) journal: Option<Box<Journal<P>>>,
    /// Somebody awaits the moment at which nobody is queued or active.
    idle_wanted: bool,
    pub(super) fence: u64,
    /// The latest time seen: inputs race to the lock, and the engine's clock
    /// does not go back.
    pub(super) clock: Time,
    /// What the driver was last told to come for.
    pub(super) armed: Time,
}

/// Which new tasks a lane takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    Draining {
        admit_descendants: bool,
        queued: Leftover,
        deadline: Option<Time>,
    },
    Closed,
    Shutdown,
}

/// What a drain does with those who are still queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "replay", serde(rename_all = "snake_case"))]
pub(crate) enum Leftover {
    Run,
    Return,
    Cancel,
}

/// Counts since the lane was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) submitted: u64,
    pub(crate) started: u64,
    pub(crate) completed: u64,
    pub(crate) ended: u64,
    pub(crate) reclaimed: u64,
    pub(crate) taken: u64,
    /// Results that came after their slot had been taken.
    pub(crate) late: u64,
    /// Holders that did not end by themselves.
    pub(crate) cut_short: u64,
    /// Reclaims after which a waiter was dispatched (S17).
    pub(crate) recovered: u64,
    /// Reclaims after which somebody waited still, and nobody was dispatched.
    pub(crate) ineffective: u64,
    /// Faults of this engine that were found, and mended.
    pub(crate) repaired: u64,
    /// How often its limits were set.
    pub(crate) resized: u64,
}

impl Tally {
    /// What a reclaim came to. One that nobody waited for is neither.
    pub(super) const fn verified<P>(&mut self, recovery: &Recovery<P>) {
        match recovery {
            Recovery::Dispatched(_) => self.recovered += 1,
            Recovery::StillBlocked(_) => self.ineffective += 1,
            Recovery::NobodyWaiting => {}
        }
    }
}

impl<P: Clone> Lane<P> {
    pub(crate) const fn new(settings: Settings, fence: u64) -> Self {
        Self {
            settings,
            mode: Mode::Open,
            gate: Gate::Free,
            closed: false,
            settling: false,
            paused: false,
            resume_at: None,
            tasks: Slab::new(),
            queue: Queue::new(),
            door: None,
            quiet: 0,
            holders: Vec::new(),
            orphans: 0,
            parked: 0,
            timers: Timers::new(),
            watch: Watch::new(),
            pace: Pace::new(),
            tally: Tally {
                submitted: 0,
                started: 0,
                completed: 0,
                ended: 0,
                reclaimed: 0,
                taken: 0,
                late: 0,
                cut_short: 0,
                recovered: 0,
                ineffective: 0,
                repaired: 0,
                resized: 0,
            },
            journal: None,
            idle_wanted: false,
            fence,
            clock: Time::from_nanos(0),
            armed: Time::FAR,
        }
    }

    /// A task comes: it starts, it queues, or it is refused with nothing
    /// changed. O(1); O(log n) where it restores an older place in line.
    #[inline(always)]
    pub(crate) fn submit(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        entry: Entry,
    ) -> Result<Accepted, Refused> {
        if !entry.part || self.mode == Mode::Shutdown {
            self.admits(entry.descendant)?;
        }
        self.take_in(now, task, spec, entry, Line::Last)
    }

    /// Whether there is room for one more: a slot, a place, or the door.
    #[inline(always)]
    pub(super) fn finds_room(&self, entry: Entry) -> Result<Room, Refused> {
        // S5 keeps the queue empty while a slot is free, so whoever finds one
        // overtakes nobody.
        if self.has_free_slot() && self.queue.len() == 0 && self.gate.is_open() {
            return Ok(Room::Slot);
        }
        if entry.at_once {
            let holder = self.holders.first().filter(|_| self.is_full());
            let holder = holder.copied();
            return Err(Refused::NoSlot { holder });
        }
        let (capacity, queued) = (self.settings.queue_capacity, self.places_taken());
        match entry.if_full {
            IfFull::Refuse if queued >= capacity => Err(Refused::QueueFull { capacity, queued }),
            IfFull::Wait if queued >= capacity => Ok(Room::Door),
            _ => Ok(Room::Queue),
        }
    }

    /// [`submit`](Self::submit) in another place than the last, for those paths
    /// on which nothing hangs.
    pub(super) fn submit_as(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        entry: Entry,
        line: Line,
    ) -> Result<Accepted, Refused> {
        self.admits(entry.descendant)?;
        self.take_in(now, task, spec, entry, line)
    }

    #[inline(always)]
    pub(super) fn take_in(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        entry: Entry,
        line: Line,
    ) -> Result<Accepted, Refused> {
        let room = self.finds_room(entry)?;
        let now = self.advance(now);
        let place = Place {
            since: now.before(entry.waited),
            // Its own from the start, since it may lose an unclaimed slot and
            // come to the queue later (S20).
            seq: self.tasks.next_seq(),
        };
        let place = match line {
            Line::At(older) => older.min(place),
            _ => place,
        };
        self.tally.submitted += 1;
        let first_look = spec.first_look();
        let (state, look) = match (room, entry.present) {
            (Room::Slot, true) => (State::Running, first_look),
            (Room::Slot, false) => (State::Granted, claim_by(first_look)),
            (_, _) => (State::Queued, spec.first_look_queued()),
        };
        let first = matches!(line, Line::First);
        let holder = self.next_holder();
        let queued_ahead = match room {
            Room::Slot => 0,
            Room::Queue if first => 0,
            Room::Queue => self.queue.ahead(spec.priority),
            Room::Door => self.waiters(),
        };
        let queued_ahead = count(queued_ahead);
        let key = self.tasks.insert(|| Record {
            state,
            first,
            first_look,
            queued_ahead,
            active_ahead: holder,
            holder,
            ..Record::new(task, spec.priority, place, now)
        });
        self.timers.set(&mut self.tasks, key.index, now + look);
        match room {
            Room::Slot => {
                self.watch.moved();
                self.holders.push(key);
                let fence = self.next_grant();
                if self.has_journal() {
                    self.write_start(now, key, Span::of(entry.waited), fence, holder);
                }
                return Ok(Accepted::Started { key, fence });
            }
            Room::Queue => self.queue.push(&mut self.tasks, key.index),
            Room::Door => self.stand_at_door(key),
        }
        let ahead = Ahead {
            queued: queued_ahead,
            active: holder,
        };
        self.note(now, key, || match room {
            Room::Door => What::AtDoor(ahead),
            _ => What::Queued(ahead),
        });
        self.note_waiter(now);
        Ok(Accepted::Queued { key })
    }

    /// A runner is through with its task, or whoever waited for it is gone.
    ///
    /// The only way in which a slot comes back from its holder. Whoever calls
    /// it a second time, or after a take, learns that there was nothing left
    /// to free (S2). Waiters are served by [`Self::dispatch`], which the
    /// caller runs when this says that there are any: only then is the clock
    /// worth reading.
    #[inline]
    pub(crate) fn release(&mut self, key: Key, completed: bool) -> Released<P> {
        let Some(record) = self.tasks.get(key) else {
            return Released::Unknown;
        };
        let state = record.state;
        let counts = record.is_task();
        match state {
            State::Queued => self.queue.remove(&mut self.tasks, key.index),
            State::Quiet { .. } | State::AtDoor | State::Placed => self.leave(key),
            state if state.holds_slot() => self.vacate(key),
            state if state.is_orphan() => self.orphans -= 1,
            _ => {}
        }
        let Some(mut gone) = self.forget(key) else {
            return Released::Unknown;
        };
        match (state, completed) {
            _ if !counts => {}
            // Unless its caller has the value: it was in hand when the slot was taken (S3).
            (State::Orphan, true) if gone.end() != Some(End::Completed) => self.tally.late += 1,
            (State::Orphan, false) => {}
            (_, true) => {
                self.tally.completed += 1;
                gone.finish();
            }
            (_, false) => {
                self.tally.ended += 1;
                self.tally.cut_short += u64::from(state.holds_slot());
            }
        }
        if state.is_orphan() {
            Released::Orphan(gone)
        } else {
            Released::Held(gone)
        }
    }

    /// Gives free slots to waiters until one of the two runs out (S5), and
    /// says who was first. In a group that is the group's to do, which knows
    /// who waits beside.
    pub(crate) fn dispatch(&mut self, now: Time, effects: &mut Effects<P>) -> Option<Key> {
        if self.gate != Gate::Free {
            if self.has_door() {
                self.let_in(now, effects);
            }
            return None;
        }
        let mut first = None;
        while let Some(key) = self.dispatch_one(now, effects) {
            first.get_or_insert(key);
        }
        first
    }

    /// Gives one waiter a slot, if the lane has one.
    pub(super) fn dispatch_one(&mut self, now: Time, effects: &mut Effects<P>) -> Option<Key> {
        if !self.has_next(now, effects) {
            return None;
        }
        let now = self.advance(now);
        let index = self.queue.pop(&mut self.tasks, now, self.settings.aging)?;
        let key = self.tasks.key_at(index)?;
        let fence = self.occupy(now, key);
        self.watch.begin(now, self.warn_after());
        if self.waiters() == 0 {
            // Nobody waits: whoever comes next begins to wait then, however
            // long ago this dispatch was.
            self.watch.moved();
        }
        let record = self.tasks.get(key)?;
        // Its task had waited before, and run since.
        let waited = now.since(if record.stands_in {
            record.enqueued
        } else {
            record.place.since
        });
        self.pace.dispatched(now, waited);
        let ahead = Ahead {
            queued: record.queued_ahead,
            active: record.active_ahead,
        };
        effects.push(Effect::Grant(Grant {
            task: record.payload.clone(),
            fence,
            at: now,
            waited,
            queued_ahead: ahead.queued as usize,
            active_ahead: ahead.active as usize,
        }));
        self.note(now, key, || What::Dispatched {
            at_once: false,
            waited: Span::of(waited),
            fence,
            ahead,
        });
        Some(key)
    }

    /// Whether there is a slot to give, and somebody in the queue to give it to.
    #[inline]
    fn has_next(&mut self, now: Time, effects: &mut Effects<P>) -> bool {
        if self.has_door() {
            self.let_in(now, effects);
        }
        self.has_free_slot()
            && (self.queue.len() > 0 || self.has_door() && self.let_a_task_in(now, effects))
    }

    /// A slot came free after a reclaim: serve the next, and say whether it
    /// helped (S17).
    pub(super) fn recover(
        &mut self,
        now: Time,
        task: P,
        end: End,
        how: Reclaim,
        effects: &mut Effects<P>,
    ) {
        let next = self.dispatch(now, effects);
        let recovery = match next.and_then(|key| self.tasks.get(key)) {
            Some(record) => Recovery::Dispatched(record.payload.clone()),
            // What it comes to in a group is known when the group has decided;
            // see `Group::verify`.
            None => self
                .blocked_by()
                .map_or(Recovery::NobodyWaiting, Recovery::StillBlocked),
        };
        if self.gate == Gate::Free {
            self.tally.verified(&recovery);
            self.note_reclaim(&task, end, how, &recovery);
        }
        let orphans = self.orphans;
        effects.report(Notice::Reclaimed {
            task,
            end,
            how,
            orphans,
            recovery,
        });
    }

    /// After a release: dispatch, and report what a reclaim has come to.
    pub(crate) fn settle_release(
        &mut self,
        now: Time,
        released: &Released<P>,
        effects: &mut Effects<P>,
    ) {
        match released {
            Released::Held(gone) => match gone.end() {
                // Only a holder is asked for these, and nobody is asked twice.
                Some(end @ (End::Stalled { .. } | End::TimedOut { .. })) if !gone.away => {
                    self.tally.reclaimed += 1;
                    let task = gone.payload.clone();
                    let how = if gone.finished() {
                        Reclaim::Finished
                    } else {
                        Reclaim::Dropped
                    };
                    self.recover(now, task, end, how, effects);
                }
                _ => {
                    self.dispatch(now, effects);
                }
            },
            Released::Orphan(_) | Released::Unknown => {}
        }
        self.note_idle(effects);
    }

    pub(crate) const fn want_idle(&mut self) {
        self.idle_wanted = true;
    }

    pub(super) fn note_idle(&mut self, effects: &mut Effects<P>) {
        if self.idle_wanted && self.is_idle() {
            self.idle_wanted = false;
            effects.push(Effect::Idle);
        }
    }

    /// Whether a release is followed by anything that reads the clock.
    #[inline]
    pub(crate) fn has_sequel(&self, released: &Released<P>) -> bool {
        self.queue.len() > 0
            || self.has_door()
            || self.idle_wanted
            || matches!(released, Released::Held(gone) if gone.end().is_some())
    }

    /// Somebody who lost an unclaimed grant was polled again: back to its old
    /// place (S20).
    pub(crate) fn rejoin(&mut self, now: Time, key: Key, spec: &Spec, effects: &mut Effects<P>) {
        let now = self.advance(now);
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        if record.state != State::Asleep {
            return;
        }
        // There was a place for it when those who wait for one were told that there is
        // none any more (S7).
        if record.keeps && self.settings.queue_capacity == 0 {
            let waited = now.since(record.place.since);
            self.settle_queued(now, key, End::Cleared { waited }, effects);
            self.note_idle(effects);
            return;
        }
        let look = record.enqueued + spec.first_look_queued();
        self.note(now, key, || What::Rejoined);
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        if record.keeps {
            self.stand_at_door(key);
        } else {
            record.state = State::Queued;
            self.queue.push(&mut self.tasks, key.index);
            self.note_waiter(now);
        }
        self.look_at(key, Some(look.max(now)));
        self.dispatch(now, effects);
    }

    /// One more task waits from now on.
    pub(super) fn note_waiter(&mut self, now: Time) {
        self.watch.queued(now, self.warn_after());
        self.pace.arrived(now, self.waiters() == 1);
    }

    pub(crate) const fn burn_seq(&mut self) -> u64 {
        self.tasks.burn_seq()
    }

    /// The next moment at which [`tick`](Self::tick) has something to do, if
    /// the driver does not know of it or of an earlier one.
    ///
    /// A moment that moves away is not taken back: the driver comes, finds
    /// nothing due, and is told the next one. So a lane that is used without
    /// pause arms its driver once a ceiling, not once a task.
    #[inline]
    pub(crate) fn rearm(&mut self) -> Option<Time> {
        let next = self.next_moment();
        (next < self.armed).then(|| {
            self.armed = next;
            next
        })
    }

    /// Everything whose moment has come: the shell carries out the
    /// inspections, which decide.
    pub(crate) fn tick(&mut self, now: Time, effects: &mut Effects<P>) {
        let now = self.advance(now);
        self.armed = Time::FAR;
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
            self.paused = false;
            self.note_resumed(now);
            self.note_lane(Some(now), || What::Resumed);
            self.dispatch(now, effects);
        }
        self.drain_due(now, effects);
        while let Some(index) = self.timers.pop_due(&mut self.tasks, now) {
            if let Some(key) = self.tasks.key_at(index)
                && let Some(record) = self.tasks.get(key)
            {
                let task = record.payload.clone();
                effects.push(Effect::Inspect { key, task });
            }
        }
        if self.watch.due(now, self.waiters()) {
            effects.push(Effect::InspectHolders);
        }
    }

    /// Whether its holders are what keeps one more from a slot of it.
    const fn is_full(&self) -> bool {
        let slots = self.settings.max_concurrent;
        !self.paused && slots > 0 && self.holders.len() >= slots
    }

    #[inline]
    pub(super) const fn has_free_slot(&self) -> bool {
        !self.paused && !self.settling && self.holders.len() < self.settings.max_concurrent
    }

    /// Sets when a task is looked at next; never is `None`.
    pub(super) fn look_at(&mut self, key: Key, at: Option<Time>) {
        let at = at.unwrap_or(Time::FAR);
        self.timers.set(&mut self.tasks, key.index, at);
    }

    pub(super) fn set_state(&mut self, key: Key, state: State) {
        if let Some(record) = self.tasks.get_mut(key) {
            record.state = state;
        }
    }

    /// Takes the slot from its holder; the record stays.
    #[inline]
    pub(super) fn vacate(&mut self, key: Key) {
        let Some(record) = self.tasks.get(key) else {
            return;
        };
        if record.away {
            return;
        }
        let place = record.holder as usize;
        self.holders.swap_remove(place);
        if let Some(&moved) = self.holders.get(place)
            && let Some(record) = self.tasks.get_mut(moved)
        {
            record.holder = count(place);
        }
        super::slab::trim(&mut self.holders);
        if self.waiters() == 0 {
            self.watch.moved();
        }
    }

    /// The last of a task, which is neither queued nor a holder any more.
    #[inline]
    pub(super) fn forget(&mut self, key: Key) -> Option<Gone<P>> {
        let record = self.tasks.remove(key)?;
        self.parked -= usize::from(record.away);
        self.timers.leave(&mut self.tasks, record.moment);
        Some(record.gone())
    }

    #[inline]
    pub(super) fn advance(&mut self, now: Time) -> Time {
        self.clock = self.clock.max(now);
        self.clock
    }

    pub(crate) fn admits(&self, descendant: bool) -> Result<(), Refused> {
        match self.mode() {
            Mode::Open => Ok(()),
            Mode::Draining {
                admit_descendants, ..
            } if !(admit_descendants && descendant) => Err(Refused::Draining { admit_descendants }),
            Mode::Draining { .. } => Ok(()),
            Mode::Closed => Err(Refused::Closed),
            Mode::Shutdown => Err(Refused::Shutdown),
        }
    }

    /// Gives a waiter a slot, to be claimed by its runner (S20).
    fn occupy(&mut self, now: Time, key: Key) -> u64 {
        let holder = self.next_holder();
        self.holders.push(key);
        if let Some(record) = self.tasks.get_mut(key) {
            record.state = State::Granted;
            record.started = now;
            record.take_back(|said| said.grace_tick = None);
            record.holder = holder;
            let look = claim_by(record.first_look);
            self.timers.set(&mut self.tasks, key.index, now + look);
        }
        self.next_grant()
    }

    fn next_holder(&self) -> u32 {
        count(self.holders.len())
    }

    const fn next_grant(&mut self) -> u64 {
        let fence = self.fence;
        self.fence += 1;
        self.tally.started += 1;
        fence
    }

    #[inline]
    fn next_moment(&self) -> Time {
        let drain = match self.mode {
            Mode::Draining { deadline, .. } => deadline,
            _ => None,
        };
        let watch = self.watch.next_check(self.waiters());
        let or_never = |at: Option<Time>| at.unwrap_or(Time::FAR);
        let others = or_never(self.resume_at)
            .min(or_never(drain))
            .min(or_never(watch));
        self.timers.first(&self.tasks).min(others)
    }
}

/// As a record keeps it: a lane has under 2^32 tasks.
pub(super) fn count(tasks: usize) -> u32 {
    u32::try_from(tasks).unwrap_or(u32::MAX)
}

/// When a task that was granted a slot is looked at first, counted from the
/// grant.
pub(super) fn claim_by(first_look: Span) -> Span {
    first_look.min(Span::of(CLAIM))
}
