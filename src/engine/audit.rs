//! Whether what is kept of a lane's tasks, so that no input has to walk over
//! them, agrees with the tasks.
//!
//! It always does, or there is a bug here. A bug in the books wedges a lane in
//! silence, so they can be checked and mended while the lane runs: a record of a
//! task is believed, and whatever was derived from it is derived anew.

use std::collections::BTreeSet;
use std::fmt;

use super::door::Door;
use super::effects::{Effect, Effects};
use super::fact::What;
use super::group::{Group, Rank, Share};
use super::lane::{Lane, count};
use super::queue::{Place, Standing};
use super::slab::{ByIndex, Key};
use super::task::{Record, State};
use super::time::Time;

/// Something that the scheduler had wrong about one of its lanes or groups, and
/// has right again. Every one of them is a bug of this crate; see
/// [`Lanes::repair`](crate::Lanes::repair).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Drift {
    /// What was kept of its tasks did not agree with them.
    #[non_exhaustive]
    Miscounted {
        /// Of which tasks.
        what: Counted,
        /// How many they were in the books.
        counted: usize,
        /// How many they are; where that is as many, they are others.
        found: usize,
    },
    /// Waiters could have had a slot or a place, and had none.
    #[non_exhaustive]
    Overlooked {
        /// So many of them were given one now.
        dispatched: usize,
    },
}

/// What is counted of a lane or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Counted {
    /// Tasks that hold a slot.
    Active,
    /// Tasks in the queue.
    Queued,
    /// Whoever waits for a place in the queue.
    AtDoor,
    /// Places in the queue that are kept for somebody.
    Reserved,
    /// Tasks whose quiet window is not over.
    Quiet,
    /// Tasks that gave their slot back while they wait for somebody.
    Parked,
    /// Tasks whose slot was taken and whose runner has not let go.
    Orphans,
    /// Slots that are charged to the budget of a group.
    Budget,
    /// Lanes whose first waiter could start if the budget of their group held
    /// it.
    Ready,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Queued => "queued",
            Self::AtDoor => "at the door",
            Self::Reserved => "reserved",
            Self::Quiet => "in a quiet window",
            Self::Parked => "parked",
            Self::Orphans => "orphans",
            Self::Budget => "charged to the group",
            Self::Ready => "ready for the group",
        })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Miscounted {
                what,
                counted,
                found,
            } if counted == found => {
                write!(
                    f,
                    "{counted} {what} in the books, and as many others in truth"
                )
            }
            Self::Miscounted {
                what,
                counted,
                found,
            } => write!(f, "{counted} {what} in the books, {found} in truth"),
            Self::Overlooked { dispatched } => {
                write!(f, "{dispatched} overlooked, and dispatched now")
            }
        }
    }
}

impl<P: Clone> Lane<P> {
    /// The first waiter, if it could have a slot: between two inputs there is
    /// none (S5).
    pub(crate) fn overlooked(&self) -> Option<P> {
        if !self.has_free_slot() || !self.gate.is_open() || self.waiters() == 0 {
            return None;
        }
        let (now, aging) = (self.clock, self.settings.aging);
        let queued = self.queue.next(&self.tasks, now, aging);
        let at_door = || self.front_at_door().map(|(_, index)| index);
        let index = queued.or_else(at_door)?;
        self.tasks.row(index).map(|record| record.payload.clone())
    }

    /// With every tick, before it: reports whom the inputs until now have left
    /// behind. O(1); O(log n) where somebody came back to an older place.
    pub(crate) fn watch_over(&mut self, effects: &mut Effects<P>) {
        if let Some(task) = self.overlooked() {
            self.tally.repaired += 1;
            self.note_lane(None, || What::Repaired { faults: 1 });
            effects.push(Effect::Overlooked { task });
        }
    }

    /// Serves whomever it owes a slot or a place.
    pub(crate) fn mend(&mut self, now: Time, effects: &mut Effects<P>) {
        self.let_in(now, effects);
        self.dispatch(now, effects);
        self.note_idle(effects);
    }

