//! A lane has waiters and dispatched none for a while: who speaks of it (S16).

use super::cell::TaskCell;
use super::domain::Domain;
use super::facts::{self, HolderSigns};
use super::log;
use crate::engine::Holders;
use crate::sync::Arc;

/// How many lanes deep a chain of lanes that wait for each other is followed.
const DEEPEST: usize = 64;

/// Looks at the holders. O(holders), at most once per `warn_after`, and only
/// while nothing is dispatched.
pub(crate) fn inspect(domain: &Arc<Domain>) {
    let now = domain.now();
    let holders: Vec<Arc<TaskCell>> = domain.read(|engine| {
        let keys = engine.holders().iter();
        keys.filter_map(|key| engine.record(*key))
            .map(|record| Arc::clone(&record.payload))
            .collect()
    });
    let signs: Vec<HolderSigns> = holders
        .iter()
        .map(|holder| facts::holder(holder, now))
        .collect();
    let root = signs.iter().find_map(|signs| signs.root.as_ref());
    let speaks_for_us = root.filter(|root| !leads_back(root, domain));
    *domain.defers_to.lock() = speaks_for_us.map(Arc::downgrade);
    let moving = signs.iter().filter(|signs| !signs.waiting);
    let seen = Holders {
        active_at: moving.map(|signs| signs.active_at).max(),
        root_speaks: speaks_for_us.is_some(),
    };
    let blocked = domain.act(|engine, _| engine.judge_blocked(now, seen));
    if let Some(blocked) = blocked {
        let stillest = signs.iter().zip(&holders);
        let stillest = stillest.min_by_key(|(signs, _)| signs.active_at);
        let stillest = stillest.map(|(signs, holder)| (signs.active_at, holder));
        let root = root.map(|root| &*root.name);
        log::blocked(domain, &blocked, &holders, stillest, root, now);
    }
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
