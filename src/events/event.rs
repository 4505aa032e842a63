//! What is told, in public words.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::TaskId;
use crate::engine::{BlockedBy, Limit, Priority, Reason};
use crate::sync::Arc;

#[cfg(feature = "serde")]
use super::tell::written;

/// Something that happened, to a task or to a lane; read from an
/// [`EventStream`](crate::EventStream).
///
/// With the feature `serde` it serializes: what happened as the field `event`, with
/// its details beside it; durations are whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Event {
    /// Its number: each has one more than the one before. In one lane, and in the lanes of
    /// one group, this is the order in which things happened.
    pub seq: u64,
    /// When it happened, on the monotonic clock of the scheduler: since that was built. It
    /// is read before a lane is locked; of two events of one moment, the number says which was first.
    #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
    pub at: Duration,
    /// The same by the wall clock as it stood when the scheduler was built: a jump of
    /// that clock since is not in it. Serialized in milliseconds since the Unix epoch.
    #[cfg_attr(feature = "serde", serde(serialize_with = "written::unix"))]
    pub time: SystemTime,
    /// The lane's name.
    #[cfg_attr(feature = "serde", serde(serialize_with = "written::text"))]
    pub lane: Arc<str>,
    /// The task, where it is about one.
    pub task: Option<TaskId>,
    /// The task's name.
    #[cfg_attr(feature = "serde", serde(serialize_with = "written::maybe_text"))]
    pub name: Option<Arc<str>>,
    /// The task's key.
    #[cfg_attr(feature = "serde", serde(serialize_with = "written::maybe_text"))]
    pub key: Option<Arc<str>>,
    /// It is about a slot that the task has, or waits for, in another lane than its
    /// first one, or about its way back to a slot that it gave up while it was parked.
    /// What the task came to is told in its first lane.
    pub part: bool,
    /// What happened.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub kind: EventKind,
}

