//! Whoever polls a task's future. Nobody else ever touches it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::cell::TaskCell;
use super::domain::ended_word;
use super::spans::Spanned;
use super::teardown::{self, Teardown};
use super::wakers::{drop_guarded, guarded};
use super::word::Word;
use super::{current, deadlock, park, spare};
use crate::engine::{End, Reason};
use crate::sync::Arc;
use crate::{TaskContext, TaskId};

/// What a future came to: its value, or what it panicked with.
pub(crate) type Outcome<T> = std::thread::Result<T>;

/// Where the value goes the instant it is there, before any lock.
pub(crate) trait Sink<T> {
    fn put(&mut self, outcome: Outcome<T>);
    fn take_back(&mut self) -> Option<Outcome<T>>;
}

pin_project! {
    /// A task that holds its slot, from its first poll to the release.
    ///
    /// 1. Poll the future. If it is ready, move the word to `Done` and put the
    ///    value where it is safe.
    /// 2. If it was to be dropped before that last poll, move the word to what
    ///    ended it.
    /// 3. Whoever of runner and driver moved the word first decides what the
    ///    caller is told; the runner drops the future either way.
    /// 4. Teardown, then release, then settle.
    pub(crate) struct Runner<F, Fut, S> {
        task: Option<Arc<TaskCell>>,
        start: Option<F>,
        #[pin]
        future: Option<Fut>,
        sink: S,
        ending: Option<Box<Ending>>,
        span: Spanned,
        detached: bool,
    }

    impl<F, Fut, S> PinnedDrop for Runner<F, Fut, S> {
        fn drop(mut this: Pin<&mut Self>) {
            if this.task.is_some() {
                this.as_mut().abandon();
            }
        }
    }
}

/// How a task came to its end.
#[derive(Clone, Copy)]
struct Over {
    reason: Reason,
    /// Its future was ready, or panicked.
    completed: bool,
}

/// The future is gone, and the hooks and children are not yet.
struct Ending {
    over: Over,
    teardown: Teardown,
}

impl<F, Fut, S> Runner<F, Fut, S> {
    /// Of a task that is yet to have its slot; see [`admit`](Self::admit).
    pub(crate) const fn new(start: F, sink: S, detached: bool) -> Self {
        Self {
            task: None,
            start: Some(start),
            future: None,
            sink,
            ending: None,
            span: Spanned::NONE,
            detached,
        }
    }

    /// The task has its slot, and this is who runs it.
    #[inline]
    pub(crate) fn admit(self: Pin<&mut Self>, task: Arc<TaskCell>, span: Spanned) {
        let this = self.project();
        *this.task = Some(task);
        *this.span = span;
    }

    /// The task never gets a slot: what would have started it is the caller's
    /// to drop.
    pub(crate) fn refuse(self: Pin<&mut Self>) -> Option<F> {
        self.project().start.take()
    }

    pub(crate) const fn task(&self) -> Option<&Arc<TaskCell>> {
        self.task.as_ref()
    }

    /// Whether it neither runs a task nor ever will.
    pub(crate) const fn is_over(&self) -> bool {
        self.task.is_none() && self.start.is_none()
    }

    pub(crate) fn sink(self: Pin<&mut Self>) -> &mut S {
        self.project().sink
    }

    /// Dropped before it was through: by its caller, or by its runtime.
    #[cold]
    fn abandon(self: Pin<&mut Self>) {
        let mut this = self.project();
        let Some(task) = this.task.clone() else {
            return;
        };
        if let Some(ending) = this.ending.take() {
            let Ending { over, teardown } = *ending;
            *this.task = None;
            this.span.close_for(over.reason);
            teardown::continue_detached(&task, teardown, over.reason, over.completed);
            return;
        }
        let reason = if *this.detached {
            Reason::RuntimeShutdown
        } else {
            Reason::Dropped
        };
        task.word.shift(Word::Running, Word::Cancelled);
        let start = this.start.take();
        current::enter(this.task, || {
            drop_guarded(start);
            // A pinned value is dropped in place; a panic stays here (S14).
            this.span.within(|| {
                guarded("a destructor", || this.future.set(None));
            });
        });
        *this.task = None;
        let reason = task.asked().map_or(reason, |asked| asked.reason);
        this.span.close_for(reason);
        teardown::finish_detached(&task, reason, false);
    }
}