    /// So many faults were found in it.
    pub(crate) fn note_repaired(&mut self, faults: usize) {
        self.tally.repaired += faults as u64;
        if faults > 0 {
            self.note_lane(None, || What::Repaired { faults });
        }
    }

    /// Checks its books against its tasks and mends them, and tells the driver
    /// its next moment once more. No task is touched but for whoever is served
    /// then. O(n log n).
    pub(crate) fn audit(&mut self, now: Time, effects: &mut Effects<P>) -> Vec<Drift> {
        let now = self.advance(now);
        let mut findings = Vec::new();
        self.audit_holders(&mut findings);
        self.audit_queue(&mut findings);
        self.audit_door(&mut findings);
        let quiet = self.count(|record| matches!(record.state, State::Quiet { .. }));
        recount(&mut findings, Counted::Quiet, &mut self.quiet, quiet);
        let orphans = self.count(|record| record.state.is_orphan());
        recount(&mut findings, Counted::Orphans, &mut self.orphans, orphans);
        // More than that are counted while somebody is about to leave.
        let away = self.count(|record| record.away).max(self.parked);
        recount(&mut findings, Counted::Parked, &mut self.parked, away);
        self.mend(now, effects);
        self.armed = Time::FAR;
        findings
    }

    fn count(&self, is: impl Fn(&Record<P>) -> bool) -> usize {
        self.tasks.iter().filter(|(_, record)| is(record)).count()
    }

    fn keys(&self, are: impl Fn(&Record<P>) -> bool) -> Vec<Key> {
        let records = self.tasks.iter().filter(|(_, record)| are(record));
        records.map(|(key, _)| key).collect()
    }

    fn audit_holders(&mut self, findings: &mut Vec<Drift>) {
        let holders = self.keys(Record::is_holder);
        let listed = |key: &Key| {
            let at = self.tasks.get(*key).map(|record| record.holder as usize);
            at.and_then(|at| self.holders.get(at)) == Some(key)
        };
        if self.holders.len() == holders.len() && holders.iter().all(listed) {
            return;
        }
        findings.push(Drift::Miscounted {
            what: Counted::Active,
            counted: self.holders.len(),
            found: holders.len(),
        });
        self.holders = holders;
        for (at, key) in self.holders.iter().enumerate() {
            if let Some(record) = self.tasks.get_mut(*key) {
                record.holder = count(at);
            }
        }
    }

    fn audit_queue(&mut self, findings: &mut Vec<Drift>) {
        let queued = self.indices(|record| record.state == State::Queued);
        if self.queue.is_of(&self.tasks, &queued) {
            return;
        }
        findings.push(Drift::Miscounted {
            what: Counted::Queued,
            counted: self.queue.len(),
            found: queued.len(),
        });
        self.stand_nowhere(|record| record.state != State::AtDoor);
        self.queue.make_of(&mut self.tasks, &queued);
    }

    fn audit_door(&mut self, findings: &mut Vec<Drift>) {
        let at_door = self.indices(|record| record.state == State::AtDoor);
        let kept = self.count(|record| record.state == State::Placed);
        let door = self.door.take();
        let mut door = door.unwrap_or_else(|| Box::new(Door::new()));
        recount(findings, Counted::Reserved, &mut door.kept, kept);
        if !door.waiting.is_of(&self.tasks, &at_door) {
            findings.push(Drift::Miscounted {
                what: Counted::AtDoor,
                counted: door.waiting.len(),
                found: at_door.len(),
            });
            self.stand_nowhere(|record| record.state != State::Queued);
            door.waiting.make_of(&mut self.tasks, &at_door);
        }
        self.door = Some(door);
        self.close_door();
    }

    fn indices(&self, are: impl Fn(&Record<P>) -> bool) -> BTreeSet<u32> {
        self.keys(are).into_iter().map(|key| key.index).collect()
    }

    /// Whatever line those believe to be in is made anew.
    fn stand_nowhere(&mut self, who: impl Fn(&Record<P>) -> bool) {
        for key in self.keys(who) {
            if let Some(record) = self.tasks.get_mut(key) {
                record.standing = Standing::Absent;
            }
        }
    }
}

