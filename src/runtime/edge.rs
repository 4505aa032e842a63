//! Who waits for whom: an edge exists while a task is pending in our `run`,
//! `acquire` or a handle's await.

use super::cell::TaskCell;
use super::parts::Awaited;
use super::{current, deadlock};
use crate::error::Cycle;
use crate::sync::{Arc, Serials};

/// From the current task to one that it awaits.
#[derive(Debug)]
pub(crate) struct Edge {
    parent: Arc<TaskCell>,
    child: Arc<TaskCell>,
    kind: Kind,
}

/// How a task is awaited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    /// It ends with whoever polls it: a `run`, and not a handle.
    pub(crate) owned: bool,
    /// It has several handles.
    pub(crate) shared: bool,
    /// The wait may be given up.
    pub(crate) loose: bool,
}

static SERIALS: Serials = Serials::from(1);

impl Edge {
    /// `None` outside any task.
    fn to(child: &Arc<TaskCell>, kind: Kind) -> Option<Self> {
        // Whoever polls its own `run`, as in its own scope, moves it by that.
        let parent = current::task().filter(|it| !(kind.owned && Arc::ptr_eq(it, child)))?;
        tie(&parent, child, kind);
        Some(Self {
            parent,
            child: Arc::clone(child),
            kind,
        })
    }

    /// Whether it is of the task that polls now.
    pub(super) fn starts_here(&self) -> bool {
        current::is(&self.parent)
    }

    /// Takes the refusal of this wait, if it was refused.
    fn refusal(&self) -> Option<Cycle> {
        let parts = self.parent.shared.lock();
        let awaited = parts.peek()?.awaits.get(&address(&self.child))?;
        awaited.refused.clone()
    }
}

/// Makes the edge start at the task that polls now: a future may be polled by
/// one task first and by another in earnest. Returned is the refusal of this wait,
/// once it is refused and its child is not.
pub(crate) fn renew(edge: &mut Option<Edge>, child: &Arc<TaskCell>, kind: Kind) -> Option<Cycle> {
    let current = current::task();
    let starts_at = edge.as_ref().map(|edge| address(&edge.parent));
    if starts_at != current.as_ref().map(address) {
        *edge = Edge::to(child, kind);
        if let Some(edge) = edge {
            deadlock::wait_begins(&edge.parent, child);
        }
    }
    // What is owned is refused by leaving its queue.
    let edge = edge.as_ref().filter(|edge| !edge.kind.owned);
    edge.and_then(Edge::refusal)
}

impl Drop for Edge {
    fn drop(&mut self) {
        if untie(&self.parent, &self.child, self.kind.loose) {
            deadlock::waits_change(&self.parent);
        }
    }
}

/// The parent awaits the child from now on.
pub(super) fn tie(parent: &TaskCell, child: &Arc<TaskCell>, kind: Kind) {
    let awaited = Awaited {
        task: Arc::clone(child),
        owned: kind.owned,
        shared: kind.shared,
        times: 1,
        loosely: kind.loose.into(),
        serial: SERIALS.next(),
        refused: None,
    };
    let old = {
        let mut parts = parent.shared.lock();
        let awaits = &mut parts.rare().awaits;
        match awaits.get_mut(&address(child)) {
            Some(known) => {
                known.times += 1;
                known.loosely += awaited.loosely;
                Some(awaited)
            }
            None => awaits.insert(address(child), awaited),
        }
    };
    drop(old);
}

/// The wait is over: what the child did counts as its parent's own from now on,
/// and the parent's idle clock starts afresh (S9). Says whether it awaits others.
pub(super) fn untie(parent: &TaskCell, child: &Arc<TaskCell>, loose: bool) -> bool {
    let (removed, waits_on) = {
        let mut parts = parent.shared.lock();
        let awaits = &mut parts.rare().awaits;
        let removed = match awaits.get_mut(&address(child)) {
            Some(known) if known.times > 1 => {
                known.times -= 1;
                known.loosely -= usize::from(loose);
                None
            }
            _ => awaits.remove(&address(child)),
        };
        (removed, !awaits.is_empty())
    };
    if let Some(report) = child.last_report() {
        parent.inherit_report(report);
    }
    parent.stir(parent.now());
    drop(removed);
    waits_on
}

pub(super) fn address(task: &Arc<TaskCell>) -> usize {
    Arc::as_ptr(task).addr()
}
