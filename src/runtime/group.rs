//! Lanes that share a budget share a lock: the group's, which is taken before
//! that of any of its lanes.

use std::collections::BTreeMap;

use super::cell::TaskCell;
use super::domain::{Actions, Domain, Engine};
use super::sequel::{Sequel, Staged};
use super::shared::Shared;
use crate::charter::{Charters, Share};
use crate::clock::Clock;
use crate::engine::{Drift, Group, Key, Step};
use crate::plan::Plan;
use crate::sync::{Arc, Mutex, MutexGuard, Serials, Weak};

/// What follows in other lanes than the one that was told something.
pub(crate) type Beside = Vec<Staged>;

/// A lane's engine, and its place in a group.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(super) engine: Engine,
    membership: Option<Box<Membership>>,
}

#[derive(Debug)]
struct Membership {
    group: Arc<GroupCell>,
    member: Key,
    share: u32,
}

/// A group behind its lock.
#[derive(Debug)]
pub(crate) struct GroupCell {
    pub(crate) name: Arc<str>,
    /// One that is divided anew is another of the same name.
    serial: u64,
    shares: Vec<Share>,
    hall: Mutex<Hall>,
}

static SERIALS: Serials = Serials::from(1);

pub(crate) type Groups = BTreeMap<Arc<str>, Arc<GroupCell>>;

/// What the lock of a group protects, beside the lanes themselves.
#[derive(Debug)]
pub(crate) struct Hall {
    group: Group<Weak<Domain>>,
}

impl Seat {
    pub(super) const fn alone(engine: Engine) -> Self {
        Self {
            engine,
            membership: None,
        }
    }

    pub(super) fn holders(&self) -> Vec<Arc<TaskCell>> {
        let keys = self.engine.holders().iter();
        let records = keys.filter_map(|key| self.engine.record(*key));
        records.map(|record| Arc::clone(&record.payload)).collect()
    }

    #[inline]
    pub(super) const fn is_alone(&self) -> bool {
        self.membership.is_none()
    }

    #[inline]
    pub(super) fn group(&self) -> Option<Arc<GroupCell>> {
        let membership = self.membership.as_deref()?;
        Some(Arc::clone(&membership.group))
    }

    /// Its share in this group, if it still is in it.
    pub(super) fn share_of(&self, group: &Arc<GroupCell>) -> Option<usize> {
        self.member_of(group)?;
        Some(self.membership.as_deref()?.share as usize)
    }

    /// Its place in this group, if it still is in it.
    pub(super) fn member_of(&self, group: &Arc<GroupCell>) -> Option<Key> {
        let membership = self.membership.as_deref()?;
        Arc::ptr_eq(&membership.group, group).then_some(membership.member)
    }
}

impl GroupCell {
    pub(crate) fn new(name: Arc<str>, budget: usize, shares: &[Share]) -> Self {
        let reserved: Vec<usize> = shares.iter().map(|share| share.reserved).collect();
        Self {
            name,
            serial: SERIALS.next(),
            shares: shares.to_vec(),
            hall: Mutex::new(Hall {
                group: Group::new(budget, &reserved),
            }),
        }
    }

    pub(crate) fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// The budget, and what each share uses of it.
    pub(crate) fn usage(&self) -> (usize, Vec<usize>) {
        let hall = self.lock();
        (hall.group.budget(), hall.group.shares().collect())
    }

    /// Sets the budget, and serves whom it has room for.
    pub(super) fn set_budget(&self, shared: &Shared, budget: usize, beside: &mut Beside) {
        let mut hall = self.lock();
        if let Some(hub) = &shared.hub {
            hub.budget_set(self.serial, budget);
        }
        hall.group.set_budget(budget);
        hall.serve(beside);
    }

