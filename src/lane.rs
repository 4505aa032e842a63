//! The handle to one lane.

use std::future::Future;
use std::time::Duration;

use crate::control;
use crate::engine::{Key, Reason};
use crate::error::{ControlError, WaitActiveError};
use crate::options::TaskBuilder;
use crate::runtime::{self, DomainRef, Draining, Idle};
use crate::snapshot::LaneSnapshot;
use crate::sync::Arc;
use crate::timeout::{LaneTimeout, check_limit};
use crate::{
    AcquireError, Drain, DrainReport, LaneExplanation, Reservation, Run, Slot, TaskContext,
    TaskHandle, TaskId, TryAcquireError, observe,
};

/// A handle to a lane: a named queue with `max_concurrent` slots.
///
/// Cheap to clone, and good on any thread. A handle does not keep its
/// scheduler open: once the last [`Lanes`](crate::Lanes) is dropped, the lane
/// is closed.
#[derive(Clone)]
pub struct Lane {
    pub(crate) domain: DomainRef,
    /// Few handles have one, and all of them are moved about.
    timeout: Option<Arc<LaneTimeout>>,
}

impl Lane {
    pub(crate) const fn new(domain: DomainRef) -> Self {
        Self {
            domain,
            timeout: None,
        }
    }

    /// What goes through this handle is granted, where that is less than what
    /// the lane grants.
    pub(crate) fn timeout(&self) -> Option<&LaneTimeout> {
        self.timeout.as_deref()
    }

