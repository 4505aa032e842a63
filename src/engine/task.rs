//! What the engine knows of one task: what it was granted, what the shell saw
//! of it, and how it ended.

use std::time::Duration;

use super::entry::Refused;
use super::queue::{Place, Priority, Standing, Waiter};
use super::time::{Span, Time};
use super::timers::Moment;
use super::vocabulary::{Limit, OnStall, Reason};

/// The resolution of the scheduler's timer.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// How long a grant may wait for its runner's first poll (S20).
pub(crate) const CLAIM: Duration = Duration::from_secs(5);
/// How long a place in a full queue is kept for a task that does not come.
pub(crate) const KEPT: Duration = Duration::from_secs(60);
/// The lists of the door: tasks that wait for a place in the queue, and comers
/// who only want one kept.
pub(super) const TASKS: Priority = Priority::Normal;
pub(super) const KEEPERS: Priority = Priority::Background;
/// The default stall ceiling of a task that has reported progress.
pub(crate) const CEILING: Duration = Duration::from_secs(10 * 60);
/// The default stall ceiling of a task that has never reported any.
pub(crate) const SILENT_CEILING: Duration = Duration::from_secs(60 * 60);

/// Everything a task was granted, resolved from its lane, its handle and its
/// own options before it is submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Spec {
    pub(crate) priority: Priority,
    pub(crate) ceiling: Ceiling,
    pub(crate) on_stall: OnStall,
    pub(crate) idle: Option<Duration>,
    pub(crate) budget: Option<Duration>,
    pub(crate) wait: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) teardown: Duration,
    /// Waiting longer than this in the queue is worth a warning of its own.
    pub(crate) warn_wait: Option<Duration>,
    /// When the caller wants to be called for waiting.
    pub(crate) on_wait: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "replay", serde(rename_all = "snake_case"))]
pub(crate) enum Ceiling {
    None,
    /// Set by hand: it holds from the start.
    Set(Duration),
    /// Nobody set one: [`CEILING`] after the last progress, [`SILENT_CEILING`]
    /// for a task that has never reported any.
    Default,
}

impl Ceiling {
    pub(crate) const fn after(self, reported: bool) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Set(ceiling) => Some(ceiling),
            Self::Default if reported => Some(CEILING),
            Self::Default => Some(SILENT_CEILING),
        }
    }
}

impl Spec {
    /// The first moment after its start at which this task could be due.
    #[inline]
    pub(crate) fn first_look(&self) -> Span {
        let ceiling = match self.ceiling {
            Ceiling::Default => Some(CEILING),
            other => other.after(false),
        };
        soonest([ceiling, self.idle, self.budget])
    }

    /// The first moment after it was queued at which this task could be due.
    #[inline]
    pub(crate) fn first_look_queued(&self) -> Span {
        soonest([self.wait, self.warn_wait, self.on_wait])
    }

    /// What a task is granted that needs slots of two lanes: per limit, the
    /// tighter of what they grant. How it is ended is as the first has it.
    pub(crate) fn tighter(&self, other: &Self) -> Self {
        let least = |a: Option<Duration>, b: Option<Duration>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let ceiling = match (self.ceiling, other.ceiling) {
            (Ceiling::Set(a), Ceiling::Set(b)) => Ceiling::Set(a.min(b)),
            (set @ Ceiling::Set(_), _) | (_, set @ Ceiling::Set(_)) => set,
            (Ceiling::None, other) => other,
            (Ceiling::Default, _) => Ceiling::Default,
        };
        Self {
            ceiling,
            idle: least(self.idle, other.idle),
            budget: least(self.budget, other.budget),
            wait: least(self.wait, other.wait),
            ..self.clone()
        }
    }

    /// For a slot that a task holds beside its own: its limits are looked
    /// after where it has its own.
    pub(crate) fn of_link(&self) -> Self {
        Self {
            ceiling: Ceiling::None,
            on_stall: OnStall::Reclaim,
            idle: None,
            budget: None,
            wait: None,
            warn_wait: None,
            on_wait: None,
            ..self.clone()
        }
    }

