//! Carries out what the engine decided, with no lock held.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;

use super::cell::TaskCell;
use super::domain::{self, Actions, Domain, Engine};
use super::shared::Shared;
use super::wakers::{guarded, wake_all};
use super::{blocked, facts, links, log, park, repair};
use crate::engine::{Effect, End, Grant, Key, Notice, Reason, State, Time};
use crate::host::Id;
use crate::sync::Arc;

/// How deep effects may cause effects on one stack.
const DEEPEST: usize = 8;

type Postponed = (Arc<Domain>, Effect<Arc<TaskCell>>);

/// Dropped with no thread: what a thread drops last may cause effects, too, such
/// as a runtime that it keeps.
type Queue = ManuallyDrop<RefCell<VecDeque<Postponed>>>;

crate::sync::per_thread! {
    static DEPTH: Cell<usize> = Cell::new(0);
    static POSTPONED: Queue = ManuallyDrop::new(RefCell::new(VecDeque::new()));
}

/// Carries out effects in their order.
///
/// An effect may cause another input on the same stack, and that more effects:
/// a body that is launched on a runtime that is gone is dropped on the spot,
/// frees its slot, and so launches the next. From some depth on they are
/// left to the call above, so that a long queue is a loop and not a recursion.
pub(crate) fn carry_out_all(domain: &Arc<Domain>, effects: Actions) {
    let depth = DEPTH.try_with(Cell::get).unwrap_or(0);
    if depth >= DEEPEST {
        let postponed = effects
            .into_iter()
            .map(|effect| (Arc::clone(domain), effect));
        POSTPONED.with(|queue| queue.borrow_mut().extend(postponed));
        return;
    }
    let _deeper = Deeper::than(depth);
    for effect in effects {
        carry_out_guarded(domain, effect);
    }
    while let Ok(Some((domain, effect))) = POSTPONED.try_with(next_of) {
        carry_out_guarded(&domain, effect);
    }
}

fn next_of(queue: &Queue) -> Option<Postponed> {
    let mut queue = queue.borrow_mut();
    let next = queue.pop_front();
    if next.is_none() {
        // Nobody drops it, so that it keeps no room (S15).
        *queue = VecDeque::new();
    }
    next
}

/// Comes up again whatever happens: a depth that leaked would leave all later
/// effects of this thread to an outermost call that there is not.
struct Deeper(usize);

impl Deeper {
    fn than(depth: usize) -> Self {
        let _ = DEPTH.try_with(|current| current.set(depth + 1));
        Self(depth)
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        let _ = DEPTH.try_with(|current| current.set(self.0));
    }
}

/// What one effect runs into, a user's destructor that panics for one, costs
/// no other effect (S14).
fn carry_out_guarded(domain: &Arc<Domain>, effect: Effect<Arc<TaskCell>>) {
    guarded("an effect", || carry_out(domain, effect));
}

