//! What stands for a detached task.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::cell::TaskCell;
use super::deadlock;
use super::domain::Domain;
use super::edge::{self, Edge, Kind};
use super::job::Output;
use super::run::{value, would_deadlock};
use super::spare;
use super::submit::lane_of;
use super::wakers::drop_guarded;
use crate::engine::{End, Key, Reason, State};
use crate::events::Hub;
use crate::options::Refusal;
use crate::sync::{Arc, Mutex, Weak};
use crate::{EventStream, EventsOff, Lane, TaskError, TaskId};

/// A detached task: await it for the result, or drop it and let it run.
///
/// A task that was refused is an already settled handle, with the refusal as
/// its result.
///
/// # Cancel safety
///
/// Awaiting `&mut handle` loses nothing when it is dropped: the task goes on,
/// and the handle can be awaited again. Dropping the handle itself detaches
/// the task, queued or active, unless [`abort_on_drop`](Self::abort_on_drop)
/// was called.
///
/// # Panics
///
/// If it is polled again after it gave its result.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
/// # let main = lanes.lane("main")?;
/// use laneway::{Reason, TaskError, TaskStatus};
///
/// let slot = main.acquire().await?;
/// let first = main.spawn(async |_| "first");
/// let second = main.spawn(async |_| "second");
/// assert_eq!(second.status(), TaskStatus::Queued);
/// second.cancel(Reason::User);
/// assert!(matches!(second.await, Err(TaskError::CancelledQueued { .. })));
/// drop(slot);
/// assert_eq!(first.await?, "first");
/// # Ok(()) }
/// ```
#[must_use = "await it, or drop it on purpose: the task runs either way"]
pub struct TaskHandle<T> {
    inner: Inner<T>,
    edge: Option<Edge>,
    abort_on_drop: bool,
    /// Whoever awaits it need not.
    loose: bool,
    /// It is as good as a value behind a lock.
    value: PhantomData<Mutex<T>>,
}

enum Inner<T> {
    Task {
        task: Arc<TaskCell>,
        output: Arc<dyn Output<T>>,
    },
    /// It was refused, or has given its result.
    Over {
        id: TaskId,
        error: Option<TaskError>,
        /// Where its events are, if they are kept.
        hub: Option<Arc<Hub>>,
    },
}

/// Where a task is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It waits for a slot.
    Queued,
    /// It holds a slot.
    Active,
    /// Its slot was taken and it was left to run on; its result still counts.
    /// See [`OnStall::Detach`](crate::OnStall::Detach).
    Detached,
    /// It is finished, one way or another.
    Settled,
}

impl<T> TaskHandle<T> {
    pub(crate) fn new(
        lane: &Lane,
        submitted: Result<Arc<TaskCell>, Refusal>,
        output: Option<Arc<dyn Output<T>>>,
    ) -> Self {
        let inner = match submitted {
            Ok(task) => Inner::Task {
                task,
                output: output.expect("what is accepted has a body"),
            },
            Err(refusal) => Inner::Over {
                id: match &refusal {
                    Refusal::Refused(id, _) => *id,
                    _ => lane.burn_id(),
                },
                error: Some(refusal.task_error(&lane.domain.name)),
                hub: lane.domain.shared.hub.clone(),
            },
        };
        Self {
            inner,
            edge: None,
            abort_on_drop: false,
            loose: false,
            value: PhantomData,
        }
    }

    /// The task's id; one that was refused has an id too.
    #[must_use]
    pub fn id(&self) -> TaskId {
        match &self.inner {
            Inner::Task { task, .. } => task.id(),
            Inner::Over { id, .. } => *id,
        }
    }

    /// Where the task is now.
    #[must_use]
    pub fn status(&self) -> TaskStatus {
        let Inner::Task { task, .. } = &self.inner else {
            return TaskStatus::Settled;
        };
        if task.settled().is_some() {
            return TaskStatus::Settled;
        }
        let key: Key = task.slot_key();
        let state = task
            .domain()
            .read(|engine| engine.record(key).map(|record| record.state));
        match state {
            Some(state) if state.waits() => TaskStatus::Queued,
            Some(State::Granted) if task.gathers() => TaskStatus::Queued,
            Some(state) if state.is_detached() => TaskStatus::Detached,
            Some(state) if state.holds_slot() => TaskStatus::Active,
            _ => TaskStatus::Settled,
        }
    }