    /// The lane's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.domain.name
    }

    /// This lane, with a lane timeout on everything that goes through this
    /// handle. Handles nest: per field, the tighter wins. A timeout that
    /// cannot work is refused with every task that is submitted under it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::time::Duration;
    /// use laneway::{Limit, TaskError, Timeout};
    ///
    /// let bounded = main.with_timeout(Timeout::budget(Duration::from_secs(60)));
    /// let stuck = bounded.run(async |_| std::future::pending::<()>().await).await;
    /// assert!(matches!(stuck, Err(TaskError::TimedOut { limit: Limit::Budget, .. })));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_timeout(&self, timeout: LaneTimeout) -> Self {
        let outer = self.timeout().copied().unwrap_or_default();
        Self {
            domain: self.domain.clone(),
            timeout: Some(Arc::new(outer.tighter(timeout))),
        }
    }

    /// Describes a task: its name, key, priority, limits.
    pub fn task(&self) -> TaskBuilder<'_> {
        TaskBuilder::new(self)
    }

    /// Runs a future in this lane, polled by the caller: nothing is spawned,
    /// and nothing need be `'static` or `Send`.
    ///
    /// The closure is called when the task has its slot. A free slot costs two
    /// short critical sections; joining the queue is O(1).
    ///
    /// # Errors
    ///
    /// [`TaskError`](crate::TaskError) for everything but a value: refused, cancelled in the
    /// queue, timed out, stalled, cancelled while active, panicked.
    ///
    /// # Cancel safety
    ///
    /// See [`Run`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use laneway::{LaneConfig, Lanes};
    /// # let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
    /// let question = String::from("six times seven");
    /// let answer = lanes
    ///     .lane("main")?
    ///     .run(async |cx| {
    ///         cx.progress();
    ///         question.len()
    ///     })
    ///     .await?;
    /// assert_eq!(answer, 15);
    /// # Ok(()) }
    /// ```
    pub fn run<F, Fut>(&self, f: F) -> Run<'_, F, Fut>
    where
        F: FnOnce(TaskContext) -> Fut,
        Fut: Future,
    {
        Run::new(self, None, f)
    }

    /// Runs a future in this lane on tokio, detached: it is queued now, and
    /// spawned when it has its slot.
    ///
    /// A refusal is a handle that is already settled; nothing panics, nothing
    /// is lost.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use laneway::{LaneConfig, Lanes};
    /// # let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
    /// let task = lanes.lane("main")?.spawn(async move |cx| cx.id());
    /// let id = task.id();
    /// assert_eq!(task.await?, id);
    /// # Ok(()) }
    /// ```
    pub fn spawn<F, Fut>(&self, f: F) -> TaskHandle<Fut::Output>
    where
        F: FnOnce(TaskContext) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        runtime::spawn(self, None, f)
    }

    /// Runs a closure in this lane on a thread where it may block.
    ///
    /// Nobody can stop a thread: a closure that stalls has its slot taken and
    /// goes on as an orphan. One that runs long should ask
    /// [`TaskContext::cancel_reason`] now and then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// let sum = main.spawn_blocking(|cx| {
    ///     let mut sum = 0;
    ///     for n in 1..=10_u32 {
    ///         if cx.cancel_reason().is_some() {
    ///             break;
    ///         }
    ///         cx.progress();
    ///         sum += n;
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum.await?, 55);
    /// # Ok(()) }
    /// ```
    pub fn spawn_blocking<F, T>(&self, f: F) -> TaskHandle<T>
    where
        F: FnOnce(TaskContext) -> T + Send + 'static,
        T: Send + 'static,
    {
        runtime::spawn_blocking(self, None, f)
    }

    /// Waits for a slot, to be held by hand.
    ///
    /// # Errors
    ///
    /// [`AcquireError`]: refused, or cancelled in the queue.
    ///
    /// # Cancel safety
    ///
    /// The caller joins the queue at the first poll. Dropped, it leaves the
    /// queue as if it had never joined, and a slot that it was just given is
    /// passed on; its place is lost. A grant that is not polled for within 5 s
    /// is passed on, and polled again, the caller is back at its old place.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use laneway::{LaneConfig, Lanes};
    /// # let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// let slot = main.acquire().await?;
    /// assert!(slot.is_current());
    /// assert!(main.try_acquire().is_err());
    /// drop(slot);
    /// assert!(main.try_acquire().is_ok());
    /// # Ok(()) }
    /// ```
    pub async fn acquire(&self) -> Result<Slot, AcquireError> {
        Slot::acquire(self, None).await
    }

    /// Reserves a place in the queue, for a task that cannot be refused for
    /// fullness then. While the queue is full, this waits in order of arrival
    /// if the lane lets comers wait ([`OnFull::Wait`](crate::OnFull::Wait)).
    ///
    /// # Errors
    ///
    /// [`AcquireError`]: refused, or cancelled while it waited. A queue of no
    /// places has none to reserve, and says
    /// [`QueueFull`](AcquireError::QueueFull).
    ///
    /// # Cancel safety
    ///
    /// The caller joins those who wait at the first poll. Dropped, it leaves
    /// them as if it had never joined, and a place that it was just given is
    /// passed on. A place that is not polled for within 5 s is passed on, and
    /// polled again, the caller is back where it was.
    pub async fn reserve(&self) -> Result<Reservation<'_>, AcquireError> {
        self.task().reserve().await
    }

    /// Takes a slot if one is free now and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`]: no free slot, or refused.
    pub fn try_acquire(&self) -> Result<Slot, TryAcquireError> {
        Slot::try_acquire(self, None)
    }

    /// Changes the number of slots. More are given to waiters at once; fewer
    /// evict nobody, and nothing is granted until the active count is under
    /// them. Zero pauses the lane.
    ///
    /// A number that is not the configured one is a limit by hand. It keeps a
    /// lane that was made on first use, and outlives changes of its pattern:
    /// see [`Lanes::reconfigure`](crate::Lanes::reconfigure).
    ///
    /// # Errors
    ///
    /// [`ControlError::Closed`] if the lane is closed.
    pub fn set_max_concurrent(&self, max_concurrent: usize) -> Result<(), ControlError> {
        let now = self.domain.now();
        let closed = self.domain.act(|engine, effects| {
            let closed = engine.is_closed();
            if !closed {
                engine.set_max_concurrent(now, max_concurrent, effects);
            }
            closed
        });
        if closed {
            let lane = Arc::clone(&self.domain.name);
            return Err(ControlError::Closed { lane });
        }
        runtime::lanes_changed(self.alone());
        Ok(())
    }

    /// Dispatches nobody from now on. Active tasks run on, new ones queue.
    pub fn pause(&self) {
        control::pause(&self.domain, None);
    }

    /// Pauses the lane, and resumes it by itself after this time: a cooldown.
    ///
    /// # Errors
    ///
    /// [`ControlError::Duration`] for zero, and for longer than the clock can
    /// hold.
    pub fn pause_for(&self, time: Duration) -> Result<(), ControlError> {
        check_limit("the pause", Some(time))?;
        control::pause(&self.domain, Some(self.domain.now() + time));
        // Where nothing was submitted yet there is nobody who would resume it (S5).
        self.domain.shared.drive_here();
        Ok(())
    }

    /// Ends a pause, and a drain too: new tasks are accepted again. A lane
    /// that is closed stays so.
    pub fn resume(&self) {
        control::resume(&self.domain);
    }

    /// Empties the queue: every waiter is told
    /// [`Cleared`](crate::TaskError::Cleared). Returns how many they were. O(n log n)
    /// in the queue.
    pub fn clear(&self) -> usize {
        control::clear(self.alone())
    }

    /// Cancels every waiter, then asks every active task to end. Returns how
    /// many of both there were.
    pub fn cancel_all(&self, reason: Reason) -> usize {
        control::cancel_all(self.alone(), reason)
    }

    /// Takes every slot at once, past every bound, and dispatches to waiters,
    /// who keep their places. The tasks become orphans until their runners let
    /// go. Returns how many slots were taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// let old = main.acquire().await?;
    /// assert_eq!(main.reset(), 1);
    /// let new = main.try_acquire()?;
    /// assert!(new.is_current() && !old.is_current());
    /// # Ok(()) }
    /// ```
    pub fn reset(&self) -> usize {
        control::reset(self.alone())
    }

    /// Refuses new tasks from now on. What is queued or active runs.
    pub fn close(&self) {
        control::close(&self.domain);
    }

    /// Winds the lane down: new tasks are told to try later, active ones have
    /// the drain's time to finish and are asked to end after it, queued ones
    /// run, are handed back or are cancelled, as told.
    ///
    /// It begins at once. The returned future resolves, with a report, when
    /// nobody is queued or active. [`resume`](Self::resume) takes it back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the drain; it only loses the report,
    /// and the tasks that are handed back with it.
    ///
    /// # Panics
    ///
    /// The future, polled outside of a tokio runtime with timers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use laneway::{Drain, QueuedWork};
    ///
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// let report = main
    ///     .drain(Drain::within(Duration::from_secs(60)).queued(QueuedWork::Return))
    ///     .await;
    /// assert!(report.returned.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn drain(
        &self,
        drain: Drain,
    ) -> impl Future<Output = DrainReport> + Send + 'static + use<> {
        let deadline = drain.deadline(self.domain.now());
        Draining::begin(vec![self.domain.clone()], drain, deadline, None).report()
    }

    /// Ends everything: queued tasks are told
    /// [`Shutdown`](crate::TaskError::Shutdown), active ones are asked to end and
    /// then taken, new ones are refused.
    ///
    /// It begins at once. The returned future resolves when nobody is active.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the shutdown.
    pub fn shutdown(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        control::shutdown(self.alone());
        Idle::new(&self.domain)
    }

    /// Waits until nobody is queued or active. Orphans are not waited for, and
    /// neither are tasks that are parked without their slot here.
    ///
    /// A task that awaits this, a drain or `wait_active` does not wait for a
    /// slot: its own idle clock goes on.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing. It has no place in any queue.
    pub async fn idle(&self) {
        Idle::new(&self.domain).await;
    }

    /// Waits, for so long at the most, until those who are active now have
    /// given their slots back or lost them. Whoever starts later is not waited
    /// for.
    ///
    /// # Errors
    ///
    /// [`WaitActiveError`] when the time is over.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing. It has no place in any queue.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::time::Duration;
    ///
    /// let task = main.spawn(async |_| tokio::time::sleep(Duration::from_secs(5)).await);
    /// let later = main.spawn(async |_| tokio::time::sleep(Duration::from_secs(3600)).await);
    /// let error = main.wait_active(Duration::from_secs(2)).await.unwrap_err();
    /// assert_eq!(error.still_active, 1);
    /// main.wait_active(Duration::from_secs(60)).await?;
    /// # task.await?;
    /// # drop(later);
    /// # Ok(()) }
    /// ```
    pub async fn wait_active(&self, timeout: Duration) -> Result<(), WaitActiveError> {
        runtime::wait_active(std::slice::from_ref(&self.domain), timeout).await
    }

    /// The lane as it is now, with every task in it. O(n) in its tasks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use laneway::BlockedBy;
    ///
    /// let slot = main.acquire().await?;
    /// let task = main.task().name("turn 17").spawn(async |_| ());
    /// let snapshot = main.snapshot();
    /// assert_eq!(snapshot.active[0].id, slot.id());
    /// assert_eq!(snapshot.queued[0].name.as_deref(), Some("turn 17"));
    /// assert_eq!(snapshot.blocked_by, Some(BlockedBy::MaxConcurrent));
    /// # drop(slot);
    /// # task.await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> LaneSnapshot {
        LaneSnapshot::of(&self.domain)
    }

    /// Why the lane's first waiter waits: as [`Lanes::explain`](crate::Lanes::explain) of
    /// it. O(n) in the tasks of the lanes that it comes to, and one lock at a time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use laneway::{Cause, Remedy};
    ///
    /// assert_eq!(main.explain().cause, Cause::NobodyWaits);
    /// main.pause();
    /// let task = main.spawn(async |_| ());
    /// let why = main.explain();
    /// assert_eq!(why.first, Some(task.id()));
    /// assert_eq!(why.cause, Cause::Paused { lane: "main".into() });
    /// assert_eq!(why.remedies, [Remedy::Resume { lane: "main".into() }]);
    /// # main.resume();
    /// # task.await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn explain(&self) -> LaneExplanation {
        observe::lane(&self.domain)
    }

    const fn alone(&self) -> &[DomainRef] {
        std::slice::from_ref(&self.domain)
    }

    /// An id for a task that never came to the engine.
    pub(crate) fn burn_id(&self) -> TaskId {
        let seq = self.domain.act(|engine, _| engine.burn_seq());
        TaskId {
            lane: self.domain.serial,
            key: Key {
                index: u32::MAX,
                seq,
            },
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.name())
            .field("timeout", self.timeout().unwrap_or(&LaneTimeout::NONE))
            .finish_non_exhaustive()
    }
}
