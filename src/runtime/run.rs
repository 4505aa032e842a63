//! The structured way: the caller polls.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::runner::{Outcome, Runner, Sink};
use super::spans;
use super::submit::{Admission, NoSlot};
use crate::error::{Cycle, PanicPayload};
use crate::options::Options;
use crate::sync::Arc;
use crate::{Lane, TaskContext, TaskError, TaskId};

pin_project! {
    /// A task that runs where it is polled; made by [`Lane::run`].
    ///
    /// # Cancel safety
    ///
    /// The task joins the queue at the first poll. Dropped before it has its
    /// slot, it leaves the queue as if it had never joined, and its place is
    /// lost. Dropped later, the task's future is dropped first and its slot is
    /// released after that; `defer` hooks, if there are any, run on the
    /// runtime in between.
    ///
    /// A grant that is not polled for within 5 s is passed on; polled again,
    /// the task rejoins the queue at its old place.
    ///
    /// # Panics
    ///
    /// If it is polled again after it gave its result.
    #[must_use = "futures do nothing unless polled"]
    pub struct Run<'a, F, Fut: Future> {
        lane: &'a Lane,
        options: Option<Box<Options>>,
        #[pin]
        runner: Runner<F, Fut, Option<Outcome<Fut::Output>>>,
        // After the runner, and so dropped after it: it has the edge, and a
        // parent's idle clock stands still until its child is gone.
        admission: Admission,
    }
}

impl<'a, F, Fut> Run<'a, F, Fut>
where
    F: FnOnce(TaskContext) -> Fut,
    Fut: Future,
{
    pub(crate) fn new(lane: &'a Lane, options: Option<Box<Options>>, start: F) -> Self {
        Self {
            lane,
            options,
            runner: Runner::new(start, None, false),
            admission: Admission::default(),
        }
    }

    /// Says that the caller need not wait for this to go on: it waits inside a
    /// `select!`, or for the first of several. A task that waits so counts as one
    /// that can move, when it is asked whether a wait would be a deadlock.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::time::Duration;
    ///
    /// let got = main
    ///     .run(async |_| {
    ///         tokio::select! {
    ///             // It will not have a slot while this task has the only one.
    ///             second = main.run(async |_| "second").may_abandon() => second,
    ///             () = tokio::time::sleep(Duration::from_secs(5)) => Ok("gave up"),
    ///         }
    ///     })
    ///     .await??;
    /// assert_eq!(got, "gave up");
    /// # Ok(()) }
    /// ```
    pub fn may_abandon(mut self) -> Self {
        self.admission.loose = true;
        self
    }
}

impl<F, Fut> Future for Run<'_, F, Fut>
where
    F: FnOnce(TaskContext) -> Fut,
    Fut: Future,
{
    type Output = Result<Fut::Output, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let lane = &this.lane.domain.name;
        if this.runner.task().is_none() {
            assert!(!this.runner.is_over(), "{AGAIN}");
            let admitted = ready!(this.admission.poll(this.lane, this.options, cx));
            match admitted {
                Ok(task) => {
                    let span = spans::run_here(&task);
                    this.runner.as_mut().admit(task, span);
                }
                Err(no_slot) => {
                    drop(this.runner.as_mut().refuse());
                    return Poll::Ready(Err(match no_slot {
                        NoSlot::Refused(refusal) => refusal.task_error(lane),
                        NoSlot::Ended(lane, id, end) => TaskError::new(lane, id, end),
                        NoSlot::WouldDeadlock(id, cycle) => would_deadlock(lane, id, cycle),
                    }));
                }
            }
        }
        // Before any of it is polled: of two that take turns polling each other, each
        // would be part of the other, and looking for who listens would find no end (S13).
        this.admission.cut_edge_of_another();
        let polled = this.runner.as_mut().poll(cx);
        let Poll::Ready((id, end)) = polled else {
            if let Some(task) = this.runner.task() {
                this.admission.renew_edge(task);
                // It may have come here from another runtime (S8).
                task.domain().shared.drive_here();
            }
            return Poll::Pending;
        };
        let outcome = this.runner.sink().take();
        this.admission.cut_edge();
        Poll::Ready(value(lane, id, end, outcome))
    }
}

/// The value of a task that its caller polls: it goes no further.
impl<T> Sink<T> for Option<Outcome<T>> {
    fn put(&mut self, outcome: Outcome<T>) {
        *self = Some(outcome);
    }

    fn take_back(&mut self) -> Self {
        self.take()
    }
}

const AGAIN: &str = "a task gives its result once";

/// What the caller of a task is told.
pub(super) fn value<T>(
    lane: &Arc<str>,
    id: TaskId,
    end: Option<crate::engine::End>,
    outcome: Option<Outcome<T>>,
) -> Result<T, TaskError> {
    let name = || Arc::clone(lane);
    match (end, outcome) {
        (_, Some(Ok(value))) => Ok(value),
        (_, Some(Err(payload))) => Err(TaskError::Panicked {
            lane: name(),
            id,
            payload: PanicPayload::new(payload),
        }),
        (Some(end), None) => Err(TaskError::new(name(), id, end)),
        (None, None) => Err(TaskError::RuntimeShutdown { lane: name(), id }),
    }
}

/// What whoever waited for a task is told that left its queue for that.
pub(super) fn would_deadlock(lane: &Arc<str>, id: TaskId, cycle: Cycle) -> TaskError {
    TaskError::WouldDeadlock {
        lane: Arc::clone(lane),
        id,
        cycle,
        withdrawn: true,
    }
}

impl<F, Fut: Future> std::fmt::Debug for Run<'_, F, Fut> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("lane", &self.lane.name())
            .field(
                "task",
                &self.runner.task().or_else(|| self.admission.task()),
            )
            .finish_non_exhaustive()
    }
}
