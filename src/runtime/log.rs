//! What the scheduler says, as `tracing` events with fields. Called with no
//! lock held (S13). A subscriber is user code: one that panics goes unheard,
//! and costs neither a slot nor anybody's answer (S14).

use std::time::Duration;

use super::cell::TaskCell;
use super::domain::{Domain, DomainRef};
use super::standing::standing;
use super::wakers::quietly;
use super::watchdog::Rung;
use crate::engine::{Blocked, End, Grant, Notice, Reclaim, Recovery, Time};
use crate::error::Cycle;
use crate::repair::RepairReport;
use crate::snapshot::LaneSnapshot;
use crate::sync::Arc;

pub(crate) fn notice(domain: &Domain, notice: &Notice<Arc<TaskCell>>) {
    quietly(|| say(domain, notice));
}

fn say(domain: &Domain, notice: &Notice<Arc<TaskCell>>) {
    let lane = &*domain.name;
    match notice {
        Notice::Reclaimed {
            task,
            end,
            how,
            orphans,
            recovery,
        } => reclaimed(domain, task, end, *how, *orphans, recovery),
        Notice::Stalled { task, end } => {
            let (elapsed, idle) = times(end);
            tracing::warn!(
                target: "laneway", lane, task = %task.id(), name = task.name(),
                elapsed_ms = millis(elapsed), idle_ms = millis(idle), note = task.note().as_deref(),
                "stalled task not reclaimed: only observed"
            );
        }
        Notice::TakeRefused {
            task,
            orphans,
            max_orphans,
        } => tracing::error!(
            target: "laneway", lane, task = %task.id(), name = task.name(),
            orphans, max_orphans, note = task.note().as_deref(),
            "lane slot not taken: orphan bound reached"
        ),
        Notice::NeverReports { task, elapsed } => tracing::warn!(
            target: "laneway", lane, task = %task.id(), name = task.name(),
            elapsed_ms = millis(*elapsed),
            "task never reports progress"
        ),
        Notice::WaitExceeded {
            task,
            waited,
            queued_ahead,
            active_ahead,
        } => tracing::warn!(
            target: "laneway", lane, task = %task.id(), name = task.name(),
            waited_ms = millis(*waited), queued_ahead, active_ahead,
            "lane wait exceeded"
        ),
        Notice::Lapsed { task } => tracing::warn!(
            target: "laneway", lane, place = %task.id(), name = task.name(),
            "reserved place passed on: no task came for it"
        ),
        Notice::OnWait { .. } => {}
    }
}

/// A wait that nobody set a limit for, once it is over: of interest when
/// somebody looks for it.
pub(crate) fn waited_long(grant: &Grant<Arc<TaskCell>>) {
    quietly(|| {
        let task = &grant.task;
        tracing::debug!(
            target: "laneway", lane = &*task.domain().name, task = %task.id(),
            name = task.name(), waited_ms = millis(grant.waited),
            queued_ahead = grant.queued_ahead, active_ahead = grant.active_ahead,
            "dispatched after a long wait"
        );
    });
}

pub(crate) fn late_completion(task: &TaskCell) {
    quietly(|| {
        tracing::warn!(
            target: "laneway", lane = &*task.domain().name, task = %task.id(),
            name = task.name(), fence = task.fence(),
            "late completion of a reclaimed task"
        );
    });
}

/// Whoever reads this does not do so on that runtime.
pub(crate) fn runtime_stuck(runtime: &Rung, now: Time) {
    quietly(|| {
        tracing::error!(
            target: "laneway", runtime = %runtime.runtime,
            stuck_ms = millis(now.since(runtime.at)),
            "runtime stuck: it polls nobody"
        );
    });
}

/// A circle of waits, at the lane of the wait that closed it.
pub(crate) fn deadlock(domain: &Domain, cycle: &Cycle, refused: bool) {
    quietly(|| {
        tracing::warn!(
            target: "laneway", lane = &*domain.name, cycle = %cycle, refused,
            "deadlock"
        );
    });
}

/// Every lane has been told by now, and the caller is to hear of it.
pub(crate) fn lanes_reset(lanes: &[DomainRef], taken: usize) {
    if taken == 0 {
        return;
    }
    quietly(|| {
        let lane = lanes.first().filter(|_| lanes.len() == 1);
        tracing::warn!(
            target: "laneway", lane = lane.map(|lane| &*lane.name), lanes = lanes.len(), taken,
            "lanes reset"
        );
    });
}

/// What has been applied is no failure, whatever a subscriber does.
pub(crate) fn lanes_reconfigured(lanes: usize) {
    quietly(|| tracing::info!(target: "laneway", lanes, "lanes reconfigured"));
}

