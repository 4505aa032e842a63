//! Cells of tasks that are over, for the next ones: the memory of a task that
//! finds its slot free is mostly there already.

use std::cell::RefCell;

use super::cell::TaskCell;
use crate::sync::Arc;

/// How many a thread keeps: as deep as tasks are nested, and some more.
const MOST: usize = 8;

crate::sync::per_thread! {
    static SPARE: RefCell<Vec<Arc<TaskCell>>> = RefCell::new(Vec::new());
}

/// A cell of no task, that nobody else has.
#[inline]
pub(crate) fn take() -> Arc<TaskCell> {
    let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
    let blank = || Arc::new(TaskCell::blank());
    spare.ok().flatten().unwrap_or_else(blank)
}

/// Keeps the cell of a task that is over, if nobody else has it and there is
/// nothing left to be told or dropped; gives it back otherwise.
#[inline]
pub(crate) fn recycle(mut task: Arc<TaskCell>) -> Option<Arc<TaskCell>> {
    if !Arc::get_mut(&mut task).is_some_and(TaskCell::clear) {
        return Some(task);
    }
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.len() < MOST
        {
            spare.push(task);
        }
    });
    None
}
