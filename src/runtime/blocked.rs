//! A lane has waiters and dispatched none for a while: who speaks of it (S16).

use super::cell::TaskCell;
use super::domain::Domain;
use super::facts::{self, HolderSigns};
use super::{log, standing};
use crate::engine::{BlockedBy, Holders};
use crate::sync::Arc;

/// How many lanes deep a chain of lanes that wait for each other is followed.
const DEEPEST: usize = 64;

/// Looks at the holders. O(holders), at most once per `warn_after`, and only
/// while nothing is dispatched.
pub(crate) fn inspect(domain: &Arc<Domain>) {
    let now = domain.now();
    let (holders, speaker) = in_the_way(domain);
    let signs: Vec<HolderSigns> = holders
        .iter()
        .map(|holder| facts::holder(holder, now))
        .collect();
    let root = signs.iter().find_map(|signs| signs.root.as_ref());
    let root = speaker.as_ref().or(root);
    let speaks_for_us = root.filter(|root| !leads_back(root, domain));
    *domain.defers_to.lock() = speaks_for_us.map(Arc::downgrade);
    let moving = signs.iter().filter(|signs| !signs.waiting);
    let seen = Holders {
        active_at: moving.map(|signs| signs.active_at).max(),
        root_speaks: speaks_for_us.is_some(),
    };
    // A warning is to say where they stand, and that shows a tick from now.
    let silent = signs.iter().zip(&holders);
    let silent = silent.filter_map(|(signs, holder)| (!signs.waiting).then_some(holder));
    if domain.read(|engine| engine.would_warn(now, seen)) && standing::probe(domain, silent, now) {
        domain.act(|engine, _| engine.look_again(now));
        return;
    }
    let blocked = domain.act(|engine, _| engine.judge_blocked(now, seen));
    if let Some(blocked) = blocked {
        let stillest = signs.iter().zip(&holders);
        let stillest = stillest.min_by_key(|(signs, _)| signs.active_at);
        let stillest = stillest.map(|(signs, holder)| (signs.active_at, holder));
        let root = root.map(|root| &*root.name);
        log::blocked(domain, &blocked, &holders, stillest, root, now);
    }
}

/// Whoever holds what this lane waits for: its own slots, or its group's budget,
/// of which one lane speaks for all that wait for it.
fn in_the_way(domain: &Arc<Domain>) -> (Vec<Arc<TaskCell>>, Option<Arc<Domain>>) {
    let by = domain.read(|engine| engine.blocked_by());
    let seat = domain.seat().lock();
    let group = seat.group();
    let (Some(BlockedBy::GroupBudget | BlockedBy::Reservation), Some(group)) = (by, group) else {
        return (seat.holders(), None);
    };
    drop(seat);
    let mut kept = Vec::new();
    let hall = group.lock();
    // One that is more patient than this lane does not speak for it.
    let patience = |lane: &Domain| lane.terms.with(|terms| terms.config.warning_after());
    let speaks =
        |lane: &Arc<Domain>| !Arc::ptr_eq(lane, domain) && patience(lane) <= patience(domain);
    let speaker = hall.speaker().filter(speaks);
    let holders = if speaker.is_some() {
        Vec::new()
    } else {
        hall.holders(&mut kept)
    };
    drop(hall);
    (holders, speaker)
}

/// Whether the lane that would speak for this one leaves it, in the end, to
/// this one: they wait for each other, and somebody has to say so.
fn leads_back(root: &Arc<Domain>, domain: &Arc<Domain>) -> bool {
    let mut lane = Arc::clone(root);
    for _ in 0..DEEPEST {
        if Arc::ptr_eq(&lane, domain) {
            return true;
        }
        let next = lane
            .defers_to
            .lock()
            .as_ref()
            .and_then(|next| next.upgrade());
        match next {
            Some(next) => lane = next,
            None => return false,
        }
    }
    true
}
