//! The detached ways: a tokio task, or a blocking thread, once there is a slot.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::cell::TaskCell;
use super::handle::TaskHandle;
use super::job::{Body, Job, Output, Start, Waiting};
use super::runner::{self, Runner, Sink};
use super::submit::{Comer, give_up, rejoin, submit};
use super::teardown::finish_detached;
use super::wakers::{drop_guarded, guarded};
use super::word::Word;
use super::{current, spans};
use crate::engine::Reason;
use crate::options::{Options, Refusal};
use crate::sync::Arc;
use crate::{Lane, TaskContext};

pub(crate) fn spawn<F, Fut>(
    lane: &Lane,
    options: Option<Box<Options>>,
    start: F,
) -> TaskHandle<Fut::Output>
where
    F: FnOnce(TaskContext) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    detach::<_, _, false>(lane, options, start)
}

pub(crate) fn spawn_blocking<F, T>(
    lane: &Lane,
    options: Option<Box<Options>>,
    start: F,
) -> TaskHandle<T>
where
    F: FnOnce(TaskContext) -> T + Send + 'static,
    T: Send + 'static,
{
    detach::<_, _, true>(lane, options, start)
}

fn detach<F, T, const BLOCKING: bool>(
    lane: &Lane,
    options: Option<Box<Options>>,
    start: F,
) -> TaskHandle<T>
where
    F: Send + 'static,
    T: Send + 'static,
    Job<F, T, BLOCKING>: Body,
{
    let mut output = None;
    let loose = options.as_ref().is_some_and(|options| options.loose);
    let submitted = submit_job(lane, options, start, |job: &Arc<Job<F, T, BLOCKING>>| {
        output = Some(Arc::clone(job) as Arc<dyn Output<T>>);
    });
    let handle = TaskHandle::new(lane, submitted, output);
    if loose { handle.may_abandon() } else { handle }
}

/// `made` sees the job before anybody can run it.
pub(super) fn submit_job<F, T, const BLOCKING: bool>(
    lane: &Lane,
    options: Option<Box<Options>>,
    start: F,
    mut made: impl FnMut(&Arc<Job<F, T, BLOCKING>>),
) -> Result<Arc<TaskCell>, Refusal>
where
    Job<F, T, BLOCKING>: Body + 'static,
{
    let mut start = Some(start);
    let mut body = |runtime| {
        let start = Start {
            code: start.take().expect("it is submitted once"),
            submitter: spans::submitter(),
        };
        let job = Arc::new(Job::new(start, runtime));
        made(&job);
        Waiting::new(job)
    };
    let comer = Comer::Detached {
        body: &mut body,
        blocking: BLOCKING,
    };
    let submitted = submit(lane, options, comer);
    if let Ok(task) = &submitted
        && task.is_in_line()
    {
        spans::queue(task);
    }
    submitted
}

/// What became of a grant by the time its body came for it.
enum Claim {
    Mine,
    /// It came too late, and the slot was passed on (S20).
    PassedOn,
    /// The task was settled meanwhile.
    Gone,
}

fn claim(task: &TaskCell) -> Claim {
    loop {
        match task.word.get() {
            Word::Granted => {
                if task.word.shift(Word::Granted, Word::Running) {
                    task.stir(task.now());
                    return Claim::Mine;
                }
            }
            Word::Asleep => return Claim::PassedOn,
            _ => return Claim::Gone,
        }
    }
}

/// Puts a body back in line, at its old place (S20).
fn put_back(task: &Arc<TaskCell>, body: Arc<dyn Body>) {
    // In its place before it rejoins: the next grant may come in the same
    // breath.
    task.shared.lock().body = Waiting::new(body);
    rejoin(task);
    // It was no wait for a while, and is one again.
    super::deadlock::waits_again(task);
    // It may have been settled before, and then nobody takes it out any more.
    if task.settled().is_some() {
        let body = task.shared.lock().body.take();
        drop_guarded(body);
    }
}

/// A job for which nobody is left to come.
fn give_up_on(task: &Arc<TaskCell>, job: &impl Body) {
    guarded("a destructor", || job.discard());
    give_up(task, Reason::RuntimeShutdown);
}

/// A task that was granted its slot, and its job on the way to claim it.
type Coming<J> = (Arc<TaskCell>, Arc<J>);

type Async<F, T> = Job<F, T, false>;
type Blocking<F, T> = Job<F, T, true>;

