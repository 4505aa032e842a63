//! Tasks that are not to be served before a quiet window is over.

use std::time::Duration;

use super::effects::Effects;
use super::entry::{Accepted, Entry, IfFull, Refused};
use super::fact::What;
use super::lane::{Lane, count};
use super::queue::Place;
use super::slab::Key;
use super::task::{Record, Spec, State};
use super::time::Time;

/// How many windows a task is put off at the most, so that it is served in the
/// end however often it is asked for (S7).
const MOST: u32 = 10;

impl<P: Clone> Lane<P> {
    /// A task comes that stays out of the queue for a while. It takes a place
    /// there only then, and is not refused any more: it is, where one that is not
    /// put off would be.
    pub(crate) fn submit_quiet(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        entry: Entry,
        window: Duration,
    ) -> Result<Accepted, Refused> {
        self.admits(entry.descendant)?;
        if entry.if_full != IfFull::Enter {
            self.finds_room(Entry {
                at_once: false,
                if_full: IfFull::Refuse,
                ..entry
            })?;
        }
        let now = self.advance(now);
        let place = Place {
            since: now.before(entry.waited),
            seq: self.tasks.next_seq(),
        };
        let until = now + window;
        let ahead = (self.queue.ahead(spec.priority), self.holders.len());
        self.tally.submitted += 1;
        self.quiet += 1;
        let key = self.tasks.insert(|| Record {
            state: State::Quiet { until },
            first_look: spec.first_look(),
            queued_ahead: count(ahead.0),
            active_ahead: count(ahead.1),
            ..Record::new(task, spec.priority, place, now)
        });
        let look = now + spec.first_look_queued();
        self.timers.set(&mut self.tasks, key.index, look.min(until));
        self.note(now, key, || What::PutOff { window });
        Ok(Accepted::Queued { key })
    }

    /// It was asked for again: the window begins anew. If it was over, the task
    /// leaves the queue once more, and is to come back to its place.
    pub(crate) fn prolong(
        &mut self,
        now: Time,
        key: Key,
        window: Duration,
        effects: &mut Effects<P>,
    ) {
        let now = self.advance(now);
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        let until = (now + window).min(record.enqueued + window * MOST);
        match &mut record.state {
            // The moment that was set comes first, and finds the later one.
            State::Quiet { until: before } => *before = until.max(*before),
            State::Queued if now < until && !record.stands_in => {
                self.queue.remove(&mut self.tasks, key.index);
                self.quiet += 1;
                self.set_state(key, State::Quiet { until });
                self.timers.set_earlier(&mut self.tasks, key.index, until);
                self.note(now, key, || What::PutOffAgain { window });
                self.let_in(now, effects);
            }
            _ => {}
        }
    }

    /// Its window is over: it comes to the queue, at the place of its arrival.
    pub(super) fn end_quiet(&mut self, now: Time, key: Key, spec: &Spec, effects: &mut Effects<P>) {
        self.leave(key);
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        record.state = State::Queued;
        let look = record.enqueued + spec.first_look_queued();
        self.queue.push(&mut self.tasks, key.index);
        self.look_at(key, Some(look.max(now)));
        self.note(now, key, || What::LetIn);
        self.note_waiter(now);
        self.dispatch(now, effects);
    }
}
