//! What a task waits for, and what it holds, as an observer reads it. No lock is
//! held but while one task is read.

use super::cell::TaskCell;
use super::links;
use crate::sync::Arc;

/// A wait of one task for another.
pub(crate) struct Pending {
    /// Or the place in line that stands for the task itself, where it needs a slot
    /// beside its own.
    pub(crate) on: Arc<TaskCell>,
    /// The wait may be given up.
    pub(crate) loose: bool,
}

impl Pending {
    /// Whether it is this task's own place in line, for a slot beside its own. A task
    /// that awaits its own handle stands in no line.
    pub(crate) fn is_place_of(&self, task: &TaskCell) -> bool {
        self.on.whose().id() == task.id() && !std::ptr::eq(&*self.on, task)
    }
}

/// All that a task is pending in, the oldest wait first.
pub(crate) fn pending(task: &TaskCell) -> Vec<Pending> {
    let parts = task.shared.lock();
    let Some(rare) = parts.peek() else {
        return Vec::new();
    };
    let waits = rare.awaits.values().map(|awaited| {
        let on = Arc::clone(&awaited.task);
        let loose = awaited.is_loose();
        (awaited.serial, Pending { on, loose })
    });
    let mut waits: Vec<_> = waits.collect();
    drop(parts);
    waits.sort_unstable_by_key(|(serial, _)| *serial);
    waits.into_iter().map(|(_, pending)| pending).collect()
}

/// The names of the lanes of which it holds a slot now.
pub(crate) fn holds(task: &TaskCell) -> Vec<Arc<str>> {
    let lanes = links::held_in(task);
    lanes.iter().map(|lane| Arc::clone(&lane.name)).collect()
}
