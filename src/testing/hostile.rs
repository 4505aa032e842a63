//! Every way we know in which a task fails to end.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::dice::Dice;
use super::trial::{self, Trial};
use crate::host::sleep;
use crate::runtime::current_task;
use crate::{TaskBuilder, TaskContext, TaskError};

/// How often those that move do so.
const PACE: Duration = Duration::from_millis(10);
/// By how much those that move for ever slow down, and how far: an hour of
/// virtual time is not to take a minute.
const SLOWER: Duration = Duration::from_millis(1);
const SLOWEST: Duration = Duration::from_secs(1);
/// How often one that wakes itself for ever does so before time may go on.
const SPINS: u32 = 100;

/// One way in which a task misbehaves; or, as control, in which it is well.
///
/// A kind that is about what the task itself does is a future: await it, in
/// your own task, where a call to a model or a tool would be. What it defers,
/// reports or listens to is then the current task's. It gives back what it is.
/// Every kind can be [submitted](Self::submit) to a lane, which is how those
/// misbehave that are about who polls the task; awaited, those are
/// [`Pending`](Self::Pending).
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use laneway::testing::{Expected, Hostile};
/// use laneway::{LaneConfig, Lanes, TaskError};
///
/// let config = LaneConfig::new(1).stall_ceiling(Duration::from_secs(60));
/// let lanes = Lanes::builder().lane("main", config).build()?;
/// let main = lanes.lane("main")?;
///
/// // As the call that a task of yours makes …
/// let turn = main.run(async |_| Hostile::IgnoresCancel.await).await;
/// assert!(matches!(turn, Err(TaskError::Stalled { .. })));
///
/// // … or as a task.
/// for kind in [Hostile::ForgottenSlot, Hostile::PanicsInDrop, Hostile::Ready] {
///     let mut task = kind.submit(main.task());
///     assert!(kind.expected().admits(task.answer().await.as_ref()));
/// }
/// assert_eq!(main.run(async |_| "still here").await?, "still here");
/// # Ok(()) }
/// ```
///
/// # Threads and virtual time
///
/// The kinds that [block a thread](Self::blocks_a_thread) are for a clock that
/// runs. Each has a thread of tokio's for blocking code, and as long as one of
/// those is busy, a paused clock does not move by itself, nor that of a
/// [`Sim`](super::Sim): no ceiling comes due, so that who awaits the
/// [answer](Trial::answer) hangs, for real, and no limit of the simulation ends
/// that. To [release](Trial::release) them does not help all: `BlocksInPoll`
/// is pending then, until a ceiling that never comes due. Leave them out there, as
/// [`Sim::hostile`](super::Sim::hostile) does, and try them on a runtime whose
/// clock is not paused. Who must have them on a paused one moves its clock by
/// hand (`tokio::time::advance`), whenever each [is still](Trial::is_still).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hostile {
    /// Healthy: ends at its first poll.
    Ready,
    /// Healthy: is silent for 50 ms, then ends.
    Sleeps,
    /// Healthy: reports progress every 10 ms, ten times, then ends.
    Streams,
    /// Is pending for ever.
    Pending,
    /// Hears that it is to end, and goes on for ever.
    IgnoresCancel,
    /// Is pending for ever, and has a `defer` hook that is so, too.
    EndlessHook,
    /// Panics when it is polled.
    PanicsWhenPolled,
    /// Is pending for ever, and panics when it is dropped.
    PanicsInDrop,
    /// Wakes itself for ever: a hundred times every 10 ms, and later every
    /// second, so that a paused clock can move.
    WakesForever,
    /// Reports progress for ever: every 10 ms at first, and never less than
    /// once a second. It does not stall; a budget ends it.
    ReportsForever,
    /// Its future was forgotten (`std::mem::forget`) after its first poll.
    Leaked,
    /// A [`Slot`](crate::Slot) that was forgotten.
    ForgottenSlot,
    /// Was polled in a `select!` that moved on, and is kept, and never polled
    /// again.
    Parked,
    /// A poll that blocks its thread until it is released; then it is pending.
    /// Not for [virtual time](Self#threads-and-virtual-time).
    BlocksInPoll,
    /// A poll that blocks its thread until it is released; then it is ready,
    /// long after its slot was taken. Not for
    /// [virtual time](Self#threads-and-virtual-time).
    EndsLate,
    /// A closure that blocks its thread until it is released. Not for
    /// [virtual time](Self#threads-and-virtual-time).
    BlocksInClosure,
    /// Is pending for ever; dropped, it blocks its thread until it is
    /// released. Not for [virtual time](Self#threads-and-virtual-time).
    BlocksInDrop,
}

