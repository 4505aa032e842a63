//! What a caller may say of one task, the same for every way of running.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::config::LaneConfig;
use crate::engine::{Ceiling, Priority, Spec};
use crate::error::{InvalidOption, check_name};
use crate::sync::Arc;
use crate::timeout::{LaneTimeout, check_limit, check_span};
use crate::{AcquireError, TaskError, TryAcquireError};
use crate::{Lane, Run, Slot, TaskContext, TaskHandle, TaskId};

pub(crate) type OnWait = Box<dyn FnOnce(WaitInfo) + Send>;

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) meta: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) priority: Priority,
    pub(crate) timeout: LaneTimeout,
    pub(crate) ceiling: Option<Ceiling>,
    pub(crate) warn_after: Option<Duration>,
    pub(crate) on_wait: Option<(Duration, OnWait)>,
    pub(crate) cancel_on: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(crate) waited: Duration,
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), InvalidOption> {
        if let Some(name) = &self.name {
            check_name("a task name", name)?;
        }
        if let Some(key) = &self.key {
            check_name("a task key", key)?;
        }
        let ceiling = match self.ceiling {
            Some(Ceiling::Set(ceiling)) => Some(ceiling),
            _ => None,
        };
        check_limit("the stall ceiling", ceiling)?;
        check_limit("warn_after", self.warn_after)?;
        check_limit("on_wait", self.on_wait.as_ref().map(|(after, _)| *after))?;
        check_span("waited", Some(self.waited))?;
        Ok(self.timeout.check()?)
    }
}

/// What a task is granted in the end: per limit, the tighter of what its
/// lane, its handle and the task itself say.
pub(crate) fn resolve(config: &LaneConfig, handle: LaneTimeout, options: Option<&Options>) -> Spec {
    let mut timeout = config.lane_timeout().tighter(handle);
    let mut spec = config.spec();
    if let Some(options) = options {
        timeout = timeout.tighter(options.timeout);
        spec.priority = options.priority;
        spec.ceiling = options.ceiling.unwrap_or(spec.ceiling);
        spec.warn_wait = options.warn_after;
        spec.on_wait = options.on_wait.as_ref().map(|(after, _)| *after);
    }
    spec.idle = timeout.idle;
    spec.budget = timeout.budget;
    spec.wait = timeout.wait;
    spec.grace = timeout.grace.unwrap_or(crate::config::GRACE);
    spec
}

/// What [`TaskBuilder::on_wait`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitInfo {
    /// The lane's name.
    pub lane: Arc<str>,
    /// The task that waits.
    pub id: TaskId,
    /// How long it has waited.
    pub waited: Duration,
    /// How many waiters were ahead of it when it joined the queue.
    pub queued_ahead: usize,
    /// How many tasks were active when it joined the queue.
    pub active_ahead: usize,
}

/// A task that is being described; made by [`Lane::task`].
///
/// Options that cannot work are refused by the call that submits the task,
/// with a typed error and nothing queued.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use laneway::{LaneConfig, Lanes, Priority, Timeout};
///
/// let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
/// let main = lanes.lane("main")?;
/// let turn = main
///     .task()
///     .name("turn 17")
///     .key("ticket-42/17")
///     .priority(Priority::Foreground)
///     .timeout(Timeout::idle(Duration::from_secs(30)).budget(Duration::from_secs(600)))
///     .run(async |cx| cx.name().map(str::to_owned))
///     .await?;
/// assert_eq!(turn.as_deref(), Some("turn 17"));
/// # Ok(()) }
/// ```
#[must_use = "a task that is described runs only when it is submitted"]
pub struct TaskBuilder<'a> {
    lane: &'a Lane,
    options: Box<Options>,
}

