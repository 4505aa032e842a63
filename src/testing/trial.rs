//! A hostile task that was submitted.

use std::future::{Future, pending, poll_fn};
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::gate::{Gate, Release, Stage, gate, poll_here};
use super::hostile::Hostile;
use crate::options::Options;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::{AcquireError, Lane, Limit, Run, Slot, TaskBuilder, TaskError, TaskHandle, TaskStatus};

type Answer = Result<Hostile, TaskError>;

/// A [`Hostile`] task in a lane; made by [`Hostile::submit`].
///
/// Dropping it releases the thread that it blocks, if it does, and lets go of
/// a future that was parked.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use laneway::testing::Hostile;
/// use laneway::{LaneConfig, Lanes, TaskError};
///
/// let config = LaneConfig::new(1).stall_ceiling(Duration::from_millis(20));
/// let lanes = Lanes::builder().lane("main", config).build()?;
/// let main = lanes.lane("main")?;
/// let mut stuck = Hostile::BlocksInClosure.submit(main.task());
/// assert!(matches!(stuck.answer().await, Some(Err(TaskError::Stalled { .. }))));
///
/// // Its slot was taken, and its thread is still there.
/// assert_eq!(main.run(async |_| "next").await?, "next");
/// assert!(stuck.is_blocked());
/// stuck.release();
/// # Ok(()) }
/// ```
pub struct Trial {
    kind: Hostile,
    teller: Teller,
    stage: Option<Arc<Stage>>,
    release: Option<Release>,
    /// A future that nobody polls any more.
    parked: Option<Parked>,
}

enum Teller {
    /// The scheduler settles it, whatever its runner does.
    Handle(TaskHandle<Hostile>),
    /// Whoever runs it, once it is through with it.
    Runner(JoinHandle<Told>),
}

type Parked = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a runner comes to.
struct Told {
    answer: Option<Answer>,
    parked: Option<Parked>,
}

impl Told {
    const fn answer(answer: Option<Answer>) -> Self {
        let parked = None;
        Self { answer, parked }
    }
}

impl Trial {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Hostile {
        self.kind
    }

    /// Waits for what its caller is told. A poll or a destructor that blocks
    /// keeps its caller, too: release it before.
    /// In [virtual time](Hostile#threads-and-virtual-time) even that may not
    /// help.
    ///
    /// It is `None` where no caller is left who could be told: of a kind that
    /// is [`Unheard`](super::Expected::Unheard), once it holds its slot and is
    /// forgotten or parked; and of one whose tokio runtime was shut down
    /// before its runner was through. One that is refused, or that loses its
    /// place in the queue, is told so, whichever kind it is.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    ///
    /// # Panics
    ///
    /// If it is asked again after it answered; and with the panic of its
    /// runner, if that has one: it is no task of yours, and a fault of ours.
    pub async fn answer(&mut self) -> Option<Result<Hostile, TaskError>> {
        match &mut self.teller {
            Teller::Handle(handle) => Some(handle.await),
            Teller::Runner(runner) => {
                let told = match runner.await {
                    Ok(told) => told,
                    Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                    Err(_) => return None,
                };
                self.parked = told.parked;
                told.answer
            }
        }
    }

    /// Lets the thread go on that it blocks. Does nothing to one that blocks
    /// none.
    pub fn release(&mut self) {
        self.release = None;
    }

    /// Whether its thread blocks now, until it is released.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.at_gate())
    }

    /// Whether its thread, if it has one, has come as far as it can before
    /// something else happens. A test in virtual time waits for this, in real
    /// time, before it lets the clock go on.
    #[must_use]
    pub fn is_still(&self) -> bool {
        match (&self.stage, &self.teller) {
            (Some(stage), Teller::Handle(task)) => {
                stage.at_gate() || stage.is_gone() || task.status() == TaskStatus::Queued
            }
            (Some(stage), Teller::Runner(_)) => stage.is_still(),
            (None, _) => true,
        }
    }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Teller::Runner(runner) = &self.teller {
            runner.abort();
        }
    }
}

pub(super) fn submit(kind: Hostile, task: TaskBuilder<'_>) -> Trial {
    let trial = |teller| Trial {
        kind,
        teller,
        stage: None,
        release: None,
        parked: None,
    };
    match kind {
        Hostile::Leaked => {
            let (lane, options) = task.into_parts();
            trial(Teller::Runner(tokio::spawn(leak(kind, lane, options))))
        }
        Hostile::ForgottenSlot => {
            let (lane, options) = task.into_parts();
            trial(Teller::Runner(tokio::spawn(forget(lane, options))))
        }
        Hostile::Parked => {
            let (lane, options) = task.into_parts();
            trial(Teller::Runner(tokio::spawn(park(kind, lane, options))))
        }
        Hostile::BlocksInPoll | Hostile::EndsLate | Hostile::BlocksInDrop => {
            on_a_thread(kind, task)
        }
        Hostile::BlocksInClosure => {
            let stage = Arc::new(Stage::default());
            let (release, gate) = gate(&stage);
            let handle = task.spawn_blocking(move |_| {
                gate.wait();
                kind
            });
            Trial {
                kind,
                teller: Teller::Handle(handle),
                stage: Some(stage),
                release: Some(release),
                parked: None,
            }
        }
        _ => trial(Teller::Handle(task.spawn(move |_| kind.into_future()))),
    }
}

