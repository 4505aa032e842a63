//! A handle to several lanes at once.

use std::future::Future;

use crate::options::Options;
use crate::sync::Arc;
use crate::{
    AcquireError, ChainError, Lane, LaneTimeout, Lanes, Run, Slot, TaskBuilder, TaskContext,
    TaskHandle, TryAcquireError,
};

/// Several lanes whose slots a task needs together; made by [`Lanes::chain`].
///
/// Its tasks pass through the lanes in their order: one queues in the first,
/// holds its slot there while it queues in the next, and runs when it holds a
/// slot in each. So a lane per session in front of a shared one keeps each
/// session's turns in order, and a session that waits for its turn takes
/// nothing from the others.
///
/// It is one task, with one id, and it belongs to the first lane:
///
/// * What it is granted is, per limit, the tighter of what the lanes, the
///   handle and the task say. Its time to wait covers all queues. Its other
///   clocks start with its last slot.
/// * [`OnBusy`](crate::OnBusy), keys, offers and reserved places mean the first
///   lane; with [`OnBusy::Reject`](crate::OnBusy::Reject) it waits nowhere.
/// * Each of its lanes has it in its snapshot, and counts it. A verb that ends
///   tasks of one of them ends it in all of them: it gives back all its slots,
///   and a slot that is taken from it ends it.
/// * A lane further on that takes no new tasks, or whose queue is full, refuses
///   it when it comes there. A wind-down that its first lane is in, too, waits
///   for it instead.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use laneway::{LaneConfig, Lanes};
///
/// let lanes = Lanes::builder()
///     .lane("main", LaneConfig::new(4))
///     .pattern("session:*", LaneConfig::new(1))
///     .build()?;
/// let chain = lanes.chain(["session:ticket-42", "main"])?;
/// let first = chain.spawn(async |cx| cx.fence_in("main"));
/// let second = chain.task().name("turn 2").spawn(async |cx| cx.is_current());
/// assert!(first.await?.is_some());
/// assert!(second.await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Chain {
    lanes: Arc<[Lane]>,
}

impl Chain {
    pub(crate) fn of<N: AsRef<str>>(
        lanes: &Lanes,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, ChainError> {
        let mut chain: Vec<Lane> = Vec::new();
        for name in names {
            let name = name.as_ref();
            if let Some(first) = chain.iter().position(|lane| lane.name() == name) {
                return Err(ChainError::Twice {
                    lane: name.to_owned(),
                    first,
                    second: chain.len(),
                });
            }
            chain.push(lanes.lane(name)?);
        }
        if chain.is_empty() {
            return Err(ChainError::Empty);
        }
        Ok(Self {
            lanes: chain.into(),
        })
    }

    /// The names of its lanes, in their order.
    pub fn lanes(&self) -> impl Iterator<Item = &str> {
        self.lanes.iter().map(Lane::name)
    }

    /// A chain whose tasks are granted no more than this; see
    /// [`Lane::with_timeout`].
    #[must_use]
    pub fn with_timeout(&self, timeout: LaneTimeout) -> Self {
        let mut lanes = self.lanes.to_vec();
        lanes[0] = lanes[0].with_timeout(timeout);
        Self {
            lanes: lanes.into(),
        }
    }

    /// Describes a task; see [`Lane::task`].
    pub fn task(&self) -> TaskBuilder<'_> {
        let options = Options {
            chain: Some(Arc::clone(&self.lanes)),
            ..Options::default()
        };
        TaskBuilder::of(&self.lanes[0], Box::new(options))
    }

    /// Runs a future that the caller polls; see [`Lane::run`].
    ///
    /// # Cancel safety
    ///
    /// See [`Run`]. Dropped while it waits, the task leaves the queue that it is
    /// in and gives back the slots that it has.
    pub fn run<F, Fut>(&self, f: F) -> Run<'_, F, Fut>
    where
        F: FnOnce(TaskContext) -> Fut,
        Fut: Future,
    {
        self.task().run(f)
    }

    /// Runs a future on tokio, detached; see [`Lane::spawn`].
    pub fn spawn<F, Fut>(&self, f: F) -> TaskHandle<Fut::Output>
    where
        F: FnOnce(TaskContext) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        self.task().spawn(f)
    }

    /// Runs a closure on a thread where it may block; see
    /// [`Lane::spawn_blocking`].
    pub fn spawn_blocking<F, T>(&self, f: F) -> TaskHandle<T>
    where
        F: FnOnce(TaskContext) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.task().spawn_blocking(f)
    }

    /// Waits for all the slots, to be held by hand; see [`Lane::acquire`].
    ///
    /// # Errors
    ///
    /// As [`Lane::acquire`]; the error names the lane that it is about.
    ///
    /// # Cancel safety
    ///
    /// As [`Lane::acquire`]. Dropped, the caller leaves the queue that it is in,
    /// and gives back the slots that it has.
    pub async fn acquire(&self) -> Result<Slot, AcquireError> {
        self.task().acquire().await
    }

    /// Takes all the slots, if each of them is free now and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`], which names the lane that has none, or refused; and
    /// nothing is held.
    pub fn try_acquire(&self) -> Result<Slot, TryAcquireError> {
        self.task().try_acquire()
    }
}