/// What a group has added up of its members.
#[derive(PartialEq, Eq)]
struct Derived {
    used: usize,
    unused: usize,
    shares: Vec<Share>,
    ready: BTreeSet<Rank>,
    oldest: BTreeSet<(Place, u32)>,
    turns: BTreeSet<(Time, u32)>,
    reserved: BTreeSet<(Rank, u32)>,
    reserved_oldest: BTreeSet<(Place, u32, u32)>,
    busy: BTreeSet<u32>,
}

impl<M: Clone> Group<M> {
    /// The lanes that share it.
    pub(crate) fn lanes(&self) -> Vec<(Key, M)> {
        let members = self.members.iter();
        let lanes = members.map(|(key, member)| (key, member.lane.clone()));
        lanes.collect()
    }

    /// Checks what it keeps of its lanes together against what it keeps of each,
    /// and mends it. Before [`audit_member`](Self::audit_member) of any. O(n log n).
    pub(crate) fn audit(&mut self) -> Vec<Drift> {
        let before = self.derived();
        let members = self.members.iter();
        let told = members.map(|(key, member)| (key, member.used, member.first));
        let told: Vec<_> = told.collect();
        self.forget_members();
        for (key, used, first) in told {
            self.restate(key, used, first);
        }
        let after = self.derived();
        let mut findings = Vec::new();
        let mut used = before.used;
        recount(&mut findings, Counted::Budget, &mut used, after.used);
        if findings.is_empty() && before != after {
            findings.push(Drift::Miscounted {
                what: Counted::Ready,
                counted: before.ready.len(),
                found: after.ready.len(),
            });
        }
        findings
    }

    fn derived(&self) -> Derived {
        Derived {
            used: self.used,
            unused: self.unused,
            shares: self.shares.clone(),
            ready: self.ready.clone(),
            oldest: self.oldest.clone(),
            turns: self.turns.clone(),
            reserved: self.reserved.clone(),
            reserved_oldest: self.reserved_oldest.clone(),
            busy: self.busy.clone(),
        }
    }

    /// As if none of them had a task.
    fn forget_members(&mut self) {
        let keys: Vec<Key> = self.members.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(member) = self.members.get_mut(key) {
                (member.used, member.first) = (0, None);
            }
        }
        self.used = 0;
        self.unused = self.shares.iter().map(|share| share.reserved).sum();
        for share in &mut self.shares {
            share.used = 0;
            share.ready.clear();
            share.oldest.clear();
        }
        self.ready.clear();
        self.oldest.clear();
        self.turns.clear();
        self.reserved.clear();
        self.reserved_oldest.clear();
        self.busy.clear();
    }

    /// Checks what it keeps of one of its lanes against the lane, or against
    /// nothing where that is gone, and mends it.
    pub(crate) fn audit_member<P: Clone>(
        &mut self,
        now: Time,
        key: Key,
        lane: Option<&Lane<P>>,
    ) -> Vec<Drift> {
        let findings = self.check_member(now, key, lane);
        // Who is first changes as time passes, and that is no fault.
        let first = lane.and_then(|lane| lane.first(Some(now)));
        self.restate(key, lane.map_or(0, Lane::active), first);
        findings
    }

    pub(super) fn check_member<P: Clone>(
        &self,
        now: Time,
        key: Key,
        lane: Option<&Lane<P>>,
    ) -> Vec<Drift> {
        let mut findings = Vec::new();
        if let Some(member) = self.members.get(key) {
            let (mut used, mut ready) = (member.used, usize::from(member.first.is_some()));
            let active = lane.map_or(0, Lane::active);
            recount(&mut findings, Counted::Budget, &mut used, active);
            let first = lane.and_then(|lane| lane.first(Some(now)));
            let is_ready = usize::from(first.is_some());
            recount(&mut findings, Counted::Ready, &mut ready, is_ready);
        }
        findings
    }
}

fn recount(findings: &mut Vec<Drift>, what: Counted, counted: &mut usize, found: usize) {
    if *counted != found {
        findings.push(Drift::Miscounted {
            what,
            counted: *counted,
            found,
        });
        *counted = found;
    }
}
