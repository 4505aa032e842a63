//! Before the queue: who waits for a place in it, and the places that are kept
//! for somebody.
//!
//! Whoever finds the queue full waits at the door, in order of arrival, if it
//! came to wait. Two things hold whenever nothing is under way: while a slot is
//! free, no task is at the door; while a place is free, nobody is.

use super::effects::{Effect, Effects, Notice};
use super::entry::{Accepted, Entry, IfFull, Line, Refused};
use super::fact::What;
use super::lane::{Lane, count};
use super::queue::{First, Place, Priority, Queue};
use super::slab::{Key, Slab};
use super::task::{CLAIM, KEEPERS, KEPT, Record, Spec, State, TASKS};
use super::time::Time;

/// There is one only while somebody is at it, or a place is kept.
#[derive(Debug)]
pub(crate) struct Door {
    pub(super) waiting: Queue,
    pub(super) kept: usize,
}

impl Door {
    pub(super) const fn new() -> Self {
        Self {
            waiting: Queue::new(),
            kept: 0,
        }
    }

    /// Who goes in next, if there is a place.
    fn next<P>(&self, tasks: &Slab<Record<P>>) -> Option<u32> {
        let front = |list: Priority| self.waiting.front(tasks, list as usize);
        let (task, keeper) = (front(TASKS), front(KEEPERS));
        let first = match (task, keeper) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        first.map(|(_, index)| index)
    }
}

impl<P: Clone> Lane<P> {
    /// Tasks that wait, in the queue or at the door.
    #[inline]
    pub(crate) fn waiters(&self) -> usize {
        self.queue.len() + self.at_door()
    }

    /// Tasks at the door.
    #[inline]
    pub(crate) fn at_door(&self) -> usize {
        let tasks = |door: &Door| door.waiting.count(TASKS);
        self.door.as_deref().map_or(0, tasks)
    }

    /// Places that are kept for somebody.
    #[inline]
    pub(crate) fn kept(&self) -> usize {
        self.door.as_deref().map_or(0, |door| door.kept)
    }

    /// Places that are taken, the kept ones included.
    #[inline]
    pub(crate) fn places_taken(&self) -> usize {
        self.queue.len() + self.kept()
    }

    /// The same, were everybody at the door let in.
    pub(crate) fn places_wanted(&self) -> usize {
        let at_door = self.door.as_deref().map_or(0, |door| door.waiting.len());
        self.places_taken() + at_door
    }

    #[inline]
    pub(super) const fn has_door(&self) -> bool {
        self.door.is_some()
    }

    /// The first task at the door, which a slot that is free is for where nobody
    /// is in the queue.
    pub(super) fn first_at_door(&self, now: Time) -> Option<First> {
        let (place, index) = self.front_at_door()?;
        let record = self.tasks.get(self.tasks.key_at(index)?)?;
        let aging = self.settings.aging;
        Some(First::alone(record.priority, place, now, aging))
    }

    pub(super) fn front_at_door(&self) -> Option<(Place, u32)> {
        let door = self.door.as_deref()?;
        door.waiting.front(&self.tasks, TASKS as usize)
    }

    /// Somebody comes who wants a place kept for a task that is yet to come.
    /// Says whether it has it.
    pub(crate) fn reserve(
        &mut self,
        now: Time,
        comer: P,
        spec: &Spec,
        entry: Entry,
    ) -> Result<(Key, bool), Refused> {
        self.admits(entry.descendant)?;
        let (capacity, queued) = (self.settings.queue_capacity, self.places_taken());
        let free = queued < capacity;
        // A queue of no places never has one to keep.
        if !free && (capacity == 0 || entry.if_full == IfFull::Refuse) {
            return Err(Refused::QueueFull { capacity, queued });
        }
        let now = self.advance(now);
        let seq = self.tasks.next_seq();
        let place = Place { since: now, seq };
        let ahead = (self.waiters(), self.active());
        let key = self.tasks.insert(|| Record {
            state: if free { State::Placed } else { State::Queued },
            keeps: true,
            queued_ahead: count(ahead.0),
            active_ahead: count(ahead.1),
            ..Record::new(comer, spec.priority, place, now)
        });
        if free {
            self.keep(now, key);
        } else {
            self.stand_at_door(key);
            let look = now + spec.first_look_queued();
            self.timers.set(&mut self.tasks, key.index, look);
        }
        Ok((key, free))
    }