/// What happened.
///
/// A task that is accepted begins with [`Queued`](Self::Queued),
/// [`AtDoor`](Self::AtDoor), [`PutOff`](Self::PutOff), or, where it finds a slot free,
/// [`Dispatched`](Self::Dispatched); and each ends with one [`Settled`](Self::Settled).
/// One that was refused is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "event", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EventKind {
    /// A task came, and waits in the queue.
    Queued {
        /// Waiters ahead of it.
        queued_ahead: usize,
        /// Tasks that held a slot.
        active_ahead: usize,
    },
    /// A task came, and waits for a place in the queue, which is full.
    AtDoor {
        /// Waiters ahead of it.
        queued_ahead: usize,
        /// Tasks that held a slot.
        active_ahead: usize,
    },
    /// A task came that is not to be served before its quiet window is over.
    PutOff {
        /// The window.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        window: Duration,
    },
    /// Something was merged into it while it was in the queue: it leaves that until its
    /// quiet window is over.
    PutOffAgain {
        /// The window.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        window: Duration,
    },
    /// It comes from the door, or out of its quiet window, to the queue.
    LetIn,
    /// It was given a slot.
    Dispatched {
        /// It came, and found the slot free.
        at_once: bool,
        /// How long it had waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        waited: Duration,
        /// The fence of this grant.
        fence: u64,
        /// Waiters ahead of it when it came.
        queued_ahead: usize,
        /// Tasks that held a slot when it came.
        active_ahead: usize,
    },
    /// Its runner did not come for its slot or its place in time, and it was passed on;
    /// the task sleeps until it is polled again.
    Unclaimed,
    /// It was polled again, and is back at its old place in line.
    Rejoined,
    /// It has its slots in all lanes of its chain: its time begins.
    Gathered,
    /// Somebody more urgent waits behind it.
    Raised {
        /// How urgent it is now.
        priority: Priority,
    },
    /// It has waited for longer than is worth a warning.
    WaitExceeded {
        /// How long it has waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        waited: Duration,
        /// Waiters ahead of it when it came.
        queued_ahead: usize,
        /// Tasks that held a slot when it came.
        active_ahead: usize,
    },
    /// The scheduler looked at it, and it, or a child it awaits, had moved since it was
    /// looked at last. A report of progress by itself is no event: the scheduler learns of
    /// it when it looks.
    Progress {
        /// How long ago that was.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        idle: Duration,
    },
    /// It said what it is doing.
    Note {
        /// What it said.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::text"))]
        text: Arc<str>,
    },
    /// It entered a phase.
    PhaseBegun {
        /// The name of the phase.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::text"))]
        phase: Arc<str>,
    },
    /// It left a phase.
    PhaseOver {
        /// The name of the phase.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::text"))]
        phase: Arc<str>,
    },
    /// It has been active for long, and never reported any progress.
    NeverReports {
        /// How long it has been active.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        elapsed: Duration,
    },
    /// It stalls, and that is only to be reported.
    Stalled {
        /// How long it has been active.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        elapsed: Duration,
        /// How long it has been silent.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        idle: Duration,
    },
    /// It waits for somebody, and its clocks stand still.
    Parked {
        /// What for. `None` where its lane cannot tell.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::maybe_text"))]
        what: Option<Arc<str>>,
        /// How long it may wait; `None` where that is looked after in another lane.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::maybe_millis"))]
        limit: Option<Duration>,
        /// It gave its slot here back meanwhile.
        released: bool,
    },
    /// It has waited for somebody as long as it may.
    Outwaited,
    /// It has a slot here again.
    Regained,
    /// It is parked no more: it has its slot, and its clocks go on if they did not yet.
    Unparked,
    /// It was asked to end.
    Asked {
        /// Why.
        reason: Reason,
        /// How long it has to end by itself; zero if it does not listen.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        grace: Duration,
    },
    /// Its grace is over, and its runner is to drop it.
    GraceOver {
        /// Why it was asked.
        reason: Reason,
    },
    /// Its future is gone, and its hooks run.
    TeardownBegun,
    /// Its slot was taken without its runner: it is an orphan.
    Taken {
        /// It may run on, and its result still counts.
        detached: bool,
        /// Orphans of the lane, with it.
        orphans: usize,
    },
    /// Its slot was to be taken, and there are too many orphans.
    TakeRefused {
        /// How many there are.
        orphans: usize,
        /// How many there may be.
        max_orphans: usize,
    },
    /// Its slot was reclaimed, and that helped: a waiter was dispatched, or nobody waits.
    Recovered {
        /// How it came free.
        how: Reclaimed,
        /// Who was dispatched.
        dispatched: Option<TaskId>,
    },
    /// Its slot was reclaimed, and the waiters wait on.
    Ineffective {
        /// How it came free.
        how: Reclaimed,
        /// What they wait for.
        blocked_by: BlockedBy,
    },
    /// Its caller is told how it ended. Nothing comes after that but what its runner still
    /// does and says, and what a reclaim has come to.
    Settled {
        /// How it ended.
        #[cfg_attr(feature = "serde", serde(flatten))]
        outcome: Outcome,
        /// It still has its slot: it is on a thread that nobody can stop, and its runtime is
        /// gone. [`Left`](Self::Left) says when it gives it back.
        slot_held: bool,
    },
    /// It has no slot here any more and waits for none; what it came to is told elsewhere, or
    /// was told before.
    Left,
    /// A result came after its slot had been taken, and nobody was told of it.
    LateCompletion,
    /// The runner of an orphan let go of it.
    OrphanGone,
    /// Somebody vouched for an orphan, which is not counted any more.
    OrphanForgotten,
    /// The lane was made.
    LaneMade,
    /// The lane was paused.
    Paused {
        /// For how long; `None` until it is resumed.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::maybe_millis"))]
        for_long: Option<Duration>,
    },
    /// The lane is paused no more, and does not drain.
    Resumed,
    /// The number of slots of the lane was set by hand.
    Limited {
        /// How many it has.
        max_concurrent: usize,
    },
    /// The lane was set anew, by a change of the configuration.
    Reconfigured,
    /// The lane drains.
    Draining {
        /// How long its active tasks have; `None` for ever.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::maybe_millis"))]
        within: Option<Duration>,
    },
    /// The time of the drain is over: whoever is still there is ended.
    DrainOver,
    /// The lane takes no new tasks.
    Closed,
    /// The lane was shut down.
    Shutdown,
    /// The lane has waiters, and has dispatched none for a while.
    Blocked {
        /// Why they wait.
        by: BlockedBy,
        /// A holder moves, or another lane speaks for it: no warning.
        healthy: bool,
        /// For how long.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        blocked_for: Duration,
        /// How many slots are held.
        active: usize,
        /// How many there are.
        max_concurrent: usize,
        /// How many wait.
        queued: usize,
    },
    /// What is kept of the lane did not agree with its tasks, which is a bug in this crate,
    /// and was mended; see [`Lanes::repair`](crate::Lanes::repair).
    Repaired {
        /// How much was found.
        faults: usize,
    },
    /// A wait closed a circle of tasks that wait for each other.
    Deadlock {
        /// The circle.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::text"))]
        cycle: Arc<str>,
        /// The wait was refused.
        refused: bool,
    },
    /// The lane is gone: nobody used it, and it is made anew when somebody does.
    Retired,
}

