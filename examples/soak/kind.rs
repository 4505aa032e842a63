//! What a task does with its slot.

use crate::dice::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    // Well behaved.
    Healthy,
    Progressing,
    /// It has a stall ceiling, lives for longer than that, and reports in time.
    Steady,
    Nested,
    Hooked,
    Impatient,
    Blocking,
    Slot,
    Detached,
    /// It waits for somebody, and gives its slots back meanwhile, or does not.
    Parks,
    // Ended by somebody.
    Signalled,
    Cancelled,
    Dropped,
    // Faulty.
    Panics,
    PanicsInDrop,
    Pending,
    BlockedPoll,
    IgnoresAsk,
    Listens,
    StuckHook,
    StuckChild,
    OverBudget,
    OwnDeadline,
    StuckClosure,
    ForgottenSlot,
    LeakedFuture,
    Late,
}

impl Kind {
    /// Faulty, or long.
    const SLOW: [Self; 18] = [
        Self::Steady,
        Self::Signalled,
        Self::Cancelled,
        Self::Dropped,
        Self::Panics,
        Self::PanicsInDrop,
        Self::Pending,
        Self::BlockedPoll,
        Self::IgnoresAsk,
        Self::Listens,
        Self::StuckHook,
        Self::StuckChild,
        Self::OverBudget,
        Self::OwnDeadline,
        Self::StuckClosure,
        Self::ForgottenSlot,
        Self::LeakedFuture,
        Self::Late,
    ];
    const WELL: [Self; 10] = [
        Self::Healthy,
        Self::Healthy,
        Self::Progressing,
        Self::Nested,
        Self::Hooked,
        Self::Impatient,
        Self::Blocking,
        Self::Slot,
        Self::Detached,
        Self::Parks,
    ];

    /// One task in sixteen is slow: it keeps its slot for a hundred times as long
    /// as the others do.
    pub(crate) fn roll(dice: &mut Dice) -> Self {
        if dice.one_in(16) {
            *dice.pick(&Self::SLOW)
        } else {
            *dice.pick(&Self::WELL)
        }
    }

    /// What runs inside of another task.
    pub(crate) fn roll_inner(dice: &mut Dice) -> Self {
        *dice.pick(&[
            Self::Healthy,
            Self::Progressing,
            Self::Healthy,
            Self::Panics,
            Self::Pending,
        ])
    }

    /// The name of the fault, if it is one.
    pub(crate) const fn fault(self) -> Option<&'static str> {
        Some(match self {
            Self::Signalled => "cancelled by its signal",
            Self::Cancelled => "cancelled by its handle or id",
            Self::Dropped => "run dropped by its caller",
            Self::Panics => "panic in the task",
            Self::PanicsInDrop => "panic in a destructor",
            Self::Pending => "hang: pending for ever",
            Self::BlockedPoll => "hang: a poll that blocks its thread",
            Self::IgnoresAsk => "hang: listens and ignores the ask",
            Self::Listens => "hang: until it is asked",
            Self::StuckHook => "hang: a hook that never ends",
            Self::StuckChild => "hang: a child that never ends",
            Self::OverBudget => "over its budget, with progress",
            Self::OwnDeadline => "hang: past the deadline that it set itself",
            Self::StuckClosure => "hang: a blocking closure",
            Self::ForgottenSlot => "hang: a slot that is never dropped",
            Self::LeakedFuture => "hang: a future that is never polled again",
            Self::Late => "a result after the stall",
            _ => return None,
        })
    }

    pub(crate) const fn hangs(self) -> bool {
        matches!(
            self,
            Self::PanicsInDrop
                | Self::Pending
                | Self::BlockedPoll
                | Self::IgnoresAsk
                | Self::Listens
                | Self::StuckHook
                | Self::StuckChild
                | Self::OverBudget
                | Self::OwnDeadline
                | Self::StuckClosure
                | Self::ForgottenSlot
                | Self::LeakedFuture
        )
    }

    pub(crate) const fn may_stall(self) -> bool {
        self.hangs()
    }

    pub(crate) const fn may_time_out(self) -> bool {
        self.hangs()
    }

    pub(crate) const fn may_finish(self) -> bool {
        matches!(
            self,
            Self::Healthy
                | Self::Progressing
                | Self::Steady
                | Self::Parks
                | Self::Nested
                | Self::Hooked
                | Self::Impatient
                | Self::Blocking
                | Self::Slot
                | Self::Detached
                | Self::Listens
                | Self::Late
                // Its thread is let go on once its slot is lost; where it is
                // not, at the orphan bound, it comes in time.
                | Self::BlockedPoll
                | Self::StuckClosure
        )
    }

    pub(crate) const fn blocks(self) -> bool {
        matches!(self, Self::Blocking | Self::StuckClosure)
    }
}