impl<'a> TaskBuilder<'a> {
    pub(crate) fn new(lane: &'a Lane) -> Self {
        Self {
            lane,
            options: Box::default(),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn into_parts(self) -> (Lane, Box<Options>) {
        (self.lane.clone(), self.options)
    }

    /// What people call it; shown in logs and snapshots. 256 bytes at most, no
    /// control characters.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// What programs call it; see [`Lanes::cancel_key`](crate::Lanes::cancel_key).
    /// Need not be unique. 256 bytes at most, no control characters.
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.options.key = Some(key.into());
        self
    }

    /// A value that travels with the task: its context has it, and a drain
    /// hands it back.
    pub fn meta<M: Any + Send + Sync>(mut self, meta: M) -> Self {
        self.options.meta = Some(Arc::new(meta));
        self
    }

    /// How urgent it is; [`Priority::Normal`] unless told.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// What this task is granted. Per field, the tighter of this and what the
    /// lane and the handle grant.
    pub fn timeout(mut self, timeout: LaneTimeout) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// A stall ceiling of its own, in place of the lane's.
    pub fn stall_ceiling(mut self, ceiling: Duration) -> Self {
        self.options.ceiling = Some(Ceiling::Set(ceiling));
        self
    }

    /// No stall ceiling: it may be silent for ever, and may wedge its slot.
    pub fn no_stall_ceiling(mut self) -> Self {
        self.options.ceiling = Some(Ceiling::None);
        self
    }

    /// Warns once, `lane wait exceeded`, when it has been queued for this long.
    pub fn warn_after(mut self, waited: Duration) -> Self {
        self.options.warn_after = Some(waited);
        self
    }

    /// Calls back once, when it has been queued for `after`. The callback runs
    /// on the scheduler's timer, outside every lock: it may use the lane, but
    /// should not block. A panic in it is reported and costs nothing else.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::time::Duration;
    ///
    /// let slot = main.acquire().await?;
    /// let (tell, told) = tokio::sync::oneshot::channel();
    /// let task = main
    ///     .task()
    ///     .on_wait(Duration::from_secs(10), move |info| drop(tell.send(info)))
    ///     .spawn(async |_| ());
    /// assert_eq!(told.await?.active_ahead, 1);            // "you are next, hold on"
    /// drop(slot);
    /// task.await?;
    /// # Ok(()) }
    /// ```
    pub fn on_wait(
        mut self,
        after: Duration,
        call: impl FnOnce(WaitInfo) + Send + 'static,
    ) -> Self {
        self.options.on_wait = Some((after, Box::new(call)));
        self
    }

    /// Cancels the task, with [`Reason::Signal`](crate::Reason::Signal), when
    /// this future completes. It is polled by a tokio task of its own until
    /// then, or until the task is settled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use laneway::{Reason, TaskError};
    ///
    /// let (hang_up, hung_up) = tokio::sync::oneshot::channel::<()>();
    /// let turn = main
    ///     .task()
    ///     .cancel_on(async { drop(hung_up.await) })
    ///     .spawn(async |_| std::future::pending::<()>().await);
    /// tokio::task::yield_now().await;
    /// drop(hang_up);
    /// let cancelled = turn.await;
    /// assert!(matches!(cancelled, Err(TaskError::Cancelled { reason: Reason::Signal, .. })));
    /// # Ok(()) }
    /// ```
    pub fn cancel_on(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.options.cancel_on = Some(Box::pin(signal));
        self
    }

    /// How long this work has waited before, elsewhere: restores its place in
    /// line. See [`ReturnedTask::waited`](crate::ReturnedTask::waited). Its
    /// wait timeout counts from this submission all the same.
    pub fn waited(mut self, before: Duration) -> Self {
        self.options.waited = before;
        self
    }

    /// See [`Lane::run`].
    pub fn run<F, Fut>(self, f: F) -> Run<'a, F, Fut>
    where
        F: FnOnce(TaskContext) -> Fut,
        Fut: Future,
    {
        Run::new(self.lane, Some(self.options), f)
    }

    /// See [`Lane::spawn`].
    pub fn spawn<F, Fut>(self, f: F) -> TaskHandle<Fut::Output>
    where
        F: FnOnce(TaskContext) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        crate::runtime::spawn(self.lane, Some(self.options), f)
    }

    /// See [`Lane::spawn_blocking`].
    pub fn spawn_blocking<F, T>(self, f: F) -> TaskHandle<T>
    where
        F: FnOnce(TaskContext) -> T + Send + 'static,
        T: Send + 'static,
    {
        crate::runtime::spawn_blocking(self.lane, Some(self.options), f)
    }

    /// See [`Lane::acquire`].
    ///
    /// # Errors
    ///
    /// As [`Lane::acquire`].
    ///
    /// # Cancel safety
    ///
    /// As [`Lane::acquire`].
    pub async fn acquire(self) -> Result<Slot, AcquireError> {
        Slot::acquire(self.lane, Some(self.options)).await
    }

    /// See [`Lane::try_acquire`].
    ///
    /// # Errors
    ///
    /// As [`Lane::try_acquire`].
    pub fn try_acquire(self) -> Result<Slot, TryAcquireError> {
        Slot::try_acquire(self.lane, Some(self.options))
    }
}

impl std::fmt::Debug for TaskBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("lane", &self.lane.name())
            .field("name", &self.options.name)
            .field("key", &self.options.key)
            .field("priority", &self.options.priority)
            .finish_non_exhaustive()
    }
}

/// What a task's submission comes to when it does not come to a place in line.
pub(crate) enum Refusal {
    NoRuntime,
    Invalid(InvalidOption),
    Refused(TaskId, crate::engine::Refused),
}

impl Refusal {
    pub(crate) fn task_error(self, lane: &Arc<str>) -> TaskError {
        use crate::engine::Refused;
        let lane = Arc::clone(lane);
        match self {
            Self::NoRuntime => TaskError::NoRuntime,
            Self::Invalid(invalid) => TaskError::Invalid(invalid),
            Self::Refused(id, Refused::Draining { .. }) => TaskError::Draining { lane, id },
            Self::Refused(id, _) => TaskError::Closed { lane, id },
        }
    }

    pub(crate) fn acquire_error(self, lane: &Arc<str>) -> AcquireError {
        use crate::engine::Refused;
        let lane = Arc::clone(lane);
        match self {
            Self::NoRuntime => AcquireError::NoRuntime,
            Self::Invalid(invalid) => AcquireError::Invalid(invalid),
            Self::Refused(_, Refused::Draining { .. }) => AcquireError::Draining { lane },
            Self::Refused(..) => AcquireError::Closed { lane },
        }
    }

    pub(crate) fn try_acquire_error(self, lane: &Arc<str>) -> TryAcquireError {
        use crate::engine::Refused;
        let lane = Arc::clone(lane);
        match self {
            Self::NoRuntime => TryAcquireError::NoRuntime,
            Self::Invalid(invalid) => TryAcquireError::Invalid(invalid),
            Self::Refused(_, Refused::Draining { .. }) => TryAcquireError::Draining { lane },
            Self::Refused(_, Refused::NoSlot) => TryAcquireError::NoSlot { lane },
            Self::Refused(..) => TryAcquireError::Closed { lane },
        }
    }
}