/// How a slot came free that was reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reclaimed {
    /// Its task ended by itself in its grace.
    Finished,
    /// Its task was dropped by its runner.
    Dropped,
    /// It was taken.
    Taken,
    /// It was taken, and its task runs on.
    Detached,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "outcome", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Outcome {
    /// By itself, with a value.
    Completed,
    /// It panicked.
    Panicked,
    /// It made no progress for its stall ceiling.
    Stalled {
        /// How long it was active.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        elapsed: Duration,
        /// How long it was silent.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        idle: Duration,
        /// How long it was allowed to be.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        ceiling: Duration,
    },
    /// A limit ran out.
    TimedOut {
        /// Which.
        limit: Limit,
        /// What it allowed.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        allowed: Duration,
        /// How long it was active; where it waited, how long that was.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        elapsed: Duration,
    },
    /// It was cancelled while it was active.
    Cancelled {
        /// Why.
        reason: Reason,
        /// How long it was active.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        elapsed: Duration,
    },
    /// It was cancelled, or dropped, while it waited.
    CancelledQueued {
        /// Why.
        reason: Reason,
        /// How long it had waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        waited: Duration,
    },
    /// The queue was cleared.
    Cleared {
        /// How long it had waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        waited: Duration,
    },
    /// A drain handed it back.
    Returned {
        /// How long it had waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        waited: Duration,
    },
    /// The scheduler, or its lane, was shut down while it waited.
    Shutdown {
        /// How long it had waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        waited: Duration,
    },
    /// The last `Lanes` was dropped while it waited.
    SchedulerDropped {
        /// How long it had waited.
        #[cfg_attr(feature = "serde", serde(serialize_with = "written::millis"))]
        waited: Duration,
    },
    /// Its runtime was shut down.
    RuntimeShutdown,
    /// A lane further on in its chain refused it.
    Refused,
}

/// Events that a reader has missed: they were overwritten before it came for them. Given
/// once; the stream goes on with what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overflow {
    /// How many are gone. A stream of one task counts those of all tasks, since nobody
    /// knows any more whose they were.
    pub missed: u64,
    /// The number of the event with which the stream goes on.
    pub available_from: u64,
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            missed,
            available_from,
        } = self;
        write!(
            f,
            "{missed} events were overwritten before they were read; they are there from {available_from} on"
        )
    }
}

impl std::error::Error for Overflow {}

/// No events are kept: see [`LanesBuilder::events`](crate::LanesBuilder::events).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no events are kept; `LanesBuilder::events` turns them on")]
#[non_exhaustive]
pub struct EventsOff;

/// What became of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EventCounters {
    /// How many there were; the next one has this number.
    pub published: u64,
    /// The number of the oldest that is kept.
    pub available_from: u64,
    /// How many were given to readers, each of them counted.
    pub streamed: u64,
    /// How many were overwritten before a reader that was there came for them.
    pub dropped: u64,
    /// How many readers there are.
    pub readers: usize,
}