/// A task that is pending for ever, polled until it has begun, and no further;
/// or what it came to, if it was refused.
async fn begin(kind: Hostile, lane: Lane, options: Box<Options>) -> Result<Parked, Answer> {
    let begun = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&begun);
    let mut run: Parked = Box::pin(async move {
        let task = async move |_| {
            begins.store(true, Ordering::Relaxed);
            pending::<()>().await;
            kind
        };
        Run::new(&lane, Some(options), task).await
    });
    let refused = poll_fn(|cx| match run.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if begun.load(Ordering::Relaxed) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match refused.await {
        Some(answer) => Err(answer),
        None => Ok(run),
    }
}

async fn leak(kind: Hostile, lane: Lane, options: Box<Options>) -> Told {
    let begun = begin(kind, lane, options).await;
    Told::answer(begun.map(std::mem::forget).err())
}

async fn forget(lane: Lane, options: Box<Options>) -> Told {
    match Slot::acquire(&lane, Some(options)).await {
        Ok(slot) => {
            std::mem::forget(slot);
            Told::answer(None)
        }
        Err(error) => Told::answer(Some(Err(as_of_task(error, &lane)))),
    }
}

/// Why there was no slot, as a task would have been told.
fn as_of_task(error: AcquireError, of: &Lane) -> TaskError {
    match error {
        AcquireError::TimedOut {
            lane,
            id,
            allowed,
            waited,
        } => TaskError::TimedOut {
            lane,
            id,
            limit: Limit::Wait,
            allowed,
            elapsed: waited,
            idle: waited,
        },
        AcquireError::Cancelled {
            lane,
            id,
            reason,
            waited,
        } => TaskError::CancelledQueued {
            lane,
            id,
            reason,
            waited,
        },
        AcquireError::Cleared { lane, id, waited } => TaskError::Cleared { lane, id, waited },
        AcquireError::WouldDeadlock { lane, id, cycle } => TaskError::WouldDeadlock {
            lane,
            id,
            cycle,
            withdrawn: true,
        },
        // These do not say which task it was that they refused.
        AcquireError::Draining { lane } => TaskError::Draining {
            lane,
            id: of.burn_id(),
        },
        AcquireError::QueueFull {
            lane,
            capacity,
            queued,
        } => TaskError::QueueFull {
            lane,
            id: of.burn_id(),
            capacity,
            queued,
        },
        AcquireError::Busy { lane, holder } => TaskError::Busy {
            lane,
            id: of.burn_id(),
            holder,
        },
        AcquireError::Closed { lane } => TaskError::Closed {
            lane,
            id: of.burn_id(),
        },
        AcquireError::Shutdown { lane, id } => TaskError::Shutdown { lane, id },
        AcquireError::NoRuntime => TaskError::NoRuntime,
        AcquireError::Invalid(invalid) => TaskError::Invalid(invalid),
    }
}

/// The `select!` has moved on, and the future is still somewhere.
async fn park(kind: Hostile, lane: Lane, options: Box<Options>) -> Told {
    match begin(kind, lane, options).await {
        Ok(parked) => Told {
            answer: None,
            parked: Some(parked),
        },
        Err(answer) => Told::answer(Some(answer)),
    }
}

/// On a thread of tokio's that may block, so that a paused clock does not run
/// away from it; polled there by hand.
fn on_a_thread(kind: Hostile, task: TaskBuilder<'_>) -> Trial {
    let (lane, options) = task.into_parts();
    let stage = Arc::new(Stage::default());
    let (release, gate) = gate(&stage);
    let of_thread = Arc::clone(&stage);
    // In motion from now on, though its thread is yet to begin.
    stage.begin();
    let runner = Handle::current().spawn_blocking(move || {
        let run = Run::new(&lane, Some(options), |_| Blocks { kind, gate });
        Told::answer(Some(poll_here(pin!(run), &of_thread)))
    });
    Trial {
        kind,
        teller: Teller::Runner(runner),
        stage: Some(stage),
        release: Some(release),
        parked: None,
    }
}

/// Blocks where its kind says.
struct Blocks {
    kind: Hostile,
    gate: Gate,
}

impl Future for Blocks {
    type Output = Hostile;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Hostile> {
        if self.kind != Hostile::BlocksInDrop {
            self.gate.wait();
        }
        match self.kind {
            Hostile::EndsLate => Poll::Ready(self.kind),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        if self.kind == Hostile::BlocksInDrop {
            self.gate.wait();
        }
    }
}
