//! Waits that would never end: when they are looked for, and what becomes of
//! them.
//!
//! A task is looked at when its poll is over: until then it may begin to wait for
//! more. An edge is there before anybody searches from it, so of two that close a
//! circle at the same moment one search at least sees both (each of them reads
//! under the lock under which the other wrote). A search reads one thing after
//! another, so what it found stuck is read once more: if nothing of it has changed,
//! there was a moment between the two at which all of it was so. Then the newest
//! wait of the circle is refused, whoever found it, so that two who find the same
//! circle refuse the same wait. It is the wait that closed it.
//!
//! What can make a task stuck, and so is followed by a search: a wait that begins,
//! one of several waits that is over, fewer slots, a smaller budget, another group.

use std::task::Poll;

use super::cell::TaskCell;
use super::current;
use super::domain::{Domain, DomainRef, cancel_locked};
use super::edge::address;
use super::log;
use super::parts::Rare;
use super::waits::{Circle, Start, Waits, moves_by_itself};
use super::wakers::wake_all;
use super::word::Word;
use crate::config::OnDeadlock;
use crate::engine::{End, Reason, What};
use crate::error::Cycle;
use crate::sync::{Arc, Ordering};

/// How often a search is repeated whose result was out of date at once.
const TRIES: usize = 64;

/// A task waits for another one from now on.
#[inline]
pub(super) fn wait_begins(parent: &Arc<TaskCell>, child: &TaskCell) {
    // Mostly that is all.
    if !moves_by_itself(child) {
        waits_change(parent);
    }
}

/// A task waits for something else than before. Where it is polled now, it may be
/// about to begin another wait: [`after_poll`] looks at it.
pub(super) fn waits_change(parent: &Arc<TaskCell>) {
    // A thread polls what it likes, and nobody sees the end of that; and a future
    // may be dropped anywhere.
    if parent.is_blocking() || !current::is(parent) {
        look_at(parent);
    } else {
        parent.waits_change();
    }
}

/// A task, or a part of it that is polled by itself, is pending.
#[inline]
pub(super) fn after_poll(task: &Arc<TaskCell>) {
    if task.take_waits_change() {
        look_at(task);
    }
}

/// A part of a task that is polled by itself was polled.
pub(super) fn after_part<T>(task: &Arc<TaskCell>, polled: &Poll<T>) {
    if polled.is_pending() {
        after_poll(task);
    } else if task.waits_differ() {
        // Its task may have waited for this part, and is about to go on.
        let runner = task.shared.lock().runner.take();
        match runner {
            Some(runner) => wake_all([runner]),
            None => after_poll(task),
        }
    }
}

/// A task that has slots is in line for another, and nobody polls it meanwhile.
pub(super) fn gathers(task: &Arc<TaskCell>) {
    look_at(task);
}

#[cold]
fn look_at(parent: &Arc<TaskCell>) {
    if moves_by_itself(parent) {
        return;
    }
    let running = {
        let parts = parent.shared.lock();
        let mut awaits = parts
            .peek()
            .into_iter()
            .flat_map(|rare| rare.awaits.values());
        let running = awaits.find(|awaited| awaited.task.word.get() != Word::Queued);
        running.map(|awaited| Arc::clone(&awaited.task))
    };
    if running.is_some_and(|child| moves_by_itself(&child)) {
        return;
    }
    resolve(Start::Task(parent));
}

/// A task that was given a slot, and has lost it unseen, is in line again.
pub(super) fn waits_again(task: &Arc<TaskCell>) {
    if task.word.get() == Word::Queued {
        resolve(Start::Lane(task.domain()));
    }
}

/// Lanes were set anew: some of those that wait may never start.
pub(crate) fn lanes_changed(lanes: &[DomainRef]) {
    for lane in lanes.iter().filter(|lane| lane.has_waiters()) {
        resolve(Start::Lane(lane));
    }
}

/// Refuses waits until that can move from which it begins, or nothing can be done
/// about it.
fn resolve(start: Start<'_>) {
    for _ in 0..TRIES {
        let Some(circle) = find(start) else {
            return;
        };
        let lane = circle.child.domain();
        let refuses = lane.shared.on_deadlock == OnDeadlock::Refuse;
        if !refuses || refuse(&circle) {
            lane.deadlocks.fetch_add(1, Ordering::Relaxed);
            log::deadlock(lane, &circle.cycle, refuses);
            if lane.is_observed() {
                let cycle = Arc::from(circle.cycle.to_string());
                let refused = refuses;
                lane.act(|engine, _| {
                    engine.note_lane(|| What::Deadlock {
                        circle: cycle,
                        refused,
                    })
                });
            }
        }
        if !refuses {
            return;
        }
    }
}

fn find(start: Start<'_>) -> Option<Circle> {
    let first = Waits::search(start);
    if !first.is_stuck() {
        return None;
    }
    first.circle()?;
    let shared = match start {
        Start::Task(task) => &task.domain().shared,
        Start::Lane(lane) => &lane.shared,
    };
    // All of what was read is dropped outside the lock.
    let mut read = vec![first];
    // While lanes are set anew, they are in two places, and have less room than
    // before and after.
    let turn = shared.reconfiguring.lock();
    loop {
        let again = Waits::search(start);
        let same = again.is_stuck() && read.last().is_some_and(|last| last.mark() == again.mark());
        let over = same || !again.is_stuck();
        read.push(again);
        if over {
            break;
        }
    }
    drop(turn);
    let last = read.last().filter(|last| last.is_stuck())?;
    last.circle()
}

/// Ends the wait, and nothing else; false if it was over already.
fn refuse(circle: &Circle) -> bool {
    let Circle {
        cycle,
        parent,
        child,
        leaves,
    } = circle;
    if *leaves {
        leave_queue(child, cycle)
    } else {
        give_back(parent, child, cycle)
    }
}

/// The child leaves its queue as if it had never joined.
fn leave_queue(child: &Arc<TaskCell>, cycle: &Cycle) -> bool {
    let now = child.now();
    let key = child.slot_key();
    let lane: &Arc<Domain> = child.domain();
    lane.act(|engine, effects| {
        let waits = engine
            .record(key)
            .is_some_and(|record| record.state.waits());
        if waits {
            child.whose().shared.lock().rare().circle = Some(cycle.clone());
            cancel_locked(engine, now, key, Reason::WouldDeadlock, effects);
        }
        waits
    })
}

/// The child goes on, and its parent waits for it no more.
fn give_back(parent: &Arc<TaskCell>, child: &Arc<TaskCell>, cycle: &Cycle) -> bool {
    let refused = {
        let mut parts = parent.shared.lock();
        let awaits = parts.peek_mut().map(|rare| &mut rare.awaits);
        let awaited = awaits.and_then(|awaits| awaits.get_mut(&address(child)));
        awaited
            .map(|awaited| awaited.refused = Some(cycle.clone()))
            .is_some()
    };
    let (joiner, sharers) = {
        let mut parts = child.shared.lock();
        (parts.joiner.take(), parts.take(Rare::leavers))
    };
    wake_all(joiner);
    wake_all(sharers);
    refused
}

/// The circle that a task was not to close, if that is how it ended.
pub(super) fn told(task: &TaskCell, end: &End) -> Option<Cycle> {
    match end {
        End::CancelledQueued {
            reason: Reason::WouldDeadlock,
            ..
        } => task.shared.lock().peek()?.circle.clone(),
        _ => None,
    }
}