    /// The budget, and of the holders of its slots those that are chosen, each
    /// with its share; none of them as soon as so many are not that there is room
    /// for anybody once those have gone. Lanes that are kept meanwhile are the
    /// caller's to drop, outside the lock. O(slots), and O(1) where few are chosen.
    pub(super) fn held(
        &self,
        kept: &mut Vec<Arc<Domain>>,
        choose: impl Fn(&Arc<TaskCell>) -> Option<Arc<TaskCell>>,
    ) -> (usize, Vec<(usize, Arc<TaskCell>)>) {
        let hall = self.lock();
        let mut held = Vec::new();
        let used: usize = hall.group.shares().sum();
        let reserved: usize = self.shares.iter().map(|share| share.reserved).sum();
        // Budget and reservations may be as large as numbers get.
        let budget = hall.group.budget();
        let (left, over) = (
            budget.saturating_sub(reserved),
            reserved.saturating_sub(budget),
        );
        let enough = (used + 1).saturating_sub(left).saturating_add(over);
        let mut passed = 0;
        for (share, lane) in hall.group.busy_by_share() {
            let Some(lane) = lane.upgrade() else { continue };
            {
                let seat = lane.seat().lock();
                let records = seat.engine.holders().iter();
                for record in records.filter_map(|key| seat.engine.record(*key)) {
                    match choose(&record.payload) {
                        Some(task) => held.push((share as usize, task)),
                        None => passed += 1,
                    }
                    if passed == enough {
                        break;
                    }
                }
            }
            kept.push(lane);
            if passed >= enough {
                // Whoever was chosen has another holder than this.
                held.clear();
                break;
            }
        }
        (hall.group.budget(), held)
    }

    /// Whoever keeps one more slot from this share: its own holders, and those of
    /// others beyond what is reserved for them. None where there is room for
    /// anybody. O(slots).
    pub(crate) fn in_the_way_of(&self, share: usize) -> Vec<Arc<TaskCell>> {
        // The lanes are dropped outside the lock.
        let mut kept = Vec::new();
        let (_, held) = self.held(&mut kept, |holder| Some(Arc::clone(holder)));
        let mut used = vec![0; self.shares.len()];
        for (of, _) in &held {
            used[*of] += 1;
        }
        let beyond = |of: usize| of == share || used[of] > self.shares[of].reserved;
        let held = held.into_iter().filter(|(of, _)| beyond(*of));
        held.map(|(_, holder)| holder).collect()
    }

    /// Checks what is kept of the group and mends it, and tells what was found of
    /// each lane. Whoever is owed a slot is served with the next input to any of
    /// them. O(n log n) in the lanes.
    pub(super) fn audit(&self, mut tell: impl FnMut(Arc<Domain>, Vec<Drift>)) -> Vec<Drift> {
        let mut hall = self.lock();
        let now = Clock.now();
        let mut findings = hall.group.audit();
        let mut told = Vec::new();
        for (member, lane) in hall.group.lanes() {
            let lane = lane.upgrade();
            let seat = lane.as_ref().map(|lane| lane.seat().lock());
            let engine = seat.as_ref().map(|seat| &*seat.engine);
            let found = hall.group.audit_member(now, member, engine);
            drop(seat);
            match lane {
                Some(lane) => told.push((lane, found)),
                // It is on its way out.
                None => findings.extend(found),
            }
        }
        drop(hall);
        for (lane, found) in told {
            tell(lane, found);
        }
        findings
    }

    /// How many lanes it knows.
    #[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
    pub(super) fn members(&self) -> usize {
        self.lock().group.lanes().len()
    }

    /// Slots of its first lane that count as used, and are nobody's.
    #[cfg(all(test, feature = "testing", not(any(laneway_loom, laneway_shuttle))))]
    pub(crate) fn plant_use(&self, by: isize) {
        let member = self.lock().group.lanes()[0].0;
        self.plant(crate::engine::GroupFault::UsedBy(member, by));
    }

    #[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
    pub(super) fn plant(&self, fault: crate::engine::GroupFault) {
        self.lock().group.plant(fault);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock()
    }

    /// A lane comes, which is in no group.
    pub(super) fn join(self: &Arc<Self>, domain: &Arc<Domain>, share: u32) {
        let mut hall = self.lock();
        hall.seat(self, domain, &mut domain.seat().lock(), share);
    }
}

/// The groups of a plan. One that is divided as it was is the same one, and so
/// are its lanes; any other begins `empty`, until its lanes have come.
pub(super) fn cells(charters: &Charters, old: &Groups, empty: bool) -> Groups {
    let cell = |(name, charter): (&Arc<str>, &crate::charter::Charter)| {
        let same = old.get(name).filter(|cell| cell.shares == charter.shares);
        let cell = same.map_or_else(
            || {
                let budget = if empty { 0 } else { charter.budget };
                Arc::new(GroupCell::new(Arc::clone(name), budget, &charter.shares))
            },
            Arc::clone,
        );
        (Arc::clone(name), cell)
    };
    charters.groups.iter().map(cell).collect()
}

/// Where a lane of this name belongs.
pub(super) fn place(plan: &Plan, groups: &Groups, lane: &str) -> Option<(Arc<GroupCell>, u32)> {
    let place = plan.charters.place(lane)?;
    Some((Arc::clone(groups.get(&place.group)?), place.share))
}

