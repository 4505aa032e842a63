//! The graph of waits below a task or a lane: each task and each lane of it once,
//! by reference to each other.

use std::time::Duration;

use super::explanation::Never;
use crate::engine::{BlockedBy, Bound, Follows};
use crate::snapshot::{GroupSnapshot, LaneState, TaskSnapshot};
use crate::{Limits, TaskId};

/// All that a task or a lane waits for, directly or not.
///
/// Tasks refer to each other by id, and to lanes by name. A reference to what is not
/// in here is to what ended while the graph was read, or to what is
/// [`omitted`](Self::omitted).
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WaitGraph {
    /// The one that was asked about first, then by how far they are from it.
    pub tasks: Vec<TaskNode>,
    /// In the order in which they were come to.
    pub lanes: Vec<LaneNode>,
    /// The groups of those lanes whose waiters wait for their group's budget.
    pub groups: Vec<GroupSnapshot>,
    /// How many tasks were not read: more than 64 waits away, or beyond 10 000.
    pub omitted: usize,
}

impl WaitGraph {
    /// The task of this id. O(n).
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&TaskNode> {
        self.tasks.iter().find(|node| node.task.id == id)
    }

    /// The lane of this name. O(n).
    #[must_use]
    pub fn lane(&self, name: &str) -> Option<&LaneNode> {
        self.lanes.iter().find(|node| node.name == name)
    }

    /// The one lane of this number; another scheduler may have one of the same name.
    pub(super) fn lane_of(&self, serial: u64) -> Option<&LaneNode> {
        self.lanes.iter().find(|node| node.serial == serial)
    }
}

/// One task of a [`WaitGraph`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TaskNode {
    /// Its lane; that in which its chain begins.
    pub lane: String,
    /// As a snapshot of that lane shows it.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub task: TaskSnapshot,
    /// How far it is on its way.
    pub stage: Stage,
    /// The lanes of which it holds a slot.
    pub holds: Vec<String>,
    /// What it waits for, the oldest wait first.
    pub waits: Vec<Wait>,
    /// The lanes that those of its waits are for which are for a slot, or for a place.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) lines: Vec<u64>,
    /// Whether it runs, waits for no slot and no task but such as it may abandon, and
    /// gave a sign of life within its lane's `warn_after`.
    pub moves: bool,
    /// What time will do to it, the soonest first. A silence that is due moves on with
    /// each report of progress; while the idle clock stands still, it is not here.
    pub dues: Vec<Due>,
    /// Why none of that ends what it does now, where none does.
    pub never: Option<Never>,
}

/// What a wait in our lanes is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum On {
    /// By its number.
    Lane(u64),
    Task(TaskId),
}

impl TaskNode {
    /// Its waits for slots, places and tasks, each with what it is for.
    pub(super) fn ours(&self) -> Vec<(&Wait, On)> {
        let mut lines = self.lines.iter();
        let mut on = |wait: &Wait| match wait {
            Wait::Slot { .. } | Wait::Place { .. } => lines.next().map(|lane| On::Lane(*lane)),
            Wait::Task { id, .. } => Some(On::Task(*id)),
            Wait::Somebody { .. } | Wait::Waitpoint { .. } => None,
        };
        let waits = self.waits.iter();
        waits.filter_map(|wait| Some((wait, on(wait)?))).collect()
    }
}