impl<F, Fut, S> Runner<F, Fut, S>
where
    F: FnOnce(TaskContext) -> Fut,
    Fut: Future,
    S: Sink<Fut::Output>,
{
    /// Ready when the slot is released: which task it was, and how it ended if
    /// the sink does not have the outcome.
    #[inline]
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<(TaskId, Option<End>)> {
        let over = match &self.ending {
            Some(ending) => ending.over,
            None => {
                let over = ready!(self.as_mut().work(cx));
                self.as_mut().drop_future();
                let this = self.as_mut().project();
                let task = this.task.as_ref();
                if let Some(teardown) = task.and_then(|task| Teardown::begin(task, over.reason)) {
                    *this.ending = Some(Box::new(Ending { over, teardown }));
                }
                over
            }
        };
        let this = self.project();
        if let Some(ending) = this.ending {
            ready!(ending.teardown.poll(cx));
            *this.ending = None;
        }
        let Some(task) = this.task.take() else {
            unreachable!("only a task that is over comes here, and only once");
        };
        this.span.close_for(over.reason);
        let id = task.id();
        Poll::Ready((id, let_go(task, over.reason, over.completed)))
    }

    #[inline]
    fn work(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            let mut this = self.as_mut().project();
            let Some(task) = this.task.as_ref() else {
                return Poll::Pending;
            };
            if task.word.get() != Word::Running {
                // Its slot was taken: an orphan is never polled again.
                return Poll::Ready(taken(task));
            }
            if task.is_adrift()
                && let Some(asked) = task.asked()
                && asked.drop_now
            {
                // It is not polled without its slots, not even a last time.
                return Poll::Ready(end(task, asked.reason));
            }
            if task.is_adrift() && park::poll_back(task, cx).is_pending() {
                task.set_runner(cx.waker());
                // Asked to end, or ended, between the two.
                if task.asked().is_some() || task.word.get() != Word::Running {
                    continue;
                }
                return Poll::Pending;
            }
            let last_poll = task.asked().is_some_and(|asked| asked.drop_now);
            let start = this.start.take();
            let start = start.map(|start| (start, TaskContext::new(Arc::clone(task))));
            let turn = || turn(start, this.future.as_mut(), this.sink, last_poll, cx);
            let span = &*this.span;
            task.turn_over();
            let turned = current::enter(this.task, || span.within(turn));
            let Some(task) = this.task.as_ref() else {
                return Poll::Pending;
            };
            task.turn_over();
            let Turned::Through { reason, first } = turned else {
                task.set_runner(cx.waker());
                if task.is_adrift() {
                    // Whoever dropped its wait in this poll may have found no waker.
                    cx.waker().wake_by_ref();
                }
                deadlock::after_poll(task);
                if task.word.get() != Word::Running {
                    return Poll::Ready(taken(task));
                }
                match task.asked() {
                    Some(asked) if asked.drop_now && last_poll => {
                        return Poll::Ready(end(task, asked.reason));
                    }
                    // Asked in the middle of that poll: one more (S3).
                    Some(asked) if asked.drop_now => continue,
                    _ => return Poll::Pending,
                }
            };
            if first.unwrap_or_else(|| task.word.shift(Word::Running, Word::Done)) {
                return Poll::Ready(Over {
                    reason,
                    completed: true,
                });
            }
            drop_guarded(this.sink.take_back());
            return Poll::Ready(Over {
                completed: true,
                ..taken(task)
            });
        }
    }

    /// In place, as part of the task, and before its slot is released: no
    /// overlap with the next holder.
    #[inline]
    fn drop_future(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.future.is_none() && this.start.is_none() {
            return;
        }
        let (future, span, start) = (&mut this.future, &*this.span, this.start.take());
        current::enter(this.task, || {
            span.within(|| {
                drop_guarded(start);
                guarded("a destructor", || future.set(None));
            });
        });
    }
}

