//! Which task the code that runs on this thread belongs to.

use std::cell::Cell;

use super::cell::TaskCell;
use crate::TaskId;
use crate::sync::Arc;

crate::sync::per_thread! {
    static CURRENT: Cell<Option<Arc<TaskCell>>> = Cell::new(None);
}

/// Runs code as part of a task. The cell is moved in and out again, not
/// cloned: a poll costs no atomic operation.
#[inline]
pub(crate) fn enter<R>(task: &mut Option<Arc<TaskCell>>, code: impl FnOnce() -> R) -> R {
    struct Restore<'a>(&'a mut Option<Arc<TaskCell>>);

    impl Restore<'_> {
        #[inline]
        fn exchange(&mut self) {
            // A thread that is being torn down has no current task.
            let _ = CURRENT.try_with(|current| *self.0 = current.replace(self.0.take()));
        }
    }

    impl Drop for Restore<'_> {
        #[inline]
        fn drop(&mut self) {
            self.exchange();
        }
    }

    let mut restore = Restore(task);
    restore.exchange();
    code()
}

/// The current task, if there is one.
pub(crate) fn task() -> Option<Arc<TaskCell>> {
    let look = |current: &Cell<Option<Arc<TaskCell>>>| {
        let task = current.take();
        current.set(task.clone());
        task
    };
    CURRENT.try_with(look).ok().flatten()
}

/// What the current task is called, if there is one.
pub(crate) fn id() -> Option<TaskId> {
    with(TaskCell::id)
}

/// Whether this is the current task.
pub(crate) fn is(task: &Arc<TaskCell>) -> bool {
    with(|current| std::ptr::eq(current, Arc::as_ptr(task))).unwrap_or(false)
}

/// Reports progress of the current task, from any depth, and says whether
/// there is one. One clock read and one store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use laneway::{LaneConfig, Lanes};
///
/// fn deep_inside() {
///     assert!(laneway::progress());
/// }
///
/// let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
/// lanes.lane("main")?.run(async |_| deep_inside()).await?;
/// assert!(!laneway::progress(), "there is no task out here");
/// # Ok(()) }
/// ```
pub fn progress() -> bool {
    with(TaskCell::report_progress).is_some()
}

/// Says what the current task is doing now, which is progress, and returns
/// whether there is a current task. See
/// [`TaskContext::progress_note`](crate::TaskContext::progress_note).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
/// # let main = lanes.lane("main")?;
/// let lane = main.clone();
/// main.run(async |_| {
///     assert!(laneway::progress_note("asking the model"));
///     let note = lane.snapshot().active[0].note.clone();
///     assert_eq!(note.as_deref(), Some("asking the model"));
/// })
/// .await?;
/// assert!(!laneway::progress_note("nobody is listening"));
/// # Ok(()) }
/// ```
pub fn progress_note(text: impl Into<Arc<str>>) -> bool {
    match task() {
        Some(task) => {
            super::context::note(&task, text.into());
            true
        }
        None => false,
    }
}

/// For code that is ours: the task is out of its place meanwhile.
#[inline]
pub(crate) fn with<R>(code: impl FnOnce(&TaskCell) -> R) -> Option<R> {
    let look = |current: &Cell<Option<Arc<TaskCell>>>| {
        let task = current.take();
        let said = task.as_deref().map(code);
        current.set(task);
        said
    };
    CURRENT.try_with(look).ok().flatten()
}