/// How far a task is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Stage {
    /// In the queue.
    Queued,
    /// Out of the queue until its quiet window is over.
    QuietWindow,
    /// Before a full queue, for a place in it.
    AtDoor,
    /// No task yet: a place in the queue is kept for one.
    Reserved,
    /// It was granted a slot and not polled for it in time: it is out of the queue until
    /// it is polled again, and then at its old place (S20).
    Asleep,
    /// It was granted a slot, and its runner has not come for it yet.
    Granted,
    /// In a chain: it has a slot, and waits for the next.
    Gathering,
    /// It runs.
    Running,
    /// It waits for somebody.
    Parked,
    /// What it was parked for is over, and it waits for the slots that it gave back.
    ComingBack,
    /// It was asked to end, and has its grace.
    Asked,
    /// Its runner was told to drop it, and has not come yet.
    Dropping,
    /// Its hooks run.
    Teardown,
    /// Its slot was taken, and it was left to run on ([`OnStall::Detach`](crate::OnStall::Detach)).
    Detached,
    /// It was left to run on and is through: its hooks run, and its caller is yet to have
    /// its answer.
    Delivering,
    /// Its slot was taken, and its runner has not let go of it.
    Orphan,
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Wait {
    /// A slot of a lane.
    Slot {
        /// The lane's name.
        lane: String,
        /// How many of that lane would be served before it, were all served now.
        queued_ahead: usize,
        /// How many hold a slot of that lane.
        active_ahead: usize,
        /// How much longer it will wait if the lane goes on as it did; `None` without
        /// enough of a history.
        #[cfg_attr(
            feature = "serde",
            serde(serialize_with = "crate::snapshot::maybe_millis")
        )]
        expected: Option<Duration>,
    },
    /// A place in a lane's full queue.
    Place {
        /// The lane's name.
        lane: String,
        /// How many would be served before it: all in the queue, and those at the door
        /// who came earlier.
        queued_ahead: usize,
        /// How many hold a slot of that lane.
        active_ahead: usize,
        /// How much longer it will wait if the lane goes on as it did; `None` without
        /// enough of a history.
        #[cfg_attr(
            feature = "serde",
            serde(serialize_with = "crate::snapshot::maybe_millis")
        )]
        expected: Option<Duration>,
    },
    /// Another task, which it awaits.
    Task {
        /// That task.
        id: TaskId,
        /// It said that it need not wait for it to go on.
        may_abandon: bool,
    },
    /// Somebody: it is parked.
    Somebody {
        /// What it said that it waits for.
        what: String,
    },
    /// A waitpoint that is not over; whoever polled it last is who awaits it.
    Waitpoint {
        /// Its key.
        key: String,
        /// The type of the value that it waits for, as the compiler names it.
        expects: String,
    },
}

impl Wait {
    /// For a slot, or for another task: it stands still in our lanes, and what it waits
    /// for is in the graph, too.
    pub(super) const fn is_ours(&self) -> bool {
        !matches!(self, Self::Somebody { .. } | Self::Waitpoint { .. })
    }

    /// Of ours, and it cannot go on without.
    pub(super) const fn is_firm(&self) -> bool {
        let loose = matches!(
            self,
            Self::Task {
                may_abandon: true,
                ..
            }
        );
        self.is_ours() && !loose
    }
}

/// A moment that comes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Due {
    /// What runs out.
    pub bound: Bound,
    /// In how long; zero where it has run out, and the driver is about to come.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::snapshot::millis"))]
    pub after: Duration,
    /// What follows.
    pub follows: Follows,
    /// Whose it is; `None` for what is a lane's.
    pub task: Option<TaskId>,
    /// How long the task may take then to end by itself; it listens.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::snapshot::maybe_millis")
    )]
    pub grace: Option<Duration>,
    /// How long its hooks may take after that; it has some.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::snapshot::maybe_millis")
    )]
    pub teardown: Option<Duration>,
    /// It has to be polled for that: at the orphan bound, no slot is taken without its
    /// runner's help (S10).
    pub needs_runner: bool,
}

/// One lane of a [`WaitGraph`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LaneNode {
    /// Its number, as in the ids of its tasks.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) serial: u64,
    /// Its name.
    pub name: String,
    /// How many slots it has.
    pub max_concurrent: usize,
    /// How many of them are held.
    pub active: usize,
    /// How many tasks are in its queue.
    pub queued: usize,
    /// How many wait for a place in it, for a task or to be kept.
    pub at_door: usize,
    /// How many places there would be, were nobody at the door.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) places_wanted: usize,
    /// How many tasks may be queued; `None` where nobody set a bound.
    pub queue_capacity: Option<usize>,
    /// Why its waiters wait; `None` where there are none.
    pub blocked_by: Option<BlockedBy>,
    /// Whether it is paused.
    pub paused: bool,
    /// In how long the pause ends by itself.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::snapshot::maybe_millis")
    )]
    pub resumes_after: Option<Duration>,
    /// Which new tasks it takes.
    pub state: LaneState,
    /// In how long those who are active are asked to end, where it drains.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::snapshot::maybe_millis")
    )]
    pub drains_for: Option<Duration>,
    /// The group that it is in.
    pub group: Option<String>,
    /// Who holds what its waiters wait for, the longest silent first: its slots, or, where
    /// its group's budget is used up, what of that its waiters could have.
    pub holders: Vec<TaskId>,
    /// Whose slot was taken, and whose runner has not let go.
    pub orphans: Vec<TaskId>,
    /// How many orphans it may have.
    pub max_orphans: usize,
    /// What it grants a task that says nothing itself.
    pub limits: Limits,
    /// How long a holder may be silent before it counts as one that does not move.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::snapshot::millis"))]
    pub warn_after: Duration,
}