    /// The tighter of stall ceiling and idle timeout, and which it is.
    pub(crate) fn silence(&self, reported: bool) -> Option<(Duration, Silence)> {
        let ceiling = self.ceiling.after(reported).map(|d| (d, Silence::Stall));
        let idle = self.idle.map(|d| (d, Silence::Idle));
        match (ceiling, idle) {
            (Some(stall), Some(idle)) if stall.0 < idle.0 => Some(stall),
            (stall, idle) => idle.or(stall),
        }
    }
}

#[inline]
fn soonest([a, b, c]: [Option<Duration>; 3]) -> Span {
    Span::from(a).min(Span::from(b)).min(Span::from(c))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Stall,
    Idle,
}

/// What the shell read off a task when the engine asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Facts {
    /// Its runner has come for its slot.
    pub(crate) claimed: bool,
    /// It has its slot here, and is in line for others: nobody can come for it
    /// yet.
    pub(crate) gathers: bool,
    /// Its future is ready; its runner is on the way to the lock.
    pub(crate) done: bool,
    /// Its last sign of life: its runner's coming for the slot, a report of its
    /// own or of a child it awaits, or the end of a wait for one of our lanes.
    pub(crate) active_at: Time,
    pub(crate) reported: bool,
    /// It waits for a slot in one of our lanes: its idle clock stands still.
    pub(crate) waiting: bool,
    /// A child it awaits is about to be reclaimed; that comes first (S9).
    pub(crate) hold_until: Option<Time>,
    /// The ceiling of the phase it is in.
    pub(crate) phase: Option<Duration>,
    pub(crate) deadline: Option<Time>,
    pub(crate) extended_until: Option<Time>,
    /// It listens for its cancel signal, or has hooks: grace applies.
    pub(crate) listens: bool,
    /// It has hooks or children to end: teardown applies.
    pub(crate) hooks: bool,
}

impl Facts {
    /// With what was read of the task itself a moment later; what was read of
    /// its children stays.
    pub(crate) fn refreshed(&self, later: &Self) -> Self {
        Self {
            active_at: self.active_at.max(later.active_at),
            reported: self.reported || later.reported,
            waiting: self.waiting,
            hold_until: self.hold_until,
            listens: self.listens || later.listens,
            ..*later
        }
    }
}

/// How a task ended, as data; the shell makes an error of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "replay", serde(rename_all = "snake_case"))]
pub(crate) enum End {
    /// By itself, with a value or a panic.
    Completed,
    Stalled {
        elapsed: Duration,
        idle: Duration,
        ceiling: Duration,
    },
    TimedOut {
        limit: Limit,
        allowed: Duration,
        elapsed: Duration,
        idle: Duration,
    },
    Cancelled {
        reason: Reason,
        elapsed: Duration,
    },
    CancelledQueued {
        reason: Reason,
        waited: Duration,
    },
    Cleared {
        waited: Duration,
    },
    /// Handed back by a drain.
    Returned {
        waited: Duration,
    },
    Shutdown {
        waited: Duration,
    },
    SchedulerDropped {
        waited: Duration,
    },
    RuntimeShutdown,
    /// A lane further on refused the task; `lane` is its number.
    Refused {
        lane: u64,
        why: Refused,
    },
}

impl End {
    /// What it comes to for a task that waits, or has not begun.
    pub(crate) const fn of_waiter(self, waited: Duration) -> Self {
        match self {
            Self::Stalled { .. } | Self::Cancelled { .. } | Self::Completed => {
                let reason = self.reason();
                Self::CancelledQueued { reason, waited }
            }
            end => end,
        }
    }

