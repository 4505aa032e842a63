//! A detached task's body while it waits for its slot, and its value while that
//! waits for its handle: one after the other, in one allocation.

use super::cell::TaskCell;
use super::runner::{Outcome, Sink};
use super::spans::Spanned;
use crate::error::message_of;
use crate::host::Handle;
use crate::sync::{Arc, Mutex};

/// A body, as its lane knows it.
pub(crate) trait Body: Send + Sync {
    /// Puts it on its runtime. Called outside every lock.
    fn launch(self: Arc<Self>, cell: Arc<TaskCell>);

    /// It never runs: what would have started it is dropped.
    fn discard(&self);
}

/// A body that waits, if there is one. Dropped, it never runs, whoever else has
/// the job.
pub(crate) struct Waiting(Option<Arc<dyn Body>>);

impl Waiting {
    pub(crate) const NOBODY: Self = Self(None);

    pub(super) fn new(body: Arc<dyn Body>) -> Self {
        Self(Some(body))
    }

    pub(crate) const fn is_nobody(&self) -> bool {
        self.0.is_none()
    }

    #[must_use = "drop it outside the lock"]
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Says whether there was one.
    pub(crate) fn launch(mut self, cell: &Arc<TaskCell>) -> bool {
        let body = self.0.take();
        body.map(|body| body.launch(Arc::clone(cell))).is_some()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(body) = &self.0 {
            body.discard();
        }
    }
}

/// A body, as its handle knows it.
pub(crate) trait Output<T>: Send + Sync {
    fn take(&self) -> Option<Outcome<T>>;
}

/// A body whose value several handles give.
pub(super) trait Shareable<T>: Send + Sync {
    /// For one of those who get it. A panic is told to each of them by its
    /// message.
    fn share(&self) -> Option<Outcome<Arc<T>>>;
}

/// `BLOCKING` where its body runs on a thread of its own.
pub(crate) struct Job<F, T, const BLOCKING: bool> {
    stage: Mutex<Stage<F, T>>,
    pub(super) runtime: Handle,
}

enum Stage<F, T> {
    Waiting(Start<F>),
    Away,
    Through(Outcome<T>),
}

/// What starts a task, and the span in which it was submitted.
pub(super) struct Start<F> {
    pub(super) code: F,
    pub(super) submitter: Spanned,
}

impl<F, T, const BLOCKING: bool> Job<F, T, BLOCKING> {
    pub(super) fn new(start: Start<F>, runtime: Handle) -> Self {
        Self {
            stage: Mutex::new(Stage::Waiting(start)),
            runtime,
        }
    }

    /// What starts it, for whoever runs it.
    #[inline]
    pub(super) fn start(&self) -> Option<Start<F>> {
        let mut stage = self.stage.lock();
        match std::mem::replace(&mut *stage, Stage::Away) {
            Stage::Waiting(start) => Some(start),
            other => {
                *stage = other;
                None
            }
        }
    }

    /// It waits again.
    pub(super) fn put_back(&self, start: Start<F>) {
        *self.stage.lock() = Stage::Waiting(start);
    }
}

impl<F: Send, T: Send, const BLOCKING: bool> Output<T> for Job<F, T, BLOCKING> {
    fn take(&self) -> Option<Outcome<T>> {
        let mut stage = self.stage.lock();
        match std::mem::replace(&mut *stage, Stage::Away) {
            Stage::Through(outcome) => Some(outcome),
            other => {
                *stage = other;
                None
            }
        }
    }
}

impl<F: Send, T: Send + Sync> Shareable<T> for Job<F, Arc<T>, false> {
    fn share(&self) -> Option<Outcome<Arc<T>>> {
        match &*self.stage.lock() {
            Stage::Through(Ok(value)) => Some(Ok(Arc::clone(value))),
            Stage::Through(Err(payload)) => Some(Err(Box::new(message_of(&**payload)))),
            Stage::Waiting(_) | Stage::Away => None,
        }
    }
}

impl<F: Send, T: Send, const BLOCKING: bool> Sink<T> for Arc<Job<F, T, BLOCKING>> {
    fn put(&mut self, outcome: Outcome<T>) {
        *self.stage.lock() = Stage::Through(outcome);
    }

    fn take_back(&mut self) -> Option<Outcome<T>> {
        self.take()
    }
}
