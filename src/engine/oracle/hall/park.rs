//! Tasks that wait for somebody, and come back for the slots that they gave up.

use std::time::Duration;

use super::super::model::{Comer, Model};
use super::super::sim::{Event, Token, plain};
use super::deeds::Which;
use super::{Hall, Known};
use crate::engine::*;

impl Hall {
    /// A holder waits for somebody, with its slot or without.
    pub(super) fn park(&mut self, which: Which, leaves: bool, limit: Duration) {
        let active = |token: &Token| {
            let active = matches!(self.state(*token), Some(State::Granted | State::Running));
            active && self.is_task(*token)
        };
        let holders = |lane: &Model| lane.holders().filter(active).collect();
        let Some(token) = self.model.pick(which, holders) else {
            return;
        };
        let (index, key) = self.whereabouts(token);
        if leaves {
            self.released(index, token, false);
            self.away.push(token);
        }
        let until = self.now + limit;
        let parked = self.act(index, |lane, now, effects| {
            assert!(!leaves || lane.may_leave().is_ok(), "nobody set a bound");
            lane.park(now, key, until, leaves, effects)
        });
        assert!(parked, "{token} was active");
    }

    /// What one waited for is there: its clocks go on, or it comes for a slot.
    pub(super) fn come_back(&mut self, which: Which) {
        let parked = |token: &Token| self.state(*token).is_some_and(State::is_parked);
        let rooms = self.model.rooms.iter();
        let holders = rooms.flat_map(|room| room.lane.holders());
        let all = holders.chain(self.away.iter().copied()).filter(parked);
        let all: Vec<Token> = all
            .filter(|token| self.tasks[*token as usize].stand_in.is_none())
            .collect();
        let Some(at) = usize::from(which).checked_rem(all.len()) else {
            return;
        };
        let (index, key) = self.whereabouts(all[at]);
        if self.away.contains(&all[at]) {
            self.act(index, |lane, now, _| lane.stop_waiting(now, key));
            self.send(index, all[at]);
        } else {
            self.act(index, |lane, now, _| lane.unpark(now, key));
        }
    }

    /// A stand-in comes for a slot, to the place in line that its task had.
    fn send(&mut self, index: usize, token: Token) {
        let key = self.whereabouts(token).1;
        let task = self.seats[index].lane.record(key).expect("it is parked");
        let (priority, place) = (task.priority, task.place);
        let mut stand_in = self.newcomer(index, priority, part());
        let (of_its_own, spec) = (
            stand_in.seq,
            Spec {
                priority,
                ..plain()
            },
        );
        // It may have come back this very moment, and then it is in front of itself.
        if (place.since, place.seq) < (self.now, stand_in.seq) {
            stand_in.seq = place.seq;
            stand_in.entry.waited = self.now.since(place.since);
        }
        let right = self.model.entered(index).arrive(self.now, &stand_in);
        let came = self.act(index, |lane, now, _| {
            lane.submit_back(now, stand_in.token, &spec, part(), key)
        });
        let stand_in = Comer {
            seq: of_its_own,
            ..stand_in
        };
        assert!(self.accepted(index, &stand_in, right, came), "S7");
        self.tasks[token as usize].stand_in = Some(stand_in.token);
        self.tasks[stand_in.token as usize].stands_for = Some(token);
    }

    /// A stand-in hands its slot over, if its task is still to have it.
    pub(super) fn take_over(&mut self, which: Which) {
        let granted = |token: &Token| {
            let stand_in = self.tasks[*token as usize].stand_in;
            let state = stand_in.and_then(|stand_in| self.state(stand_in));
            matches!(state, Some(State::Granted | State::Running))
        };
        let all: Vec<Token> = self.away.iter().copied().filter(granted).collect();
        let Some(at) = usize::from(which).checked_rem(all.len()) else {
            return;
        };
        let token = all[at];
        let stand_in = self.tasks[token as usize].stand_in.expect("it has one");
        let parked = self.state(token).is_some_and(State::is_parked);
        let ((index, key), of) = (self.whereabouts(token), self.whereabouts(stand_in).1);
        let gone = if parked {
            self.model.rooms[index].lane.rename(stand_in, token);
            self.away.retain(|away| *away != token);
            self.tasks[token as usize].stand_in = None;
            Some(stand_in)
        } else {
            None
        };
        let came = self.act(index, |lane, _, _| lane.come_back(key, of));
        assert_eq!(came, gone, "S2: whose slot it is");
        if parked {
            self.act(index, |lane, now, _| lane.unpark(now, key));
        } else {
            self.let_go(Some(stand_in), false);
        }
    }

    /// One that has no slot is dropped.
    pub(super) fn forsake(&mut self, which: Which) {
        let Some(at) = usize::from(which).checked_rem(self.away.len()) else {
            return;
        };
        let token = self.away[at];
        self.let_go(self.tasks[token as usize].stand_in, false);
        self.let_go(Some(token), false);
    }

    /// Whoever waited or held a slot does so no more.
    pub(super) fn released(&mut self, index: usize, task: Token, completed: bool) {
        self.saw(index, &Event::Released { task, completed });
        self.away.retain(|away| *away != task);
        self.is_gone(task);
    }

    /// Nobody stands in for its task any more.
    pub(super) fn is_gone(&mut self, token: Token) {
        if let Some(task) = self.tasks[token as usize].stands_for {
            self.tasks[task as usize].stand_in = None;
        }
    }

    /// Neither for a place to be kept nor for the slot of another.
    pub(super) fn is_task(&self, token: Token) -> bool {
        let Known {
            keeps, stands_for, ..
        } = self.tasks[token as usize];
        !keeps && stands_for.is_none()
    }

    pub(super) fn state(&self, token: Token) -> Option<State> {
        let (index, key) = self.whereabouts(token);
        self.seats[index]
            .lane
            .record(key)
            .map(|record| record.state)
    }

    pub(super) fn whereabouts(&self, token: Token) -> (usize, Key) {
        let known = &self.tasks[token as usize];
        (known.lane, known.key)
    }
}

/// How a stand-in comes: nothing but a shutdown refuses it.
const fn part() -> Entry {
    Entry {
        present: true,
        at_once: false,
        descendant: false,
        part: true,
        waited: Duration::ZERO,
        if_full: IfFull::Enter,
    }
}
