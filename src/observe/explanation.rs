//! Why a task, or a lane's first waiter, waits.

use super::cause::Verdict;
use super::graph::{Due, Stage, WaitGraph};
use super::walk::{Reading, Walk};
use crate::TaskId;
use crate::runtime::DomainRef;

/// Why a task waits, down to the root; made by
/// [`Lanes::explain`](crate::Lanes::explain).
///
/// Printed, it is a short text: the first line names the culprit, the reason and what
/// happens next, the lines after it the whole chain, and the last ones what can be
/// done. With the feature `serde` it serializes; durations are whole milliseconds.
///
/// One task, lane or group was read after the other: it is no moment of the whole.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TaskExplanation {
    /// The task.
    pub id: TaskId,
    /// What it comes to in the end.
    pub cause: Cause,
    /// What time will do about that, if anything.
    pub next: Option<Due>,
    /// Why time will do nothing about it, where that is so and nothing moves.
    pub never: Option<Never>,
    /// What somebody can do about it.
    pub remedies: Vec<Remedy>,
    /// All of it.
    pub graph: WaitGraph,
}

/// Why a lane's first waiter waits; made by [`Lane::explain`](crate::Lane::explain).
///
/// As [`TaskExplanation`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LaneExplanation {
    /// The lane's name.
    pub lane: String,
    /// Who is served next; `None` where nobody waits.
    pub first: Option<TaskId>,
    /// What it comes to in the end.
    pub cause: Cause,
    /// What time will do about that, if anything.
    pub next: Option<Due>,
    /// Why time will do nothing about it, where that is so and nothing moves.
    pub never: Option<Never>,
    /// What somebody can do about it.
    pub remedies: Vec<Remedy>,
    /// All of it.
    pub graph: WaitGraph,
}

/// What a wait comes to in the end: that in the graph which waits for nothing else of
/// ours.
///
/// Where several hold what is waited for and one of them moves, it is that one. Where
/// none does, it is the one that has been silent the longest, or what that one waits
/// for; whoever waits for nothing but the task that was asked about is passed over. A
/// wait that [may be abandoned](crate::Run::may_abandon) counts only where nothing else
/// explains that its task is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cause {
    /// Nobody waits.
    NobodyWaits,
    /// A task that runs and moves.
    Moves {
        /// That task.
        task: TaskId,
    },
    /// A task that runs, and gave no sign of life within its lane's `warn_after`.
    Silent {
        /// That task.
        task: TaskId,
    },
    /// A task that waits for somebody.
    Parked {
        /// That task.
        task: TaskId,
        /// What it said that it waits for.
        what: String,
    },
    /// A task that was asked to end, and has not yet.
    Ending {
        /// That task.
        task: TaskId,
    },
    /// A task that was granted a slot, and whose runner has not come for it.
    Unclaimed {
        /// That task.
        task: TaskId,
    },
    /// A task that lost its place in line, since nobody polls it (S20).
    Asleep {
        /// That task.
        task: TaskId,
    },
    /// A task that is not to be served before its quiet window is over.
    QuietWindow {
        /// That task.
        task: TaskId,
    },
    /// A task whose slot was taken, and whose runner has not let go of it.
    Orphan {
        /// That task.
        task: TaskId,
    },
    /// A lane that is paused.
    Paused {
        /// The lane's name.
        lane: String,
    },
    /// A lane that has no slots: its `max_concurrent` is zero.
    NoSlots {
        /// The lane's name.
        lane: String,
    },
    /// A lane whose group has no slot for it, whoever goes: what is left of the budget is
    /// reserved for others, or there is none.
    GroupBudget {
        /// The lane's name.
        lane: String,
        /// The group's name.
        group: String,
    },
    /// Tasks that wait for each other: each for the next, and the last for the first.
    /// None of them waits for anything that could move.
    Circle {
        /// Those tasks.
        tasks: Vec<TaskId>,
    },
    /// What was waited for ended while it was read, or was not read: see
    /// [`WaitGraph::omitted`].
    Unknown,
}

/// Why time does nothing about a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Never {
    /// The lane was paused by hand.
    PausedByHand,
    /// The lane's `max_concurrent` is zero.
    NoSlots,
    /// The group has no slot for the lane.
    GroupBudget,
    /// The task has no limit that would end it.
    NoLimit,
    /// Its stall is only reported: `OnStall::WarnOnly`, or `observe_only`.
    OnlyReported,
    /// Its slot is not taken: there are as many orphans as there may be (S10).
    OrphanBound,
    /// Nobody polls it.
    NotPolled,
    /// Nobody but its runner can let go of an orphan.
    RunnerGone,
    /// They wait for each other, and their idle clocks stand still.
    Circle,
}

