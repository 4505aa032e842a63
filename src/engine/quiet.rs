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

    /// It was asked for again: the window begins anew.
    pub(crate) fn prolong(&mut self, now: Time, key: Key, window: Duration) {
        let now = self.advance(now);
        if let Some(record) = self.tasks.get_mut(key)
            && let State::Quiet { until } = &mut record.state
        {
            // The moment that was set comes first, and finds the later one.
            let last = record.enqueued + window * MOST;
            *until = (now + window).min(last).max(*until);
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
