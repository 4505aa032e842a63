//! When a task is due: every limit that it has, one after another, with
//! nothing remembered from one time to the next.

use std::time::Duration;

use super::life::{Life, Stage};
use super::sim::Task;
use crate::engine::{Ceiling, End, Limit, OnStall, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stall,
    Idle,
    Budget,
    Deadline,
}

/// What a limit that was reached comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Ask,
    Detach,
    /// It is said, and nothing more.
    Say,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Time,
    pub(super) kind: Kind,
    pub(super) does: Does,
    pub(super) allowed: Duration,
    started: Time,
    /// Its last sign of life.
    pub(super) last: Time,
}

/// Everything that an active task, or a detached one, may become due for.
pub(super) fn dues(now: Time, task: &Task, life: &Life, observe_only: bool) -> Vec<Due> {
    let (spec, facts) = (&task.spec, &task.facts);
    let detached = life.stage == Stage::Detached;
    let parked = matches!(life.stage, Stage::Parked { .. });
    if let Stage::Parked { until: Some(_), .. } = life.stage {
        // Of all that it has, a deadline alone is no clock.
        let mut active = life.clone();
        active.goes_on(now);
        let all = dues(now, task, &active, observe_only).into_iter();
        let deadline = all.filter(|due| due.kind == Kind::Deadline);
        let (started, at) = (life.started, |due: &Due| due.at.since(life.started));
        let from_start = |due: Due| Due {
            allowed: at(&due),
            started,
            ..due
        };
        return deadline.map(from_start).collect();
    }
    // The time that it was parked is none of its own; and it comes back as if
    // it had just said something.
    let started = life.started + life.parked_for;
    let last = facts.active_at.max(life.started).max(life.back);
    let due = |at, kind, does, allowed| Due {
        at,
        kind,
        does,
        allowed,
        started,
        last,
    };
    let mut dues = Vec::new();
    let on_stall = match spec.on_stall {
        _ if observe_only => Does::Say,
        OnStall::Reclaim => Does::Ask,
        OnStall::Detach => Does::Detach,
        OnStall::WarnOnly => Does::Say,
    };
    // One that has no slot is not detached from it.
    let spared = parked && on_stall == Does::Detach;
    // S9: while it waits for one of our lanes it is not silent.
    if !detached && !facts.waiting {
        let after = |allowed: Duration| {
            let mut at = last + allowed;
            for floor in [facts.extended_until, facts.hold_until] {
                at = floor.map_or(at, |floor| floor.max(at));
            }
            at
        };
        let ceiling = match spec.ceiling {
            Ceiling::None => None,
            Ceiling::Set(ceiling) => Some(ceiling),
            Ceiling::Default if facts.reported => Some(Duration::from_secs(600)),
            Ceiling::Default => Some(Duration::from_secs(3600)),
        };
        match (facts.phase, ceiling, spec.idle) {
            (Some(_), _, _) if spared => {}
            (Some(phase), _, _) => dues.push(due(after(phase), Kind::Stall, on_stall, phase)),
            (None, ceiling, idle) => {
                // The tighter wins; but a stall that is only to be reported
                // does not hide an idle timeout that somebody set.
                let stall = ceiling.filter(|stall| idle.is_none_or(|idle| *stall < idle));
                if let Some(stall) = stall.filter(|_| !spared) {
                    dues.push(due(after(stall), Kind::Stall, on_stall, stall));
                }
                if let Some(idle) = idle
                    && (stall.is_none() || on_stall == Does::Say)
                {
                    dues.push(due(after(idle), Kind::Idle, Does::Ask, idle));
                }
            }
        }
    }
    if let Some(budget) = spec.budget {
        dues.push(due(started + budget, Kind::Budget, Does::Ask, budget));
    }
    if let Some(at) = facts.deadline {
        dues.push(due(at, Kind::Deadline, Does::Ask, at.since(started)));
    }
    dues
}

impl Due {
    /// What its caller is told, if it is asked at that time.
    pub(super) fn end(&self, now: Time) -> End {
        let (elapsed, idle) = (now.since(self.started), now.since(self.last));
        let limit = match self.kind {
            Kind::Stall => {
                return End::Stalled {
                    elapsed,
                    idle,
                    ceiling: self.allowed,
                };
            }
            Kind::Idle => Limit::Idle,
            Kind::Budget => Limit::Budget,
            Kind::Deadline => Limit::Deadline,
        };
        End::TimedOut {
            limit,
            allowed: self.allowed,
            elapsed,
            idle,
        }
    }

    /// A sleep of the machine is no silence of the task's (S19).
    pub(super) const fn is_silence(&self) -> bool {
        matches!(self.kind, Kind::Stall | Kind::Idle)
    }
}