    /// Ends the task: at once if it is queued, else by asking it to. Does
    /// nothing to a task that is settled, or was asked before. O(1).
    pub fn cancel(&self, reason: Reason) {
        if let Inner::Task { task, .. } = &self.inner {
            task.domain().cancel(task.slot_key(), reason);
        }
    }

    /// What happened, and happens, to the task, until its end; see
    /// [`Lanes::task_events`](crate::Lanes::task_events). Nothing, for one that was
    /// refused.
    ///
    /// # Errors
    ///
    /// [`EventsOff`] if no events are kept; see
    /// [`LanesBuilder::events`](crate::LanesBuilder::events).
    pub fn events(&self) -> Result<EventStream, EventsOff> {
        let (hub, home) = match &self.inner {
            Inner::Task { task, .. } => (&task.domain().shared.hub, Arc::downgrade(task.domain())),
            Inner::Over { hub, .. } => (hub, Weak::new()),
        };
        let hub = hub.as_ref().ok_or(EventsOff)?;
        Ok(EventStream::of(hub, self.id(), home))
    }

    /// From now on, dropping the handle cancels the task, with
    /// [`Reason::Dropped`].
    pub fn abort_on_drop(mut self) -> Self {
        self.abort_on_drop = true;
        self
    }

    /// Says that whoever awaits the handle need not, to go on; see
    /// [`Run::may_abandon`](crate::Run::may_abandon).
    pub fn may_abandon(mut self) -> Self {
        self.loose = true;
        self
    }
}

/// Its value is not in it.
impl<T> Unpin for TaskHandle<T> {}

impl<T> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (task, output) = match &mut this.inner {
            Inner::Over { error, .. } => {
                return Poll::Ready(Err(error.take().expect(AGAIN)));
            }
            Inner::Task { task, output } => (task, output),
        };
        let settled = task.settled().or_else(|| {
            task.set_joiner(cx.waker());
            // It may have been settled between the two.
            task.settled()
        });
        let Some(end) = settled else {
            task.domain().shared.drive_here();
            let kind = Kind {
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
        let (id, told) = (task.id(), deadlock::told(task, &end));
        let (outcome, end) = if end == End::Completed {
            (Some(output.take().expect(AGAIN)), None)
        } else {
            drop_guarded(output.take());
            (None, Some(end))
        };
        let lane = &task.domain().name;
        let result = match (told, end) {
            (Some(cycle), _) => Err(would_deadlock(lane, id, cycle)),
            (None, Some(end @ End::Refused { .. })) => {
                value(&lane_of(task, &end), id, Some(end), outcome)
            }
            (None, end) => value(lane, id, end, outcome),
        };
        let over = Inner::Over {
            id,
            error: None,
            hub: task.domain().shared.hub.clone(),
        };
        if let Inner::Task { task, output } = std::mem::replace(&mut this.inner, over) {
            drop(output);
            // The next task may have its cell, if its runner is gone by now.
            drop(spare::recycle(task));
        }
        Poll::Ready(result)
    }
}

const AGAIN: &str = "a TaskHandle gives its result once";

impl<T> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        let Inner::Task { task, output } = &self.inner else {
            return;
        };
        if self.abort_on_drop {
            task.domain().cancel(task.slot_key(), Reason::Dropped);
        }
        task.unheard();
        // Nobody will ask for it, and its destructor is the user's.
        drop_guarded(output.take());
    }
}

/// Whether somebody waits in this lane, and nobody for any of them. O(n).
pub(crate) fn callers_are_gone(domain: &Domain) -> bool {
    domain.read(|engine| {
        let waiters = engine.records().filter(|(_, record)| record.state.waits());
        let mut gone = waiters.map(|(_, record)| record.payload.is_unheard());
        let first = gone.next();
        first == Some(true) && gone.all(|gone| gone)
    })
}

impl<T> std::fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
