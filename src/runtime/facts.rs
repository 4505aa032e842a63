//! What a task's atomics say when the engine asks, computed when its timer
//! fires and at no other time.

use super::cell::TaskCell;
use super::domain::Domain;
use super::park;
use super::parts::Limits;
use super::word::Word;
use crate::engine::{Facts, OnStall, TICK, Time};
use crate::sync::Arc;

/// How deep a chain of tasks that wait for each other is followed. Deeper than
/// any sane nesting; it ends a cycle of handles that await each other.
const DEEPEST: usize = 64;

/// A task's signs of life, those of the children it awaits included.
struct Life {
    active_at: Time,
    reported: bool,
    waiting: bool,
    hold_until: Option<Time>,
    /// A lane with waiters in which it waits, itself or through a child.
    root: Option<Arc<Domain>>,
}

/// Reads everything the engine wants to know of a task. Takes no lock but the
/// cells' own, so it is called with no domain locked.
pub(crate) fn read(task: &TaskCell, now: Time) -> Facts {
    let life = life(task, now, DEEPEST);
    Facts {
        active_at: life.active_at,
        reported: life.reported,
        waiting: life.waiting,
        hold_until: life.hold_until,
        ..at_hand(task)
    }
}

/// What can be read under the domain's lock: of the task alone, no children.
pub(crate) fn at_hand(cell: &TaskCell) -> Facts {
    let claimed = !matches!(cell.word.get(), Word::Queued | Word::Granted | Word::Asleep);
    let Some(task) = cell.principal() else {
        let gathers = !claimed && cell.gathers();
        return Facts {
            claimed,
            gathers,
            ..of_task(cell)
        };
    };
    // A slot beside a task's own is given back when that is, and what the task
    // was granted is looked after there. Where nobody polls it, nobody is to come.
    let gathers = cell.bound().is_some() && task.word.get() == Word::Granted;
    Facts {
        claimed,
        gathers,
        phase: None,
        deadline: None,
        ..of_task(task)
    }
}

fn of_task(task: &TaskCell) -> Facts {
    let limits = task.limits();
    let word = task.word.get();
    let reported = task.last_report();
    Facts {
        claimed: false,
        gathers: false,
        done: word == Word::Done,
        active_at: latest(task, reported),
        reported: reported.is_some(),
        waiting: false,
        hold_until: None,
        phase: limits.phase,
        deadline: limits.deadline,
        extended_until: limits.extended,
        listens: listens(task),
        hooks: task.has_teardown(),
    }
}

/// A task listens if it does so itself, or if a child listens that is part of
/// its future: to drop the parent would be to drop the child without its grace.
///
/// No reference to a task is made or dropped here, since a domain may be
/// locked. The locks nest: such a child is polled by its parent alone (another that
/// comes to poll it takes its place first), so they form a tree.
fn listens(task: &TaskCell) -> bool {
    if task.listens() {
        return true;
    }
    let parts = task.shared.lock();
    let Some(rare) = parts.peek() else {
        return false;
    };
    let mut awaits = rare.awaits.values();
    awaits.any(|child| child.owned && child.task.is_under_way() && listens(&child.task))
}

/// The children that are part of a task's future.
pub(crate) fn owned_children(task: &TaskCell) -> Vec<Arc<TaskCell>> {
    let parts = task.shared.lock();
    parts.peek().map_or_else(Vec::new, |rare| {
        let owned = rare.awaits.values().filter(|awaited| awaited.owned);
        owned.map(|awaited| Arc::clone(&awaited.task)).collect()
    })
}

/// What a lane that does not move wants to know of a holder (S16).
pub(crate) struct HolderSigns {
    pub(crate) active_at: Time,
    /// It waits for a slot, so that it has no sign of life to give.
    pub(crate) waiting: bool,
    /// The lane with waiters in which it waits.
    pub(crate) root: Option<Arc<Domain>>,
}

pub(crate) fn holder(task: &TaskCell, now: Time) -> HolderSigns {
    let life = life(task, now, DEEPEST);
    HolderSigns {
        active_at: life.active_at,
        waiting: life.waiting,
        root: life.root,
    }
}

fn latest(task: &TaskCell, reported: Option<Time>) -> Time {
    let stirred = task.stirred();
    reported.map_or(stirred, |reported| reported.max(stirred))
}