fn carry_out(domain: &Arc<Domain>, effect: Effect<Arc<TaskCell>>) {
    match effect {
        Effect::Grant(grant) => hand_over(domain, &grant),
        Effect::Place { task } => task.wake_runner(),
        Effect::Ask {
            task,
            reason,
            drop_now,
        } => {
            task.raise(reason, drop_now);
            links::asked(&task);
            if !drop_now {
                // What is part of its future is asked with it, and has its own
                // grace, as long as that lasts.
                for child in facts::owned_children(&task) {
                    child.domain().cancel(child.slot_key(), reason);
                }
            }
        }
        Effect::EndTeardown { task } => task.end_teardown(),
        Effect::Lost { task } => {
            task.left();
            // Where it runs on without, its inboxes give nothing any more.
            park::wake(&task);
            links::lost(&task);
        }
        Effect::Settle { task, end } => {
            // Whoever settles a waiter moves its word, so that its runner,
            // should it come, knows.
            domain::withdraw(&task);
            match end {
                End::Returned { waited } if task.principal().is_none() => {
                    super::drain::hand_back(domain, &task, waited);
                }
                _ => {}
            }
            links::settled(&task, end);
            task.settle(end);
        }
        Effect::Inspect { key, task } => domain.inspect(key, &task),
        Effect::Overlooked { task } => repair::overlooked(domain, &task),
        Effect::InspectHolders => blocked::inspect(domain),
        Effect::AskHolders { reason } => {
            let now = domain.now();
            domain.act(|engine, effects| {
                // Who came after a drain was taken back is no business of its (S4).
                if reason != Reason::Draining || engine.drain_is_over() {
                    // A drain waits for nobody who waits for somebody without a slot.
                    let parked = reason != Reason::Draining;
                    ask_holders_locked(engine, now, reason, parked, effects);
                }
            });
        }
        Effect::Outwaited { task } => park::wake(&task),
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

/// A task has its slot: its body is launched, or whoever polls it is woken.
#[inline]
pub(super) fn launch(task: &Arc<TaskCell>) {
    if links::begin(task) {
        return;
    }
    let body = task.shared.lock().body.take();
    if !body.launch(task) {
        task.wake_runner();
    }
}

/// The waiter that was dispatched is launched, or woken to come for its slot.
fn hand_over(domain: &Domain, grant: &Grant<Arc<TaskCell>>) {
    launch(&grant.task);
    // Last, since a subscriber is user code that may panic.
    let warn_after = domain.terms.with(|terms| terms.config.warning_after());
    if grant.waited >= warn_after {
        log::waited_long(grant);
    }
}

/// Asks every holder to end, and says how many were asked.
pub(crate) fn ask_holders(domain: &Arc<Domain>, reason: Reason) -> usize {
    let now = domain.now();
    domain.act(|engine, effects| ask_holders_locked(engine, now, reason, true, effects))
}

fn ask_holders_locked(
    engine: &mut Engine,
    now: Time,
    reason: Reason,
    parked: bool,
    effects: &mut Actions,
) -> usize {
    let without = engine
        .records()
        .filter(|(_, r)| r.state == State::Detached || parked && r.away);
    let without = without.map(|(key, _)| key);
    let keys: Vec<Key> = engine.holders().iter().copied().chain(without).collect();
    let mut ask = |key| domain::cancel_locked(engine, now, key, reason, effects);
    keys.into_iter().filter(|key| ask(*key)).count()
}

/// A runtime was shut down: settles what was bound to it and will not be
/// dropped by it (S7).
///
/// Tasks that it had begun are dropped by the runtime itself, and their
/// runners see to them. What is left is whoever was still queued, and threads
/// that cannot be stopped.
pub(crate) fn runtime_gone(shared: &Arc<Shared>, id: Id) {
    for domain in shared.all_that_live() {
        let now = domain.now();
        domain.act(|engine, effects| {
            let bound: Vec<(Key, Arc<TaskCell>)> = engine
                .records()
                .filter(|(_, record)| record.payload.is_bound_to(id))
                .map(|(key, record)| (key, Arc::clone(&record.payload)))
                .collect();
            // Nobody is dispatched before all of them are seen to: a slot that
            // one of them frees must not go to another.
            for (key, task) in &bound {
                let unclaimed = match engine.record(*key).map(|record| record.state) {
                    Some(state) if state.waits() => true,
                    // Nobody will come for it: its runtime may keep the body
                    // without ever running it.
                    Some(State::Granted) => domain::withdraw(task),
                    _ => false,
                };
                // An orphan's caller was told.
                let runs = |state: State| state.holds_slot() || state == State::Detached;
                let state = engine.record(*key).map(|record| record.state);
                if unclaimed {
                    engine.withdraw(now, *key, End::RuntimeShutdown, effects);
                } else if task.is_blocking() && state.is_some_and(runs) {
                    // A slot stays held as long as the thread is busy, or
                    // until it stalls; its caller need not wait for that.
                    engine.tell(now, *key, End::RuntimeShutdown, effects);
                }
            }
            engine.dispatch(now, effects);
            engine.settled_all(effects);
        });
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;
    use crate::{LaneConfig, Lanes};

    #[test]
    fn s15_what_was_postponed_leaves_no_room() {
        let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
        let lanes = lanes.build().unwrap();
        let domain = lanes.lane("main").unwrap().domain;
        let effect = || (Arc::clone(&domain), Effect::Idle);
        let postponed = std::iter::repeat_with(effect).take(100).collect();
        let queue = ManuallyDrop::new(RefCell::new(postponed));
        let mut carried = 0;
        while next_of(&queue).is_some() {
            carried += 1;
        }
        assert_eq!((carried, queue.borrow().capacity()), (100, 0));
    }
}
