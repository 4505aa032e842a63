//! The control verbs, spoken to one lane or to all of them.
//!
//! A verb that settles waiters is spoken to every lane before anybody is told:
//! whoever is told in one lane may be what another lane's next task waits for.

use crate::engine::{End, Key, Reason, Time};
use crate::runtime::{
    Actions, Domain, DomainRef, Engine, Staged, Word, ask_holders, at_hand, log, withdraw,
};
use crate::sync::Arc;

pub(crate) fn pause(domain: &DomainRef, until: Option<Time>) {
    domain.act(|engine, _| engine.pause(until));
}

pub(crate) fn resume(domain: &DomainRef) {
    let now = domain.now();
    domain.act(|engine, effects| engine.resume(now, effects));
}

pub(crate) fn close(domain: &DomainRef) {
    domain.act(|engine, _| engine.close());
}

pub(crate) fn clear(domains: &[DomainRef]) -> usize {
    each(domains, |_, now, engine, effects| {
        engine.clear(now, effects, |waited| End::Cleared { waited })
    })
}

/// The queued first, so that none of them is dispatched to a slot that the
/// cancel of a holder frees.
pub(crate) fn cancel_all(domains: &[DomainRef], reason: Reason) -> usize {
    let queued = each(domains, |_, now, engine, effects| {
        engine.clear(now, effects, |waited| End::CancelledQueued {
            reason,
            waited,
        })
    });
    let ask = |domain: &DomainRef| ask_holders(domain, reason);
    queued + domains.iter().map(ask).sum::<usize>()
}

pub(crate) fn reset(domains: &[DomainRef]) -> usize {
    // Who gets a slot by this, in whichever lane of a group, keeps it (S4).
    let holders = |domain: &DomainRef| domain.read(|engine| engine.holders().to_vec());
    let holders: Vec<Vec<Key>> = domains.iter().map(holders).collect();
    let mut holders = holders.iter();
    let taken = each(domains, |domain, now, engine, effects| {
        let holders = holders.next().into_iter().flatten();
        reset_locked(domain, holders, now, engine, effects)
    });
    log::lanes_reset(domains, taken);
    taken
}

pub(crate) fn shutdown(domains: &[DomainRef]) {
    each(domains, |_, now, engine, effects| {
        engine.shutdown(now, effects);
        0
    });
}

/// The last [`Lanes`](crate::Lanes) is gone: a close that settles the queued.
pub(crate) fn abandon(domains: &[DomainRef]) {
    each(domains, |_, now, engine, effects| {
        engine.close();
        engine.clear(now, effects, |waited| End::SchedulerDropped { waited })
    });
}

/// Feeds every lane, then carries out what follows in all of them.
fn each(
    domains: &[DomainRef],
    mut verb: impl FnMut(&Domain, Time, &mut Engine, &mut Actions) -> usize,
) -> usize {
    let mut total = 0;
    let stage = |domain: &DomainRef| {
        let now = domain.now();
        let (count, staged) = domain.stage(|engine, effects| verb(domain, now, engine, effects));
        total += count;
        staged
    };
    let staged: Vec<_> = domains.iter().map(stage).collect();
    staged.into_iter().for_each(Staged::carry_out);
    total
}

fn reset_locked<'a>(
    domain: &Domain,
    holders: impl Iterator<Item = &'a Key>,
    now: Time,
    engine: &mut Engine,
    effects: &mut Actions,
) -> usize {
    let mut taken = 0;
    for key in holders.copied() {
        let record = engine.record(key);
        let holds = record.filter(|record| record.is_holder());
        let Some(task) = holds.map(|record| Arc::clone(&record.payload)) else {
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
}
