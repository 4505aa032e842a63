//! What the shell must do once the lock is released.

use std::time::Duration;

use super::slab::Key;
use super::task::End;
use super::time::Time;
use super::vocabulary::Reason;

/// A consequence of an input to the engine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect<P> {
    /// A waiter was given a slot: wake it, or launch it.
    Grant(Grant<P>),
    /// A place is kept for somebody from now on: wake it.
    Place {
        task: P,
    },
    /// Raise the cancel signal; `drop_now` when no grace is left.
    Ask {
        task: P,
        reason: Reason,
        drop_now: bool,
    },
    /// The time of the hooks is over: the runner is to drop them.
    EndTeardown {
        task: P,
    },
    /// The slot was taken: its old holder is not current any more (S11).
    Lost {
        task: P,
    },
    /// Tell the caller.
    Settle {
        task: P,
        end: End,
    },
    /// A task may be due: read its facts and call `judge`.
    Inspect {
        key: Key,
        task: P,
    },
    /// This waiter could have had a slot, and a bug of ours kept it waiting: say
    /// so, and call `mend`.
    Overlooked {
        task: P,
    },
    /// Waiters and no dispatch: read the holders and call `judge_blocked`.
    InspectHolders,
    /// Ask every holder, and whoever runs on without its slot.
    AskHolders {
        reason: Reason,
    },
    /// It has waited for somebody as long as it may: wake it.
    Outwaited {
        task: P,
    },
    /// Nobody is queued or active any more.
    Idle,
    Report(Notice<P>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant<P> {
    pub(crate) task: P,
    pub(crate) fence: u64,
    pub(crate) at: Time,
    pub(crate) waited: Duration,
    pub(crate) queued_ahead: usize,
    pub(crate) active_ahead: usize,
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice<P> {
    /// A stall was noticed, and only that was asked for.
    Stalled {
        task: P,
        end: End,
    },
    /// A slot came free because its holder was asked to end, or by force.
    Reclaimed {
        task: P,
        end: End,
        how: Reclaim,
        orphans: usize,
        recovery: Recovery<P>,
    },
    TakeRefused {
        task: P,
        orphans: usize,
        max_orphans: usize,
    },
    NeverReports {
        task: P,
        elapsed: Duration,
    },
    WaitExceeded {
        task: P,
        waited: Duration,
        queued_ahead: usize,
        active_ahead: usize,
    },
    /// A place was kept for too long, and is not any more.
    Lapsed {
        task: P,
    },
    /// The caller asked to be called.
    OnWait {
        task: P,
        waited: Duration,
        queued_ahead: usize,
        active_ahead: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reclaim {
    /// The task listened, and ended by itself in its grace.
    Finished,
    /// The runner came and dropped the future.
    Dropped,
    /// The slot was taken without the runner.
    Taken,
    /// The slot was taken, and the task runs on.
    Detached,
}

/// Whether a reclaim helped (S17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recovery<P> {
    /// This waiter was dispatched.
    Dispatched(P),
    NobodyWaiting,
    StillBlocked(BlockedBy),
}

/// Why a lane with waiters dispatches none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BlockedBy {
    /// All its slots are held.
    MaxConcurrent,
    /// It is paused, or `max_concurrent` is zero.
    Paused,
    /// The budget of its group is used up.
    GroupBudget,
    /// What is left of its group's budget is reserved for other lanes.
    Reservation,
}

impl std::fmt::Display for BlockedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MaxConcurrent => "max_concurrent",
            Self::Paused => "paused",
            Self::GroupBudget => "group budget",
            Self::Reservation => "sibling reservation",
        })
    }
}

/// A lane that has waiters and dispatched none for a while, and whether that
/// is worth a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) by: BlockedBy,
    /// The holders move: worth a debug event, not a warning.
    pub(crate) healthy: bool,
    pub(crate) blocked_for: Duration,
    pub(crate) active: usize,
    pub(crate) max_concurrent: usize,
    pub(crate) queued: usize,
    pub(crate) suppressed: u64,
}

/// The effects of one input, in order. Most inputs have none or one, and those
/// cost no allocation.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an effect that is not carried out is a lost wake-up"]
pub(crate) struct Effects<P> {
    first: Option<Effect<P>>,
    rest: Vec<Effect<P>>,
}

impl<P> Effects<P> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, effect: Effect<P>) {
        if self.first.is_none() {
            self.first = Some(effect);
        } else {
            self.rest.push(effect);
        }
    }

    pub(crate) fn report(&mut self, notice: Notice<P>) {
        self.push(Effect::Report(notice));
    }

    pub(crate) fn reports_reclaim(&self) -> bool {
        let reclaimed =
            |effect: &Effect<P>| matches!(effect, Effect::Report(Notice::Reclaimed { .. }));
        self.iter().any(reclaimed)
    }

    /// What is reported of each reclaim to have come of it.
    pub(super) fn recoveries(&mut self) -> impl Iterator<Item = &mut Recovery<P>> {
        let effects = self.first.iter_mut().chain(&mut self.rest);
        effects.filter_map(|effect| match effect {
            Effect::Report(Notice::Reclaimed { recovery, .. }) => Some(recovery),
            _ => None,
        })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Effect<P>> {
        self.first.iter().chain(&self.rest)
    }
}

impl<P> IntoIterator for Effects<P> {
    type Item = Effect<P>;
    type IntoIter =
        std::iter::Chain<std::option::IntoIter<Effect<P>>, std::vec::IntoIter<Effect<P>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_kept_in_their_order_and_one_is_not_none() {
        let mut effects = Effects::new();
        assert!(effects.is_empty());
        let lost = [3, 1, 2].map(|task| Effect::Lost { task });
        effects.push(Effect::Lost { task: 3 });
        assert!(!effects.is_empty());
        effects.push(Effect::Lost { task: 1 });
        effects.push(Effect::Lost { task: 2 });
        assert!(effects.iter().eq(&lost));
        assert!(effects.into_iter().eq(lost));
    }
}
