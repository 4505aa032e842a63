//! Many calls that come to one task.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::cell::TaskCell;
use super::edge::{self, Edge, Kind};
use super::inbox::Letter;
use super::job::{Job, Shareable};
use super::parts::Rare;
use super::run::value;
use super::spawn::submit_job;
use super::wakers::{Ticket, drop_guarded};
use crate::engine::{End, Reason};
use crate::options::{Options, Refusal};
use crate::sync::{Arc, Mutex};
use crate::{Lane, TaskContext, TaskError, TaskId};

type Merge<I> = Box<dyn FnOnce(I, I) -> I + Send>;
type Inputs<I> = Vec<(I, Merge<I>)>;
type Outcomes<T> = Arc<dyn Shareable<T>>;

/// What is merged into one task, and what it comes to.
struct Batch<I, T> {
    /// `None` once the task has begun: nobody can join it any more.
    inputs: Mutex<Option<Inputs<I>>>,
    /// Its own, from before anybody can join it.
    output: Mutex<Option<Outcomes<T>>>,
    heirs: Arc<Heirs>,
    /// The older task that this one was merged into.
    merged: Mutex<Option<Merged<T>>>,
}

struct Merged<T> {
    task: Arc<TaskCell>,
    output: Outcomes<T>,
    heirs: Arc<Heirs>,
}

/// How many handles one task has. Who comes last may be merged into it as the one
/// before goes, so the task's flag changes under the same lock.
struct Heirs(Mutex<usize>);

impl Heirs {
    fn come(&self, task: &TaskCell) {
        let mut handles = self.0.lock();
        *handles += 1;
        task.heard();
    }

    fn go(&self, task: &TaskCell) {
        let mut handles = self.0.lock();
        *handles -= 1;
        if *handles == 0 {
            task.unheard();
        }
    }
}

impl<I, T> Batch<I, T>
where
    I: Send + 'static,
    T: Send + Sync + 'static,
{
    /// In the critical section of the lane. Moves the newer one's inputs to the
    /// older one, unless that has begun.
    fn join(newer: &Letter, older: &Letter, task: &Arc<TaskCell>) -> bool {
        let (Some(newer), Some(older)) = (newer.of::<Self>(), older.of::<Self>()) else {
            return false;
        };
        let mut inputs = older.inputs.lock();
        let (Some(inputs), Some(output)) = (inputs.as_mut(), older.output.lock().clone()) else {
            return false;
        };
        if let Some(more) = newer.inputs.lock().take() {
            inputs.extend(more);
        }
        older.heirs.come(task);
        *newer.merged.lock() = Some(Merged {
            task: Arc::clone(task),
            output,
            heirs: Arc::clone(&older.heirs),
        });
        true
    }

    /// What its task begins with: everything that came, merged in the order in
    /// which it came.
    fn begin(&self) -> Option<I> {
        let inputs = self.inputs.lock().take();
        let mut merged = None;
        for (input, merge) in inputs.into_iter().flatten() {
            merged = Some(match merged {
                None => input,
                Some(old) => merge(old, input),
            });
        }
        merged
    }
}

/// What begins a task, and has its inputs until then: they go with it, since the
/// batch may be kept for longer by a handle (S15).
struct Begins<I, T>(Arc<Batch<I, T>>);

impl<I, T> Drop for Begins<I, T> {
    fn drop(&mut self) {
        let inputs = self.0.inputs.lock().take();
        drop_guarded(inputs);
    }
}