    /// A kept place is used, or passed on; what follows is
    /// [`let_in`](Self::let_in)'s. Nothing, if it had lapsed.
    fn spend(&mut self, key: Key) -> Option<P> {
        let record = self.tasks.get(key)?;
        if record.state != State::Placed {
            return None;
        }
        self.leave(key);
        self.forget(key).map(|gone| gone.payload)
    }

    /// A task comes for the place that was kept for it, whether or not it still
    /// is; its reservation is returned, if it is.
    pub(crate) fn submit_for(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        mut entry: Entry,
        kept: Key,
        effects: &mut Effects<P>,
    ) -> (Result<Accepted, Refused>, Option<P>) {
        let reserved = self.spend(kept);
        entry.if_full = IfFull::Enter;
        let accepted = self.submit_as(now, task, spec, entry, Line::Last);
        self.let_in(now, effects);
        (accepted, reserved)
    }

    pub(super) fn stand_at_door(&mut self, key: Key) {
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        record.state = State::AtDoor;
        let door = self.door.get_or_insert_with(|| Box::new(Door::new()));
        door.waiting.push(&mut self.tasks, key.index);
    }

    /// Lets in those at the door for whom there is a place (S5 at the door).
    pub(crate) fn let_in(&mut self, now: Time, effects: &mut Effects<P>) {
        while let Some(door) = &self.door
            && self.places_taken() < self.settings.queue_capacity
            && let Some(index) = door.next(&self.tasks)
        {
            self.enter(now, index, effects);
        }
    }

    /// A slot is free and nobody is in the queue: the first task at the door
    /// needs no place that stays. Says whether there was one.
    pub(super) fn let_a_task_in(&mut self, now: Time, effects: &mut Effects<P>) -> bool {
        let Some((_, index)) = self.front_at_door() else {
            return false;
        };
        self.enter(now, index, effects);
        true
    }

    fn enter(&mut self, now: Time, index: u32, effects: &mut Effects<P>) {
        let now = self.advance(now);
        if let Some(door) = &mut self.door {
            door.waiting.remove(&mut self.tasks, index);
        }
        let Some(key) = self.tasks.key_at(index) else {
            return;
        };
        if let Some(record) = self.tasks.get_mut(key) {
            if record.keeps {
                record.state = State::Placed;
                record.started = now;
                let task = record.payload.clone();
                self.keep(now, key);
                self.timers.set(&mut self.tasks, index, now + CLAIM);
                effects.push(Effect::Place { task });
            } else {
                record.state = State::Queued;
                self.queue.push(&mut self.tasks, index);
                self.note(now, key, || What::LetIn);
            }
        }
        self.close_door();
    }

    fn keep(&mut self, now: Time, key: Key) {
        let door = self.door.get_or_insert_with(|| Box::new(Door::new()));
        door.kept += 1;
        self.timers.set(&mut self.tasks, key.index, now + KEPT);
    }

    /// Takes a waiter out of wherever it waits beside the queue, and gives back a
    /// place that was kept for it.
    pub(super) fn leave(&mut self, key: Key) {
        let state = self.tasks.get(key).map(|record| record.state);
        match (state, &mut self.door) {
            (Some(State::Quiet { .. }), _) => self.quiet -= 1,
            (Some(State::AtDoor), Some(door)) => door.waiting.remove(&mut self.tasks, key.index),
            (Some(State::Placed), Some(door)) => door.kept -= 1,
            _ => return,
        }
        self.close_door();
    }

    pub(super) fn close_door(&mut self) {
        let idle = |door: &Door| door.kept == 0 && door.waiting.len() == 0;
        if self.door.as_deref().is_some_and(idle) {
            self.door = None;
        }
    }

    /// A place that is kept, and was come for: too long and it is passed on,
    /// so that a reservation that somebody forgot wedges nobody.
    pub(super) fn judge_kept(&mut self, now: Time, key: Key, effects: &mut Effects<P>) {
        let Some(record) = self.tasks.get(key) else {
            return;
        };
        let due = record.started + KEPT;
        if now < due {
            self.look_at(key, Some(due));
            return;
        }
        if let Some(task) = self.spend(key) {
            effects.report(Notice::Lapsed { task });
        }
        self.let_in(now, effects);
    }
}
