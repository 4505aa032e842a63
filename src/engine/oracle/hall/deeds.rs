//! What the lanes of a group are set to and told, as data.

use crate::engine::{Entry, IfFull, Priority};

pub(in crate::engine) type Which = u8;

/// The lanes and what they share.
#[derive(Clone, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Plan {
    pub(in crate::engine) budget: u8,
    /// What each share has for itself; cut to what the budget holds.
    pub(in crate::engine) reserved: [u8; 3],
    pub(in crate::engine) lanes: Vec<Place>,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Place {
    pub(in crate::engine) max_concurrent: u8,
    /// What it is part of.
    pub(in crate::engine) share: u8,
    /// `None`: no bound.
    pub(in crate::engine) queue_capacity: Option<u8>,
}

/// Who comes, and how.
#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) struct Comer {
    pub(in crate::engine) priority: u8,
    /// For how long it has waited elsewhere.
    pub(in crate::engine) waited: u8,
    /// Where the queue is full, it waits at the door.
    pub(in crate::engine) waits: bool,
    pub(in crate::engine) at_once: bool,
}

/// A lane or a task is picked among those to whom it can be done.
#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub(in crate::engine) enum Deed {
    Submit(Which, Comer),
    /// Somebody comes to a lane for a place to be kept.
    Reserve(Which, Comer),
    /// A task comes for a place that was kept for it.
    Spend(Which, Comer),
    /// A task comes to a lane that is not to be served for so many seconds.
    Quiet(Which, Comer, u8),
    /// It is asked for again.
    Prolong(Which, u8),
    /// A task comes in the place of that one.
    Supersede(Which, Comer),
    /// A holder or a waiter lets go.
    Complete(Which),
    Leave(Which),
    Cancel(Which),
    /// A waiter becomes more urgent.
    Raise(Which, u8),
    /// Nobody came for a slot or a place that was granted.
    Unclaim(Which),
    /// Somebody did, and late.
    Rejoin(Which),
    /// A holder waits for somebody, for so many seconds at most; with leave for
    /// others to use its slot, or without.
    Park(Which, bool, u8),
    /// What it waited for is there.
    ComeBack(Which),
    /// It has a slot again.
    TakeOver(Which),
    /// It is dropped while it has none.
    Forsake(Which),
    /// A holder loses its slot, and lets go of what it holds afterwards.
    Take(Which),
    Clear(Which),
    /// Newcomers are refused, and nobody is served before the next.
    Drain(Which, u8),
    /// Those who wait are settled, or run, as the drain was told.
    SettleDrain(Which),
    Pause(Which),
    Resume(Which),
    Resize(Which, u8),
    /// What the queue of a lane holds.
    Capacity(Which, Option<u8>),
    Budget(u8),
    /// Seconds pass, and the driver comes when it was told to.
    Pass(u8),
    /// A lane leaves the group and goes on by itself.
    Part(Which),
    /// It comes (back), as part of this share.
    Join(Which, u8),
}

const MOST_LANES: usize = 6;
const SHARES: u8 = 3;

/// What a [`Plan`] comes to.
pub(super) struct Layout {
    pub(super) budget: usize,
    pub(super) reserved: Vec<usize>,
    pub(super) lanes: Vec<Place>,
}

impl Plan {
    pub(super) fn layout(&self) -> Layout {
        let budget = budget(self.budget);
        let mut left = budget;
        let mut cut = |reserved: &u8| {
            let reserved = usize::from(reserved % 3).min(left);
            left -= reserved;
            reserved
        };
        let reserved = self.reserved.iter().map(&mut cut).collect();
        let mut lanes: Vec<_> = self.lanes.iter().take(MOST_LANES).copied().collect();
        if lanes.is_empty() {
            lanes.push(Place {
                max_concurrent: 1,
                share: 0,
                queue_capacity: None,
            });
        }
        Layout {
            budget,
            reserved,
            lanes,
        }
    }
}

impl Comer {
    pub(super) fn entry(self, present: bool) -> Entry {
        Entry {
            present,
            at_once: self.at_once,
            descendant: false,
            part: false,
            waited: std::time::Duration::from_secs(10 * u64::from(self.waited % 8)),
            if_full: if self.waits {
                IfFull::Wait
            } else {
                IfFull::Refuse
            },
        }
    }
}

pub(super) const fn priority(priority: u8) -> Priority {
    match priority % 3 {
        0 => Priority::Normal,
        1 => Priority::Foreground,
        _ => Priority::Background,
    }
}

pub(super) fn budget(budget: u8) -> usize {
    usize::from(budget % 7)
}

pub(super) fn max_concurrent(most: u8) -> usize {
    usize::from(most % 5)
}

pub(super) fn queue_capacity(capacity: Option<u8>) -> usize {
    capacity.map_or(usize::MAX, |capacity| usize::from(capacity % 4))
}

pub(super) const fn share(share: u8) -> usize {
    (share % SHARES) as usize
}
