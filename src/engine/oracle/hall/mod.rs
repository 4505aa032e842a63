//! Several lanes of one group, driven to the letter of the group's contract
//! and judged after every operation against lists of who waits and who holds.
//!
//! What a lane does for itself (limits, reclaims, orphans) is the other
//! trial's. Here a task comes, holds a slot and goes, and the question is who
//! goes next, and whether it may.

mod model;

use std::time::Duration;

use model::Model;

use super::sim::{Token, plain, settings};
use crate::engine::group::Group;
use crate::engine::*;

pub(in crate::engine) type Which = u8;

/// The lanes and what they share.
#[derive(Clone, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Plan {
    pub(in crate::engine) budget: u8,
    /// What each share has for itself; cut to what the budget holds.
    pub(in crate::engine) reserved: [u8; 3],
    /// `max_concurrent` of each lane, and the share it is part of.
    pub(in crate::engine) lanes: Vec<(u8, u8)>,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) enum Deed {
    /// To a lane, with a priority, after having waited elsewhere.
    Submit(Which, u8, u8),
    /// The same, and be refused rather than wait.
    Try(Which),
    /// A holder or a waiter lets go.
    Complete(Which),
    Leave(Which),
    Clear(Which),
    Pause(Which),
    Resume(Which),
    Resize(Which, u8),
    Budget(u8),
    Pass(u8),
    /// A lane leaves the group and goes on by itself.
    Part(Which),
    /// It comes (back), as part of this share.
    Join(Which, u8),
    /// A holder loses its slot, and lets go of what it holds afterwards.
    Take(Which),
}

/// A lane and what is known of its place in the group.
#[derive(Debug)]
struct Seat {
    lane: Lane<Token>,
    member: Option<Key>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Hall {
    seats: Vec<Seat>,
    group: Group<usize>,
    model: Model,
    now: Time,
    /// Where each task is, and its key there.
    tasks: Vec<(usize, Key)>,
    pub(in crate::engine) operations: u64,
}

const MOST_LANES: usize = 6;

impl Plan {
    fn settled(&self) -> (usize, Vec<usize>, Vec<(usize, usize)>) {
        let budget = usize::from(self.budget % 7);
        let mut left = budget;
        let mut cut = |reserved: &u8| {
            let reserved = usize::from(reserved % 3).min(left);
            left -= reserved;
            reserved
        };
        let reserved = self.reserved.iter().map(&mut cut).collect();
        let lane = |(most, share): &(u8, u8)| (usize::from(most % 4), usize::from(share % 3));
        let mut lanes: Vec<_> = self.lanes.iter().take(MOST_LANES).map(lane).collect();
        if lanes.is_empty() {
            lanes.push((1, 0));
        }
        (budget, reserved, lanes)
    }
}

impl Hall {
    pub(in crate::engine) fn new(plan: &Plan) -> Self {
        let (budget, reserved, lanes) = plan.settled();
        let mut group = Group::new(budget, &reserved);
        let mut model = Model::new(budget, reserved);
        let mut seats = Vec::new();
        for (index, (most, share)) in lanes.into_iter().enumerate() {
            let mut lane = Lane::new(settings(most), 1);
            let member = Some(group.join(index, index_of(share), &mut lane));
            seats.push(Seat { lane, member });
            model.lane(most, share);
        }
        Self {
            seats,
            group,
            model,
            now: Time::START + Duration::from_secs(3600),
            tasks: Vec::new(),
            operations: 0,
        }
    }

