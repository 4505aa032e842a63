//! What time will do to a task if nothing else happens: what [`judge`] decides when
//! its moment comes, asked for beforehand. Changes nothing.
//!
//! [`judge`]: Lane::judge

use std::fmt;
use std::time::Duration;

use super::judge::silence;
use super::lane::{Lane, Mode};
use super::slab::Key;
use super::task::{CLAIM, Facts, KEPT, Record, Silence, Spec, State, TICK};
use super::time::Time;
use super::vocabulary::OnStall;

/// What runs out by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Bound {
    /// How long a task may be active without progress.
    StallCeiling,
    /// The idle part of its lane timeout.
    Idle,
    /// The silence that its phase grants it.
    Phase,
    /// The silence that [`Lanes::extend`](crate::Lanes::extend) granted it.
    Extension,
    /// Its silence is due, and a child that it awaits is to end first.
    Child,
    /// Its budget.
    Budget,
    /// The deadline that it set itself.
    Deadline,
    /// How long it may wait for its slot.
    Wait,
    /// Its quiet window ([`TaskBuilder::debounce`](crate::TaskBuilder::debounce)).
    QuietWindow,
    /// How long a grant waits for its runner (S20).
    Claim,
    /// How long it may wait for somebody.
    Parked,
    /// How long it may take to end by itself, once it was asked to.
    Grace,
    /// How long its hooks may take.
    Teardown,
    /// How long its runner has to come for it, before the slot is taken.
    Take,
    /// The time of its lane's drain.
    Drain,
    /// A pause that ends by itself.
    Pause,
}

/// What follows when a [`Bound`] runs out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Follows {
    /// The task is asked to end, and its slot comes back or is taken; one that gave
    /// it back while it waits has none, and is asked all the same.
    SlotReclaimed,
    /// Its slot is taken, and it runs on without ([`OnStall::Detach`]).
    RunsOnWithoutSlot,
    /// That is reported, and nothing else.
    Reported,
    /// Its caller is told that it timed out.
    GivesUp,
    /// It comes to the queue.
    Queued,
    /// Its slot, or its place, is passed on.
    PassedOn,
    /// It waits for somebody no more, and goes on.
    GoesOn,
    /// Its future is dropped.
    Dropped,
    /// Its hooks are dropped.
    HooksDropped,
    /// Its slot is taken without its runner's help.
    SlotTaken,
    /// It is handed back, or cancelled, as the drain was told.
    HandedBack,
    /// The lane dispatches again.
    LaneResumes,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StallCeiling => "stall ceiling",
            Self::Idle => "idle timeout",
            Self::Phase => "silence of its phase",
            Self::Extension => "extension",
            Self::Child => "after its child",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Wait => "wait timeout",
            Self::QuietWindow => "quiet window",
            Self::Claim => "claim ceiling",
            Self::Parked => "limit of its wait",
            Self::Grace => "grace",
            Self::Teardown => "teardown",
            Self::Take => "its runner has not come",
            Self::Drain => "drain",
            Self::Pause => "end of the pause",
        })
    }
}

impl fmt::Display for Follows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlotReclaimed => "slot reclaimed",
            Self::RunsOnWithoutSlot => "slot taken, and it runs on",
            Self::Reported => "only reported",
            Self::GivesUp => "gives up",
            Self::Queued => "comes to the queue",
            Self::PassedOn => "passed on",
            Self::GoesOn => "goes on",
            Self::Dropped => "dropped",
            Self::HooksDropped => "hooks dropped",
            Self::SlotTaken => "slot taken",
            Self::HandedBack => "handed back",
            Self::LaneResumes => "lane resumes",
        })
    }
}

impl Follows {
    /// Whether somebody else can have its slot then.
    pub(crate) const fn frees_slot(self) -> bool {
        matches!(
            self,
            Self::SlotReclaimed | Self::RunsOnWithoutSlot | Self::SlotTaken | Self::PassedOn
        )
    }
}

/// A bound on what a task does now, and the moment at which it runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    pub(crate) bound: Bound,
    pub(crate) at: Time,
    pub(crate) follows: Follows,
}

