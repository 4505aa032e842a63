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

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::{LaneConfig, Lanes, Reason};

    /// Between its key and its lane: whoever cancels by the key finds it then.
    #[tokio::test]
    async fn s4_a_cell_that_is_in_no_lane_yet_ends_nobody() {
        let lanes = Lanes::builder()
            .lane("a", LaneConfig::new(1))
            .lane("b", LaneConfig::new(1))
            .build()
            .unwrap();
        let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
        let sibling = b.acquire().await.unwrap();
        a.run(async |_| ()).await.unwrap();
        let mut task = take();
        let mut options = Options {
            key: Some(Arc::from("k")),
            ..Options::default()
        };
        Arc::get_mut(&mut task)
            .unwrap()
            .begin(b.domain.clone(), None, Some(&mut options), None);
        b.domain.shared.keys.note(&task);
        assert_eq!(lanes.cancel_key("k", Reason::User), 0);
        assert_eq!(sibling.context().cancel_reason(), None);
    }
}
