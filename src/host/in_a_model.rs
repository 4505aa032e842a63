//! The host of the model checkers: tasks that are polled when a model says so,
//! and a clock that stands still until it is told to move on.
//!
//! The checkers run all threads of one execution on one thread of the system,
//! so what belongs to an execution is kept in a thread-local of std's.

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "only models, which are tests, enter it")
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

pub(crate) use tokio::time::Instant;

use crate::sync::{Arc, Mutex, Serials, Untracked};

thread_local! {
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// A runtime that runs nothing by itself.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Host>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u64);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug)]
struct Host {
    id: Id,
    /// Since the host was made. No model checker sees it: reading
    /// a clock orders nothing.
    now: Untracked,
    /// A lock of ours, since tokio's queues order what was done before a task
    /// was woken before what its poll sees.
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    all: Vec<Task>,
    ready: VecDeque<usize>,
    sleepers: Vec<(Instant, Waker)>,
    closed: bool,
}

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Whoever polls it has its future meanwhile.
    polled: bool,
    woken: bool,
    aborted: bool,
}

struct Wakeup {
    host: Handle,
    task: usize,
}

impl Handle {
    /// A fresh runtime, current on this thread from now on.
    pub(crate) fn enter_new() -> Self {
        static IDS: Serials = Serials::from(1);
        let host = Self(Arc::new(Host {
            id: Id(IDS.next()),
            now: Untracked::new(
                CURRENT.with_borrow(|old| old.as_ref().map_or(0, |old| old.0.now.get())),
            ),
            tasks: Mutex::new(Tasks::default()),
        }));
        host.enter();
        host
    }

    pub(crate) fn enter(&self) {
        let old = CURRENT.with(|current| current.replace(Some(self.clone())));
        drop(old);
    }

    pub(crate) fn leave() {
        drop(CURRENT.with(RefCell::take));
    }

    /// After a failure: leaks what the execution has made.
    pub(crate) fn abandon() {
        std::mem::forget(CURRENT.with(RefCell::take));
    }

    pub(crate) fn try_current() -> Result<Self, NoHost> {
        CURRENT.with_borrow(|current| current.clone().ok_or(NoHost))
    }