impl<F, Fut> Body for Async<F, Fut::Output>
where
    F: FnOnce(TaskContext) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    fn launch(self: Arc<Self>, task: Arc<TaskCell>) {
        let runtime = self.runtime.clone();
        // A runtime that is gone drops it on the spot, which settles it.
        drop(runtime.spawn(Spawned {
            coming: Some((task, self)),
            runner: None,
        }));
    }

    fn discard(&self) {
        drop(self.start());
    }
}

pin_project! {
    struct Spawned<F, Fut>
    where
        F: FnOnce(TaskContext) -> Fut,
        F: Send,
        F: 'static,
        Fut: Future,
        Fut: Send,
        Fut: 'static,
        Fut::Output: Send,
        Fut::Output: 'static,
    {
        coming: Option<Coming<Async<F, Fut::Output>>>,
        #[pin]
        runner: Option<Runner<F, Fut, Arc<Async<F, Fut::Output>>>>,
    }

    impl<F, Fut> PinnedDrop for Spawned<F, Fut>
    where
        F: FnOnce(TaskContext) -> Fut,
        F: Send,
        F: 'static,
        Fut: Future,
        Fut: Send,
        Fut: 'static,
        Fut::Output: Send,
        Fut::Output: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some((task, job)) = this.coming.take() {
                give_up_on(&task, &*job);
            }
        }
    }
}

impl<F, Fut> Future for Spawned<F, Fut>
where
    F: FnOnce(TaskContext) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some((task, job)) = this.coming.take() {
            match (claim(&task), job.start()) {
                (Claim::Mine, Some(start)) => {
                    let span = spans::run(&task, start.submitter);
                    this.runner.set(Some(Runner::new(start.code, job, true)));
                    if let Some(runner) = this.runner.as_mut().as_pin_mut() {
                        runner.admit(task, span);
                    }
                }
                (Claim::PassedOn, Some(start)) => {
                    job.put_back(start);
                    put_back(&task, job);
                }
                (_, start) => drop_guarded(start),
            }
        }
        match this.runner.as_mut().as_pin_mut() {
            Some(runner) => runner.poll(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }
}

impl<F, T> Body for Blocking<F, T>
where
    F: FnOnce(TaskContext) -> T + Send + 'static,
    T: Send + 'static,
{
    fn launch(self: Arc<Self>, task: Arc<TaskCell>) {
        let runtime = self.runtime.clone();
        let thread = Thread(Some((task, self)));
        drop(runtime.spawn_blocking(move || thread.run()));
    }

    fn discard(&self) {
        drop(self.start());
    }
}

/// A blocking closure on its way to a thread.
struct Thread<F, T>(Option<Coming<Blocking<F, T>>>)
where
    Blocking<F, T>: Body;

impl<F, T> Thread<F, T>
where
    F: FnOnce(TaskContext) -> T + Send + 'static,
    T: Send + 'static,
{
    fn run(mut self) {
        let Some((task, mut job)) = self.0.take() else {
            return;
        };
        match (claim(&task), job.start()) {
            (Claim::Mine, Some(start)) => block(&task, &mut job, start),
            (Claim::PassedOn, Some(start)) => {
                job.put_back(start);
                put_back(&task, job);
            }
            (_, start) => drop_guarded(start),
        }
    }
}

impl<F, T> Drop for Thread<F, T>
where
    Blocking<F, T>: Body,
{
    /// Its runtime went before a thread was free.
    fn drop(&mut self) {
        if let Some((task, job)) = self.0.take() {
            give_up_on(&task, &*job);
        }
    }
}

/// The thread is the runner: nobody can stop it, so there is no last poll and
/// no drop, only a result that comes in time or late.
fn block<F, T>(task: &Arc<TaskCell>, job: &mut Arc<Blocking<F, T>>, start: Start<F>)
where
    F: FnOnce(TaskContext) -> T + Send,
    T: Send,
{
    let mut span = spans::run(task, start.submitter);
    let start = start.code;
    let cx = TaskContext::new(Arc::clone(task));
    let mut current = Some(Arc::clone(task));
    let outcome = current::enter(&mut current, || {
        span.within(|| catch_unwind(AssertUnwindSafe(|| start(cx))))
    });
    let reason = match outcome {
        Ok(_) => Reason::Completed,
        Err(_) => Reason::Panicked,
    };
    // In this order, as in the runner of a future.
    job.put(outcome);
    if task.word.shift(Word::Running, Word::Done) {
        span.close_for(reason);
    } else {
        drop_guarded(job.take_back());
        span.close_for(runner::taken_for(task));
    }
    finish_detached(task, reason, true);
}