    pub(in crate::engine) fn apply(&mut self, deed: Deed) {
        self.operations += 1;
        let lanes = self.seats.len();
        let seat = |which: Which| usize::from(which) % lanes;
        match deed {
            Deed::Submit(which, priority, waited) => {
                self.submit(seat(which), priority, u64::from(waited % 8), false);
            }
            Deed::Try(which) => self.submit(seat(which), 0, 0, true),
            Deed::Complete(which) => self.let_go(self.model.holder(which)),
            Deed::Leave(which) => self.let_go(self.model.waiter(which)),
            Deed::Clear(which) => {
                let index = seat(which);
                self.model.lanes[index].waiting.clear();
                self.act(index, |lane, now, effects| {
                    lane.clear(now, effects, |waited| End::Cleared { waited });
                });
            }
            Deed::Pause(which) => {
                self.model.lanes[seat(which)].paused = true;
                self.act(seat(which), |lane, _, _| lane.pause(None));
            }
            Deed::Resume(which) => {
                self.model.lanes[seat(which)].paused = false;
                self.act(seat(which), |lane, now, effects| lane.resume(now, effects));
            }
            Deed::Resize(which, most) => {
                let most = usize::from(most % 5);
                self.model.lanes[seat(which)].max_concurrent = most;
                self.act(seat(which), |lane, now, effects| {
                    lane.set_max_concurrent(now, most, effects);
                });
            }
            Deed::Budget(budget) => {
                self.model.budget = usize::from(budget % 7);
                self.group.set_budget(self.model.budget);
                self.serve();
            }
            Deed::Pass(seconds) => {
                self.now = self.now + Duration::from_secs(u64::from(seconds % 40));
            }
            Deed::Part(which) => self.part(seat(which)),
            Deed::Join(which, share) => self.join(seat(which), usize::from(share % 3)),
            Deed::Take(which) => self.take(which),
        }
        self.check();
    }

    /// Everybody goes, and nothing is left of anybody.
    pub(in crate::engine) fn wind_up(mut self) {
        for index in 0..self.seats.len() {
            self.apply(Deed::Clear(Which::try_from(index).unwrap_or_default()));
        }
        while let Some(token) = self.model.holder(0) {
            self.let_go(Some(token));
            self.check();
        }
        assert_eq!(self.group.used(), 0, "S2: whose slots are these");
        for seat in &mut self.seats {
            if let Some(member) = seat.member.take() {
                self.group.part(member, &mut seat.lane);
            }
        }
        assert_eq!(self.group.entries(), 0, "S15: what is left of nobody");
    }

    fn submit(&mut self, index: usize, priority: u8, waited: u64, at_once: bool) {
        let priority = match priority % 3 {
            0 => Priority::Normal,
            1 => Priority::Foreground,
            _ => Priority::Background,
        };
        let waited = Duration::from_secs(waited * 10);
        let token = Token::try_from(self.tasks.len()).unwrap_or(Token::MAX);
        let starts = self.model.starts(index);
        let entry = Entry {
            present: token.is_multiple_of(2),
            at_once,
            descendant: false,
            part: false,
            waited,
            if_full: IfFull::Refuse,
        };
        let spec = Spec {
            priority,
            ..plain()
        };
        let accepted = self.act(index, |lane, now, _| lane.submit(now, token, &spec, entry));
        let key = match accepted {
            Err(refused) => {
                assert!(matches!(refused, Refused::NoSlot { .. }));
                assert!(at_once && !starts, "S5: a slot is free");
                return;
            }
            Ok(Accepted::Started { key, .. }) => {
                assert!(starts, "S1: {token} has a slot that is none");
                self.model.start(index, token);
                key
            }
            Ok(Accepted::Queued { key }) => {
                assert!(!starts && !at_once, "S5: {token} waits, and a slot is free");
                let since = self.now.before(waited);
                self.model.wait(index, token, priority, (since, key.seq));
                key
            }
        };
        self.tasks.push((index, key));
    }

    fn let_go(&mut self, token: Option<Token>) {
        let Some(token) = token else { return };
        let (index, key) = self.tasks[token as usize];
        self.model.forget(index, token);
        self.act(index, |lane, now, effects| {
            let released = lane.release(key, true);
            if lane.has_sequel(&released) {
                lane.settle_release(now, &released, effects);
            }
        });
    }