fn life(task: &TaskCell, now: Time, depth: usize) -> Life {
    let task = task.principal().map_or(task, |task| &**task);
    let reported = task.last_report();
    let mut life = Life {
        active_at: latest(task, reported),
        reported: reported.is_some(),
        waiting: false,
        hold_until: None,
        root: None,
    };
    if task.is_linked()
        && let Some(until) = park::waited_until(task, now)
    {
        // It said so, and its clocks stand still, so that whoever awaits it is
        // not stalling either (S9).
        life.active_at = life.active_at.max(until);
    }
    if depth == 0 {
        return life;
    }
    let awaited = awaited(task);
    for child in &awaited {
        match child.word.get() {
            // A grant that is not claimed yet is still a wait.
            Word::Queued | Word::Granted => {
                life.waiting = true;
                life.root.get_or_insert_with(|| Arc::clone(child.domain()));
            }
            // It sleeps because nobody polls it, this task least of all; or
            // it is over, and this task has not looked yet. What it was good
            // for until then was a sign of life.
            Word::Asleep => life.inherit(child),
            _ if child.settled().is_some() => life.inherit(child),
            _ => life.adopt(child, now, depth),
        }
    }
    life
}

/// Others that it awaits: who awaits itself has no sign of life from that (S8).
pub(super) fn awaited(task: &TaskCell) -> Vec<Arc<TaskCell>> {
    let parts = task.shared.lock();
    parts.peek().map_or_else(Vec::new, |rare| {
        let tasks = rare.awaits.values().map(|awaited| &awaited.task);
        let others = tasks.filter(|child| !std::ptr::eq(&***child, task));
        others.map(Arc::clone).collect()
    })
}

impl Life {
    /// A child that neither waits nor runs any more.
    fn inherit(&mut self, child: &TaskCell) {
        let report = child.last_report();
        self.active_at = self.active_at.max(latest(child, report));
        self.reported |= report.is_some();
    }

    /// A child that is awaited lends its signs of life to its parent (S9).
    fn adopt(&mut self, child: &TaskCell, now: Time, depth: usize) {
        let below = life(child, now, depth - 1);
        self.active_at = self.active_at.max(below.active_at);
        self.reported |= below.reported;
        self.waiting |= below.waiting;
        if let Some(until) = child_decides(child, &below, now) {
            self.hold_until = Some(self.hold_until.map_or(until, |held| held.max(until)));
        }
        let waits_beside = || {
            child
                .domain()
                .has_waiters()
                .then(|| Arc::clone(child.domain()))
        };
        self.root = self.root.take().or(below.root).or_else(waits_beside);
    }
}

