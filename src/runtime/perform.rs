//! Carries out what the engine decided, with no lock held.

use tokio::runtime::Id;

use super::cell::TaskCell;
use super::domain::{self, Domain};
use super::shared::Shared;
use super::wakers::{guarded, wake_all};
use super::{blocked, log};
use crate::engine::{Effect, End, Grant, Key, Notice, Reason, State};
use crate::sync::Arc;

pub(crate) fn carry_out(domain: &Arc<Domain>, effect: Effect<Arc<TaskCell>>) {
    match effect {
        Effect::Grant(grant) => hand_over(domain, &grant),
        Effect::Ask {
            task,
            reason,
            drop_now,
        } => task.raise(reason, drop_now),
        Effect::EndTeardown { task } => task.end_teardown(),
        Effect::Lost { task } => task.left(),
        Effect::Settle { task, end } => {
            // Whoever settles a waiter moves its word, so that its runner,
            // should it come, knows.
            if domain::withdraw(&task) {
                task.left();
            }
            if let End::Returned { waited } = end {
                super::drain::hand_back(domain, &task, waited);
            }
            task.settle(end);
        }
        Effect::Inspect { key, task } => domain.inspect(key, &task),
        Effect::InspectHolders => blocked::inspect(domain),
        Effect::AskHolders { reason } => {
            ask_holders(domain, reason);
        }
        Effect::Idle => {
            let waiting = domain.idle.lock().take();
            wake_all(waiting);
        }
        Effect::Report(Notice::OnWait {
            task,
            waited,
            queued_ahead,
            active_ahead,
        }) => {
            let call = task.shared.lock().rare().on_wait.take();
            if let Some(call) = call {
                let info = crate::options::WaitInfo {
                    lane: Arc::clone(&domain.name),
                    id: task.id(),
                    waited,
                    queued_ahead,
                    active_ahead,
                };
                guarded("an on_wait callback", || call(info));
            }
        }
        Effect::Report(notice) => log::notice(domain, &notice),
    }
}

/// The waiter that was dispatched is launched, or woken to come for its slot.
fn hand_over(domain: &Domain, grant: &Grant<Arc<TaskCell>>) {
    let task = &grant.task;
    if grant.waited >= domain.config.warning_after() {
        log::waited_long(grant);
    }
    let body = task.shared.lock().body.take();
    match body {
        Some(body) => body.launch(Arc::clone(task)),
        None => task.wake_runner(),
    }
}

/// Asks every holder to end, and says how many were asked.
pub(crate) fn ask_holders(domain: &Arc<Domain>, reason: Reason) -> usize {
    let now = domain.now();
    domain.act(|engine, effects| {
        let detached = engine.records().filter(|(_, r)| r.state == State::Detached);
        let detached = detached.map(|(key, _)| key);
        let keys: Vec<Key> = engine.holders().iter().copied().chain(detached).collect();
        let mut ask = |key| domain::cancel_locked(engine, now, key, reason, effects);
        keys.into_iter().filter(|key| ask(*key)).count()
    })
}

/// A runtime was shut down: settles what was bound to it and will not be
/// dropped by it (S7).
///
/// Tasks that it had begun are dropped by the runtime itself, and their
/// runners see to them. What is left is whoever was still queued, and threads
/// that cannot be stopped.
pub(crate) fn runtime_gone(shared: &Arc<Shared>, id: Id) {
    for domain in shared.all() {
        let now = domain.now();
        domain.act(|engine, effects| {
            let bound = |task: &TaskCell| task.runtime == Some(id);
            let keys: Vec<(Key, State)> = engine
                .records()
                .filter(|(_, record)| bound(&record.payload))
                .map(|(key, record)| (key, record.state))
                .collect();
            for (key, state) in keys {
                let Some(task) = engine.record(key).map(|r| Arc::clone(&r.payload)) else {
                    continue;
                };
                match state {
                    State::Queued | State::Asleep => {
                        engine.withdraw(now, key, End::RuntimeShutdown, effects);
                    }
                    // Nobody will come for it: its runtime may keep the body
                    // without ever running it.
                    State::Granted if domain::withdraw(&task) => {
                        engine.withdraw(now, key, End::RuntimeShutdown, effects);
                    }
                    // Its slot stays held as long as the thread is busy, or
                    // until it stalls; its caller need not wait for that.
                    state if state.holds_slot() && task.blocking => effects.push(Effect::Settle {
                        task,
                        end: End::RuntimeShutdown,
                    }),
                    _ => {}
                }
            }
        });
    }
}
