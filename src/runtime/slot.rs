//! A slot by hand.

use std::future::{Future, poll_fn};
use std::task::{Context, Waker};

use super::cell::TaskCell;
use super::spans;
use super::submit::{Admission, Comer, NoSlot, lane_of, submit};
use super::teardown::finish_detached;
use super::word::Word;
use crate::engine::{End, Reason};
use crate::options::Options;
use crate::sync::Arc;
use crate::{AcquireError, Lane, TaskContext, TaskId, TryAcquireError};

/// The right to run in a lane, held by hand; made by [`Lane::acquire`].
///
/// Its holder is a task like any other: it has a stall ceiling, reports
/// progress, and can be asked to end, which [`lost`](Self::lost) tells.
/// Dropping the slot releases it, after the hooks registered with its
/// [`context`](Self::context) have run.
///
/// A slot that is forgotten (`std::mem::forget`) stalls, and is taken.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
/// # let main = lanes.lane("main")?;
/// let slot = main.acquire().await?;
/// let work = async {
///     slot.progress();
///     "written"
/// };
/// let written = tokio::select! {
///     done = work => Some(done),
///     reason = slot.lost() => {
///         eprintln!("giving up: {reason}");
///         None
///     }
/// };
/// assert!(slot.is_current());
/// drop(slot);
/// # assert_eq!(written, Some("written"));
/// # Ok(()) }
/// ```
#[must_use = "a slot that is dropped is released"]
#[derive(Debug)]
pub struct Slot {
    cx: TaskContext,
}

impl Slot {
    pub(crate) async fn acquire(
        lane: &Lane,
        mut options: Option<Box<Options>>,
    ) -> Result<Self, AcquireError> {
        let mut admission = Admission::default();
        let name = &lane.domain.name;
        match poll_fn(|cx| admission.poll(lane, &mut options, cx)).await {
            Ok(task) => Ok(Self::of(task)),
            Err(NoSlot::Refused(refusal)) => Err(refusal.acquire_error(name)),
            Err(NoSlot::Ended(lane, id, end)) => Err(AcquireError::new(lane, id, end)),
            Err(NoSlot::WouldDeadlock(id, cycle)) => Err(AcquireError::WouldDeadlock {
                lane: Arc::clone(name),
                id,
                cycle,
            }),
        }
    }

    pub(crate) fn try_acquire(
        lane: &Lane,
        options: Option<Box<Options>>,
    ) -> Result<Self, TryAcquireError> {
        let comer = Comer::Present { at_once: true };
        match submit(lane, options, comer) {
            Ok(task) => Self::claim_at_once(task),
            Err(refusal) => Err(refusal.try_acquire_error(&lane.domain.name)),
        }
    }

    /// The slot of its own lane is there; those of others must be, too.
    fn claim_at_once(task: Arc<TaskCell>) -> Result<Self, TryAcquireError> {
        if let Some(links) = task.links() {
            let _ready = links.poll(&task, &Context::from_waker(Waker::noop()));
            if !task.word.shift(Word::Granted, Word::Running) {
                let end = task.settled().unwrap_or(End::RuntimeShutdown);
                let lane = lane_of(&task, &end);
                task.domain().release(&task, false, Reason::Dropped);
                return Err(TryAcquireError::new(lane, end));
            }
        }
        Ok(Self::of(task))
    }

    fn of(task: Arc<TaskCell>) -> Self {
        spans::hold(&task);
        Self {
            cx: TaskContext::new(task),
        }
    }

    /// The id of the task that this slot stands for.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.cx.id()
    }

    /// Reports progress: the holder is alive and moving.
    pub fn progress(&self) {
        self.cx.progress();
    }

    /// The fencing token of this grant; see [`TaskContext::fence`].
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.cx.fence()
    }

    /// Whether the slot is still held. Ask before a side effect.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.cx.is_current()
    }

    /// Everything else that a task can do and say, for whoever holds the slot.
    #[must_use]
    pub const fn context(&self) -> &TaskContext {
        &self.cx
    }

    /// Waits until the holder is asked to give the slot back, or has lost it,
    /// and says why. A holder that awaits this listens: it has the lane's
    /// grace to drop the slot before it is taken. Under
    /// [`OnStall::Detach`](crate::OnStall::Detach) a stall takes the slot with no
    /// ask before it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing. It has no place in any queue.
    pub fn lost(&self) -> impl Future<Output = Reason> + Send + 'static + use<> {
        self.cx.told(true)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let task = self.cx.cell();
        // Dropped on purpose, so it ended by itself; unless somebody else was
        // first, in which case the word says so.
        task.word.shift(Word::Running, Word::Done);
        let reason = task.asked().map_or(Reason::Completed, |asked| asked.reason);
        finish_detached(task, reason, true);
    }
}