/// Until when a silent child is about to be dealt with itself, so that its
/// parent is told its error rather than reclaimed beside it.
fn child_decides(child: &TaskCell, below: &Life, now: Time) -> Option<Time> {
    let later = below.hold_until.map(|at| at + TICK);
    if child.asked().is_some() {
        let take_at = child.limits().take_at.unwrap_or_default() + TICK * 2;
        return Some(take_at.max(later.unwrap_or(take_at))).filter(|at| now < *at);
    }
    let spec = child.spec();
    let reclaims = spec.on_stall == OnStall::Reclaim && !child.domain().shared.observe_only;
    let Limits {
        phase, extended, ..
    } = child.limits();
    let limit = phase.or_else(|| spec.silence(below.reported).map(|(limit, _)| limit));
    let extended = extended.filter(|until| now < *until);
    let soon = match limit.map(|limit| below.active_at + limit).max(extended) {
        // Silence that was granted to it on purpose is its parent's, too.
        Some(due) if now < due => (phase.is_some() || extended.is_some()).then(|| due + TICK),
        // Due by now and not asked yet: its own timer is about to fire, and
        // S8 says that it does, so this holds its parent for a tick or two.
        Some(_) if reclaims => Some(now + TICK),
        _ => None,
    };
    soon.max(later)
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Reason;
    use crate::runtime::edge::{self, Edge};
    use crate::runtime::{current, slot::Slot};
    use crate::{LaneConfig, Lanes, LanesBuilder};

    const SECOND: Duration = Duration::from_secs(1);
    const CEILING: Duration = Duration::from_secs(10);
    const NS: Duration = Duration::from_nanos(1);

    /// Tasks that began at the same moment, each awaiting the next.
    struct Chain {
        lanes: Lanes,
        slots: Vec<Slot>,
        began: Time,
        _edges: Vec<Option<Edge>>,
    }

    impl Chain {
        async fn of(tasks: usize, config: LaneConfig) -> Self {
            Self::in_one(Lanes::builder(), tasks, config).await
        }

        async fn in_one(lanes: LanesBuilder, tasks: usize, config: LaneConfig) -> Self {
            let lanes = lanes.lane("main", config.slots(tasks)).build().unwrap();
            let main = lanes.lane("main").unwrap();
            let mut slots: Vec<Slot> = Vec::new();
            let mut edges = Vec::new();
            for _ in 0..tasks {
                let slot = main.acquire().await.unwrap();
                let child = slot.context().cell();
                let mut parent = slots.last().map(|slot| Arc::clone(slot.context().cell()));
                let mut edge = None;
                current::enter(&mut parent, || {
                    edge::renew(
                        &mut edge,
                        child,
                        edge::Kind {
                            owned: true,
                            ..edge::Kind::default()
                        },
                    )
                });
                edges.push(edge);
                slots.push(slot);
            }
            Self {
                began: slots[0].context().cell().started(),
                lanes,
                slots,
                _edges: edges,
            }
        }

        fn task(&self, at: usize) -> &Arc<TaskCell> {
            self.slots[at].context().cell()
        }

        /// Until when the outermost is held at this moment.
        fn hold(&self, now: Time) -> Option<Time> {
            read(self.task(0), now).hold_until
        }
    }

    fn one() -> LaneConfig {
        LaneConfig::new(1).stall_ceiling(CEILING)
    }

    #[tokio::test(start_paused = true)]
    async fn s9_a_task_is_held_while_its_child_is_being_ended() {
        let chain = Chain::of(3, one()).await;
        let end = chain.began + SECOND;
        let ask = |task: &TaskCell, take_at: Time| {
            task.raise(Reason::User, true);
            task.set_take_at(take_at);
        };
        assert_eq!(chain.hold(end), None);
        ask(chain.task(1), end);
        let told = end + TICK * 2;
        assert_eq!(chain.hold(chain.began), Some(told));
        assert_eq!(chain.hold(told.before(NS)), Some(told));
        assert_eq!(chain.hold(told), None);
        // Its own child ends first.
        ask(chain.task(2), end + SECOND);
        let told = end + SECOND + TICK * 3;
        assert_eq!(chain.hold(end), Some(told));
    }

    #[tokio::test(start_paused = true)]
    async fn s8_a_task_is_held_for_a_child_that_is_due() {
        let chain = Chain::of(2, one()).await;
        let due = chain.began + CEILING;
        assert_eq!(chain.hold(due.before(NS)), None);
        assert_eq!(chain.hold(due), Some(due + TICK));
        assert_eq!(chain.hold(due + SECOND), Some(due + SECOND + TICK));
        // Not for one that is never reclaimed.
        let config = one().on_stall(OnStall::WarnOnly);
        let chain = Chain::of(2, config).await;
        assert_eq!(chain.hold(chain.began + CEILING), None);
        let observed = Lanes::builder().observe_only();
        let chain = Chain::in_one(observed, 2, one()).await;
        assert_eq!(chain.hold(chain.began + CEILING), None);
    }

    #[tokio::test(start_paused = true)]
    async fn s9_silence_that_was_granted_to_a_child_is_its_parents_too() {
        let chain = Chain::of(2, one()).await;
        let phase = chain.slots[1].context().phase("long");
        let phase = phase.silence(2 * CEILING).unwrap();
        let due = chain.began + 2 * CEILING;
        assert_eq!(chain.hold(chain.began), Some(due + TICK));
        assert_eq!(chain.hold(due.before(NS)), Some(due + TICK));
        assert_eq!(chain.hold(due + TICK), Some(due + TICK * 2));
        drop(phase);
        assert_eq!(chain.hold(chain.began), None);
        // An extension that is longer than its ceiling, as far as a grandchild's.
        let chain = Chain::of(3, one()).await;
        chain
            .lanes
            .extend(chain.slots[2].id(), 2 * CEILING)
            .unwrap();
        let until = chain.began + 2 * CEILING;
        assert_eq!(chain.hold(chain.began), Some(until + TICK * 2));
        // One that is shorter says nothing once it is over.
        let chain = Chain::of(2, one()).await;
        chain.lanes.extend(chain.slots[1].id(), SECOND).unwrap();
        let (until, due) = (chain.began + SECOND, chain.began + CEILING);
        assert_eq!(chain.hold(until.before(NS)), Some(due + TICK));
        assert_eq!(chain.hold(until), None);
    }
}
