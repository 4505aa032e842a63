//! Something that happened to a task or to a lane, as it is written down.

use std::sync::Arc;
use std::time::Duration;

use super::effects::{Blocked, Reclaim, Recovery};
use super::id::TaskId;
#[cfg(feature = "replay")]
use super::implied::Implied;
use super::queue::Priority;
use super::slab::Key;
use super::task::End;
use super::time::{Span, Time};
use super::vocabulary::Reason;

/// Something that happened, to a task or to the lane. It is small, since many of them
/// are kept, and one is made on the shortest of paths: what is rare is in a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// [`Time::FAR`] where the input said nothing of the time.
    pub(crate) at: Time,
    pub(crate) tag: Tag,
    pub(crate) what: What,
}

/// What a task is called, for as long as somebody reads of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Its key in pieces, beside which there is room for what is implied. No task's where
    /// it is about the lane.
    seq: u64,
    index: u32,
    #[cfg(feature = "replay")]
    pub(super) implied: Implied,
    more: Option<Box<More>>,
}

/// What most tasks do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct More {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) key: Option<Arc<str>>,
    /// It is no task, but this one's slot in another lane, or its place in line for one.
    pub(crate) part_of: Option<TaskId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    // Of a task that comes. Each begins with one of these, or is dispatched at
    // once.
    Queued(Ahead),
    AtDoor(Ahead),
    PutOff {
        window: Duration,
    },
    /// It leaves the queue for a quiet window that begins anew.
    PutOffAgain {
        window: Duration,
    },
    /// It comes to the queue, from the door or after its quiet window.
    LetIn,
    Dispatched {
        /// It found the slot free.
        at_once: bool,
        waited: Span,
        fence: u64,
        ahead: Ahead,
    },
    /// Nobody came for the grant (S20).
    Unclaimed,
    Rejoined,
    /// It has all the slots that it needs.
    Gathered,
    Raised {
        priority: Priority,
    },
    WaitExceeded {
        waited: Duration,
        ahead: Ahead,
    },
    // Of one that runs.
    /// It has moved since it was last looked at.
    Moved {
        idle: Duration,
    },
    Note(Arc<str>),
    PhaseBegun(Arc<str>),
    PhaseOver(Arc<str>),
    NeverReports {
        elapsed: Duration,
    },
    /// A stall that nothing else is done about.
    OnlyReported(Box<End>),
    Parked {
        /// Only the shell knows.
        what: Option<Arc<str>>,
        until: Time,
        /// It gave its slot here back.
        leaves: bool,
    },
    Outwaited,
    /// It has a slot here again, which its stand-in had.
    Regained,
    Unparked,
    // Of one that is ended.
    Asked {
        reason: Reason,
        grace: Duration,
    },
    GraceOver {
        reason: Reason,
    },
    TeardownBegun,
    Taken {
        detached: bool,
        orphans: usize,
    },
    TakeRefused {
        orphans: usize,
        max_orphans: usize,
    },
    /// What a reclaim has come to (S17).
    Reclaimed(Box<Came>),
    /// Its caller is told; the last word of every task, and said once (S2).
    Settled {
        /// `None`: it completed.
        end: Option<Box<End>>,
        panicked: bool,
        /// Its slot stays held: nobody can stop its runner.
        holds: bool,
        /// How long it had its slot, where its runner let go of it.
        ran: Span,
    },
    /// It has nothing here any more, and its caller is told elsewhere or was
    /// told before.
    Left,
    LateCompletion,
    OrphanGone,
    OrphanForgotten,
    // Of the lane.
    Made,
    Paused {
        until: Option<Time>,
    },
    Resumed,
    Limited {
        max_concurrent: usize,
    },
    SetAnew,
    Draining {
        deadline: Time,
    },
    DrainOver,
    Closed,
    Shutdown,
    Blocked(Box<Blocked>),
    /// A bug of ours was found in it, and mended.
    Repaired {
        faults: usize,
    },
    Deadlock {
        circle: Arc<str>,
        refused: bool,
    },
    Retired,
}

/// How the caller of a task is told that it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Told {
    /// `None`: it completed.
    pub(crate) end: Option<Box<End>>,
    pub(crate) panicked: bool,
    /// How long it had its slot; endless where it had none.
    pub(crate) ran: Span,
}

/// A reclaim, and whether it helped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) end: End,
    pub(crate) how: Reclaim,
    pub(crate) recovery: Recovery<TaskId>,
}

/// Waiters and holders ahead of a task when it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) queued: u32,
    pub(crate) active: u32,
}

impl Fact {
    /// What is left where one was taken.
    pub(crate) const BLANK: Self = Self::of_lane(What::Left);

    /// Of the lane, and no task; the input said nothing of the time.
    pub(crate) const fn of_lane(what: What) -> Self {
        Self {
            at: Time::FAR,
            tag: Tag::LANE,
            what,
        }
    }

    /// It is made in a place in which nothing [heavy](Self::is_heavy) stood, so that nothing
    /// is there to be dropped. What happened is yet to be written.
    #[inline(always)]
    pub(super) fn is_of(&mut self, at: Time, key: Key, more: Option<Box<More>>) {
        self.at = at;
        self.tag.seq = key.seq;
        self.tag.index = key.index;
        #[cfg(feature = "replay")]
        {
            self.tag.implied = Implied::Nothing;
        }
        std::mem::forget(std::mem::replace(&mut self.tag.more, more));
    }

    /// The rest of it, in the same place.
    #[inline(always)]
    pub(super) fn becomes(&mut self, what: What) {
        std::mem::forget(std::mem::replace(&mut self.what, what));
    }

    /// It has something in a box, or shares it.
    #[inline]
    pub(super) const fn is_heavy(&self) -> bool {
        let light = matches!(
            self.what,
            What::Dispatched { .. }
                | What::Queued(_)
                | What::Settled { end: None, .. }
                | What::Left
        );
        self.tag.more.is_some() || !light
    }
}

impl More {
    pub(super) const fn is_part(&self) -> bool {
        self.part_of.is_some()
    }
}

impl Tag {
    const LANE: Self = Self {
        seq: Key::NOBODY.seq,
        index: Key::NOBODY.index,
        #[cfg(feature = "replay")]
        implied: Implied::Nothing,
        more: None,
    };

    #[inline]
    pub(crate) const fn key(&self) -> Key {
        let Self { seq, index, .. } = *self;
        Key { index, seq }
    }

    /// Of this lane; `None` where it is about the lane itself.
    pub(crate) fn task(&self, lane: u64) -> Option<TaskId> {
        let key = self.key();
        let own = (key.seq > 0).then_some(TaskId { lane, key });
        self.more().and_then(|more| more.part_of).or(own)
    }

    pub(crate) fn is_part(&self) -> bool {
        self.more().is_some_and(More::is_part)
    }

    pub(crate) fn more(&self) -> Option<&More> {
        self.more.as_deref()
    }
}

impl What {
    /// Its caller is told, and its slot is free.
    pub(super) fn told(end: End) -> Self {
        Self::Settled {
            end: Self::boxed(end),
            panicked: false,
            holds: false,
            ran: Span::ENDLESS,
        }
    }

    pub(super) fn boxed(end: End) -> Option<Box<End>> {
        match end {
            End::Completed => None,
            end => Some(Box::new(end)),
        }
    }
}

impl From<End> for Told {
    fn from(end: End) -> Self {
        let (end, panicked) = (What::boxed(end), false);
        let ran = Span::ENDLESS;
        Self { end, panicked, ran }
    }
}
