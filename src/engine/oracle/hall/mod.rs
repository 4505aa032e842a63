//! Several lanes of one group, driven to the letter of the group's contract
//! and judged after every operation against lists of who waits and who holds.
//!
//! When a task is due, and what it is told, is the other trial's. Here tasks come,
//! hold slots and go, and the question is who goes next, and whether it may:
//! out of a queue, from the door of a full one, for a place that was kept, in
//! the place of an older task, or after a quiet window.
//!
//! | file | subject |
//! |---|---|
//! | `deeds` | what the lanes are set to and told |
//! | `come`, `go` | how a task comes to a lane, and leaves it |
//! | `park` | how it waits for somebody, and comes back |
//! | `drive` | the contract of the group, and what it comes to |
//! | `model` | the lanes as lists, and their budget |

mod come;
mod deeds;
mod drive;
mod go;
mod model;
mod park;

use std::time::Duration;

#[cfg_attr(
    not(test),
    expect(unused_imports, reason = "the unit tests make their own")
)]
pub(in crate::engine) use deeds::{Comer, Place};
pub(in crate::engine) use deeds::{Deed, Plan, Which};
use model::Model;

use super::facts::{Ledger, NAMES};
use super::model::Door;
use super::ops::leftover;
use super::sim::{Token, settings};
use crate::engine::group::Group;
use crate::engine::*;

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Hall {
    seats: Vec<Seat>,
    group: Group<usize>,
    model: Model,
    now: Time,
    tasks: Vec<Known>,
    /// Those that are parked without their slot.
    away: Vec<Token>,
    /// Whom the driver has to look at.
    looks: Vec<Look>,
    /// Who has to be told that it will not run, by what is done now.
    to_settle: Vec<Token>,
    pub(in crate::engine) operations: u64,
}

/// A lane and what is known of its place in the group.
#[derive(Debug)]
struct Seat {
    lane: Lane<Token>,
    member: Option<Key>,
    /// When the driver comes.
    alarm: Option<Time>,
    /// Reclaims that helped, and those that did not.
    recovered: u64,
    ineffective: u64,
    /// What the lane's journal says.
    ledger: Ledger,
}

/// Where a task is, and what it came for.
#[derive(Debug)]
struct Known {
    lane: usize,
    key: Key,
    /// No task: it wants a place kept for one.
    keeps: bool,
    /// No task: it comes for the slot of this one.
    stands_for: Option<Token>,
    stand_in: Option<Token>,
    enqueued: Time,
    quiet_until: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
enum Look {
    Task(usize, Key, Token),
    Holders(usize),
}

impl Hall {
    pub(in crate::engine) fn new(plan: &Plan) -> Self {
        let layout = plan.layout();
        let mut group = Group::new(layout.budget, &layout.reserved);
        let mut model = Model::new(layout.budget, layout.reserved);
        let mut seats = Vec::new();
        for (index, place) in layout.lanes.into_iter().enumerate() {
            let max_concurrent = deeds::max_concurrent(place.max_concurrent);
            let queue_capacity = deeds::queue_capacity(place.queue_capacity);
            let share = deeds::share(place.share);
            let settings = Settings {
                queue_capacity,
                ..settings(max_concurrent)
            };
            let mut lane = Lane::new(settings, 1);
            lane.keep_journal(NAMES, false);
            let member = Some(group.join(index, index_of(share), &mut lane));
            seats.push(Seat {
                lane,
                member,
                alarm: None,
                recovered: 0,
                ineffective: 0,
                ledger: Ledger::default(),
            });
            model.lane(max_concurrent, share, queue_capacity);
        }
        Self {
            seats,
            group,
            model,
            now: Time::START + Duration::from_secs(3600),
            tasks: Vec::new(),
            away: Vec::new(),
            looks: Vec::new(),
            to_settle: Vec::new(),
            operations: 0,
        }
    }

