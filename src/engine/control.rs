//! The control verbs, as the table in the promises has them.

use std::time::Duration;

use super::effects::{Effect, Effects};
use super::fact::What;
use super::lane::{Lane, Leftover, Mode, Settings};
use super::queue::Priority;
use super::slab::Key;
use super::task::{End, Facts, Record, Spec, State};
use super::time::{Span, Time};
use super::vocabulary::Reason;

impl<P: Clone> Lane<P> {
    /// Lowering it under the active count evicts nobody (S1).
    pub(crate) fn set_max_concurrent(
        &mut self,
        now: Time,
        max_concurrent: usize,
        effects: &mut Effects<P>,
    ) {
        if self.settings.max_concurrent == 0 {
            self.note_resumed(now);
        }
        self.settings.max_concurrent = max_concurrent;
        self.tally.resized += 1;
        self.note_lane(Some(now), || What::Limited { max_concurrent });
        self.dispatch(now, effects);
    }

    /// Everything that it is set to, at once; whoever holds a slot or waits
    /// keeps what it was granted (S4).
    pub(crate) fn set_anew(&mut self, now: Time, settings: Settings, effects: &mut Effects<P>) {
        let now = self.advance(now);
        let warn_after = self.settings.warn_after;
        if self.settings.max_concurrent == 0 {
            self.note_resumed(now);
        }
        self.settings = settings;
        self.tally.resized += 1;
        self.note_lane(Some(now), || What::SetAnew);
        if self.settings.warn_after != warn_after {
            self.watch.set_anew(self.warn_after());
        }
        if self.settings.queue_capacity == 0 {
            self.dismiss_keepers(now, effects);
        }
        self.dispatch(now, effects);
        self.note_idle(effects);
    }

    /// Whoever is at the door for a place that there will never be is told so
    /// (S7).
    fn dismiss_keepers(&mut self, now: Time, effects: &mut Effects<P>) {
        let mut waiting = self.waiting();
        waiting.retain(|key| self.tasks.get(*key).is_some_and(|record| record.keeps));
        self.settle_each(now, &waiting, effects, |waited| End::Cleared { waited });
    }

    pub(crate) fn pause(&mut self, until: Option<Time>) {
        self.paused = true;
        self.resume_at = until;
        self.note_lane(None, || What::Paused { until });
    }

    /// It was paused, and nobody could be served for that.
    pub(super) fn note_resumed(&mut self, now: Time) {
        let now = self.advance(now);
        self.pace.resumed(now);
    }

    /// Also takes back a drain: new tasks are accepted again.
    pub(crate) fn resume(&mut self, now: Time, effects: &mut Effects<P>) {
        if self.paused {
            self.note_resumed(now);
        }
        let was_so = self.paused || matches!(self.mode, Mode::Draining { .. });
        if was_so {
            self.note_lane(Some(now), || What::Resumed);
        }
        self.paused = false;
        self.resume_at = None;
        self.settling = false;
        if let Mode::Draining { .. } = self.mode {
            self.mode = if self.closed {
                Mode::Closed
            } else {
                Mode::Open
            };
        }
        self.dispatch(now, effects);
    }

