//! What a task can do and say while it runs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::cell::{Meta, TaskCell};
use super::inbox::Inbox;
use super::park::Waiting;
use super::parts::Rare;
use super::phase::Phase;
use super::teardown::Hook;
use super::track::{Tracked, TrackedRead};
use super::wakers::{Ticket, drop_guarded};
use super::{current, deadlock, journal};
use crate::TaskId;
use crate::engine::{Reason, What};
use crate::host::{Handle, JoinHandle};
use crate::sync::{Arc, Ordering};

/// A task's way to its lane: cheap to clone, and good on any thread.
///
/// It may outlive its task; then it answers questions, and what it reports
/// counts for nothing.
#[derive(Clone)]
pub struct TaskContext(Arc<TaskCell>);

impl TaskContext {
    pub(crate) const fn new(task: Arc<TaskCell>) -> Self {
        Self(task)
    }

    pub(crate) const fn cell(&self) -> &Arc<TaskCell> {
        &self.0
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.0.id()
    }

    /// The name of the task's lane.
    #[must_use]
    pub fn lane(&self) -> &str {
        &self.0.domain().name
    }

    /// What the submitter named the task.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// The key that the submitter gave the task.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key()
    }

    /// The value that the submitter gave the task, if it is of this type.
    #[must_use]
    pub fn meta<M: Send + Sync + 'static>(&self) -> Option<Arc<M>> {
        let meta: Meta = self.0.labels()?.meta.clone()?;
        meta.downcast().ok()
    }

    /// The fencing token of this grant of this slot: greater than that of any
    /// grant of the lane before it, also across restarts of the process. Pass
    /// it to whoever must not accept an abandoned task's writes.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.0.fence()
    }

    /// The fencing token of the slot that the task holds in this lane: its own,
    /// or another of its chain. `None` if it holds none there.
    #[must_use]
    pub fn fence_in(&self, lane: &str) -> Option<u64> {
        if lane == self.lane() {
            return self.0.holds().then(|| self.fence());
        }
        self.0.links()?.fence_in(lane)
    }

    /// Whether the task still holds its slot, all of them if it is in a chain.
    /// Ask before a side effect: after
    /// a take this is false before the next holder starts.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.0.is_current()
    }

    /// Reports progress: the task is moving. One clock read and one store, at
    /// any rate you like.
    pub fn progress(&self) {
        self.0.report_progress();
    }

    /// Reports progress and says what the task is doing now, which warnings
    /// and snapshots show.
    pub fn progress_note(&self, text: impl Into<Arc<str>>) {
        note(&self.0, text.into());
    }

    /// Enters a named stretch of the task, until the guard is dropped. Both
    /// ends of it are progress, and its name is the task's note. With
    /// [`Phase::silence`] it has a ceiling of its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use laneway::{LaneConfig, Lanes};
    /// use std::time::Duration;
    ///
    /// # let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// main.run(async |cx| {
    ///     let tests = cx.phase("bash: cargo test").silence(Duration::from_secs(20 * 60))?;
    ///     // … silent for up to twenty minutes …
    ///     drop(tests);
    ///     Ok::<_, laneway::InvalidDuration>(())
    /// })
    /// .await??;
    /// # Ok(()) }
    /// ```
    #[must_use = "the phase ends when its guard is dropped"]
    pub fn phase(&self, text: impl Into<Arc<str>>) -> Phase {
        Phase::enter(&self.0, text.into())
    }

    /// Waits for somebody: an approval, an answer, a job elsewhere. The task is
    /// parked meanwhile. Its clocks stand still, so that it neither stalls nor
    /// uses up its budget (a [deadline](Self::set_deadline) is a moment, and holds), and it may give slots back that others can use. When
    /// the wait is over, which is a sign of life, they go on, with or without its
    /// slots. While it is in line for those again, its idle clock stands still, as
    /// in every wait for a lane of ours, and its budget does not.
    ///
    /// A task in a chain keeps the slot of its session, so that no later turn
    /// overtakes it, and gives back that of the lane which all sessions share:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use laneway::{LaneConfig, Lanes};
    /// use std::time::Duration;
    ///
    /// # let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).pattern("session:*", LaneConfig::new(1)).build()?;
    /// let (one, two) = (lanes.chain(["session:42", "main"])?, lanes.chain(["session:43", "main"])?);
    /// let turn = one.spawn(async move |cx| {
    ///     let asked = tokio::time::sleep(Duration::from_secs(3600));
    ///     cx.waiting("approval #12")
    ///         .limit(Duration::from_secs(24 * 3600))
    ///         .release(["main"])
    ///         .on(asked)
    ///         .await
    /// });
    /// tokio::task::yield_now().await;
    /// assert_eq!(two.run(async |_| "meanwhile").await?, "meanwhile");
    /// turn.await??;
    /// # Ok(()) }
    /// ```
    pub fn waiting(&self, what: impl Into<Arc<str>>) -> Waiting {
        Waiting::of(self.clone(), what.into())
    }

    /// Opens an inbox for messages of this type that are offered to this lane,
    /// with the key of this task or without one; see
    /// [`TaskBuilder::offer`](crate::TaskBuilder::offer). The type is what they
    /// are told apart by, so a type of one's own is the best. Messages that are in
    /// line already are there to be taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("session:42", laneway::LaneConfig::new(1)).build()?;
    /// # let session = lanes.lane("session:42")?;
    /// use laneway::Offered;
    ///
    /// let sum = session.spawn(async |cx| {
    ///     let mut inbox = cx.inbox::<u32>();
    ///     let mut sum = 0;
    ///     while sum < 10 {
    ///         sum += inbox.recv().await.unwrap_or(10);
    ///     }
    ///     sum
    /// });
    /// for n in [4_u32, 6] {
    ///     let offered = session.task().offer(n, async |_, n| n);
    ///     assert!(matches!(offered.await?, Offered::Taken { by } if by == sum.id()));
    /// }
    /// assert_eq!(sum.await?, 10);
    /// # Ok(()) }
    /// ```
    pub fn inbox<M: Send + 'static>(&self) -> Inbox<M> {
        Inbox::of(Arc::clone(&self.0))
    }

    /// Waits until the task is asked to end, and says why. A task that awaits
    /// this listens: it has the lane's grace to end by itself, and a value
    /// that it still returns is delivered.
    ///
    /// Awaited elsewhere than in the task itself, it also resolves when the
    /// task is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing. It has no place in any queue.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::future::pending;
    /// use laneway::Reason;
    ///
    /// let turn = main.spawn(async move |cx| {
    ///     tokio::select! {
    ///         reason = cx.cancelled() => Err(reason),
    ///         () = pending() => Ok("an answer"),
    ///     }
    /// });
    /// tokio::task::yield_now().await;
    /// turn.cancel(Reason::User);
    /// assert_eq!(turn.await?, Err(Reason::User));
    /// # Ok(()) }
    /// ```
    pub fn cancelled(&self) -> impl Future<Output = Reason> + Send + 'static + use<> {
        self.told(false)
    }

    /// `cancelled`, and for one that is nothing without its slot also the loss of
    /// that.
    pub(super) fn told(
        &self,
        of_loss: bool,
    ) -> impl Future<Output = Reason> + Send + 'static + use<> {
        Cancelled {
            task: Arc::clone(&self.0),
            of_loss,
            ticket: Ticket::default(),
            listening: false,
        }
    }

    /// Why the task was asked to end, if it was: [`cancelled`](Self::cancelled)
    /// for code that cannot await. A task that asks this listens from then on.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<Reason> {
        self.0.poll_for_signal();
        self.0.asked().map(|asked| asked.reason)
    }

    /// Registers a hook that runs when the task is over, however it ends,
    /// before its slot is released: where a child process tree is killed, or a
    /// half-written turn is closed.
    ///
    /// Hooks run after the task's future was dropped, the last registered
    /// first, and are told why: [`Reason::Completed`] for a task that ended by
    /// itself. Together they have the lane's `teardown`; after that they are
    /// dropped. A task that has a hook listens, so it has the lane's grace.
    ///
    /// A hook that is registered when the task is over never runs. Hooks of a
    /// task that is dropped by its caller run on the runtime where they were
    /// registered; if that is gone, they are dropped, and that is logged.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::sync::{Arc, Mutex};
    ///
    /// let log = Arc::new(Mutex::new(Vec::new()));
    /// main.run(async |cx| {
    ///     let of_hook = Arc::clone(&log);
    ///     cx.defer(async move |reason| of_hook.lock().unwrap().push(reason.to_string()));
    ///     log.lock().unwrap().push("work".to_owned());
    /// })
    /// .await?;
    /// assert_eq!(*log.lock().unwrap(), ["work", "completed"]);
    /// # Ok(()) }
    /// ```
    pub fn defer<F, Fut>(&self, hook: F)
    where
        F: FnOnce(Reason) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let home = Handle::try_current().ok();
        let hook: Hook = Box::new(move |reason| Box::pin(hook(reason)) as _);
        self.0.hooks.fetch_add(1, Ordering::AcqRel);
        let late: Option<Hook> = {
            let mut parts = self.0.shared.lock();
            if parts.is_settled() {
                // Nobody will run it, and it may well hold this very task.
                Some(hook)
            } else {
                let rare = parts.rare();
                rare.hooks.push(hook);
                rare.home = rare.home.take().or(home);
                None
            }
        };
        drop_guarded(late);
    }

    /// Gives the task a deadline of its own, in place of an earlier one. Past
    /// it, the task is asked to end as timed out; at once, if it is past by now, and
    /// also while it waits for somebody ([`waiting`](Self::waiting)).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::time::Duration;
    /// use laneway::{Limit, TaskError};
    /// use tokio::time::Instant;
    ///
    /// let late = main
    ///     .run(async |cx| {
    ///         cx.set_deadline(Instant::now() + Duration::from_secs(3));
    ///         std::future::pending::<()>().await
    ///     })
    ///     .await;
    /// assert!(matches!(late, Err(TaskError::TimedOut { limit: Limit::Deadline, .. })));
    /// # Ok(()) }
    /// ```
    pub fn set_deadline(&self, deadline: Instant) {
        // What is due to it counts from when it could be told (S8).
        let at = self
            .0
            .domain()
            .shared
            .clock
            .time(deadline)
            .max(self.0.now());
        self.0.shared.lock().rare().limits.deadline = Some(at);
        let key = self.0.slot_key();
        self.0.domain().act(|engine, _| engine.look_by(key, at));
    }

    /// Counts every item of a stream as progress of this task; with
    /// [`Tracked::when`], only those that you say.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use futures::{StreamExt, stream};
    ///
    /// let events = stream::iter(["ping", "delta", "ping", "delta"]);
    /// let deltas = main
    ///     .run(async |cx| {
    ///         let is_delta = |event: &&str| *event == "delta";
    ///         cx.track(events).when(is_delta).filter(|e| std::future::ready(*e == "delta")).count().await
    ///     })
    ///     .await?;
    /// assert_eq!(deltas, 2);
    /// # Ok(()) }
    /// ```
    pub fn track<S>(&self, stream: S) -> Tracked<S> {
        Tracked::new(self.clone(), stream)
    }

    /// Counts every non-empty read as progress of this task; with
    /// [`TrackedRead::when`], only those that you say.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use tokio::io::AsyncReadExt;
    ///
    /// let body: &[u8] = b"a response body";
    /// let len = main
    ///     .run(async |cx| {
    ///         let mut text = String::new();
    ///         cx.track_read(body).read_to_string(&mut text).await
    ///     })
    ///     .await??;
    /// assert_eq!(len, 15);
    /// # Ok(()) }
    /// ```
    pub fn track_read<R>(&self, reader: R) -> TrackedRead<R> {
        TrackedRead::new(self.clone(), reader)
    }

    /// Spawns a part of this task on tokio: it is aborted when the task ends,
    /// and the slot is not released before it is gone, or the teardown is
    /// over. [`laneway::progress`](crate::progress) in it is progress of this
    /// task.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as `tokio::spawn`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// let reached = main
    ///     .run(async |cx| cx.spawn(async { laneway::progress() }).await)
    ///     .await??;
    /// assert!(reached);
    /// # Ok(()) }
    /// ```
    pub fn spawn<Fut>(&self, future: Fut) -> JoinHandle<Fut::Output>
    where
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        super::child::spawn(&self.0, future)
    }

    /// Carries this task into a future that is polled elsewhere, a plain
    /// `tokio::spawn` for one: [`laneway::progress`](crate::progress) in it is
    /// progress of this task, and what it submits descends from it. It may
    /// outlive the task.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// let (plain, scoped) = main
    ///     .run(async |cx| {
    ///         let plain = tokio::spawn(async { laneway::progress() }).await;
    ///         let scoped = tokio::spawn(cx.scope(async { laneway::progress() })).await;
    ///         (plain, scoped)
    ///     })
    ///     .await?;
    /// assert_eq!((plain?, scoped?), (false, true));
    /// # Ok(()) }
    /// ```
    pub fn scope<Fut: Future>(&self, future: Fut) -> Scoped<Fut> {
        Scoped {
            task: Some(Arc::clone(&self.0)),
            future,
        }
    }
}