impl<P: Clone> Lane<P> {
    /// All that runs out for a task, the soonest first. A bound that moves as the
    /// task moves is where it stands now; one whose clock stands still is left out.
    pub(crate) fn outlook(&self, key: Key, spec: &Spec, facts: &Facts) -> Vec<Outlook> {
        let Some(record) = self.tasks.get(key) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        let mut add = |bound, at: Time, follows| {
            if at < Time::FAR {
                all.push(Outlook { bound, at, follows });
            }
        };
        let wait = spec.wait.map_or(Time::FAR, |wait| record.enqueued + wait);
        match record.state {
            State::Queued | State::AtDoor | State::Asleep => {
                add(Bound::Wait, wait, Follows::GivesUp);
            }
            State::Quiet { until } => {
                add(Bound::QuietWindow, until, Follows::Queued);
                add(Bound::Wait, wait, Follows::GivesUp);
            }
            State::Placed if facts.claimed => {
                add(Bound::Claim, record.started + KEPT, Follows::PassedOn);
            }
            State::Granted if !facts.claimed && facts.gathers => {
                add(Bound::Wait, wait, Follows::GivesUp);
            }
            State::Placed => add(Bound::Claim, record.started + CLAIM, Follows::PassedOn),
            State::Granted if !facts.claimed => {
                add(Bound::Claim, record.started + CLAIM, Follows::PassedOn);
            }
            State::Granted | State::Running | State::ComingBack | State::Detached => {
                self.outlook_running(record, spec, facts, &mut add);
            }
            State::Parked { until } => {
                add(Bound::Parked, until, Follows::GoesOn);
                if let Some(at) = facts.deadline {
                    add(Bound::Deadline, at, Follows::SlotReclaimed);
                }
            }
            State::Asked { until } => {
                add(Bound::Grace, until, Follows::Dropped);
                let hooks = if facts.hooks {
                    spec.teardown
                } else {
                    Duration::ZERO
                };
                add(Bound::Take, until + hooks + TICK, Follows::SlotTaken);
            }
            State::Teardown { until } => {
                add(Bound::Teardown, until, Follows::HooksDropped);
                add(Bound::Take, until + TICK, Follows::SlotTaken);
            }
            // Tried again and again, and to no avail so far (S10).
            State::Dropping { .. } if record.said().refused => {}
            State::Dropping { take_at } => add(Bound::Take, take_at, Follows::SlotTaken),
            State::Delivering {
                cut_short: true, ..
            } => {}
            State::Delivering { until, .. } => {
                add(Bound::Teardown, until, Follows::HooksDropped);
            }
            State::Orphan => {
                let hooks = record.said().hooks_until.unwrap_or(Time::FAR);
                add(Bound::Teardown, hooks, Follows::HooksDropped);
            }
        }
        if let Mode::Draining {
            deadline: Some(at), ..
        } = self.mode
        {
            let follows = match record.state {
                state if state.waits() => Some(Follows::HandedBack),
                // A drain waits for nobody who waits for somebody without a slot.
                _ if record.away => None,
                state if state.goes_on() => Some(Follows::SlotReclaimed),
                State::Detached => Some(Follows::Dropped),
                _ => None,
            };
            if let Some(follows) = follows {
                add(Bound::Drain, at, follows);
            }
        }
        all.sort_by_key(|outlook| outlook.at);
        all
    }

    fn outlook_running(
        &self,
        record: &Record<P>,
        spec: &Spec,
        facts: &Facts,
        add: &mut impl FnMut(Bound, Time, Follows),
    ) {
        let detached = record.state == State::Detached;
        let hard = if detached {
            Follows::Dropped
        } else {
            Follows::SlotReclaimed
        };
        if let Some(budget) = spec.budget {
            add(Bound::Budget, record.begun() + budget, hard);
        }
        if let Some(at) = facts.deadline {
            add(Bound::Deadline, at, hard);
        }
        // While it waits for our lanes, its idle clock stands still (S9).
        if detached || facts.waiting {
            return;
        }
        let last = record.last_sign(facts);
        let due = |limit: Duration, bound: Bound| {
            let floors = [
                (facts.extended_until, Bound::Extension),
                (facts.hold_until, Bound::Child),
            ];
            let floors = floors
                .into_iter()
                .filter_map(|(at, bound)| Some((at?, bound)));
            floors.fold((last + limit, bound), |due, floor| {
                if floor.0 > due.0 { floor } else { due }
            })
        };
        let only_report = self.only_reports(spec);
        if let Some((limit, kind)) = silence(spec, facts) {
            let bound = match kind {
                _ if facts.phase.is_some() => Bound::Phase,
                Silence::Stall => Bound::StallCeiling,
                Silence::Idle => Bound::Idle,
            };
            let follows = match kind {
                Silence::Stall if only_report => Follows::Reported,
                Silence::Stall if spec.on_stall == OnStall::Detach => Follows::RunsOnWithoutSlot,
                Silence::Stall | Silence::Idle => Follows::SlotReclaimed,
            };
            let (at, bound) = due(limit, bound);
            // One without its slot runs on without it as it is; and at the bound it is
            // tried again and again, and to no avail so far (S10).
            let goes_on = record.away || record.said().refused;
            if follows != Follows::RunsOnWithoutSlot || !goes_on {
                add(bound, at, follows);
            }
            // One that is only reported hides no limit that somebody set.
            if follows == Follows::Reported
                && facts.phase.is_none()
                && let Some(idle) = spec.idle
            {
                let (at, bound) = due(idle, Bound::Idle);
                add(bound, at, Follows::SlotReclaimed);
            }
        }
    }

    /// Whether a stall of this task is only reported.
    pub(crate) fn only_reports(&self, spec: &Spec) -> bool {
        self.settings.observe_only || spec.on_stall == OnStall::WarnOnly
    }

    /// Whether no slot is taken any more, however long its runner does not come
    /// (S10).
    pub(crate) fn is_at_orphan_bound(&self) -> bool {
        self.orphans >= self.max_orphans() && self.mode != Mode::Shutdown
    }

    /// When a pause ends by itself.
    pub(crate) const fn resumes_at(&self) -> Option<Time> {
        self.resume_at
    }

    /// By when those who are active in a lane that drains are to be through.
    pub(crate) const fn drains_until(&self) -> Option<Time> {
        match self.mode {
            Mode::Draining { deadline, .. } => deadline,
            _ => None,
        }
    }

    /// Everybody in the queue in the order in which they would be served if there
    /// were slots for all of them now; then those at the door. O(n log n).
    pub(crate) fn served(&self, now: Time) -> Vec<Key> {
        let served = self.queue.served(&self.tasks, now, self.settings.aging);
        let key = |index| self.tasks.key_at(index);
        let queued = served.into_iter().filter_map(key);
        let records = self.tasks.iter();
        let at_door = records.filter(|(_, record)| record.state == State::AtDoor);
        let mut at_door: Vec<_> = at_door.map(|(key, record)| (record.place, key)).collect();
        at_door.sort_unstable_by_key(|(place, _)| *place);
        queued
            .chain(at_door.into_iter().map(|(_, key)| key))
            .collect()
    }
}
