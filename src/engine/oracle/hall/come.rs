//! How a task comes to a lane.

use std::time::Duration;

use super::super::model::{Comer as Newcomer, Model};
use super::super::sim::{Event, Token, plain};
use super::deeds::{self, Comer, Which};
use super::drive::facts;
use super::{Hall, Known};
use crate::engine::*;

/// Few, so that many have the same.
const KEYS: Token = 3;

impl Hall {
    pub(super) fn submit(&mut self, index: usize, comer: Comer) {
        let newcomer = self.comer(index, comer);
        let right = self.model.entered(index).arrive(self.now, &newcomer);
        let spec = spec(&newcomer);
        let came = self.act(index, |lane, now, _| {
            lane.submit(now, newcomer.token, &spec, newcomer.entry)
        });
        self.accepted(index, &newcomer, right, came);
    }

    /// A task comes for a place that was kept for it.
    pub(super) fn spend(&mut self, which: Which, comer: Comer) {
        let Some(kept) = self.model.pick(which, |lane| lane.keepers().collect()) else {
            return;
        };
        let index = self.tasks[kept as usize].lane;
        let mut newcomer = self.comer(index, comer);
        newcomer.entry.if_full = IfFull::Enter;
        let model = self.model.entered(index);
        model.spend(kept);
        let right = model.arrive(self.now, &newcomer);
        model.let_in();
        let (spec, key) = (spec(&newcomer), self.tasks[kept as usize].key);
        let (came, reserved) = self.act(index, |lane, now, effects| {
            let Newcomer { token, entry, .. } = newcomer;
            lane.submit_for(now, token, &spec, entry, key, effects)
        });
        assert_eq!(reserved, Some(kept), "S2: its place");
        self.accepted(index, &newcomer, right, came);
    }

    pub(super) fn reserve(&mut self, index: usize, comer: Comer) {
        let newcomer = self.comer(index, comer);
        let model = self.model.entered(index);
        let right = model.arrive_for_a_place(self.now, &newcomer);
        let spec = spec(&newcomer);
        let came = self.act(index, |lane, now, _| {
            lane.reserve(now, newcomer.token, &spec, newcomer.entry)
        });
        assert_eq!(came.map(|(_, placed)| placed), right, "who has a place");
        if let Ok((key, placed)) = came {
            self.know(index, key, &newcomer);
            self.tasks[newcomer.token as usize].keeps = true;
            if placed {
                self.saw(index, &Event::Placed(newcomer.token));
            }
        }
    }

    /// A task comes that is not to be served yet.
    pub(super) fn put_off(&mut self, index: usize, comer: Comer, window: u8) {
        let newcomer = self.comer(index, comer);
        let right = self.model.entered(index).put_off(self.now, &newcomer);
        let (spec, window) = (spec(&newcomer), span(window));
        let came = self.act(index, |lane, now, _| {
            lane.submit_quiet(now, newcomer.token, &spec, newcomer.entry, window)
        });
        let right = right.map(|()| false);
        if self.accepted(index, &newcomer, right, came) {
            let until = self.now + window;
            self.tasks[newcomer.token as usize].quiet_until = Some(until);
        }
    }

    /// It is asked for again.
    pub(super) fn prolong(&mut self, which: Which, window: u8) {
        let asked = |lane: &Model| -> Vec<Token> {
            let waiters = lane.tasks_that_wait().map(|waiter| waiter.token);
            lane.put_off_tasks().chain(waiters).collect()
        };
        let Some(token) = self.model.pick(which, asked) else {
            return;
        };
        if !self.is_task(token) {
            return;
        }
        let window = span(window);
        let known = &mut self.tasks[token as usize];
        let until = (self.now + window).min(known.enqueued + window * 10);
        let (index, key) = (known.lane, known.key);
        if let Some(before) = &mut known.quiet_until {
            *before = until.max(*before);
        } else if self.now < until && self.model.rooms[index].lane.put_off_again(token) {
            known.quiet_until = Some(until);
        }
        self.act(index, |lane, now, effects| {
            lane.prolong(now, key, window, effects);
        });
    }