    pub(crate) fn id(&self) -> Id {
        self.0.id
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let joined = Arc::new(Mutex::new(Joined::default()));
        let promise = Promise(Arc::clone(&joined));
        let future: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { promise.keep(future.await) });
        let mut tasks = self.0.tasks.lock();
        let task = tasks.all.len();
        let closed = tasks.closed;
        tasks.all.push(Task {
            future: None,
            polled: false,
            woken: true,
            aborted: false,
        });
        if closed {
            drop(tasks);
            drop(future);
        } else {
            tasks.all[task].future = Some(future);
            tasks.ready.push_back(task);
        }
        JoinHandle {
            joined,
            abort: AbortHandle {
                host: self.clone(),
                task,
            },
        }
    }

    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        code: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.spawn(async move { code() })
    }

    // What a model does with it.

    /// Polls one task that was woken; false if there is none.
    pub(crate) fn poll_one(&self) -> bool {
        let (task, future, aborted) = {
            let mut tasks = self.0.tasks.lock();
            let Some(task) = tasks.ready.pop_front() else {
                return false;
            };
            let entry = &mut tasks.all[task];
            if entry.polled {
                // Whoever polls it now polls it once more.
                return true;
            }
            entry.woken = false;
            let Some(future) = entry.future.take() else {
                return true;
            };
            entry.polled = true;
            (task, future, entry.aborted)
        };
        if aborted {
            drop(future);
            self.0.tasks.lock().all[task].polled = false;
            return true;
        }
        let waker = self.waker(task);
        let mut future = future;
        let done = future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        let over = {
            let mut tasks = self.0.tasks.lock();
            let closed = tasks.closed;
            let entry = &mut tasks.all[task];
            entry.polled = false;
            if done || closed {
                Some(future)
            } else {
                entry.future = Some(future);
                if entry.woken {
                    tasks.ready.push_back(task);
                }
                None
            }
        };
        drop(over);
        true
    }

    /// Until nobody who could run is left.
    pub(crate) fn poll_all(&self) {
        while self.poll_one() {}
    }

    /// Time passes, and wakes whoever slept until now.
    pub(crate) fn advance(&self, span: Duration) {
        self.0
            .now
            .add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        let now = now();
        let due: Vec<Waker> = {
            let mut tasks = self.0.tasks.lock();
            let (due, later) = std::mem::take(&mut tasks.sleepers)
                .into_iter()
                .partition(|(at, _)| *at <= now);
            tasks.sleepers = later;
            due.into_iter()
                .map(|(_, waker): (_, Waker)| waker)
                .collect()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// Drops whatever it runs, as a runtime that shuts down does.
    pub(crate) fn shut_down(&self) {
        let (futures, sleepers) = {
            let mut tasks = self.0.tasks.lock();
            tasks.closed = true;
            tasks.ready.clear();
            let futures: Vec<_> = tasks
                .all
                .iter_mut()
                .map(|task| task.future.take())
                .collect();
            (futures, std::mem::take(&mut tasks.sleepers))
        };
        drop(futures);
        drop(sleepers);
    }

    fn waker(&self, task: usize) -> Waker {
        Waker::from(Arc::new(Wakeup {
            host: self.clone(),
            task,
        }))
    }

    fn wake(&self, task: usize) {
        let mut tasks = self.0.tasks.lock();
        if tasks.closed || tasks.all[task].woken {
            return;
        }
        tasks.all[task].woken = true;
        if !tasks.all[task].polled {
            tasks.ready.push_back(task);
        }
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.host.wake(self.task);
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks")
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let host = Handle::try_current().expect("a host is entered");
    host.spawn(future)
}

/// No runtime is entered here.
#[expect(unnameable_types, reason = "it stands in for a type of tokio's")]
#[derive(Clone, Copy, Debug)]
pub struct NoHost;

#[expect(unnameable_types, reason = "it stands in for a type of tokio's")]
pub struct JoinHandle<T> {
    joined: Arc<Mutex<Joined<T>>>,
    abort: AbortHandle,
}

struct Joined<T> {
    value: Option<T>,
    /// Nobody will bring a value any more.
    over: bool,
    waker: Option<Waker>,
}

impl<T> Default for Joined<T> {
    fn default() -> Self {
        Self {
            value: None,
            over: false,
            waker: None,
        }
    }
}

/// Tells whoever joins, also when its task is dropped.
struct Promise<T>(Arc<Mutex<Joined<T>>>);

impl<T> Promise<T> {
    fn keep(self, value: T) {
        self.0.lock().value = Some(value);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let waker = {
            let mut joined = self.0.lock();
            joined.over = true;
            joined.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct AbortHandle {
    host: Handle,
    task: usize,
}

impl AbortHandle {
    pub(crate) fn abort(&self) {
        self.host.0.tasks.lock().all[self.task].aborted = true;
        self.host.wake(self.task);
    }
}

impl<T> JoinHandle<T> {
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    pub(crate) fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, NoHost>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut joined = self.joined.lock();
        if let Some(value) = joined.value.take() {
            return Poll::Ready(Ok(value));
        }
        if joined.over {
            return Poll::Ready(Err(NoHost));
        }
        joined.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("JoinHandle").field(&self.abort).finish()
    }
}

// Time.

pub(crate) fn now() -> Instant {
    let since = Handle::try_current().map_or(0, |host| host.0.now.get());
    epoch() + Duration::from_nanos(since)
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

pub(crate) const fn has_timers() -> bool {
    true
}

/// Its one worker has no slot to step out of.
pub(crate) const fn step_aside() {}

#[derive(Debug)]
pub(crate) struct Sleep(Instant);

pub(crate) const fn sleep_until(deadline: Instant) -> Sleep {
    Sleep(deadline)
}

pub(crate) fn sleep(span: Duration) -> Sleep {
    sleep_until(now() + span)
}

impl Sleep {
    pub(crate) const fn deadline(&self) -> Instant {
        self.0
    }

    pub(crate) fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.0 = deadline;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 <= now() {
            return Poll::Ready(());
        }
        if let Ok(host) = Handle::try_current() {
            let sleeper = (self.0, cx.waker().clone());
            host.0.tasks.lock().sleepers.push(sleeper);
        }
        Poll::Pending
    }
}

pub(crate) async fn timeout<F: Future>(span: Duration, future: F) -> Result<F::Output, Elapsed> {
    timeout_at(now() + span, future).await
}

/// The time was over before the future was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elapsed;

pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    let (mut future, mut sleep) = (pin!(future), pin!(sleep_until(deadline)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}
