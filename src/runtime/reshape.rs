//! Setting lanes anew: one transaction, whole or not at all.

use super::deadlock;
use super::domain::{Actions, DomainRef, Engine};
use super::group::{self, Beside};
use super::sequel::Staged;
use super::shared::Shared;
use crate::error::ConfigError;
use crate::plan::{Draft, Origin, Plan, Terms};
use crate::sync::Arc;

impl Shared {
    /// Validates the change against what is said now, applies it whole, and
    /// says how many lanes it touched. An error means that nothing was changed.
    ///
    /// `change` is ours: what a user recorded (S13).
    pub(crate) fn reconfigure(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Draft) -> Result<(), ConfigError>,
    ) -> Result<usize, ConfigError> {
        // From version to version, so that no lane is left with the terms of
        // an older one.
        let turn = self.reconfiguring.lock();
        let mut draft = self.draft();
        change(&mut draft)?;
        let insisted = std::mem::take(&mut draft.insisted);
        let plan = Arc::new(Plan::new(draft)?);
        let old = self.groups_by_name();
        let groups = group::cells(&plan.charters, &old, true);
        let mut beside = Beside::new();
        // Until all lanes have moved, a grant fits the old budget as well as the
        // new (S1). One that is divided anew starts nobody meanwhile: its lanes
        // are counted in two places.
        for (name, cell) in &old {
            let kept = groups.get(name).is_some_and(|new| Arc::ptr_eq(new, cell));
            let charter = plan.charters.groups.get(name).filter(|_| kept);
            let budget = charter.map_or(0, |charter| charter.budget.min(cell.usage().0));
            cell.set_budget(self, budget, &mut beside);
        }
        // A lane that is made from here on is made of the new plan; those that
        // there are cannot go while they are referred to.
        let lanes = self.adopt(&plan, groups.clone());
        let mut staged = Vec::new();
        let mut touched = 0;
        for lane in &lanes {
            let place = group::place(&plan, &groups, &lane.name);
            let moved = group::regroup(lane, place.as_ref());
            let set = set_anew(lane, &plan, insisted.contains(&*lane.name));
            touched += usize::from(moved || set.is_some());
            staged.extend(set);
            if moved && place.is_none() {
                let now = lane.now();
                let dispatch = |engine: &mut Engine, effects: &mut Actions| {
                    engine.dispatch(now, effects);
                };
                staged.push(lane.stage(dispatch).1);
            }
        }
        for (name, charter) in &plan.charters.groups {
            if let Some(cell) = groups.get(name) {
                cell.set_budget(self, charter.budget, &mut beside);
            }
        }
        drop(turn);
        // Every lane is set before anybody is told in one of them.
        staged.into_iter().chain(beside).for_each(Staged::carry_out);
        // Also of lanes that were only added.
        lanes.iter().for_each(|lane| lane.tell_readers());
        if let Some(meters) = &self.meters {
            meters.forget_unused();
        }
        deadlock::lanes_changed(&lanes);
        Ok(touched)
    }
}

/// Sets a lane as the plan says; `None` where it is set so already.
fn set_anew(lane: &DomainRef, plan: &Plan, insists: bool) -> Option<Staged> {
    let old = lane.terms.get();
    let new = plan
        .terms(&lane.name)
        .map_or_else(|| old.removed(), Arc::clone);
    let same = new == old;
    if same && !insists {
        return None;
    }
    let by_name = insists || names_the_limit(&old, &new);
    let now = lane.now();
    let ((), staged) = lane.stage(|engine, effects| {
        let limit = engine.settings().max_concurrent;
        // What was limited by hand stays so, unless the lane itself is named.
        let by_hand = limit != old.config.max_concurrent();
        let mut settings = new.config.settings(lane.shared.observe_only);
        if by_hand && !by_name {
            settings.max_concurrent = limit;
        }
        engine.set_anew(now, settings, effects);
    });
    if !same {
        if let (Some(meters), Some(meter)) = (&lane.shared.meters, &lane.meter) {
            meters.relabel(meter, &new.origin, &lane.name);
        }
        lane.terms.set(new);
    }
    Some(staged)
}

/// Whether the change is about the slots of this very lane.
fn names_the_limit(old: &Terms, new: &Terms) -> bool {
    let slots = |terms: &Terms| terms.config.max_concurrent();
    new.origin == Origin::Named && (old.origin != new.origin || slots(old) != slots(new))
}