/// Something that can be done about a wait. Printed, it is the call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Remedy {
    /// Grant the task more silence: [`Lanes::extend`](crate::Lanes::extend).
    Extend {
        /// The task.
        id: TaskId,
    },
    /// Give a waitpoint its value:
    /// [`Lanes::resume_waitpoint`](crate::Lanes::resume_waitpoint).
    ResumeWaitpoint {
        /// Its key.
        key: String,
    },
    /// End a waitpoint without a value:
    /// [`Lanes::cancel_waitpoint`](crate::Lanes::cancel_waitpoint).
    CancelWaitpoint {
        /// Its key.
        key: String,
    },
    /// End the pause: [`Lane::resume`](crate::Lane::resume).
    Resume {
        /// The lane's name.
        lane: String,
    },
    /// Give the lane more slots:
    /// [`Lane::set_max_concurrent`](crate::Lane::set_max_concurrent).
    SetMaxConcurrent {
        /// The lane's name.
        lane: String,
        /// The least that helps.
        at_least: usize,
    },
    /// Give the lane's queue more places: [`Lanes::reconfigure`](crate::Lanes::reconfigure).
    QueueCapacity {
        /// The lane's name.
        lane: String,
        /// The least that helps.
        at_least: usize,
    },
    /// Give the group a larger budget, or keep less of it for others:
    /// [`Lanes::reconfigure`](crate::Lanes::reconfigure).
    Group {
        /// The group's name.
        group: String,
    },
    /// Let the task come back from its poll, which blocks a thread: what blocks belongs
    /// in [`Lane::spawn_blocking`](crate::Lane::spawn_blocking).
    Unblock {
        /// The task.
        id: TaskId,
    },
    /// Poll the future: what waits is in it.
    Poll {
        /// The task.
        id: TaskId,
    },
    /// End the task: [`Lanes::cancel`](crate::Lanes::cancel).
    Cancel {
        /// The task.
        id: TaskId,
    },
    /// Stop counting an orphan, which makes room for another take:
    /// [`Lanes::forget_orphan`](crate::Lanes::forget_orphan).
    ForgetOrphan {
        /// The orphan.
        id: TaskId,
    },
    /// Give up whoever waits in the lane: [`Lane::clear`](crate::Lane::clear).
    Clear {
        /// The lane's name.
        lane: String,
    },
    /// Take every slot of the lane at once: [`Lane::reset`](crate::Lane::reset).
    Reset {
        /// The lane's name.
        lane: String,
    },
}

impl Remedy {
    /// What makes one orphan fewer. Whoever runs on has a caller who waits for it, and
    /// is not forgotten; the hooks of one that is through have their bound.
    pub(super) const fn for_orphan(id: TaskId, stage: Stage) -> Option<Self> {
        match stage {
            Stage::Detached => Some(Self::Cancel { id }),
            Stage::Delivering => None,
            _ => Some(Self::ForgetOrphan { id }),
        }
    }
}

/// Why this task waits; `None` if its lane knows nothing of it.
pub(crate) fn task(domain: &DomainRef, id: TaskId) -> Option<TaskExplanation> {
    task_of(&mut Reading::of(&domain.shared), domain, id)
}

pub(super) fn task_of(
    read: &mut Reading,
    domain: &DomainRef,
    id: TaskId,
) -> Option<TaskExplanation> {
    let cell = domain.read(|engine| {
        let record = engine.record(id.key)?;
        Some(crate::sync::Arc::clone(&record.payload))
    })?;
    let graph = Walk::from_task(read, domain, &cell);
    let id = cell.whose().id();
    // It may have ended between the two.
    graph.task(id)?;
    let verdict = Verdict::of_task(&graph, id);
    Some(TaskExplanation {
        id,
        cause: verdict.cause,
        next: verdict.next,
        never: verdict.never,
        remedies: verdict.remedies,
        graph,
    })
}

/// Why the first waiter of this lane waits.
pub(crate) fn lane(domain: &DomainRef) -> LaneExplanation {
    lane_of(&mut Reading::of(&domain.shared), domain)
}

pub(super) fn lane_of(read: &mut Reading, domain: &DomainRef) -> LaneExplanation {
    let (first, graph) = Walk::from_lane(read, domain);
    let verdict = match first {
        Some(first) => Verdict::of_task(&graph, first),
        None => Verdict::nobody_waits(),
    };
    LaneExplanation {
        lane: domain.name.to_string(),
        first,
        cause: verdict.cause,
        next: verdict.next,
        never: verdict.never,
        remedies: verdict.remedies,
        graph,
    }
}
