//! A task that is busy elsewhere: it gathers slots of other lanes, or waits for
//! somebody and comes back.

use super::book::CLAIM;
use super::life::{Life, Stage};
use super::ops::{Op, Parking, Which};
use super::sim::{Event, Token};
use super::trial::Trial;
use crate::engine::{Reason, TICK};

impl Trial {
    pub(super) fn tell_elsewhere(&mut self, op: Op) {
        let gathers = |stage| stage == Stage::Gathers;
        match op {
            Op::Gathered(which) => {
                if let Some(token) = self.pick(which, gathers) {
                    self.sim.gathered(token);
                    self.sim.check();
                }
            }
            Op::Sleeps(which) => {
                if let Some(token) = self.pick(which, gathers) {
                    let now = self.sim.now;
                    let life = self.book.life(token);
                    life.stage = Stage::Granted;
                    life.slept = now;
                    let due = life.started + CLAIM;
                    self.sim.sleeps(token);
                    // A latecomer has one tick, once (S19).
                    if now > due + TICK {
                        self.judge();
                        self.book.life(token).graced = Some(due);
                    }
                }
            }
            Op::Park(which, parking) => self.park(which, parking),
            Op::ComeBack(which, polled) => self.come_back(which, polled),
            _ => {}
        }
    }

    fn park(&mut self, which: Which, parking: Parking) {
        let Some(token) = self.pick_running(which) else {
            return;
        };
        if self.sim.facts(token).done || !self.book.life(token).is_task() {
            return;
        }
        let Parking { leaves, asked, .. } = parking;
        let now = self.sim.now;
        let until = now + self.scenario.units(1 + parking.limit % 24);
        if leaves {
            let right = self.model.may_leave();
            assert_eq!(self.sim.lane.may_leave(), right, "how many may leave");
            if right.is_err() {
                return;
            }
            self.model.leaving = true;
        }
        if asked {
            self.book.cause.reason = Some(Reason::User);
            self.sim.cancel(token, Reason::User);
            self.judge();
        }
        self.model.leaving = false;
        let parks = self.book.life(token).stage == Stage::Running;
        if parks {
            let life = self.book.life(token);
            let (since, until) = (now, Some(until));
            life.stage = Stage::Parked { since, until };
            life.away = leaves;
            if leaves {
                self.model.leave(token);
                self.quiet.vacated(&self.model);
            }
        }
        assert_eq!(self.sim.park(token, until, leaves), parks);
        if leaves && !parks {
            self.sim.act(|lane, _, effects| lane.keep_slot(effects));
        }
    }

    /// One step of whoever polls it.
    fn come_back(&mut self, which: Which, polled: bool) {
        let can = |life: &Life| {
            let parked = matches!(life.stage, Stage::Parked { .. });
            let over = matches!(
                life.stage,
                Stage::Gone | Stage::Delivering { .. } | Stage::Orphan
            );
            parked || life.away && !over
        };
        let lives = self.book.lives.iter().zip(0..);
        let all: Vec<Token> = lives
            .filter(|(life, _)| can(life))
            .map(|(_, token)| token)
            .collect();
        let Some(at) = usize::from(which).checked_rem(all.len()) else {
            return;
        };
        let token = all[at];
        self.book.cause.target = Some(token);
        let now = self.sim.now;
        let life = self.book.life(token);
        if life.away {
            life.stops_waiting(now);
        } else {
            life.goes_on(now);
            self.sim.unpark(token);
            return;
        }
        let stand_in = life.stand_in;
        let Some(stand_in) = stand_in.filter(|token| {
            let life = &self.book.lives[*token as usize];
            life.stage != Stage::Gone
        }) else {
            self.send_back(token, polled);
            return;
        };
        match self.book.life(stand_in).stage {
            Stage::Queued => self.sim.task(stand_in).claims = polled,
            Stage::Asleep => {
                self.book.cause.target = Some(stand_in);
                self.model.rejoin(stand_in);
                self.book.life(stand_in).stage = Stage::Queued;
                self.quiet.queued(now);
                self.sim.poll(stand_in);
            }
            Stage::Granted => self.sim.claim(stand_in),
            stage => {
                let parked = matches!(self.book.life(token).stage, Stage::Parked { .. });
                let right = parked && stage == Stage::Running;
                if right {
                    self.model.hand_over(token, stand_in);
                    self.book.life(stand_in).stage = Stage::Gone;
                    let life = self.book.life(token);
                    life.away = false;
                    life.goes_on(now);
                } else {
                    self.book.cause.target = Some(stand_in);
                }
                assert_eq!(self.sim.hand_over(token, stand_in), right);
            }
        }
    }

    fn send_back(&mut self, of: Token, polled: bool) {
        let now = self.sim.now;
        let token = Token::try_from(self.sim.tasks.len()).expect("few tasks");
        let priority = self.sim.task(of).spec.priority;
        let active = self.model.active();
        let right = self.model.send_back(now, token, priority, of);
        let came = self.sim.send_back(of);
        assert_eq!(came.map(|_| ()), right.map(|_| ()), "who may come back");
        let Ok(starts) = right else {
            return;
        };
        let since = self.model.since(token).expect("it is there");
        // How many were ahead of it is the engine's word here.
        let record = self.sim.lane.record(self.sim.key(token));
        let ahead = record.map_or(0, |record| record.queued_ahead as usize);
        let mut life = Life::new(now, since, ahead, active);
        life.stands_in = true;
        let granted = (now.since(self.sim.begun), Event::Granted(token));
        assert_eq!(
            self.sim.log.first() == Some(&granted),
            starts,
            "S5, S6: whether it has a slot at once"
        );
        if starts {
            self.sim.log.remove(0);
            life.stage = Stage::Granted;
            self.book.tally.started += 1;
            self.quiet.started();
        } else {
            self.quiet.queued(now);
        }
        self.book.lives.push(life);
        self.book.life(of).stand_in = Some(token);
        self.sim.task(token).claims = polled;
    }
}