    pub(in crate::engine) fn apply(&mut self, deed: Deed) {
        self.operations += 1;
        let lanes = self.seats.len();
        let seat = |which: Which| usize::from(which) % lanes;
        match deed {
            Deed::Submit(which, comer) => self.submit(seat(which), comer),
            Deed::Reserve(which, comer) => self.reserve(seat(which), comer),
            Deed::Spend(which, comer) => self.spend(which, comer),
            Deed::Quiet(which, comer, window) => self.put_off(seat(which), comer, window),
            Deed::Prolong(which, window) => self.prolong(which, window),
            Deed::Supersede(which, comer) => self.supersede(which, comer),
            Deed::Complete(which) => {
                let token = self.model.pick(which, |lane| lane.holders().collect());
                self.let_go(token, true);
            }
            Deed::Leave(which) => {
                let waits = self
                    .model
                    .pick(which, |lane| lane.waiters().chain(lane.keepers()).collect());
                self.let_go(waits, false);
            }
            Deed::Cancel(which) => self.cancel(which),
            Deed::Raise(which, priority) => self.raise(which, deeds::priority(priority)),
            Deed::Unclaim(which) => self.unclaim(which),
            Deed::Rejoin(which) => self.rejoin(which),
            Deed::Park(which, leaves, seconds) => {
                let limit = Duration::from_secs(1 + u64::from(seconds % 40));
                self.park(which, leaves, limit);
            }
            Deed::ComeBack(which) => self.come_back(which),
            Deed::TakeOver(which) => self.take_over(which),
            Deed::Forsake(which) => self.forsake(which),
            Deed::Take(which) => self.take_one(which),
            Deed::Pass(seconds) => self.pass(Duration::from_secs(u64::from(seconds % 40))),
            deed => self.operate(deed),
        }
        self.check();
    }

    /// What an operator does.
    fn operate(&mut self, deed: Deed) {
        let lanes = self.seats.len();
        let seat = |which: Which| usize::from(which) % lanes;
        match deed {
            Deed::Clear(which) => {
                self.to_settle = self.queued(seat(which));
                self.act(seat(which), |lane, now, effects| {
                    lane.clear(now, effects, |waited| End::Cleared { waited });
                });
            }
            Deed::Drain(which, queued) => self.drain(seat(which), leftover(queued)),
            Deed::SettleDrain(which) => self.settle_drain(seat(which)),
            Deed::Pause(which) => {
                self.model.rooms[seat(which)].lane.paused = true;
                self.act(seat(which), |lane, _, _| lane.pause(None));
            }
            Deed::Resume(which) => {
                let model = &mut self.model.rooms[seat(which)].lane;
                model.paused = false;
                // It takes back a drain, too.
                model.holding = false;
                model.door = Door::Open;
                self.act(seat(which), |lane, now, effects| lane.resume(now, effects));
            }
            Deed::Resize(which, most) => {
                let most = deeds::max_concurrent(most);
                self.model.rooms[seat(which)].lane.max_concurrent = most;
                self.act(seat(which), |lane, now, effects| {
                    lane.set_max_concurrent(now, most, effects);
                });
            }
            Deed::Capacity(which, capacity) => {
                self.set_capacity(seat(which), deeds::queue_capacity(capacity));
            }
            Deed::Budget(budget) => {
                self.model.budget = deeds::budget(budget);
                self.group.set_budget(self.model.budget);
                self.serve();
            }
            Deed::Part(which) => self.part(seat(which)),
            Deed::Join(which, share) => self.join(seat(which), deeds::share(share)),
            _ => unreachable!("done to a task"),
        }
    }

    /// Everybody goes, and nothing is left of anybody.
    pub(in crate::engine) fn wind_up(mut self) {
        for index in 0..self.seats.len() {
            self.apply(Deed::Clear(Which::try_from(index).unwrap_or_default()));
        }
        while let Some(token) = self
            .model
            .pick(0, |lane| lane.holders().chain(lane.keepers()).collect())
        {
            self.let_go(Some(token), true);
            self.check();
        }
        while !self.away.is_empty() {
            self.apply(Deed::Forsake(0));
        }
        assert_eq!(self.group.used(), 0, "S2: whose slots are these");
        for seat in &mut self.seats {
            assert_eq!(seat.lane.records().count(), 0, "S15: who is that");
            if let Some(member) = seat.member.take() {
                self.group.part(member, &mut seat.lane);
            }
        }
        assert_eq!(self.group.entries(), 0, "S15: what is left of nobody");
    }

    /// The books are right, and to look at them changes nothing.
    fn audit(&mut self) {
        assert_eq!(self.group.audit(), []);
        for seat in &mut self.seats {
            let member = seat.member.iter();
            let of_member = |member| self.group.check_member(self.now, member, Some(&seat.lane));
            let of_group: Vec<Drift> = member.copied().flat_map(of_member).collect();
            assert_eq!(of_group, []);
            let (mut effects, armed) = (Effects::new(), seat.lane.armed);
            let found = seat.lane.audit(self.now, &mut effects);
            assert_eq!((found, effects), (Vec::new(), Effects::new()), "S5");
            seat.lane.armed = armed;
        }
    }

    /// Whom a verb concerns that speaks to the queued. One that comes back for its
    /// slot is active.
    fn queued(&self, index: usize) -> Vec<Token> {
        let waiters = self.model.rooms[index].lane.waiters();
        let is_task = |token: &Token| self.tasks[*token as usize].stands_for.is_none();
        waiters.filter(is_task).collect()
    }