    /// A task comes in the place of one, and of those beside it that have its key.
    pub(super) fn supersede(&mut self, which: Which, comer: Comer) {
        let tasks = |lane: &Model| -> Vec<Token> {
            let all = lane.waiters().chain(lane.holders());
            all.filter(|token| self.is_task(*token)).collect()
        };
        let Some(one) = self.model.pick(which, tasks) else {
            return;
        };
        let index = self.tasks[one as usize].lane;
        let model = &self.model.rooms[index].lane;
        let mut older = tasks(model);
        older.retain(|token| token % KEYS == one % KEYS);
        let waiters = older.iter().copied().filter(|token| model.waits(*token));
        let waiters: Vec<Token> = waiters.collect();
        let comer = Comer {
            at_once: false,
            ..comer
        };
        let newcomer = self.comer(index, comer);
        let model = self.model.entered(index);
        let right = model.arrive_instead(self.now, newcomer, &older);
        if right.is_ok() {
            self.to_settle = waiters;
        }
        let keys = older.iter().map(|token| self.tasks[*token as usize].key);
        let (spec, keys) = (spec(&newcomer), keys.collect::<Vec<Key>>());
        let came = self.act(index, |lane, now, effects| {
            let Newcomer { token, entry, .. } = newcomer;
            let older = Older::These(&keys);
            let (came, holders) = lane.submit_instead(now, token, &spec, entry, older, effects)?;
            let reason = Reason::Superseded;
            for key in holders {
                lane.cancel(now, key, reason, false, &plain(), &facts(), effects);
            }
            Ok(came)
        });
        self.accepted(index, &newcomer, right, came);
    }

    fn comer(&self, index: usize, comer: Comer) -> Newcomer {
        let present = self.tasks.len().is_multiple_of(2);
        self.newcomer(index, deeds::priority(comer.priority), comer.entry(present))
    }

    pub(super) fn newcomer(&self, index: usize, priority: Priority, entry: Entry) -> Newcomer {
        let token = Token::try_from(self.tasks.len()).expect("few tasks");
        let seat = &self.seats[index];
        let own = seat.lane.tasks.next_seq();
        let of_all = seat.member.map_or(0, |_| self.group.next_seq());
        Newcomer {
            token,
            seq: own.max(of_all),
            priority,
            entry,
        }
    }

    /// Whether it is what had to become of a newcomer, and whether it was taken.
    pub(super) fn accepted(
        &mut self,
        index: usize,
        newcomer: &Newcomer,
        right: Result<bool, Refused>,
        came: Result<Accepted, Refused>,
    ) -> bool {
        let nameless = |refused| match refused {
            Refused::NoSlot { .. } => Refused::NoSlot { holder: None },
            refused => refused,
        };
        let started = came.map(|came| matches!(came, Accepted::Started { .. }));
        let token = newcomer.token;
        assert_eq!(
            started.map_err(nameless),
            right,
            "S1, S5: whether {token} starts"
        );
        if let Ok(Accepted::Started { key, .. } | Accepted::Queued { key }) = came {
            self.know(index, key, newcomer);
        }
        if let Ok(Accepted::Started { fence, .. }) = came {
            self.seats[index].ledger.grant(token, fence);
        }
        came.is_ok()
    }

    fn know(&mut self, lane: usize, key: Key, newcomer: &Newcomer) {
        assert_eq!(key.seq, newcomer.seq, "S6: its number");
        self.tasks.push(Known {
            lane,
            key,
            keeps: false,
            stands_for: None,
            stand_in: None,
            enqueued: self.now,
            quiet_until: None,
        });
    }
}

fn spec(newcomer: &Newcomer) -> Spec {
    Spec {
        priority: newcomer.priority,
        ..plain()
    }
}

fn span(window: u8) -> Duration {
    Duration::from_secs(1 + u64::from(window % 20))
}
