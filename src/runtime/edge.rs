//! Who waits for whom: an edge exists while a task is pending in our `run`,
//! `acquire` or a handle's await.

use super::cell::TaskCell;
use super::current;
use crate::sync::Arc;

/// From the current task to one that it awaits.
#[derive(Debug)]
pub(crate) struct Edge {
    parent: Arc<TaskCell>,
    child: Arc<TaskCell>,
}

impl Edge {
    /// `None` outside any task.
    pub(crate) fn to(child: &Arc<TaskCell>) -> Option<Self> {
        let parent = current::task().filter(|parent| !Arc::ptr_eq(parent, child))?;
        parent.shared.lock().rare().awaits.push(Arc::clone(child));
        Some(Self {
            parent,
            child: Arc::clone(child),
        })
    }
}

impl Drop for Edge {
    /// The wait is over: what the child did counts as its parent's own from
    /// now on, and the parent's idle clock starts afresh (S9).
    fn drop(&mut self) {
        let removed = {
            let mut parts = self.parent.shared.lock();
            let rare = parts.rare();
            let at = rare
                .awaits
                .iter()
                .position(|child| Arc::ptr_eq(child, &self.child));
            at.map(|at| rare.awaits.swap_remove(at))
        };
        if let Some(report) = self.child.last_report() {
            self.parent.inherit_report(report);
        }
        self.parent.stir(self.parent.now());
        drop(removed);
    }
}