/// What one poll came to.
enum Turned {
    Pending,
    Through {
        reason: Reason,
        /// Whether it moved the word, so that the value is what counts; `None`
        /// where that is yet to be tried.
        first: Option<bool>,
    },
}

/// Polls a future as part of its task and, where it is through, ends it there:
/// the value is put where it is safe, the word is moved, the future is dropped.
#[inline]
fn turn<F, Fut, S>(
    start: Option<(F, TaskContext)>,
    mut future: Pin<&mut Option<Fut>>,
    sink: &mut S,
    last_poll: bool,
    cx: &mut Context<'_>,
) -> Turned
where
    F: FnOnce(TaskContext) -> Fut,
    Fut: Future,
    S: Sink<Fut::Output>,
{
    let polled = catch_unwind(AssertUnwindSafe(|| {
        if let Some((start, context)) = start {
            future.set(Some(start(context)));
        }
        match future.as_mut().as_pin_mut() {
            // What is ready counts, whatever else this tokio task has polled
            // before (S3).
            Some(future) if last_poll => pin!(tokio::task::unconstrained(future)).poll(cx),
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }));
    let outcome = match polled {
        Ok(Poll::Ready(value)) => Ok(value),
        Ok(Poll::Pending) => return Turned::Pending,
        Err(panic) => Err(panic),
    };
    let reason = match outcome {
        Ok(_) => Reason::Completed,
        Err(_) => Reason::Panicked,
    };
    // The value first: whoever sees `Done` may settle the caller, who then
    // looks for it. From the move of the word on, nothing can take it away
    // (S3).
    sink.put(outcome);
    let first = current::with(|task| task.word.shift(Word::Running, Word::Done));
    // A thread that is being torn down has no current task, and its runner does
    // the rest outside.
    if first.is_some() {
        guarded("a destructor", || future.set(None));
    }
    Turned::Through { reason, first }
}

/// It ends as it was asked to, unless its slot was taken before.
fn end(task: &TaskCell, reason: Reason) -> Over {
    if !task.word.shift(Word::Running, ended_word(reason)) {
        return taken(task);
    }
    Over {
        reason,
        completed: false,
    }
}

fn taken(task: &TaskCell) -> Over {
    Over {
        reason: taken_for(task),
        completed: false,
    }
}

pub(super) fn taken_for(task: &TaskCell) -> Reason {
    task.asked().map_or(Reason::Reset, |asked| asked.reason)
}

/// The last thing a runner does: releases the slot, if it still was its own,
/// and settles the task, if nobody did. `None` when it ended by itself.
#[inline]
pub(crate) fn let_go(mut task: Arc<TaskCell>, reason: Reason, completed: bool) -> Option<End> {
    let release = task.domain().release(&task, completed, reason);
    let done = task.word.get() == Word::Done;
    if done {
        // Where nobody else knows of the task any more, there is nobody to tell.
        task = spare::recycle(task)?;
    }
    let end = if done {
        End::Completed
    } else {
        let told = release.end.or_else(|| task.settled());
        told.unwrap_or_else(|| match reason {
            Reason::RuntimeShutdown => End::RuntimeShutdown,
            reason => End::Cancelled {
                reason,
                elapsed: task.now().since(task.started()),
            },
        })
    };
    if !task.settle(end) {
        // Whoever waits for its slot to be free is told all the same.
        task.left();
    }
    if task.has_teardown() {
        teardown::discard_hooks(&task);
    }
    (!done).then_some(end)
}
