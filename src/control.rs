//! The control verbs, on one lane; [`Lanes`](crate::Lanes) speaks them to all.

use crate::engine::{End, Reason};
use crate::runtime::{DomainRef, Word, ask_holders, at_hand, withdraw};
use crate::sync::Arc;

pub(crate) fn pause(domain: &DomainRef, until: Option<crate::engine::Time>) {
    domain.act(|engine, _| engine.pause(until));
}

pub(crate) fn resume(domain: &DomainRef) {
    let now = domain.now();
    domain.act(|engine, effects| engine.resume(now, effects));
}

pub(crate) fn clear(domain: &DomainRef) -> usize {
    let now = domain.now();
    domain.act(|engine, effects| engine.clear(now, effects, |waited| End::Cleared { waited }))
}

/// The queued first, so that none of them is dispatched to a slot that the
/// cancel of a holder frees.
pub(crate) fn cancel_all(domain: &DomainRef, reason: Reason) -> usize {
    let now = domain.now();
    let queued = domain.act(|engine, effects| {
        engine.clear(now, effects, |waited| End::CancelledQueued {
            reason,
            waited,
        })
    });
    queued + ask_holders(domain, reason)
}

pub(crate) fn reset(domain: &DomainRef) -> usize {
    let now = domain.now();
    domain.act(|engine, effects| {
        let holders = engine.holders().to_vec();
        let mut taken = 0;
        for key in holders {
            let Some(task) = engine.record(key).map(|record| Arc::clone(&record.payload)) else {
                continue;
            };
            let withdrawn = withdraw(&task);
            task.word.shift(Word::Running, Word::Cancelled);
            let facts = at_hand(&task);
            if engine.reset_one(now, key, withdrawn, &facts, effects) {
                // Past every bound: somebody insists.
                let _ = domain.shared.orphans.reserve(true);
                taken += 1;
            }
        }
        engine.dispatch(now, effects);
        engine.settled_all(effects);
        taken
    })
}

pub(crate) fn close(domain: &DomainRef) {
    domain.act(|engine, _| engine.close());
}

pub(crate) fn shutdown(domain: &DomainRef) {
    let now = domain.now();
    domain.act(|engine, effects| engine.shutdown(now, effects));
}

/// The last [`Lanes`](crate::Lanes) is gone: a close that settles the queued.
pub(crate) fn abandon(domain: &DomainRef) {
    let now = domain.now();
    domain.act(|engine, effects| {
        engine.close();
        engine.clear(now, effects, |waited| End::SchedulerDropped { waited });
    });
}
