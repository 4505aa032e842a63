//! The detached ways: a tokio task, or a blocking thread, once there is a slot.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tracing::Span;

use super::cell::{Body, TaskCell};
use super::handle::TaskHandle;
use super::output::Output;
use super::runner::{Runner, Sink};
use super::submit::{Comer, give_up, rejoin, submit};
use super::teardown::finish_detached;
use super::wakers::drop_guarded;
use super::word::Word;
use super::{current, log};
use crate::engine::Reason;
use crate::host::Handle;
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
    let output = Output::new();
    let submitted = submit_async(lane, options, start, &output);
    TaskHandle::new(lane, submitted, output)
}

#[inline]
pub(super) fn submit_async<F, Fut>(
    lane: &Lane,
    options: Option<Box<Options>>,
    start: F,
    output: &Arc<Output<Fut::Output>>,
) -> Result<Arc<TaskCell>, Refusal>
where
    F: FnOnce(TaskContext) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    let mut start = Some(start);
    let mut body = |runtime| -> Box<dyn Body> {
        Box::new(Async {
            start: start.take(),
            output: Arc::clone(output),
            runtime,
            submitter: Span::current(),
        })
    };
    let comer = Comer::Detached {
        body: &mut body,
        blocking: false,
    };
    submit(lane, options, comer)
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
    let output = Output::new();
    let mut start = Some(start);
    let mut body = |runtime| -> Box<dyn Body> {
        Box::new(Blocking {
            start: start.take(),
            output: Arc::clone(&output),
            runtime,
            submitter: Span::current(),
        })
    };
    let comer = Comer::Detached {
        body: &mut body,
        blocking: true,
    };
    let submitted = submit(lane, options, comer);
    TaskHandle::new(lane, submitted, output)
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
fn put_back(task: &Arc<TaskCell>, body: Box<dyn Body>) {
    // In its place before it rejoins: the next grant may come in the same
    // breath.
    task.shared.lock().body = Some(body);
    rejoin(task);
    // It may have been settled before, and then nobody takes it out any more.
    if task.settled().is_some() {
        let body = task.shared.lock().body.take();
        drop_guarded(body);
    }
}

struct Async<F, T> {
    start: Option<F>,
    output: Arc<Output<T>>,
    runtime: Handle,
    submitter: Span,
}

impl<F, Fut> Body for Async<F, Fut::Output>
where
    F: FnOnce(TaskContext) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    fn launch(self: Box<Self>, task: Arc<TaskCell>) {
        let runtime = self.runtime.clone();
        // A runtime that is gone drops it on the spot, which settles it.
        drop(runtime.spawn(Spawned {
            task: Some(task),
            body: Some(self),
            runner: None,
        }));
    }
}

pin_project! {
    struct Spawned<F, Fut: Future> {
        task: Option<Arc<TaskCell>>,
        body: Option<Box<Async<F, Fut::Output>>>,
        #[pin]
        runner: Option<Runner<F, Fut, Arc<Output<Fut::Output>>>>,
    }

    impl<F, Fut: Future> PinnedDrop for Spawned<F, Fut> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Some(task), Some(body)) = (this.task.take(), this.body.take()) {
                drop_guarded(body);
                give_up(&task, Reason::RuntimeShutdown);
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
        if let (Some(task), Some(mut body)) = (this.task.take(), this.body.take()) {
            match (claim(&task), body.start.take()) {
                (Claim::Mine, Some(start)) => {
                    let span = log::span_under(&body.submitter, &task);
                    let output = Arc::clone(&body.output);
                    this.runner.set(Some(Runner::new(start, output, true)));
                    if let Some(runner) = this.runner.as_mut().as_pin_mut() {
                        runner.admit(task, span);
                    }
                }
                (Claim::PassedOn, start) => {
                    body.start = start;
                    put_back(&task, body);
                }
                (_, start) => drop_guarded((body, start)),
            }
        }
        match this.runner.as_mut().as_pin_mut() {
            Some(runner) => runner.poll(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }
}

struct Blocking<F, T> {
    start: Option<F>,
    output: Arc<Output<T>>,
    runtime: Handle,
    submitter: Span,
}

impl<F, T> Body for Blocking<F, T>
where
    F: FnOnce(TaskContext) -> T + Send + 'static,
    T: Send + 'static,
{
    fn launch(self: Box<Self>, task: Arc<TaskCell>) {
        let runtime = self.runtime.clone();
        let thread = Thread {
            task: Some(task),
            body: Some(self),
        };
        drop(runtime.spawn_blocking(move || thread.run()));
    }
}

/// A blocking closure on its way to a thread.
struct Thread<F, T> {
    task: Option<Arc<TaskCell>>,
    body: Option<Box<Blocking<F, T>>>,
}

impl<F, T> Thread<F, T>
where
    F: FnOnce(TaskContext) -> T + Send + 'static,
    T: Send + 'static,
{
    fn run(mut self) {
        let (Some(task), Some(mut body)) = (self.task.take(), self.body.take()) else {
            return;
        };
        match (claim(&task), body.start.take()) {
            (Claim::Mine, Some(start)) => (*body).run(task, start),
            (Claim::PassedOn, start) => {
                body.start = start;
                put_back(&task, body);
            }
            (_, start) => drop_guarded((body, start)),
        }
    }
}

impl<F, T> Drop for Thread<F, T> {
    /// Its runtime went before a thread was free.
    fn drop(&mut self) {
        if let (Some(task), Some(body)) = (self.task.take(), self.body.take()) {
            drop_guarded(body);
            give_up(&task, Reason::RuntimeShutdown);
        }
    }
}

impl<F, T> Blocking<F, T>
where
    F: FnOnce(TaskContext) -> T,
{
    /// The thread is the runner: nobody can stop it, so there is no last poll
    /// and no drop, only a result that comes in time or late.
    fn run(mut self, task: Arc<TaskCell>, start: F) {
        let mut span = log::span_under(&self.submitter, &task);
        let cx = TaskContext::new(Arc::clone(&task));
        let mut current = Some(Arc::clone(&task));
        let outcome = current::enter(&mut current, || {
            log::within(&span, || catch_unwind(AssertUnwindSafe(|| start(cx))))
        });
        log::close(&mut span);
        let reason = match outcome {
            Ok(_) => Reason::Completed,
            Err(_) => Reason::Panicked,
        };
        // In this order, as in the runner of a future.
        self.output.put(outcome);
        if !task.word.shift(Word::Running, Word::Done) {
            drop_guarded(self.output.take_back());
        }
        finish_detached(&task, reason, true);
    }
}
