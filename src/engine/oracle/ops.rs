//! Everything that the engine can be told, as data.
//!
//! Numbers are small and counted in units that the scenario sets, so that they
//! meet: two limits that come due in the same tick are the interesting ones. A
//! `Which` picks one of those tasks to whom it can be done.

use std::time::Duration;

use crate::engine::{Ceiling, Entry, IfFull, Leftover, OnStall, Priority, Settings, Spec};

pub(in crate::engine) type Which = u8;

/// The lane that is tried.
#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Scenario {
    pub(in crate::engine) max_concurrent: u8,
    /// `None`: as many as `max_concurrent`.
    pub(in crate::engine) max_orphans: Option<u8>,
    pub(in crate::engine) aging: u8,
    pub(in crate::engine) warn_after: u8,
    pub(in crate::engine) observe_only: bool,
    /// Half a second, or so long that the defaults of the crate come due.
    pub(in crate::engine) slow: bool,
    /// `None`: no bound.
    pub(in crate::engine) queue_capacity: Option<u8>,
    /// `None`: no bound.
    pub(in crate::engine) max_parked: Option<u8>,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) enum Op {
    Submit(Newcomer),
    /// Somebody comes for a place to be kept.
    Reserve(Newcomer),
    /// A task comes for the place that was kept for it.
    Spend(Which, Newcomer),
    /// A task comes that is not to be served before its window is over.
    Quiet(Newcomer, u8),
    /// It is asked for again.
    Prolong(Which, u8),
    /// A task comes in the place of that one.
    Supersede(Which, Newcomer),
    /// Its runner is through with it.
    Complete(Which),
    /// It is dropped: queued, active or orphaned.
    Drop(Which),
    Cancel(Which),
    Progress(Which),
    /// Its runner polls it for its slot.
    Poll(Which),
    /// Its value is there, and its runner on the way to the lock.
    Done(Which),
    /// Its runner comes, drops it and runs its hooks if it has any.
    RunnerComes(Which),
    /// It has all the slots that it gathers.
    Gathered(Which),
    /// What it is in line for was granted, and nobody came for that.
    Sleeps(Which),
    /// It waits for somebody.
    Park(Which, Parking),
    /// It has waited: one step on its way back. What comes for its slot is
    /// polled, or is not.
    ComeBack(Which, bool),
    /// It begins or ends to wait for another lane.
    Wait(Which, bool),
    Phase(Which, Option<u8>),
    Deadline(Which, u8),
    Extend(Which, u8),
    /// A child that it awaits is about to be reclaimed.
    Hold(Which, u8),
    Listen(Which, bool),
    Hooks(Which, bool),
    /// Whether its runner comes when it is told to.
    Comes(Which, bool),
    /// Somebody comes with the key of a task that is long gone.
    Stale(Which, bool),
    /// Time passes, in ticks, and the driver comes when it was told to.
    Run(u16),
    /// The same, in the scenario's units.
    RunUnits(u8),
    /// The machine sleeps, and the driver comes late.
    Oversleep(u16),
    /// The machine sleeps, and others come before the driver.
    Late(u16),
    Resize(u8),
    /// Everything that the lane is set to, at once.
    SetAnew(Anew),
    Pause(Option<u8>),
    Resume,
    Clear,
    CancelAll,
    Reset,
    Forget(Which),
    Drain {
        deadline: u8,
        admit_descendants: bool,
        queued: u8,
        /// Whether others come between the two halves of it.
        holds: bool,
    },
    /// The second half of a drain.
    SettleDrain,
    Close,
    Shutdown,
    /// The runtime of a waiter goes.
    Withdraw(Which),
    /// The bound over all lanes is reached, or is not.
    NoMoreOrphans(bool),
    /// The holders wait for another lane that speaks for this one, or not.
    RootSpeaks(bool),
    WantIdle,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Anew {
    pub(in crate::engine) max_concurrent: u8,
    pub(in crate::engine) max_orphans: Option<u8>,
    pub(in crate::engine) aging: u8,
    pub(in crate::engine) warn_after: u8,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Parking {
    pub(in crate::engine) limit: u8,
    /// It gives its slot back meanwhile.
    pub(in crate::engine) leaves: bool,
    /// It is asked to end when it is counted and still has its slot.
    pub(in crate::engine) asked: bool,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Newcomer {
    pub(in crate::engine) priority: u8,
    pub(in crate::engine) waited: u8,
    pub(in crate::engine) limits: Limits,
    pub(in crate::engine) manners: Manners,
}

/// What it was granted; see [`Spec`].
#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Limits {
    pub(in crate::engine) ceiling: u8,
    pub(in crate::engine) on_stall: u8,
    pub(in crate::engine) idle: Option<u8>,
    pub(in crate::engine) budget: Option<u8>,
    pub(in crate::engine) wait: Option<u8>,
    pub(in crate::engine) warn_wait: Option<u8>,
    pub(in crate::engine) on_wait: Option<u8>,
    pub(in crate::engine) grace: u8,
    pub(in crate::engine) teardown: u8,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Manners {
    pub(in crate::engine) present: bool,
    pub(in crate::engine) at_once: bool,
    pub(in crate::engine) descendant: bool,
    pub(in crate::engine) comes: bool,
    pub(in crate::engine) listens: bool,
    pub(in crate::engine) hooks: bool,
    pub(in crate::engine) just_in_time: bool,
    /// Where the queue is full, it waits at the door.
    pub(in crate::engine) waits: bool,
    /// It needs slots of other lanes, too, before it can be claimed.
    pub(in crate::engine) gathers: bool,
}

impl Scenario {
    pub(in crate::engine) fn settings(&self) -> Settings {
        Settings {
            max_concurrent: usize::from(self.max_concurrent % 5),
            max_orphans: self.max_orphans.map(|bound| usize::from(bound % 4)),
            aging: self.units(self.aging % 16),
            warn_after: self.units(1 + self.warn_after % 16),
            observe_only: self.observe_only,
            max_parked: self.max_parked.map(|most| usize::from(most % 4)),
            queue_capacity: self
                .queue_capacity
                .map_or(usize::MAX, |capacity| usize::from(capacity % 6)),
        }
    }

    /// What the lane is set to anew.
    pub(in crate::engine) fn set(&self, anew: Anew) -> Settings {
        let anew = Self {
            max_concurrent: anew.max_concurrent,
            max_orphans: anew.max_orphans,
            aging: anew.aging,
            warn_after: anew.warn_after,
            ..*self
        };
        anew.settings()
    }

    pub(in crate::engine) fn units(&self, count: u8) -> Duration {
        let unit = if self.slow { 120_000 } else { 500 };
        Duration::from_millis(unit * u64::from(count))
    }
}

impl Newcomer {
    pub(in crate::engine) fn spec(&self, scenario: &Scenario) -> Spec {
        let limits = &self.limits;
        let span = |most: u8, count: u8| scenario.units(1 + count % most);
        Spec {
            priority: match self.priority % 3 {
                0 => Priority::Normal,
                1 => Priority::Foreground,
                _ => Priority::Background,
            },
            ceiling: match limits.ceiling % 16 {
                0 => Ceiling::None,
                15 => Ceiling::Default,
                count => Ceiling::Set(scenario.units(count)),
            },
            on_stall: match limits.on_stall % 4 {
                2 => OnStall::Detach,
                3 => OnStall::WarnOnly,
                _ => OnStall::Reclaim,
            },
            idle: limits.idle.map(|count| span(12, count)),
            budget: limits.budget.map(|count| span(24, count)),
            wait: limits.wait.map(|count| span(20, count)),
            warn_wait: limits.warn_wait.map(|count| span(12, count)),
            on_wait: limits.on_wait.map(|count| span(12, count)),
            grace: scenario.units(limits.grace % 4),
            teardown: scenario.units(limits.teardown % 4),
        }
    }

    pub(in crate::engine) fn entry(&self, scenario: &Scenario) -> Entry {
        Entry {
            present: self.manners.present && !self.manners.gathers,
            at_once: self.manners.at_once,
            descendant: self.manners.descendant,
            part: false,
            waited: scenario.units(self.waited % 12),
            if_full: if self.manners.waits {
                IfFull::Wait
            } else {
                IfFull::Refuse
            },
        }
    }
}

pub(in crate::engine) const fn leftover(queued: u8) -> Leftover {
    match queued % 3 {
        0 => Leftover::Run,
        1 => Leftover::Return,
        _ => Leftover::Cancel,
    }
}