    /// What it comes to for a task that runs.
    pub(crate) const fn of_holder(self, elapsed: Duration) -> Self {
        match self {
            Self::Stalled { .. } | Self::TimedOut { .. } | Self::Cancelled { .. } => self,
            end => {
                let reason = end.reason();
                Self::Cancelled { reason, elapsed }
            }
        }
    }
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Completed => Reason::Completed,
            Self::Stalled { .. } => Reason::Stalled,
            Self::TimedOut { .. } => Reason::TimedOut,
            Self::Cancelled { reason, .. } | Self::CancelledQueued { reason, .. } => *reason,
            Self::Cleared { .. } => Reason::User,
            Self::Returned { .. } => Reason::Draining,
            Self::Shutdown { .. } | Self::SchedulerDropped { .. } => Reason::Shutdown,
            Self::RuntimeShutdown => Reason::RuntimeShutdown,
            Self::Refused { why, .. } => match why {
                Refused::Draining { .. } => Reason::Draining,
                Refused::Closed | Refused::Shutdown => Reason::Shutdown,
                _ => Reason::User,
            },
        }
    }

    /// The word for it.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Cleared { .. } => "cleared",
            Self::Returned { .. } => "returned",
            Self::Refused { .. } => "refused",
            end => end.reason().outcome(),
        }
    }
}

/// Where a task is on its way from the queue to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Queued,
    /// Not to be served yet, and so not in the queue.
    Quiet {
        until: Time,
    },
    /// The queue is full, and it waits for a place in it.
    AtDoor,
    /// No task, but somebody for whom a place in the queue is kept.
    Placed,
    /// Granted, never polled within the claim ceiling, and its slot passed on:
    /// it sleeps outside the queue until it is polled again (S20).
    Asleep,
    /// Holds a slot; its runner has not come yet.
    Granted,
    Running,
    /// It waits for somebody, with or without its slot ([`Record::away`]).
    Parked {
        until: Time,
    },
    /// It waits for nobody but the slot that it gave back: its clocks go on.
    ComingBack,
    /// Asked to end, and listening: it has until then.
    Asked {
        until: Time,
    },
    /// Its runner is to drop it; taken if it has not by then.
    Dropping {
        take_at: Time,
    },
    /// Its runner runs its hooks: they have until then.
    Teardown {
        until: Time,
    },
    /// Slot taken, allowed to run on ([`OnStall::Detach`]).
    Detached,
    /// Detached, and through: its hooks have until then, and its caller is yet to have
    /// its answer.
    Delivering {
        until: Time,
        /// They were told to end: it is its runner that has until then.
        cut_short: bool,
    },
    /// Slot taken, caller settled; its runner has not let go of it yet.
    Orphan,
}

impl State {
    pub(crate) const fn holds_slot(self) -> bool {
        !matches!(
            self,
            Self::Queued
                | Self::Quiet { .. }
                | Self::AtDoor
                | Self::Placed
                | Self::Asleep
                | Self::Detached
                | Self::Delivering { .. }
                | Self::Orphan
        )
    }

    /// It waits for a slot, or for a place to be kept.
    pub(crate) const fn waits(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Quiet { .. } | Self::AtDoor | Self::Asleep
        )
    }

    /// It waits for somebody, or for the slot that it gave back for that.
    pub(crate) const fn is_parked(self) -> bool {
        matches!(self, Self::Parked { .. } | Self::ComingBack)
    }

    /// It was granted, and nothing has told it to end.
    pub(crate) const fn goes_on(self) -> bool {
        matches!(self, Self::Granted | Self::Running) || self.is_parked()
    }

    pub(crate) const fn is_orphan(self) -> bool {
        self.is_detached() || matches!(self, Self::Orphan)
    }

    /// Its slot was taken, and its caller is yet to have its answer.
    pub(crate) const fn is_detached(self) -> bool {
        matches!(self, Self::Detached | Self::Delivering { .. })
    }
}