pub(crate) fn note(task: &TaskCell, text: Arc<str>) {
    journal::note(task, || What::Note(Arc::clone(&text)));
    let old = task.shared.lock().rare().note.replace(text);
    drop(old);
    task.report_progress();
}

impl std::fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

struct Cancelled {
    task: Arc<TaskCell>,
    of_loss: bool,
    ticket: Ticket,
    listening: bool,
}

impl Cancelled {
    fn reason(&self) -> Option<Reason> {
        if let Some(asked) = self.task.asked() {
            return Some(asked.reason);
        }
        if let Some(end) = self.task.settled() {
            return Some(end.reason());
        }
        // Nothing else than a stall takes a slot without a word to its holder.
        let detached = self.of_loss && self.task.runs_without();
        detached.then_some(Reason::Stalled)
    }
}

impl Future for Cancelled {
    type Output = Reason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = &mut *self;
        if !this.listening {
            this.listening = true;
            this.task.listen();
        }
        if this.reason().is_none() {
            this.task
                .register(Rare::signal, &mut this.ticket, cx.waker());
            // It may have come here from another runtime (S8).
            this.task.domain().shared.drive_here();
        }
        // Again, since the ask may have come before the registration.
        this.reason().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if self.listening {
            self.task.unlisten();
            self.task.deregister(Rare::signal, &self.ticket);
        }
    }
}

pin_project! {
    /// A future that is polled as part of a task; made by
    /// [`TaskContext::scope`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Scoped<Fut> {
        task: Option<Arc<TaskCell>>,
        #[pin]
        future: Fut,
    }
}

impl<Fut: Future> Future for Scoped<Fut> {
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fut::Output> {
        let this = self.project();
        let polled = current::enter(this.task, || this.future.poll(cx));
        if let Some(task) = this.task {
            // Inside of the task itself, its own poll goes on.
            if !current::is(task) {
                deadlock::after_part(task, &polled);
            }
        }
        polled
    }
}
