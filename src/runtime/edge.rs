//! Who waits for whom: an edge exists while a task is pending in our `run`,
//! `acquire` or a handle's await.

use super::cell::TaskCell;
use super::current;
use super::parts::Awaited;
use crate::sync::Arc;

/// From the current task to one that it awaits.
#[derive(Debug)]
pub(crate) struct Edge {
    parent: Arc<TaskCell>,
    child: Arc<TaskCell>,
}

impl Edge {
    /// `None` outside any task. `owned` says that the child ends with whoever
    /// polls it: a `run`, and not a handle.
    fn to(child: &Arc<TaskCell>, owned: bool) -> Option<Self> {
        let parent = current::task().filter(|parent| !Arc::ptr_eq(parent, child))?;
        tie(&parent, child, owned);
        Some(Self {
            parent,
            child: Arc::clone(child),
        })
    }
}

/// The parent awaits the child from now on. See [`Edge::to`] for `owned`.
pub(super) fn tie(parent: &TaskCell, child: &Arc<TaskCell>, owned: bool) {
    let awaited = Awaited {
        task: Arc::clone(child),
        owned,
        times: 1,
    };
    let old = {
        let mut parts = parent.shared.lock();
        let awaits = &mut parts.rare().awaits;
        match awaits.get_mut(&address(child)) {
            Some(known) => {
                known.times += 1;
                Some(awaited)
            }
            None => awaits.insert(address(child), awaited),
        }
    };
    drop(old);
}

/// The wait is over: what the child did counts as its parent's own from now
/// on, and the parent's idle clock starts afresh (S9).
pub(super) fn untie(parent: &TaskCell, child: &Arc<TaskCell>) {
    let removed = {
        let mut parts = parent.shared.lock();
        let awaits = &mut parts.rare().awaits;
        match awaits.get_mut(&address(child)) {
            Some(known) if known.times > 1 => {
                known.times -= 1;
                None
            }
            _ => awaits.remove(&address(child)),
        }
    };
    if let Some(report) = child.last_report() {
        parent.inherit_report(report);
    }
    parent.stir(parent.now());
    drop(removed);
}

/// Makes the edge start at the task that polls now: a future may be polled by
/// one task first and by another in earnest.
pub(crate) fn renew(edge: &mut Option<Edge>, child: &Arc<TaskCell>, owned: bool) {
    let current = current::task();
    let starts_at = edge.as_ref().map(|edge| address(&edge.parent));
    if starts_at != current.as_ref().map(address) {
        *edge = Edge::to(child, owned);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        untie(&self.parent, &self.child);
    }
}

fn address(task: &Arc<TaskCell>) -> usize {
    Arc::as_ptr(task).addr()
}