#[derive(Debug)]
pub(crate) struct Record<P> {
    pub(crate) payload: P,
    pub(crate) state: State,
    pub(crate) priority: Priority,
    /// No task: it wants a place kept for one.
    pub(crate) keeps: bool,
    /// It goes before everybody who waits, the last such first.
    pub(crate) first: bool,
    /// It gave its slot back when it was parked.
    pub(crate) away: bool,
    /// No task: it comes for the slot of one that is parked.
    pub(crate) stands_in: bool,
    pub(crate) place: Place,
    pub(crate) enqueued: Time,
    pub(crate) started: Time,
    /// See [`Spec::first_look`]; kept so that a grant needs no spec.
    pub(super) first_look: Span,
    /// Waiters and holders ahead of it when it joined the queue.
    pub(crate) queued_ahead: u32,
    pub(crate) active_ahead: u32,
    /// Where it stands in the list of holders.
    pub(crate) holder: u32,
    /// How it stands in the queue.
    pub(super) standing: Standing,
    /// When it is looked at next.
    pub(super) moment: Moment,
    /// What most tasks never have, and so nobody should have to move: a
    /// record passes through the critical section by value.
    pub(super) late: Option<Box<Late>>,
}

/// See [`Record::end`] and [`Record::said`].
#[derive(Debug, Default)]
pub(super) struct Late {
    end: Option<End>,
    said: Said,
    /// How long its clocks have stood still in all, and since when they do.
    pub(super) stood: Duration,
    pub(super) still_since: Time,
    /// Its last sign of life that the journal has.
    pub(super) seen: Time,
    /// When they went on.
    pub(super) back: Time,
}

impl<P> Record<P> {
    /// It has a slot of its lane, and has not given it back.
    pub(crate) const fn is_holder(&self) -> bool {
        self.state.holds_slot() && !self.away
    }

    /// Of a task that comes now.
    pub(crate) const fn new(payload: P, priority: Priority, place: Place, now: Time) -> Self {
        Self {
            payload,
            state: State::Queued,
            priority,
            keeps: false,
            first: false,
            away: false,
            stands_in: false,
            place,
            enqueued: now,
            started: now,
            first_look: Span::ENDLESS,
            queued_ahead: 0,
            active_ahead: 0,
            holder: 0,
            standing: Standing::Absent,
            moment: Moment::NEVER,
            late: None,
        }
    }

    /// It is a task, and not somebody who comes for one, who is counted nowhere.
    pub(super) const fn is_task(&self) -> bool {
        !self.keeps && !self.stands_in
    }

    /// When it is looked at next.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn moment(&self) -> Time {
        self.moment.at()
    }

    /// In which list it stands, and where: in the queue, or at the door.
    #[inline]
    const fn stand(&self) -> (Priority, Place) {
        if self.first {
            let since = Time::from_nanos(0);
            let seq = u64::MAX - self.place.seq;
            (Priority::Foreground, Place { since, seq })
        } else if let State::AtDoor = self.state {
            let list = if self.keeps { KEEPERS } else { TASKS };
            (list, self.place)
        } else {
            (self.priority, self.place)
        }
    }

    /// How it ends, once it was asked to.
    pub(crate) fn end(&self) -> Option<End> {
        self.late.as_deref()?.end
    }

    pub(crate) fn set_end(&mut self, end: End) {
        self.late.get_or_insert_default().end = Some(end);
    }

    pub(crate) fn said(&self) -> &Said {
        const NOTHING: &Said = &Said::NOTHING;
        self.late.as_deref().map_or(NOTHING, |late| &late.said)
    }

    pub(crate) fn say(&mut self) -> &mut Said {
        &mut self.late.get_or_insert_default().said
    }

    /// It moved, or was given a slot: what was said of its silence is over.
    pub(crate) fn take_back(&mut self, what: impl FnOnce(&mut Said)) {
        if let Some(late) = &mut self.late {
            what(&mut late.said);
        }
    }

    /// What is left of it once nobody looks after it any more.
    pub(crate) fn gone(self) -> Gone<P> {
        Gone {
            payload: self.payload,
            state: self.state,
            keeps: self.keeps,
            away: self.away,
            since: self.place.since,
            late: self.late,
        }
    }
}