/// What the promises let one expect of a [`Hostile`] task in a lane that has a
/// stall ceiling, if nobody cancels it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// Its caller has its value.
    Value,
    /// Its caller is told that it panicked.
    Panicked,
    /// Its slot comes free, and its caller is told why.
    Reclaimed,
    /// Its slot comes free; nobody is left who could be told.
    Unheard,
    /// It goes on, and keeps its slot, until a budget, a cancel or a shutdown
    /// ends it: to the scheduler it is healthy.
    Endless,
}

impl Expected {
    /// Whether an [answer](Trial::answer) is as expected. A task that was told
    /// to end by a lane timeout, a cancel or a shutdown has another one, which
    /// is yours to judge.
    #[must_use]
    pub const fn admits(self, answer: Option<&Result<Hostile, TaskError>>) -> bool {
        match self {
            Self::Value => matches!(answer, Some(Ok(_))),
            Self::Panicked => matches!(answer, Some(Err(TaskError::Panicked { .. }))),
            Self::Reclaimed => matches!(
                answer,
                Some(Err(TaskError::Stalled { .. } | TaskError::TimedOut { .. }))
            ),
            Self::Unheard => answer.is_none(),
            Self::Endless => matches!(
                answer,
                Some(Err(TaskError::TimedOut { .. } | TaskError::Cancelled { .. }))
            ),
        }
    }
}

impl Hostile {
    /// Every kind there is. Some are not for
    /// [virtual time](Self#threads-and-virtual-time), and of the rest some
    /// [leave an orphan](Self::leaves_an_orphan), which a simulation is to forget:
    ///
    /// ```
    /// use laneway::testing::Hostile;
    ///
    /// let in_a_sim = Hostile::ALL.iter().filter(|kind| !kind.blocks_a_thread());
    /// # assert!(in_a_sim.count() > 10);
    /// ```
    pub const ALL: &'static [Self] = &[
        Self::Ready,
        Self::Sleeps,
        Self::Streams,
        Self::Pending,
        Self::IgnoresCancel,
        Self::EndlessHook,
        Self::PanicsWhenPolled,
        Self::PanicsInDrop,
        Self::WakesForever,
        Self::ReportsForever,
        Self::Leaked,
        Self::ForgottenSlot,
        Self::Parked,
        Self::BlocksInPoll,
        Self::EndsLate,
        Self::BlocksInClosure,
        Self::BlocksInDrop,
    ];

    /// One of all kinds; the same for the same seed. In a
    /// [`Sim`](super::Sim), ask [`Sim::hostile`](super::Sim::hostile) instead:
    /// some kinds are not for [virtual time](Self#threads-and-virtual-time).
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self::pick(&mut Dice::new(seed), Self::ALL)
    }

    /// One of those that can be awaited; as likely a healthy one as not.
    pub(super) fn call(dice: &mut Dice) -> Self {
        let healthy = dice.below(2) == 0;
        let fits = |kind: &Self| kind.is_future() && kind.is_healthy() == healthy;
        let kinds: Vec<Self> = Self::ALL.iter().copied().filter(fits).collect();
        Self::pick(dice, &kinds)
    }

    fn pick(dice: &mut Dice, kinds: &[Self]) -> Self {
        let at = dice.below(kinds.len() as u64);
        kinds[usize::try_from(at).unwrap_or_default()]
    }

    /// What the promises let one expect.
    #[must_use]
    pub const fn expected(self) -> Expected {
        match self {
            Self::Ready | Self::Sleeps | Self::Streams => Expected::Value,
            Self::PanicsWhenPolled => Expected::Panicked,
            Self::ReportsForever => Expected::Endless,
            Self::Leaked | Self::ForgottenSlot | Self::Parked => Expected::Unheard,
            _ => Expected::Reclaimed,
        }
    }

    /// Whether it ends by itself, with its value.
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self.expected(), Expected::Value)
    }

    /// Whether it is about what the task does, and not about who polls it, so
    /// that it can be awaited.
    #[must_use]
    pub const fn is_future(self) -> bool {
        !matches!(self.expected(), Expected::Unheard) && !self.blocks_a_thread()
    }

    /// Whether it blocks a thread until it is released, and so is not for
    /// [virtual time](Self#threads-and-virtual-time).
    #[must_use]
    pub const fn blocks_a_thread(self) -> bool {
        matches!(
            self,
            Self::BlocksInPoll | Self::EndsLate | Self::BlocksInClosure | Self::BlocksInDrop
        )
    }

    /// Whether its slot can only be taken: it is an orphan afterwards, until
    /// its [`Trial`] is dropped, or for ever if it was forgotten.
    #[must_use]
    pub const fn leaves_an_orphan(self) -> bool {
        matches!(self.expected(), Expected::Unheard) || self.blocks_a_thread()
    }

    /// Submits a task of this kind: not one that
    /// [blocks a thread](Self::blocks_a_thread) in
    /// [virtual time](Self#threads-and-virtual-time), where its answer may
    /// never come.
    ///
    /// Outside of a tokio runtime, those whose runner is the lane's own (they
    /// are the ones that can be awaited, and
    /// [`BlocksInClosure`](Self::BlocksInClosure)) answer
    /// [`NoRuntime`](TaskError::NoRuntime), as any task does.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if it is one of the others: somebody has to
    /// poll them.
    pub fn submit(self, task: TaskBuilder<'_>) -> Trial {
        trial::submit(self, task)
    }
}

