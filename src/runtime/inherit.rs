//! A task of a chain, or one that comes back, holds slots and waits for another.
//! It inherits the priority of the most urgent task behind it: otherwise somebody who looks at a screen would wait
//! for a place in line that was meant for nobody in particular.
//!
//! What is inherited stays: a waiter that was raised keeps its tier until it has
//! its slot. So each is raised twice at the most, and a submission pays for
//! those that it raises, and not for those that it finds.

use std::collections::HashMap;

use super::cell::TaskCell;
use super::domain::Domain;
use crate::engine::Priority;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// Of one lane: what its holders wait with in other lanes, by the priority that
/// it has there.
#[derive(Debug)]
pub(super) struct Heirs {
    any: AtomicBool,
    tiers: Mutex<Option<Box<Tiers>>>,
}

type Tiers = [HashMap<usize, Arc<TaskCell>>; 3];

/// A task holds slots of these lanes, and waits for another with this cell.
pub(super) fn begin(lanes: &[Arc<Domain>], waiter: &Arc<TaskCell>) {
    for lane in lanes {
        lane.heirs.insert(waiter, waiter.spec().priority);
    }
    // After that, so that whoever comes to one of the lanes meanwhile is seen
    // here or sees it there.
    let urgent = lanes.iter().filter_map(|lane| {
        let waits = |priority: &Priority| lane.read(|engine| engine.has_waiting(*priority));
        [Priority::Foreground, Priority::Normal]
            .into_iter()
            .find(waits)
    });
    if let Some(priority) = urgent.min() {
        raise(vec![(Arc::clone(waiter), priority)]);
    }
}

/// It has its slot, or does not wait for it any more.
pub(super) fn end(lanes: &[Arc<Domain>], waiter: &Arc<TaskCell>) {
    for lane in lanes {
        lane.heirs.remove(waiter);
    }
}

/// Somebody with this priority waits in this lane.
#[inline]
pub(super) fn behind(lane: &Domain, priority: Priority) {
    if lane.heirs.any.load(Ordering::Relaxed) {
        raise(lane.heirs.take_below(priority));
    }
}

/// One that is raised in its lane waits there with more urgency, and so do those
/// who hold the slots that it waits for.
#[cold]
fn raise(mut waiters: Vec<(Arc<TaskCell>, Priority)>) {
    while let Some((waiter, priority)) = waiters.pop() {
        let (domain, key) = (waiter.domain(), waiter.slot_key());
        if domain.act(|engine, _| engine.raise(key, priority)) {
            waiters.extend(domain.heirs.take_below(priority));
        }
    }
}

impl Heirs {
    pub(super) fn new() -> Self {
        Self {
            any: AtomicBool::new(false),
            tiers: Mutex::new(None),
        }
    }

    fn insert(&self, waiter: &Arc<TaskCell>, priority: Priority) {
        let mut tiers = self.tiers.lock();
        self.any.store(true, Ordering::Relaxed);
        let tiers = tiers.get_or_insert_default();
        tiers[priority as usize].insert(address(waiter), Arc::clone(waiter));
    }

    fn remove(&self, waiter: &Arc<TaskCell>) {
        let at = address(waiter);
        let mut known = self.tiers.lock();
        let Some(tiers) = known.as_deref_mut() else {
            return;
        };
        let gone = tiers.each_mut().map(|tier| tier.remove(&at));
        if tiers.iter().all(HashMap::is_empty) {
            self.any.store(false, Ordering::Relaxed);
            *known = None;
        }
        drop(known);
        drop(gone);
    }

    /// Those that are less urgent, which are as urgent from now on.
    fn take_below(&self, priority: Priority) -> Vec<(Arc<TaskCell>, Priority)> {
        let mut raised = Vec::new();
        let mut known = self.tiers.lock();
        if let Some(tiers) = known.as_deref_mut() {
            let (urgent, below) = tiers.split_at_mut(priority as usize + 1);
            for (at, waiter) in below.iter_mut().flat_map(HashMap::drain) {
                raised.push((Arc::clone(&waiter), priority));
                urgent[priority as usize].insert(at, waiter);
            }
        }
        raised
    }
}

fn address(waiter: &Arc<TaskCell>) -> usize {
    Arc::as_ptr(waiter).addr()
}
