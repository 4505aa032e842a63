//! What a caller may say of one task, the same for every way of running.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::config::LaneConfig;
use crate::engine::{Ceiling, Priority, Spec};
use crate::error::{InvalidOption, check_name};
use crate::runtime::{Envelope, Kept, Letter, OfferHandle, Opener, SharedHandle};
use crate::sync::Arc;
use crate::timeout::{LaneTimeout, check_limit, check_span};
use crate::{AcquireError, TaskError, TryAcquireError};
use crate::{Lane, Reservation, Run, Slot, TaskContext, TaskHandle, TaskId};

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
    pub(crate) kept: Option<Kept>,
    pub(crate) on_busy: OnBusy,
    pub(crate) letter: Option<Letter>,
    pub(crate) quiet: Option<Duration>,
    /// The lanes of its chain, the first included.
    pub(crate) chain: Option<Arc<[Lane]>>,
    pub(crate) loose: bool,
}

/// What a task does where its lane has no free slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum OnBusy {
    /// It queues.
    #[default]
    Queue,
    /// It is refused, with [`TaskError::Busy`].
    Reject,
    /// It takes the place of older tasks of this lane. See
    /// [`TaskBuilder::on_busy`].
    Supersede,
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
        check_limit("the quiet window", self.quiet)?;
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

    pub(crate) const fn of(lane: &'a Lane, options: Box<Options>) -> Self {
        Self { lane, options }
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

    /// What the task does where the lane has no free slot; it queues unless
    /// told.
    ///
    /// With [`OnBusy::Supersede`] it takes the place of the older tasks of its
    /// key in this lane, at the moment at which it is submitted:
    ///
    /// * Those that wait end, with [`Reason::Superseded`](crate::Reason::Superseded).
    /// * Those that hold a slot, or run on without one, are asked to end with
    ///   that reason. One that does not loses its slot as ever, after its grace.
    /// * It goes before everybody who waits if one of them held a slot, since it
    ///   is that slot that it waits for. If they only waited, or are parked without
    ///   their slot, it has the best of their places in line.
    /// * A full queue does not refuse it, unless all that it supersedes is at the
    ///   door.
    /// * Tasks of its key end even if a slot is free, and then it starts at once,
    ///   beside one that is still ending. A lane of one never runs two.
    /// * If it is refused, nobody ends.
    ///
    /// Without a key, it supersedes whoever holds the slot of a lane of one. In a
    /// lane with more slots that is an error. A task that supersedes one that it
    /// descends from ends itself with it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use laneway::{OnBusy, Reason, TaskError};
    ///
    /// let turn = main.task().key("ticket-42").spawn(async |_| std::future::pending::<()>().await);
    /// let other = main.spawn(async |_| "other");
    /// let interrupt = main
    ///     .task()
    ///     .key("ticket-42")
    ///     .on_busy(OnBusy::Supersede)
    ///     .spawn(async |_| "stop that");
    /// assert_eq!(interrupt.await?, "stop that");      // before `other`
    /// let ended = turn.await;
    /// assert!(ended.is_err());
    /// # drop(other.await?);
    /// let slot = main.acquire().await?;
    /// let busy = main.task().on_busy(OnBusy::Reject).run(async |_| ()).await;
    /// assert!(matches!(busy, Err(TaskError::Busy { holder, .. }) if holder == Some(slot.id())));
    /// # Ok(()) }
    /// ```
    pub const fn on_busy(mut self, on_busy: OnBusy) -> Self {
        self.options.on_busy = on_busy;
        self
    }

    /// Says that whoever waits for this task, or for its slot, need not, to go on:
    /// the wait is inside a `select!`, say. See
    /// [`Run::may_abandon`](crate::Run::may_abandon).
    pub const fn may_abandon(mut self) -> Self {
        self.options.loose = true;
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

    /// Offers a message to whoever runs, and runs it as a task of its own if
    /// nobody takes it.
    ///
    /// It is queued like any spawned task, and `f` is called with the message
    /// when it has its slot. While it is in line, a running task of the lane may
    /// take the message out of the queue, with an [`Inbox`](crate::Inbox) for
    /// this type: one of the same key, or any, if the message has no key. That is
    /// decided in one moment for good, so that a message that arrives as a turn
    /// ends is never lost and never handled twice.
    ///
    /// A queue that is full refuses it, whoever would take it.
    /// [`on_busy`](Self::on_busy) does not concern it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("session:42", laneway::LaneConfig::new(1)).build()?;
    /// # let session = lanes.lane("session:42")?;
    /// use laneway::{Offered, TaskContext};
    ///
    /// async fn turn(cx: TaskContext, message: &'static str) -> String {
    ///     let mut steering = cx.inbox::<&'static str>();
    ///     let mut said = message.to_owned();
    ///     for _step in 0..3 {
    ///         tokio::task::yield_now().await;             // the model, a tool
    ///         while let Some(more) = steering.try_recv() {
    ///             said += ", ";
    ///             said += more;
    ///         }
    ///     }
    ///     said
    /// }
    ///
    /// let first = session.task().offer("a train to Rome", turn);
    /// let second = session.task().offer("in the morning", turn);
    /// assert_eq!(second.await?, Offered::Taken { by: first.id() });
    /// assert_eq!(first.await?, Offered::Ran("a train to Rome, in the morning".to_owned()));
    /// let late = session.task().offer("and back", turn);  // the next turn
    /// assert_eq!(late.await?, Offered::Ran("and back".to_owned()));
    /// # Ok(()) }
    /// ```
    pub fn offer<M, F, Fut>(mut self, message: M, f: F) -> OfferHandle<Fut::Output>
    where
        M: Send + 'static,
        F: FnOnce(TaskContext, M) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let envelope = Envelope::new(message);
        self.options.letter = Some(envelope.letter());
        self.options.on_busy = OnBusy::Queue;
        let taker = envelope.taker();
        let opener = Opener::new(envelope);
        let task = self.spawn(move |cx| {
            let message = opener.open();
            f(cx, message.expect("a message that was taken has no task"))
        });
        OfferHandle::new(task, taker)
    }

    /// Merges an input into the newest queued task of the same key that was
    /// submitted with this method and for the same types, or is queued as a new
    /// one. Whoever was merged gets the outcome of the one task that ran.
    ///
    /// The task's inputs are merged when it has its slot, in the order in which
    /// they came: `merge` is called with all that came before and with this
    /// input, and then `f`, of the first of them, with the result. Once that has
    /// begun, the next call makes a new task. A panic in `merge` is the task's.
    ///
    /// One that is merged has none of the options that it was given: the task has
    /// those of the first. It needs no place in the queue, so that a full queue
    /// does not refuse it. Tasks without a key merge with each other.
    /// [`on_busy`](Self::on_busy) does not concern it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("index", laneway::LaneConfig::new(1)).build()?;
    /// # let index = lanes.lane("index")?;
    /// let changed = |file: &'static str| {
    ///     index.task().key("reindex").coalesce(
    ///         vec![file],
    ///         |mut all, more| {
    ///             all.extend(more);
    ///             all
    ///         },
    ///         async |_cx, files| files.len(),
    ///     )
    /// };
    /// let slot = index.acquire().await?;
    /// let (a, b, c) = (changed("a.rs"), changed("b.rs"), changed("c.rs"));
    /// assert!(a.id() == b.id() && b.id() == c.id());
    /// drop(slot);
    /// assert_eq!((*a.await?, *b.await?, *c.await?), (3, 3, 3));
    /// # Ok(()) }
    /// ```
    pub fn coalesce<I, G, F, Fut>(mut self, input: I, merge: G, f: F) -> SharedHandle<Fut::Output>
    where
        I: Send + 'static,
        G: FnOnce(I, I) -> I + Send + 'static,
        F: FnOnce(TaskContext, I) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + Sync + 'static,
    {
        self.options.on_busy = OnBusy::Queue;
        crate::runtime::coalesce(self.lane, self.options, input, merge, f)
    }

    /// [`coalesce`](Self::coalesce), with a quiet window: the task is not served
    /// before nothing was merged into it for that long, and at the latest after
    /// ten windows. It is accepted where a slot or a place is free now, out of the
    /// queue until then, and not refused for fullness when it comes to it. What is
    /// merged into it there takes it out again, and it comes back to its place.
    /// The window is the first one's, as all its options are.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("session:42", laneway::LaneConfig::new(1)).build()?;
    /// # let session = lanes.lane("session:42")?;
    /// use std::time::Duration;
    ///
    /// let typed = |text: &'static str| {
    ///     session.task().debounce(
    ///         Duration::from_secs(2),
    ///         text.to_owned(),
    ///         |all, more| all + " " + &more,
    ///         async |_cx, all: String| all,
    ///     )
    /// };
    /// let first = typed("a train");
    /// tokio::time::sleep(Duration::from_secs(1)).await;
    /// let second = typed("to Rome");                      // still typing
    /// assert_eq!(*first.await?, "a train to Rome");
    /// assert_eq!(*second.await?, "a train to Rome");
    /// # Ok(()) }
    /// ```
    pub fn debounce<I, G, F, Fut>(
        mut self,
        quiet: Duration,
        input: I,
        merge: G,
        f: F,
    ) -> SharedHandle<Fut::Output>
    where
        I: Send + 'static,
        G: FnOnce(I, I) -> I + Send + 'static,
        F: FnOnce(TaskContext, I) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + Sync + 'static,
    {
        self.options.quiet = Some(quiet);
        self.coalesce(input, merge, f)
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

    /// See [`Lane::reserve`]. The task that comes for the place is described by
    /// this; its wait timeout also covers the wait for the place.
    ///
    /// # Errors
    ///
    /// As [`Lane::reserve`].
    ///
    /// # Cancel safety
    ///
    /// As [`Lane::reserve`].
    pub async fn reserve(self) -> Result<Reservation<'a>, AcquireError> {
        Reservation::wait(self.lane, self.options).await
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
        match self {
            Self::NoRuntime => TaskError::NoRuntime,
            Self::Invalid(invalid) => TaskError::Invalid(invalid),
            Self::Refused(id, why) => TaskError::refused(Arc::clone(lane), id, id.lane, why),
        }
    }

    pub(crate) fn acquire_error(self, lane: &Arc<str>) -> AcquireError {
        match self {
            Self::NoRuntime => AcquireError::NoRuntime,
            Self::Invalid(invalid) => AcquireError::Invalid(invalid),
            Self::Refused(id, why) => AcquireError::refused(Arc::clone(lane), id.lane, why),
        }
    }

    pub(crate) fn try_acquire_error(self, lane: &Arc<str>) -> TryAcquireError {
        let lane = Arc::clone(lane);
        match self {
            Self::NoRuntime => TryAcquireError::NoRuntime,
            Self::Invalid(invalid) => TryAcquireError::Invalid(invalid),
            Self::Refused(_, why) => TryAcquireError::refused(lane, why),
        }
    }
}