/// Moves a lane with all its tasks. At no moment is it in no group, unless that
/// is where it goes. Says whether it moved.
pub(super) fn regroup(domain: &Arc<Domain>, to: Option<&(Arc<GroupCell>, u32)>) -> bool {
    let from = domain.group();
    let (before, after) = (from.as_ref(), to.map(|(group, _)| group));
    if before.map(Arc::as_ptr) == after.map(Arc::as_ptr) {
        return false;
    }
    // Two groups are locked here and nowhere else, and by one thread at a
    // time, since reconfigurations take turns.
    let mut left = before.map(|group| group.lock());
    let mut entered = after.map(|group| group.lock());
    let mut seat = domain.seat().lock();
    if let Some(hall) = &mut left {
        hall.dismiss(domain, &mut seat);
    }
    if let (Some(hall), Some((group, share))) = (&mut entered, to) {
        hall.seat(group, domain, &mut seat, *share);
    }
    true
}

impl Hall {
    pub(super) fn enter(&self, member: Key, engine: &mut Engine) {
        self.group.enter(member, engine.in_group(Step::Enter));
    }

    /// Before it is read.
    pub(super) fn look(&self, member: Key, engine: &mut Engine) {
        self.group.look(member, engine.in_group(Step::Look));
    }

    pub(super) fn leave(&mut self, member: Key, engine: &mut Engine) {
        self.group.leave(member, engine.in_group(Step::Leave));
    }

    fn seat(&mut self, cell: &Arc<GroupCell>, domain: &Arc<Domain>, seat: &mut Seat, share: u32) {
        let lane = Arc::downgrade(domain);
        let step = Step::Join {
            group: cell.serial,
            budget: self.group.budget(),
            reserved: cell.shares.iter().map(|share| share.reserved).collect(),
            share,
        };
        let engine = seat.engine.in_group(step);
        let member = self.group.join(lane, share, engine);
        domain.write_down(&mut seat.engine);
        seat.membership = Some(Box::new(Membership {
            group: Arc::clone(cell),
            member,
            share,
        }));
    }

    pub(super) fn dismiss(&mut self, domain: &Domain, seat: &mut Seat) {
        if let Some(membership) = seat.membership.take() {
            let engine = seat.engine.in_group(Step::Part);
            self.group.part(membership.member, engine);
            domain.write_down(&mut seat.engine);
        }
    }

    /// Gives slots to waiters of any of its lanes until nothing fits any more
    /// (S5), and says who was first.
    pub(super) fn serve(&mut self, beside: &mut Beside) -> Option<Arc<TaskCell>> {
        if !self.group.is_owing() {
            return None;
        }
        let (now, mut first) = (Clock.now(), None);
        while let Some((member, lane)) = self.group.next(now) {
            // A lane with waiters is kept by them.
            let Some(domain) = lane.upgrade() else {
                break;
            };
            let mut sequel = Sequel::new();
            let mut seat = domain.seat().lock();
            let engine = seat.engine.in_group(Step::Visit { now });
            let told = self.group.visit(now, member, engine, &mut sequel.effects);
            let engine = &mut seat.engine;
            sequel.note(&domain, engine);
            if first.is_none() {
                let record = told.and_then(|key| engine.record(key));
                first = record.map(|record| Arc::clone(&record.payload));
            }
            drop(seat);
            // Also where nothing follows: the last reference to a lane is not
            // dropped under the lock of its group.
            beside.push(Staged { domain, sequel });
        }
        first
    }

    /// The lane that speaks for all that the budget keeps waiting (S16).
    pub(super) fn speaker(&self) -> Option<Arc<Domain>> {
        self.group.speaker()?.upgrade()
    }

    /// Whoever holds a slot in any of its lanes. O(slots).
    pub(super) fn holders(&self, beside: &mut Vec<Arc<Domain>>) -> Vec<Arc<TaskCell>> {
        let mut holders = Vec::new();
        for domain in self.group.busy().filter_map(Weak::upgrade) {
            holders.extend(domain.seat().lock().holders());
            beside.push(domain);
        }
        holders
    }

    pub(super) fn verify(
        &self,
        engine: &mut Engine,
        first: Option<Arc<TaskCell>>,
        effects: &mut Actions,
    ) {
        let engine = engine.in_group(Step::Verify);
        self.group.verify(engine, first, effects);
    }
}