pub(crate) fn teardown_cut_short(task: &TaskCell) {
    quietly(|| {
        tracing::warn!(
            target: "laneway", lane = &*task.domain().name, task = %task.id(),
            name = task.name(), teardown_ms = millis(task.spec().teardown),
            "teardown did not end in time and was dropped"
        );
    });
}

pub(crate) fn teardown_lost(task: &TaskCell) {
    quietly(|| {
        tracing::error!(
            target: "laneway", lane = &*task.domain().name, task = %task.id(),
            name = task.name(),
            "teardown not run: its runtime was shut down"
        );
    });
}

pub(crate) fn blocked(
    domain: &Domain,
    blocked: &Blocked,
    holders: &[Arc<TaskCell>],
    stillest: Option<(Time, &Arc<TaskCell>)>,
    root: Option<&str>,
    now: Time,
) {
    let oldest = holders.iter().map(|holder| holder.started()).min();
    let oldest_active_age = oldest.map_or(Duration::ZERO, |at| now.since(at));
    let oldest_idle = stillest.map_or(Duration::ZERO, |(at, _)| now.since(at));
    let holder = stillest.map(|(_, holder)| holder);
    let group = domain.group();
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(
                target: "laneway",
                $level,
                lane = &*domain.name,
                active = blocked.active,
                max_concurrent = blocked.max_concurrent,
                queued = blocked.queued,
                blocked_by = %blocked.by,
                blocked_ms = millis(blocked.blocked_for),
                oldest_active_age_ms = millis(oldest_active_age),
                oldest_idle_ms = millis(oldest_idle),
                holder = holder.map(|holder| tracing::field::display(holder.id())),
                holder_name = holder.and_then(|holder| holder.name()),
                note = holder.and_then(|holder| holder.note()).as_deref(),
                standing = holder.map(|holder| tracing::field::display(standing(holder.whose(), now))),
                root,
                group = group.as_ref().map(|group| &*group.name),
                suppressed = blocked.suppressed,
                "lane dispatch blocked"
            )
        };
    }
    quietly(|| {
        if blocked.healthy {
            event!(tracing::Level::DEBUG);
        } else {
            event!(tracing::Level::WARN);
        }
    });
}

/// A bug of ours, with all there is to say of the lane.
pub(crate) fn overlooked(domain: &Domain, task: &TaskCell, found: &LaneSnapshot) {
    quietly(|| {
        tracing::error!(
            target: "laneway", lane = &*domain.name, task = %task.id(), name = task.name(),
            found = ?found,
            "overlooked waiter dispatched: a bug in laneway"
        );
    });
}

/// Bugs of ours, by where they were found.
pub(crate) fn repaired(report: &RepairReport) {
    for lane in &report.lanes {
        quietly(|| {
            tracing::error!(
                target: "laneway", lane = &*lane.name, found = %lane,
                "lane repaired: a bug in laneway"
            );
        });
    }
    for group in &report.groups {
        quietly(|| {
            tracing::error!(
                target: "laneway", group = &*group.name, found = %group,
                "group repaired: a bug in laneway"
            );
        });
    }
}

fn reclaimed(
    domain: &Domain,
    task: &TaskCell,
    end: &End,
    how: Reclaim,
    orphans: usize,
    recovery: &Recovery<Arc<TaskCell>>,
) {
    let (elapsed, idle) = times(end);
    let (came_to, next, ineffective) = match recovery {
        Recovery::Dispatched(next) => ("recovered", Some(next), None),
        Recovery::NobodyWaiting => ("nobody waiting", None, None),
        Recovery::StillBlocked(by) => ("ineffective", None, Some(by)),
    };
    tracing::warn!(
        target: "laneway", lane = &*domain.name, task = %task.id(), name = task.name(),
        reason = %end.reason(),
        how = match how {
            Reclaim::Finished => "finished",
            Reclaim::Dropped => "dropped",
            Reclaim::Taken => "taken",
            Reclaim::Detached => "detached",
        },
        elapsed_ms = millis(elapsed), idle_ms = millis(idle), orphans,
        note = task.note().as_deref(), standing = %standing(task, domain.now()),
        recovery = came_to,
        dispatched = next.map(|next| tracing::field::display(next.id())),
        dispatched_name = next.and_then(|next| next.name()),
        ineffective = ineffective.map(tracing::field::display),
        "lane slot reclaimed"
    );
}

fn times(end: &End) -> (Duration, Duration) {
    match *end {
        End::Stalled { elapsed, idle, .. } | End::TimedOut { elapsed, idle, .. } => (elapsed, idle),
        End::Cancelled { elapsed, .. } => (elapsed, Duration::ZERO),
        _ => (Duration::ZERO, Duration::ZERO),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
