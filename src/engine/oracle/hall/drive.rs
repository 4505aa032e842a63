//! The driving contract of a group, kept to the letter; see `engine::group`.

use std::time::Duration;

use super::super::sim::{Event, Token, plain};
use super::{Hall, Look};
use crate::engine::*;

/// What is read of any task here: its runner comes at once.
pub(super) fn facts() -> Facts {
    Facts {
        claimed: true,
        ..Facts::default()
    }
}

impl Hall {
    /// One input to one lane, and whoever is served after it.
    pub(super) fn act<R>(
        &mut self,
        index: usize,
        input: impl FnOnce(&mut Lane<Token>, Time, &mut Effects<Token>) -> R,
    ) -> R {
        let seat = &mut self.seats[index];
        let mut effects = Effects::new();
        let member = seat.member;
        if let Some(member) = member {
            self.group.enter(member, &mut seat.lane);
        }
        let output = input(&mut seat.lane, self.now, &mut effects);
        if let Some(member) = member {
            self.group.leave(member, &seat.lane);
        }
        self.arm(index);
        let granted = self.heard(index, &effects);
        let first = if member.is_some() {
            assert_eq!(granted, None, "only the group serves a waiter");
            self.serve()
        } else {
            granted
        };
        if member.is_some() && effects.reports_reclaim() {
            let lane = &mut self.seats[index].lane;
            self.group.verify(lane, first, &mut effects);
        }
        self.reclaimed(index, first, &effects);
        output
    }

    /// Says who was first.
    pub(super) fn serve(&mut self) -> Option<Token> {
        let mut first = None;
        while let Some((member, index)) = self.group.next(self.now) {
            assert!(self.group.is_owing());
            let mut effects = Effects::new();
            let lane = &mut self.seats[index].lane;
            let told = self.group.visit(self.now, member, lane, &mut effects);
            let told = told
                .and_then(|key| lane.record(key))
                .map(|record| record.payload);
            self.arm(index);
            if let Some(token) = told {
                self.model.check_next(index, token, self.now);
            }
            assert_eq!(self.heard(index, &effects), told);
            first = first.or(told);
        }
        first
    }

    /// The driver comes whenever it was told to.
    pub(super) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        let mut visits = 0;
        while let Some((at, index)) = self.next_alarm()
            && at <= until
        {
            visits += 1;
            assert!(visits < 10_000, "the driver spins");
            self.now = self.now.max(at);
            self.seats[index].alarm = None;
            self.act(index, |lane, now, effects| {
                lane.watch_over(effects);
                lane.tick(now, effects);
            });
            for look in std::mem::take(&mut self.looks) {
                self.look(look);
            }
            if self.next_alarm().is_none_or(|(at, _)| at > self.now) {
                self.check();
            }
        }
        self.now = until;
    }

    fn next_alarm(&self) -> Option<(Time, usize)> {
        let seats = self.seats.iter().enumerate();
        let alarms = seats.filter_map(|(index, seat)| Some((seat.alarm?, index)));
        alarms.min()
    }

    fn look(&mut self, look: Look) {
        let (index, key, token) = match look {
            Look::Task(index, key, token) => (index, key, token),
            Look::Holders(index) => {
                let seen = Holders {
                    active_at: Some(self.now),
                    root_speaks: false,
                };
                self.act(index, |lane, now, _| lane.judge_blocked(now, seen));
                return;
            }
        };
        let until = &mut self.tasks[token as usize].quiet_until;
        if until.is_some_and(|at| at <= self.now) {
            *until = None;
            self.saw(index, &Event::Entered(token));
        }
        let verdict = self.act(index, |lane, now, effects| {
            lane.judge(now, key, &plain(), &facts(), effects)
        });
        match verdict {
            Verdict::Nothing => {}
            Verdict::Unclaim | Verdict::CallOff { .. } => unreachable!("its runner has come"),
            Verdict::Take { .. } => self.take(token),
            Verdict::Over { .. } => unreachable!("none is detached"),
        }
    }

    fn arm(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        seat.ledger.read(&mut seat.lane);
        if let Some(at) = seat.lane.rearm() {
            seat.alarm = Some(at);
        }
    }

    pub(super) fn saw(&mut self, index: usize, event: &Event) {
        self.model.rooms[index].lane.saw(self.now, event);
    }

    /// Everything that a lane had carried out; says who was served first.
    fn heard(&mut self, index: usize, effects: &Effects<Token>) -> Option<Token> {
        let mut first = None;
        for effect in effects.iter() {
            match *effect {
                Effect::Grant(ref grant) => {
                    self.model.grant(index, grant.task, self.now);
                    self.seats[index].ledger.grant(grant.task, grant.fence);
                    first.get_or_insert(grant.task);
                }
                Effect::Place { task } => self.saw(index, &Event::Placed(task)),
                Effect::Settle { task, end } => {
                    let to_settle = self.to_settle.iter().position(|token| *token == task);
                    self.to_settle
                        .swap_remove(to_settle.expect("S4: nobody was to be told"));
                    self.saw(index, &Event::Settled(task, end));
                    self.is_gone(task);
                }
                Effect::Report(ref notice @ Notice::Lapsed { .. }) => {
                    self.saw(index, &Event::Notice(notice.clone()));
                }
                Effect::Inspect { key, task } => self.looks.push(Look::Task(index, key, task)),
                Effect::Overlooked { task } => panic!("S5: {task} could have had a slot"),
                Effect::InspectHolders => self.looks.push(Look::Holders(index)),
                _ => {}
            }
        }
        first
    }

    /// S17: what is said of a reclaim is what it came to.
    fn reclaimed(&mut self, index: usize, first: Option<Token>, effects: &Effects<Token>) {
        let recovery = effects.iter().find_map(|effect| match effect {
            Effect::Report(Notice::Reclaimed { recovery, .. }) => Some(recovery),
            _ => None,
        });
        assert_eq!(effects.reports_reclaim(), recovery.is_some());
        if let Some(recovery) = recovery {
            let right = self.model.recovery(index, first);
            assert_eq!(*recovery, right, "S17");
            let seat = &mut self.seats[index];
            match right {
                Recovery::Dispatched(_) => seat.recovered += 1,
                Recovery::StillBlocked(_) => seat.ineffective += 1,
                Recovery::NobodyWaiting => {}
            }
        }
    }
}