    fn take(&mut self, which: Which) {
        let Some(token) = self.model.holder(which) else {
            return;
        };
        let (index, key) = self.tasks[token as usize];
        self.model.forget(index, token);
        self.act(index, |lane, now, effects| {
            lane.take(now, key, &Facts::default(), effects);
        });
        self.act(index, |lane, _, _| lane.release(key, false));
    }

    fn part(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        let Some(member) = seat.member.take() else {
            return;
        };
        self.group.part(member, &mut seat.lane);
        self.model.lanes[index].share = None;
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
        self.model.lanes[index].share = Some(share);
        self.serve();
    }

    /// One input to one lane, as the contract of the group has it.
    fn act<R>(
        &mut self,
        index: usize,
        input: impl FnOnce(&mut Lane<Token>, Time, &mut Effects<Token>) -> R,
    ) -> R {
        let seat = &mut self.seats[index];
        let mut effects = Effects::new();
        let Some(member) = seat.member else {
            let output = input(&mut seat.lane, self.now, &mut effects);
            let first = self.granted(index, &effects);
            self.reclaimed(index, first, &effects);
            return output;
        };
        self.group.enter(member, &mut seat.lane);
        let output = input(&mut seat.lane, self.now, &mut effects);
        self.group.leave(member, &seat.lane);
        let grant = |effect: &Effect<Token>| matches!(effect, Effect::Grant(_));
        assert!(!effects.iter().any(grant), "only the group serves a waiter");
        let first = self.serve();
        if effects.reports_reclaim() {
            let helped = self.group.recovery(&self.seats[index].lane, first);
            effects.recovered(&helped);
        }
        self.reclaimed(index, first, &effects);
        output
    }

    /// Says who was first.
    fn serve(&mut self) -> Option<Token> {
        let mut first = None;
        while let Some((member, index)) = self.group.next(self.now) {
            assert!(self.group.is_owing());
            let mut effects = Effects::new();
            let lane = &mut self.seats[index].lane;
            let told = self.group.visit(self.now, member, lane, &mut effects);
            let told = told
                .and_then(|key| lane.record(key))
                .map(|record| record.payload);
            if let Some(token) = told {
                self.model.check_next(index, token, self.now);
            }
            assert_eq!(self.granted(index, &effects), told);
            first = first.or(told);
        }
        first
    }

    /// S17: what is said of a reclaim is what it came to.
    fn reclaimed(&self, index: usize, first: Option<Token>, effects: &Effects<Token>) {
        let recovery = effects.iter().find_map(|effect| match effect {
            Effect::Report(Notice::Reclaimed { recovery, .. }) => Some(recovery),
            _ => None,
        });
        assert_eq!(effects.reports_reclaim(), recovery.is_some());
        if let Some(recovery) = recovery {
            assert_eq!(*recovery, self.model.recovery(index, first), "S17");
        }
    }

    /// Says who was first.
    fn granted(&mut self, index: usize, effects: &Effects<Token>) -> Option<Token> {
        let mut first = None;
        for effect in effects.iter() {
            if let Effect::Grant(grant) = effect {
                self.model.grant(index, grant.task, self.now);
                first.get_or_insert(grant.task);
            }
        }
        first
    }

    fn check(&self) {
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
        for (seat, model) in self.seats.iter().zip(&self.model.lanes) {
            assert_eq!(seat.lane.active(), model.active.len());
            assert_eq!(seat.lane.queued(), model.waiting.len());
        }
        let busy = self.group.busy().copied();
        let model = self.model.lanes.iter().enumerate();
        let holds = model.filter(|(_, lane)| lane.share.is_some() && !lane.active.is_empty());
        let mut busy: Vec<usize> = busy.collect();
        busy.sort_unstable();
        assert!(busy.into_iter().eq(holds.map(|(index, _)| index)));
    }
}

fn index_of(share: usize) -> u32 {
    u32::try_from(share).unwrap_or_default()
}