    /// A drain that is under way goes on: its deadline is a promise.
    pub(crate) fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.note_lane(None, || What::Closed);
        }
        if self.mode == Mode::Open {
            self.mode = Mode::Closed;
        }
    }

    /// Nothing new, nothing queued; the holders are to be asked.
    pub(crate) fn shutdown(&mut self, now: Time, effects: &mut Effects<P>) {
        if self.mode != Mode::Shutdown {
            self.note_lane(Some(now), || What::Shutdown);
        }
        self.mode = Mode::Shutdown;
        self.settle_all_queued(now, effects, |waited| End::Shutdown { waited });
        effects.push(Effect::AskHolders {
            reason: Reason::Shutdown,
        });
        self.note_idle(effects);
    }

    /// From now on new tasks are refused; a lane that is closed stays so.
    pub(crate) fn start_draining(
        &mut self,
        deadline: Time,
        admit_descendants: bool,
        queued: Leftover,
    ) {
        if self.mode != Mode::Shutdown {
            self.mode = Mode::Draining {
                admit_descendants,
                queued,
                deadline: Some(deadline),
            };
            self.note_lane(None, || What::Draining { deadline });
        }
    }

    /// Dispatches nobody until [`settle_drain`](Self::settle_drain): whoever
    /// is about to be handed back is not to be started by what happens in
    /// another lane meanwhile.
    pub(crate) fn hold_for_drain(&mut self) {
        let Mode::Draining { queued, .. } = self.mode else {
            return;
        };
        self.settling = queued != Leftover::Run;
    }

    /// Settles those of the waiters that the drain does not keep.
    pub(crate) fn settle_drain(&mut self, now: Time, leaving: &[Key], effects: &mut Effects<P>) {
        if self.settling
            && let Mode::Draining { queued, .. } = self.mode
        {
            self.settle_each(now, leaving, effects, |waited| queued.end(waited));
        }
        self.settling = false;
        self.dispatch(now, effects);
        self.note_idle(effects);
    }

    pub(super) fn drain_due(&mut self, now: Time, effects: &mut Effects<P>) {
        let Mode::Draining {
            deadline: Some(at),
            queued,
            ..
        } = self.mode
        else {
            return;
        };
        if now < at {
            return;
        }
        self.settling = false;
        self.note_lane(Some(now), || What::DrainOver);
        // Not even descendants from here on: nobody would hand them back.
        self.mode = Mode::Draining {
            deadline: None,
            admit_descendants: false,
            queued,
        };
        self.settle_leftovers(now, queued, effects);
        effects.push(Effect::AskHolders {
            reason: Reason::Draining,
        });
        self.note_idle(effects);
    }

    /// Whether it drains, and the time of the drain is over.
    pub(crate) const fn drain_is_over(&self) -> bool {
        matches!(self.mode, Mode::Draining { deadline: None, .. })
    }

    /// Settles everybody who waits, and says how many they were; but for those
    /// who stand in for a task, which has begun and is nobody's to clear.
    pub(crate) fn clear(
        &mut self,
        now: Time,
        effects: &mut Effects<P>,
        end: impl Fn(Duration) -> End,
    ) -> usize {
        let mut all = self.waiting();
        all.retain(|key| self.tasks.get(*key).is_some_and(|record| !record.stands_in));
        self.settle_each(now, &all, effects, end);
        self.note_idle(effects);
        all.len()
    }

    /// After a verb that spoke to tasks one by one: whoever waits for the lane
    /// to be idle may be told.
    pub(crate) fn settled_all(&mut self, effects: &mut Effects<P>) {
        self.note_idle(effects);
    }

    /// Settles everybody who waits, in the order in which they would have been
    /// served.
    fn settle_all_queued(
        &mut self,
        now: Time,
        effects: &mut Effects<P>,
        end: impl Fn(Duration) -> End,
    ) {
        let all = self.waiting();
        self.settle_each(now, &all, effects, end);
    }

    /// Everybody who waits, in the order in which they would be served; then
    /// those who sleep or are put off, and those at the door.
    pub(crate) fn waiting(&self) -> Vec<Key> {
        let queued = self.queue.in_order(&self.tasks);
        let queued = queued
            .into_iter()
            .filter_map(|index| self.tasks.key_at(index));
        let at_door = |(_, record): &(Key, &Record<P>)| record.state == State::AtDoor;
        let asleep = self
            .tasks
            .iter()
            .filter(|(_, record)| matches!(record.state, State::Asleep | State::Quiet { .. }))
            .map(|(key, _)| key);
        let mut at_door: Vec<Key> = self
            .tasks
            .iter()
            .filter(at_door)
            .map(|(key, _)| key)
            .collect();
        at_door.sort_unstable_by_key(|key| key.seq);
        queued.chain(asleep).chain(at_door).collect()
    }

    fn settle_each(
        &mut self,
        now: Time,
        waiters: &[Key],
        effects: &mut Effects<P>,
        end: impl Fn(Duration) -> End,
    ) {
        let now = self.advance(now);
        for key in waiters {
            if let Some(record) = self.tasks.get(*key)
                && record.state.waits()
            {
                let end = end(now.since(record.place.since));
                self.settle_queued(now, *key, end, effects);
            }
        }
    }

    /// One waiter is told that it will not run.
    pub(super) fn settle_queued(
        &mut self,
        now: Time,
        key: Key,
        end: End,
        effects: &mut Effects<P>,
    ) {
        let Some(record) = self.tasks.get(key) else {
            return;
        };
        let task = record.is_task();
        let end = match end {
            // There is no task to hand back.
            End::Returned { waited } if !task => Leftover::Cancel.end(waited),
            end => end,
        };
        self.note_settled(now, key, end);
        let Some(record) = self.tasks.get(key) else {
            return;
        };
        if record.state == State::Queued {
            self.queue.remove(&mut self.tasks, key.index);
        } else {
            self.leave(key);
        }
        if let Some(gone) = self.forget(key) {
            self.tally.ended += u64::from(task);
            effects.push(Effect::Settle {
                task: gone.payload,
                end,
            });
        }
    }

    /// Settles a waiter for a reason of the shell's, or one whose grant the
    /// shell has taken back.
    /// The dispatch follows when all of them are settled.
    pub(crate) fn withdraw(&mut self, now: Time, key: Key, end: End, effects: &mut Effects<P>) {
        match self.tasks.get(key).map(|record| record.state) {
            Some(state) if state.waits() => {}
            Some(State::Granted) => self.vacate(key),
            _ => return,
        }
        self.settle_queued(now, key, end, effects);
    }

    /// [`withdraw`](Self::withdraw) of one, and what follows from it.
    pub(crate) fn call_off(&mut self, now: Time, key: Key, end: End, effects: &mut Effects<P>) {
        let now = self.advance(now);
        self.withdraw(now, key, end, effects);
        self.dispatch(now, effects);
        self.note_idle(effects);
    }

    /// Ends one task, wherever it is. `withdrawn` says that the shell took
    /// back an unclaimed grant, so that the task never ran. False if it is
    /// past ending.
    #[expect(
        clippy::too_many_arguments,
        reason = "one input of the state machine, with everything it is decided from"
    )]
    pub(crate) fn cancel(
        &mut self,
        now: Time,
        key: Key,
        reason: Reason,
        withdrawn: bool,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) -> bool {
        let now = self.advance(now);
        let Some(record) = self.tasks.get(key) else {
            return false;
        };
        let waited = now.since(record.place.since);
        let queued = match reason {
            // It never began: it is handed back like whoever waited at that moment.
            Reason::Draining | Reason::Shutdown => self.too_late(waited),
            _ => None,
        };
        let queued = queued.unwrap_or(End::CancelledQueued { reason, waited });
        let elapsed = now.since(record.started);
        match record.state {
            state if state.waits() || withdrawn && state == State::Placed => {
                self.settle_queued(now, key, queued, effects);
                self.let_in(now, effects);
            }
            State::Granted if withdrawn => {
                self.vacate(key);
                self.settle_queued(now, key, queued, effects);
                self.dispatch(now, effects);
            }
            state if state.goes_on() || state == State::Detached => {
                let end = End::Cancelled { reason, elapsed };
                self.end_active(now, key, end, spec, facts, effects);
            }
            State::Asked { .. }
            | State::Dropping { .. }
            | State::Teardown { .. }
            | State::Delivering { .. } => {}
            // The reservation is its holder's.
            _ => return false,
        }
        self.note_idle(effects);
        true
    }

    /// The caller of one that runs is told, and a slot stays held: its runner cannot
    /// be stopped.
    pub(crate) fn tell(&mut self, now: Time, key: Key, end: End, effects: &mut Effects<P>) {
        if let Some(record) = self.tasks.get_mut(key)
            && !std::mem::replace(&mut record.say().told, true)
        {
            let (task, holds) = (record.payload.clone(), record.state.holds_slot());
            self.note(now, key, || What::Settled {
                end: What::boxed(end),
                panicked: false,
                holds,
                ran: Span::ENDLESS,
            });
            effects.push(Effect::Settle { task, end });
        }
    }

    /// Takes a slot for a reset, past every bound; the dispatch follows when
    /// all of them are free.
    pub(crate) fn reset_one(
        &mut self,
        now: Time,
        key: Key,
        withdrawn: bool,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) -> bool {
        let now = self.advance(now);
        let Some(record) = self.tasks.get_mut(key) else {
            return false;
        };
        let end = End::Cancelled {
            reason: Reason::Reset,
            elapsed: now.since(record.started),
        };
        if withdrawn && record.state == State::Granted {
            let waited = now.since(record.place.since);
            let reason = Reason::Reset;
            self.vacate(key);
            let end = End::CancelledQueued { reason, waited };
            self.settle_queued(now, key, end, effects);
            return false;
        }
        if !record.state.holds_slot() {
            return false;
        }
        if record.end().is_none() {
            record.set_end(end);
        }
        self.take_slot(now, key, false, facts, effects).is_some()
    }

    /// The operator vouches for it: the orphan is not counted any more. One whose caller
    /// waits for its answer is not forgotten, since nobody else would tell it (S7).
    pub(crate) fn forget_orphan(&mut self, key: Key) -> Option<P> {
        let record = self.tasks.get(key)?;
        if record.state != State::Orphan {
            return None;
        }
        self.orphans -= 1;
        self.note_untimed(key, || What::OrphanForgotten);
        self.forget(key).map(|gone| gone.payload)
    }

    /// Whether somebody of this priority is in the queue.
    pub(crate) const fn has_waiting(&self, priority: Priority) -> bool {
        self.queue.count(priority) > 0
    }

    /// A waiter becomes more urgent, at the place in line that it has. False if
    /// it does not wait, or is as urgent. O(log n).
    pub(crate) fn raise(&mut self, key: Key, priority: Priority) -> bool {
        let Some(record) = self.tasks.get_mut(key) else {
            return false;
        };
        if !record.state.waits() || record.priority <= priority {
            return false;
        }
        let queued = record.state == State::Queued;
        if queued {
            self.queue.remove(&mut self.tasks, key.index);
        }
        if let Some(record) = self.tasks.get_mut(key) {
            record.priority = priority;
            self.note_untimed(key, || What::Raised { priority });
        }
        if queued {
            self.queue.push(&mut self.tasks, key.index);
        }
        true
    }

    /// Makes sure that the task is looked at no later than `at`.
    pub(crate) fn look_by(&mut self, key: Key, at: Time) {
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        if record.state.goes_on() || record.state == State::Detached {
            // It may be for a moment at which it is due, and is late from then on.
            record.take_back(|said| said.next_look = said.next_look.min(at));
            self.timers.set_earlier(&mut self.tasks, key.index, at);
        }
    }

    fn settle_leftovers(&mut self, now: Time, queued: Leftover, effects: &mut Effects<P>) {
        self.settle_all_queued(now, effects, |waited| queued.end(waited));
    }

    /// How a grant ends that was withdrawn after everybody who waited was
    /// settled: nobody would settle it any more (S7), and it must not start.
    pub(super) const fn too_late(&self, waited: Duration) -> Option<End> {
        match self.mode {
            Mode::Shutdown => Some(End::Shutdown { waited }),
            Mode::Draining {
                deadline: None,
                queued,
                ..
            } => Some(queued.end(waited)),
            _ => None,
        }
    }
}

impl Leftover {
    /// How a waiter ends whose drain is over.
    const fn end(self, waited: Duration) -> End {
        match self {
            Self::Cancel => End::CancelledQueued {
                reason: Reason::Draining,
                waited,
            },
            // Those that were to run and had no time to are handed back rather
            // than lost.
            Self::Run | Self::Return => End::Returned { waited },
        }
    }
}
