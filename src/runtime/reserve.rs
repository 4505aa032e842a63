//! A place in the queue that is kept for a task that is yet to come.

use std::future::{Future, poll_fn};

use super::cell::TaskCell;
use super::submit::{Admission, NoSlot};
use crate::engine::{End, Key, Reason};
use crate::options::{Options, TaskBuilder};
use crate::sync::Arc;
use crate::{AcquireError, Lane, Run, Slot, TaskContext, TaskHandle};

/// A place in the queue of a lane, kept for one task; made by
/// [`Lane::reserve`].
///
/// The task that is submitted with it is not refused for a full queue. It is
/// in line from then on, and not from the reservation. A place that no task
/// has come for within a minute is passed on, so that a reservation that
/// somebody forgot wedges nobody; its task is accepted all the same.
///
/// Dropping it gives the place back.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use laneway::{LaneConfig, Lanes, OnFull, TaskError};
///
/// let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
/// let lanes = Lanes::builder().lane("provider", config).build()?;
/// let provider = lanes.lane("provider")?;
/// let slot = provider.acquire().await?;
///
/// let place = provider.reserve().await?;              // waits while the queue is full
/// let refused = provider.spawn(async |_| ()).await;
/// assert!(matches!(refused, Err(TaskError::QueueFull { .. })));
/// let task = place.spawn(async |_| "ran");            // cannot be refused for that
/// drop(slot);
/// assert_eq!(task.await?, "ran");
/// # Ok(()) }
/// ```
#[must_use = "a reservation that is dropped gives its place back"]
pub struct Reservation<'a> {
    lane: &'a Lane,
    options: Box<Options>,
}

/// What holds the place; dropped, it gives it back.
pub(crate) struct Kept(Arc<TaskCell>);

impl Kept {
    pub(super) fn key(&self) -> Key {
        self.0.slot_key()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Nothing is known of a place that was used, or has lapsed.
        self.0.domain().release(&self.0, false, Reason::Completed);
        self.0.settle(End::Completed);
    }
}

impl<'a> Reservation<'a> {
    pub(crate) async fn wait(
        lane: &'a Lane,
        mut options: Box<Options>,
    ) -> Result<Self, AcquireError> {
        // The task's own are for the task; what is waited with has its names,
        // by which it can be found, and its patience. Whose a new one is, is to be
        // said here.
        let Options {
            name,
            key,
            priority,
            timeout,
            loose,
            meta: _,
            ceiling: _,
            warn_after: _,
            on_wait: _,
            cancel_on: _,
            waited: _,
            kept: _,
            on_busy: _,
            letter: _,
            quiet: _,
            chain: _,
        } = &*options;
        let mut asked = Some(Box::new(Options {
            name: name.clone(),
            key: key.clone(),
            priority: *priority,
            timeout: *timeout,
            loose: *loose,
            ..Options::default()
        }));
        let mut admission = Admission::for_a_place();
        let name = &lane.domain.name;
        let task = match poll_fn(|cx| admission.poll(lane, &mut asked, cx)).await {
            Ok(task) => task,
            Err(NoSlot::Refused(refusal)) => return Err(refusal.acquire_error(name)),
            Err(NoSlot::Ended(
                _,
                _,
                End::CancelledQueued {
                    reason: Reason::Draining,
                    ..
                },
            )) => {
                let lane = Arc::clone(name);
                return Err(AcquireError::Draining { lane });
            }
            Err(NoSlot::Ended(lane, id, end)) => {
                return Err(AcquireError::new(lane, id, end));
            }
            Err(NoSlot::WouldDeadlock(id, cycle)) => {
                let lane = Arc::clone(name);
                return Err(AcquireError::WouldDeadlock { lane, id, cycle });
            }
        };
        options.kept = Some(Kept(task));
        Ok(Self { lane, options })
    }

    /// See [`Lane::run`]. The place is used at the first poll.
    pub fn run<F, Fut>(self, f: F) -> Run<'a, F, Fut>
    where
        F: FnOnce(TaskContext) -> Fut,
        Fut: Future,
    {
        self.into_task().run(f)
    }

    /// See [`Lane::spawn`].
    pub fn spawn<F, Fut>(self, f: F) -> TaskHandle<Fut::Output>
    where
        F: FnOnce(TaskContext) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        self.into_task().spawn(f)
    }

    /// See [`Lane::spawn_blocking`].
    pub fn spawn_blocking<F, T>(self, f: F) -> TaskHandle<T>
    where
        F: FnOnce(TaskContext) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.into_task().spawn_blocking(f)
    }

    /// See [`Lane::acquire`].
    ///
    /// # Errors
    ///
    /// As [`Lane::acquire`].
    ///
    /// # Cancel safety
    ///
    /// As [`Lane::acquire`]. The place is used at the first poll.
    pub async fn acquire(self) -> Result<Slot, AcquireError> {
        self.into_task().acquire().await
    }

    /// Describes the task that the place is for, on top of what
    /// [`TaskBuilder::reserve`] was told.
    pub fn into_task(self) -> TaskBuilder<'a> {
        TaskBuilder::of(self.lane, self.options)
    }
}

impl std::fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation")
            .field("lane", &self.lane.name())
            .finish_non_exhaustive()
    }
}