impl IntoFuture for Hostile {
    type Output = Self;
    type IntoFuture = HostileFuture;

    fn into_future(self) -> HostileFuture {
        HostileFuture(Box::pin(act(self)))
    }
}

/// A [`Hostile`] that is awaited.
#[must_use = "futures do nothing unless polled"]
pub struct HostileFuture(Pin<Box<dyn Future<Output = Hostile> + Send>>);

impl Future for HostileFuture {
    type Output = Hostile;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Hostile> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for HostileFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostileFuture").finish_non_exhaustive()
    }
}

async fn act(kind: Hostile) -> Hostile {
    let task = current_task().map(TaskContext::new);
    match kind {
        Hostile::Ready => {}
        Hostile::Sleeps => sleep(PACE * 5).await,
        Hostile::Streams => {
            for _ in 0..10 {
                sleep(PACE).await;
                crate::progress();
            }
        }
        Hostile::IgnoresCancel => {
            if let Some(task) = task {
                task.cancelled().await;
            }
            pending().await
        }
        Hostile::EndlessHook => {
            if let Some(task) = task {
                task.defer(|_| pending());
            }
            pending().await
        }
        // Past the panic hook: it is on purpose, and need not be printed.
        Hostile::PanicsWhenPolled => std::panic::resume_unwind(Box::new("hostile: polled")),
        Hostile::PanicsInDrop => {
            let _bomb = Bomb;
            pending().await
        }
        Hostile::WakesForever => {
            for_ever(async || {
                for _ in 0..SPINS {
                    tokio::task::yield_now().await;
                }
            })
            .await
        }
        Hostile::ReportsForever => {
            for_ever(async || {
                crate::progress();
            })
            .await
        }
        _ => pending().await,
    }
    kind
}

async fn for_ever(act: impl AsyncFn()) -> ! {
    let mut pace = PACE;
    loop {
        act().await;
        sleep(pace).await;
        pace = (pace + SLOWER).min(SLOWEST);
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("hostile: dropped"));
        }
    }
}