impl<P> Waiter for Record<P> {
    #[inline]
    fn place(&self) -> Place {
        self.stand().1
    }

    #[inline]
    fn priority(&self) -> Priority {
        self.stand().0
    }

    fn arrival(&self) -> (Priority, Place) {
        (self.priority, self.place)
    }

    #[inline]
    fn standing(&self) -> Standing {
        self.standing
    }

    #[inline]
    fn standing_mut(&mut self) -> &mut Standing {
        &mut self.standing
    }
}

impl<P> AsRef<Moment> for Record<P> {
    #[inline]
    fn as_ref(&self) -> &Moment {
        &self.moment
    }
}

impl<P> AsMut<Moment> for Record<P> {
    #[inline]
    fn as_mut(&mut self) -> &mut Moment {
        &mut self.moment
    }
}

/// A task that its runner, or whoever waited for it, has let go of.
#[derive(Debug)]
pub(crate) struct Gone<P> {
    pub(crate) payload: P,
    /// What it was in until then.
    pub(crate) state: State,
    /// See [`Record::keeps`].
    pub(crate) keeps: bool,
    /// See [`Record::away`].
    pub(crate) away: bool,
    /// When it joined the queue.
    pub(crate) since: Time,
    late: Option<Box<Late>>,
}

impl<P> Gone<P> {
    /// How it was to end, if it was asked to.
    pub(crate) fn end(&self) -> Option<End> {
        self.late.as_deref()?.end
    }

    /// It was asked to end, and through by itself before it had to be.
    pub(super) fn finish(&mut self) {
        if let Some(late) = &mut self.late {
            late.said.finished = true;
        }
    }

    pub(crate) fn finished(&self) -> bool {
        self.late.as_deref().is_some_and(|late| late.said.finished)
    }

    /// See [`Said::told`].
    pub(crate) fn is_told(&self) -> bool {
        self.late.as_deref().is_some_and(|late| late.said.told)
    }

    /// How it ended: as it was asked to, unless it was through by itself
    /// before it had to be.
    pub(crate) fn ended(&self) -> Option<End> {
        if self.finished() {
            Some(End::Completed)
        } else {
            self.end()
        }
    }
}

/// What was already said or granted once, and is not to be repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// S19's grace tick, once a stall: the moment of the stall that had it.
    pub(crate) grace_tick: Option<Time>,
    pub(crate) never_reports: bool,
    /// When a stall was last reported that nothing else is done about.
    pub(crate) stalled: Time,
    /// When it is looked at after such a report, or tried again after a refused take.
    pub(crate) next_look: Time,
    pub(crate) wait_exceeded: bool,
    pub(crate) on_wait: bool,
    pub(crate) done: bool,
    pub(crate) refused: bool,
    /// Its slot was taken within the bounds of orphans: by no reset, and in no shutdown.
    pub(crate) by_itself: bool,
    /// An orphan runs its hooks, and has until then.
    pub(crate) hooks_until: Option<Time>,
    /// The time for its hooks is part of the moment set for the take.
    pub(crate) teardown: bool,
    /// Asked to end, and through by itself before it had to be.
    pub(crate) finished: bool,
    /// Its caller was told how it ended, and it is still here.
    pub(crate) told: bool,
}

impl Said {
    const NOTHING: Self = Self {
        grace_tick: None,
        never_reports: false,
        stalled: Time::from_nanos(0),
        next_look: Time::from_nanos(0),
        wait_exceeded: false,
        on_wait: false,
        done: false,
        refused: false,
        by_itself: false,
        hooks_until: None,
        teardown: false,
        finished: false,
        told: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_go_before_everybody_the_last_is_first_after_any_number_of_tasks() {
        let place = |seq| {
            let since = Time::START;
            let place = Place { since, seq };
            Waiter::place(&Record {
                first: true,
                ..Record::new((), Priority::Normal, place, since)
            })
        };
        assert!(place(1 << 40) > place((1 << 40) + 1));
    }
}
