//! Tasks that wait for somebody, and may have given their slot back meanwhile.
//!
//! The clocks of a parked task stand still for as long as it waits for somebody.
//! One that gave its slot back comes for another with a waiter of its own, a
//! *stand-in*, which then hands over what it was granted; so whatever holds for
//! waiters holds for it.

use std::time::Duration;

use super::effects::{Effect, Effects};
use super::entry::{Accepted, Entry, Line, Refused};
use super::fact::What;
use super::lane::{Lane, Mode};
use super::slab::Key;
use super::task::{Facts, Spec, State};
use super::time::Time;

impl<P: Clone> Lane<P> {
    /// Counts one more task that may give its slot back, or says how many may.
    /// Taken back by [`keep_slot`](Self::keep_slot), or in the end by whatever
    /// ends the parking.
    pub(crate) fn may_leave(&mut self) -> Result<(), usize> {
        let most = self.settings.max_parked.unwrap_or(usize::MAX);
        if self.parked >= most {
            return Err(most);
        }
        self.parked += 1;
        Ok(())
    }

    /// It gives nothing back after all.
    pub(crate) fn keep_slot(&mut self, effects: &mut Effects<P>) {
        self.parked -= 1;
        self.note_idle(effects);
    }

    /// Its clocks stand still from now on, and the limit runs. `leaves` says
    /// that it gives its slot back, for which it was counted. False if it is
    /// past that: not active, or asked to end.
    pub(crate) fn park(
        &mut self,
        now: Time,
        key: Key,
        until: Time,
        leaves: bool,
        effects: &mut Effects<P>,
    ) -> bool {
        let now = self.advance(now);
        let Some(record) = self.tasks.get_mut(key) else {
            return false;
        };
        if !matches!(record.state, State::Granted | State::Running) {
            return false;
        }
        record.state = State::Parked { until };
        record.late.get_or_insert_default().still_since = now;
        self.note(now, key, || What::Parked {
            what: None,
            until,
            leaves,
        });
        if leaves {
            self.vacate(key);
            if let Some(record) = self.tasks.get_mut(key) {
                record.away = true;
            }
        }
        // It may have a deadline before that, for which it is looked at already.
        self.timers.set_earlier(&mut self.tasks, key.index, until);
        if leaves {
            self.dispatch(now, effects);
            self.note_idle(effects);
        }
        true
    }

    /// It waits for nobody any more. One that kept its slot is active again, and
    /// waits for our lanes if it has others to come back to; one without is on its
    /// way back, and its clocks go on: whoever does not come back is told so (S7).
    pub(crate) fn stop_waiting(&mut self, now: Time, key: Key) {
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        if !record.away {
            self.unpark(now, key);
        } else if let State::Parked { .. } = record.state {
            record.state = State::ComingBack;
            record.go_on(now);
            self.look_at(key, Some(now));
        }
    }

    /// Its limit has passed.
    pub(super) fn outwait(&mut self, now: Time, key: Key, effects: &mut Effects<P>) {
        let Some(record) = self.tasks.get(key) else {
            return;
        };
        let task = record.payload.clone();
        self.note(now, key, || What::Outwaited);
        self.stop_waiting(now, key);
        effects.push(Effect::Outwaited { task });
    }

    /// It has its slot: its clocks go on from where they stood.
    pub(crate) fn unpark(&mut self, now: Time, key: Key) {
        let now = self.advance(now);
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        if record.state.is_parked() && !record.away {
            record.state = State::Running;
            record.go_on(now);
            self.look_at(key, Some(now));
            self.note(now, key, || What::Unparked);
        }
    }

    /// A stand-in comes for a slot, to the place in line that its task had when
    /// it came first: ahead of everybody who came later. Only a shutdown
    /// refuses it.
    pub(crate) fn submit_back(
        &mut self,
        now: Time,
        stand_in: P,
        spec: &Spec,
        entry: Entry,
        task: Key,
    ) -> Result<Accepted, Refused> {
        let place = self.tasks.get(task).map(|record| record.place);
        let (Some(place), false) = (place, self.mode == Mode::Shutdown) else {
            return Err(Refused::Shutdown);
        };
        let accepted = self.take_in(now, stand_in, spec, entry, Line::At(place))?;
        self.tally.submitted -= 1;
        let key = accepted.key();
        if let Some(record) = self.tasks.get_mut(key) {
            record.stands_in = true;
        }
        Ok(accepted)
    }

    /// A stand-in hands its slot over and goes. `None` if its task is gone, or
    /// on its way.
    pub(crate) fn come_back(&mut self, key: Key, stand_in: Key) -> Option<P> {
        let holder = self.tasks.get(stand_in).filter(|record| {
            record.stands_in && matches!(record.state, State::Granted | State::Running)
        })?;
        let holder = holder.holder;
        let record = self.tasks.get_mut(key)?;
        if !record.away || !record.state.is_parked() {
            return None;
        }
        record.away = false;
        record.holder = holder;
        self.parked -= 1;
        self.holders[holder as usize] = key;
        self.note_untimed(stand_in, || What::Left);
        self.note_untimed(key, || What::Regained);
        self.forget(stand_in).map(|gone| gone.payload)
    }

    /// It is to come for a slot no more.
    pub(super) fn forget_parking(&mut self, key: Key) {
        if let Some(record) = self.tasks.get_mut(key) {
            self.parked -= usize::from(std::mem::take(&mut record.away));
        }
    }

    /// How many gave their slot back, and are to come for another.
    pub(crate) const fn parked(&self) -> usize {
        self.parked
    }
}

impl<P> super::task::Record<P> {
    /// Its clocks go on, if they stood still.
    pub(super) fn go_on(&mut self, now: Time) {
        let late = self.late.get_or_insert_default();
        late.stood += now.since(late.still_since);
        late.still_since = Time::FAR;
        late.back = now;
    }

    /// When its clocks last went on after they had stood still, or it started.
    pub(crate) fn went_on(&self) -> Time {
        let late = self.late.as_deref();
        late.map_or(self.started, |late| self.started.max(late.back))
    }

    /// When it was last known to move. Coming back is such a sign, whether or
    /// not its runner has been there to give one: the time that it was parked
    /// is no silence of its own.
    pub(super) fn last_sign(&self, facts: &Facts) -> Time {
        facts.active_at.max(self.begun()).max(self.went_on())
    }

    /// Since when it has been active, the times not counted in which its clocks
    /// stood still.
    pub(crate) fn begun(&self) -> Time {
        let stood = self
            .late
            .as_deref()
            .map_or(Duration::ZERO, |late| late.stood);
        self.started + stood
    }
}
