//! How a task comes to a lane and goes, and what it is told.

use std::time::Duration;

use super::queue::Place;
use super::slab::Key;
use super::task::Gone;

/// How a task comes for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Entry {
    /// A slot that is free now is claimed by the call itself.
    pub(crate) present: bool,
    /// Rather than wait, be refused.
    pub(crate) at_once: bool,
    /// Its submitter holds a slot in a lane that drains.
    pub(crate) descendant: bool,
    /// It is for a task that was accepted before, and that somebody else winds
    /// down: only a shutdown refuses it.
    pub(crate) part: bool,
    /// How long it had waited before, elsewhere.
    pub(crate) waited: Duration,
    pub(crate) if_full: IfFull,
}

/// What becomes of a newcomer that finds the queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "replay", serde(rename_all = "snake_case"))]
pub(crate) enum IfFull {
    Refuse,
    /// It waits at the door.
    Wait,
    /// A place was kept for it, whether or not it still is.
    Enter,
}

/// Where a newcomer finds room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Slot,
    Queue,
    Door,
}

/// Where a newcomer stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Last,
    /// Where somebody stood who is not in line any more.
    At(Place),
    /// Before everybody.
    First,
}

/// Why a task was not taken; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "replay", serde(rename_all = "snake_case"))]
pub(crate) enum Refused {
    Closed,
    /// With leave for descendants, or without.
    Draining {
        admit_descendants: bool,
    },
    Shutdown,
    /// And who has one.
    NoSlot {
        holder: Option<Key>,
    },
    /// What it was for is another task's now; only the shell merges.
    Merged,
    /// There is more than one slot, and nothing says whose is meant.
    NoKey,
    QueueFull {
        capacity: usize,
        queued: usize,
    },
}

/// What a task came to that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It holds a slot already.
    Started { key: Key, fence: u64 },
    /// It waits, in the queue or at the door.
    Queued { key: Key },
}

impl Accepted {
    pub(crate) const fn key(&self) -> Key {
        match self {
            Self::Started { key, .. } | Self::Queued { key } => *key,
        }
    }
}

/// What a task was when its runner let go of it.
#[derive(Debug)]
pub(crate) enum Released<P> {
    /// It held its slot, which is free now, or it was waiting for one.
    Held(Gone<P>),
    /// Its slot had been taken from it before.
    Orphan(Gone<P>),
    /// Nothing is known of it any more.
    Unknown,
}