pub(crate) fn coalesce<I, G, F, Fut>(
    lane: &Lane,
    mut options: Box<Options>,
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
    let batch = Arc::new(Batch::<I, Fut::Output> {
        inputs: Mutex::new(Some(vec![(input, Box::new(merge))])),
        output: Mutex::new(None),
        heirs: Arc::new(Heirs(Mutex::new(1))),
        merged: Mutex::new(None),
    });
    let join = Batch::<I, Fut::Output>::join;
    options.letter = Some(Letter::merging(&batch, join, options.quiet));
    let begins = Begins(Arc::clone(&batch));
    let start = move |cx| {
        let input = begins.0.begin();
        drop(begins);
        let running = input.map(|input| f(cx, input));
        async move { Arc::new(running.expect("a task that is merged does not run").await) }
    };
    let made = |job: &Arc<Job<_, Arc<Fut::Output>, false>>| {
        *batch.output.lock() = Some(Arc::clone(job) as Outcomes<Fut::Output>);
    };
    let loose = options.loose;
    let submitted = submit_job(lane, Some(options), start, made);
    let merged = batch.merged.lock().take();
    let own = batch.output.lock().clone();
    let inner = match (submitted, merged) {
        (_, Some(merged)) => Inner::Task {
            task: merged.task,
            output: merged.output,
            heirs: merged.heirs,
        },
        (Ok(task), None) => Inner::Task {
            task,
            output: own.expect("what is accepted has a body"),
            heirs: Arc::clone(&batch.heirs),
        },
        (Err(refusal), None) => Inner::Refused {
            id: match &refusal {
                Refusal::Refused(id, _) => *id,
                _ => lane.burn_id(),
            },
            error: Some(refusal.task_error(&lane.domain.name)),
        },
    };
    // What is left of a batch that was refused is the user's.
    drop_guarded(batch);
    SharedHandle {
        inner,
        edge: None,
        ticket: Ticket::default(),
        loose,
    }
}

/// A task that several calls may have been merged into: each of them has a
/// handle, and each handle gives its outcome; made by
/// [`TaskBuilder::coalesce`](crate::TaskBuilder::coalesce).
///
/// # Cancel safety
///
/// Awaiting `&mut handle` loses nothing when it is dropped. Dropping a handle
/// detaches it; the task goes on, for whoever else was merged into it.
///
/// # Panics
///
/// If it is polled again after it gave the refusal of its task.
#[must_use = "await it, or drop it on purpose: the task runs either way"]
pub struct SharedHandle<T> {
    inner: Inner<T>,
    edge: Option<Edge>,
    ticket: Ticket,
    loose: bool,
}

enum Inner<T> {
    Task {
        task: Arc<TaskCell>,
        output: Outcomes<T>,
        heirs: Arc<Heirs>,
    },
    Refused {
        id: TaskId,
        error: Option<TaskError>,
    },
}

impl<T> SharedHandle<T> {
    /// The id of the task; the same for all who were merged into it.
    #[must_use]
    pub fn id(&self) -> TaskId {
        match &self.inner {
            Inner::Task { task, .. } => task.id(),
            Inner::Refused { id, .. } => *id,
        }
    }

    /// Says that whoever awaits the handle need not, to go on; see
    /// [`Run::may_abandon`](crate::Run::may_abandon).
    pub fn may_abandon(mut self) -> Self {
        self.loose = true;
        self
    }

    /// Ends the task, for everybody who was merged into it.
    pub fn cancel(&self, reason: Reason) {
        if let Inner::Task { task, .. } = &self.inner {
            task.domain().cancel(task.slot_key(), reason);
        }
    }
}

impl<T> Future for SharedHandle<T> {
    type Output = Result<Arc<T>, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (task, output) = match &mut this.inner {
            Inner::Refused { error, .. } => {
                return Poll::Ready(Err(error.take().expect("a refusal is given once")));
            }
            Inner::Task { task, output, .. } => (task, output),
        };
        if task.settled().is_none() {
            task.register(Rare::leavers, &mut this.ticket, cx.waker());
        }
        let Some(end) = task.settled() else {
            task.domain().shared.drive_here();
            let kind = Kind {
                shared: true,
                loose: this.loose,
                ..Kind::default()
            };
            let Some(cycle) = edge::renew(&mut this.edge, task, kind) else {
                return Poll::Pending;
            };
            this.edge = None;
            return Poll::Ready(Err(TaskError::WouldDeadlock {
                lane: Arc::clone(&task.domain().name),
                id: task.id(),
                cycle,
                withdrawn: false,
            }));
        };
        this.edge = None;
        let outcome = match end {
            End::Completed => output.share(),
            _ => None,
        };
        let end = Some(end).filter(|end| *end != End::Completed);
        Poll::Ready(value(&task.domain().name, task.id(), end, outcome))
    }
}

impl<T> Drop for SharedHandle<T> {
    fn drop(&mut self) {
        let Inner::Task { task, heirs, .. } = &self.inner else {
            return;
        };
        task.deregister(Rare::leavers, &self.ticket);
        heirs.go(task);
        let id = task.id();
        let error = None;
        // What it came to may go with this, and that is the user's.
        drop_guarded(std::mem::replace(
            &mut self.inner,
            Inner::Refused { id, error },
        ));
    }
}

impl<T> std::fmt::Debug for SharedHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedHandle")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
