//! How a task leaves a lane, or loses what it has there.

use super::super::model::Model;
use super::super::sim::{Event, Token, plain};
use super::Hall;
use super::deeds::Which;
use super::drive::facts;
use crate::engine::*;

/// How anybody ended who was not told otherwise; here nobody asks.
const TOLD: End = End::Completed;

impl Hall {
    /// A holder or a waiter lets go.
    pub(super) fn let_go(&mut self, token: Option<Token>, completed: bool) {
        let Some(token) = token else { return };
        let (index, key) = self.whereabouts(token);
        let completed = completed && self.tasks[token as usize].stands_for.is_none();
        self.released(index, token, completed);
        self.act(index, |lane, now, effects| {
            let released = lane.release(key, completed);
            lane.note_release(now, key, &released, TOLD.into(), completed);
            if lane.has_sequel(&released) {
                lane.settle_release(now, &released, effects);
            }
        });
    }

    pub(super) fn cancel(&mut self, which: Which) {
        let rooms = self.model.rooms.iter();
        let all = rooms.flat_map(|room| room.lane.waiters().chain(room.lane.holders()));
        let all = all.chain(self.away.iter().copied());
        let is_task = |token: &Token| self.tasks[*token as usize].stands_for.is_none();
        let all: Vec<Token> = all.filter(is_task).collect();
        let Some(at) = usize::from(which).checked_rem(all.len()) else {
            return;
        };
        let token = all[at];
        let (index, key) = self.whereabouts(token);
        if self.model.rooms[index].lane.waits(token) {
            self.to_settle.push(token);
        }
        self.act(index, |lane, now, effects| {
            lane.cancel(now, key, Reason::User, false, &plain(), &facts(), effects)
        });
    }

    pub(super) fn raise(&mut self, which: Which, priority: Priority) {
        let Some(token) = self.model.pick(which, |lane| lane.waiters().collect()) else {
            return;
        };
        let (index, key) = self.whereabouts(token);
        let raised = self.model.rooms[index].lane.raise(token, priority);
        let told = self.act(index, |lane, _, _| lane.raise(key, priority));
        assert_eq!(told, raised, "S6: who is more urgent now");
    }

    /// Nobody came for what was granted.
    pub(super) fn unclaim(&mut self, which: Which) {
        let granted = |token: &Token| {
            let known = &self.tasks[*token as usize];
            let record = self.seats[known.lane].lane.record(known.key);
            record.is_some_and(|record| matches!(record.state, State::Granted | State::Placed))
        };
        let granted = |lane: &Model| {
            let all = lane.holders().chain(lane.keepers());
            all.filter(granted).collect()
        };
        let Some(token) = self.model.pick(which, granted) else {
            return;
        };
        let (index, key) = self.whereabouts(token);
        self.saw(index, &Event::Unclaimed(token));
        self.act(index, |lane, now, effects| lane.unclaim(now, key, effects));
    }

    /// Somebody came, and late.
    pub(super) fn rejoin(&mut self, which: Which) {
        let Some(token) = self.model.pick(which, |lane| lane.sleepers().collect()) else {
            return;
        };
        let (index, key) = self.whereabouts(token);
        let lane = &mut self.model.rooms[index].lane;
        if lane.comes_in_vain(token) {
            self.to_settle.push(token);
        } else {
            lane.rejoin(token);
        }
        self.act(index, |lane, now, effects| {
            lane.rejoin(now, key, &plain(), effects);
        });
    }

    pub(super) fn take_one(&mut self, which: Which) {
        let is_task = |token: &Token| self.is_task(*token);
        let holders = |lane: &Model| lane.holders().filter(is_task).collect();
        if let Some(token) = self.model.pick(which, holders) {
            self.take(token);
        }
    }

    /// A holder loses its slot, and lets go of what it holds afterwards.
    pub(super) fn take(&mut self, token: Token) {
        self.let_go(self.tasks[token as usize].stand_in, false);
        let (index, key) = self.whereabouts(token);
        if !self.away.contains(&token) {
            self.saw(index, &Event::Lost(token));
        }
        self.to_settle.push(token);
        self.act(index, |lane, now, effects| {
            lane.take(now, key, &Facts::default(), effects);
        });
        self.released(index, token, false);
        self.act(index, |lane, now, _| {
            let released = lane.release(key, false);
            lane.note_release(now, key, &released, TOLD.into(), false);
        });
    }
}