    fn set_capacity(&mut self, index: usize, queue_capacity: usize) {
        let model = &mut self.model.rooms[index].lane;
        model.queue_capacity = queue_capacity;
        if queue_capacity == 0 {
            let keeps = |token: &Token| self.tasks[*token as usize].keeps;
            self.to_settle = model.waiters().filter(keeps).collect();
        }
        model.let_in();
        self.act(index, |lane, now, effects| {
            let settings = Settings {
                queue_capacity,
                ..lane.settings().clone()
            };
            lane.set_anew(now, settings, effects);
        });
    }

    fn drain(&mut self, index: usize, queued: Leftover) {
        let (deadline, admit_descendants) = (Time::FAR, false);
        let model = &mut self.model.rooms[index].lane;
        model.holding = queued != Leftover::Run;
        model.door = Door::Draining {
            admit_descendants,
            queued,
            deadline,
            over: false,
        };
        self.act(index, |lane, _, _| {
            lane.start_draining(deadline, admit_descendants, queued);
            lane.hold_for_drain();
        });
        // A drain that hands nobody back has nothing to wait for.
        if queued == Leftover::Run {
            self.settle_drain(index);
        }
    }

    fn settle_drain(&mut self, index: usize) {
        let model = &mut self.model.rooms[index].lane;
        if std::mem::take(&mut model.holding) {
            self.to_settle = self.queued(index);
        }
        self.act(index, |lane, now, effects| {
            // Whoever has begun and comes back is nobody's to hand back.
            let mut waiting = lane.waiting();
            waiting.retain(|key| lane.record(*key).is_some_and(|r| !r.stands_in));
            lane.settle_drain(now, &waiting, effects);
        });
    }

    fn part(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        let Some(member) = seat.member.take() else {
            return;
        };
        self.group.part(member, &mut seat.lane);
        self.model.rooms[index].share = None;
        // It has no budget above it any more.
        self.act(index, |lane, now, effects| {
            lane.dispatch(now, effects);
        });
        self.serve();
    }

    fn join(&mut self, index: usize, share: usize) {
        self.part(index);
        let seat = &mut self.seats[index];
        seat.member = Some(self.group.join(index, index_of(share), &mut seat.lane));
        self.model.rooms[index].share = Some(share);
        self.serve();
    }

    fn check(&mut self) {
        self.audit();
        assert!(
            self.to_settle.is_empty(),
            "S7: not told: {:?}",
            self.to_settle
        );
        self.model.check_served(self.now);
        assert_eq!(
            self.group.used(),
            self.model.used(),
            "slots held in the group"
        );
        assert_eq!(self.group.budget(), self.model.budget);
        assert!(self.group.shares().eq(self.model.shares()));
        assert!(!self.group.is_owing(), "S5");
        assert!(self.model.may_speak(self.group.speaker().copied()), "S16");
        let entries = self.model.entries();
        assert!(entries.contains(&self.group.entries()), "S15: {entries:?}");
        for (seat, room) in self.seats.iter().zip(&self.model.rooms) {
            let (lane, model) = (&seat.lane, &room.lane);
            seat.ledger.check(lane);
            assert_eq!(lane.active(), model.active());
            assert_eq!(lane.queued(), model.in_queue());
            assert_eq!(lane.waiters(), model.queued());
            assert_eq!(lane.kept(), model.kept());
            assert_eq!(lane.is_idle(), model.is_idle());
            let away = self.away.iter().filter(|token| {
                let seat = &self.seats[self.tasks[**token as usize].lane];
                std::ptr::eq(&raw const seat.lane, lane)
            });
            assert_eq!(lane.parked(), away.count());
            let tasks = lane.records().map(|(_, record)| record);
            let tasks = tasks.filter(|record| !record.keeps && !record.stands_in);
            let told = lane.tally();
            let known = told.completed + told.ended + told.taken + tasks.count() as u64;
            assert_eq!(told.submitted, known, "S2: what is counted");
            let verified = (told.recovered, told.ineffective);
            assert_eq!(verified, (seat.recovered, seat.ineffective), "S17");
            for token in model.put_off_tasks() {
                let until = self.tasks[token as usize].quiet_until;
                assert!(until.is_some_and(|at| at > self.now), "S8: {token} is due");
            }
        }
        let busy = self.group.busy().copied();
        let rooms = self.model.rooms.iter().enumerate();
        let holds = rooms.filter(|(_, room)| room.share.is_some() && room.lane.active() > 0);
        let mut busy: Vec<usize> = busy.collect();
        busy.sort_unstable();
        assert!(busy.into_iter().eq(holds.map(|(index, _)| index)));
    }
}

fn index_of(share: usize) -> u32 {
    u32::try_from(share).unwrap_or_default()
}
