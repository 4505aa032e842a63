//! From what the engine says to public words.

use std::time::{Duration, UNIX_EPOCH};

use super::event::{Event, EventKind, Outcome, Reclaimed};
use crate::engine::{Ahead, End, Fact, Reclaim, Recovery, Time, What};
use crate::sync::Arc;

/// What happened in a lane of this number and name. `built` is when the scheduler was,
/// on both clocks; the other in microseconds since the Unix epoch.
pub(crate) fn event(
    (built, wall): (Time, u64),
    seq: u64,
    (lane, name): (u64, Arc<str>),
    fact: &Fact,
) -> Event {
    let Fact { at, tag, what } = fact;
    let after = at.since(built);
    let more = tag.more();
    Event {
        seq,
        at: after,
        time: UNIX_EPOCH + Duration::from_micros(wall) + after,
        lane: name,
        task: tag.task(lane),
        name: more.and_then(|more| more.name.clone()),
        key: more.and_then(|more| more.key.clone()),
        part: tag.is_part(),
        kind: kind(*at, what),
    }
}

/// What happened, at that time.
fn kind(at: Time, what: &What) -> EventKind {
    let until = |moment: Time| Some(moment.since(at)).filter(|_| moment < Time::FAR);
    let ahead = |ahead: Ahead| (ahead.queued as usize, ahead.active as usize);
    match what {
        What::Queued(before) => {
            let (queued_ahead, active_ahead) = ahead(*before);
            EventKind::Queued {
                queued_ahead,
                active_ahead,
            }
        }
        What::AtDoor(before) => {
            let (queued_ahead, active_ahead) = ahead(*before);
            EventKind::AtDoor {
                queued_ahead,
                active_ahead,
            }
        }
        What::PutOff { window } => EventKind::PutOff { window: *window },
        What::PutOffAgain { window } => EventKind::PutOffAgain { window: *window },
        What::LetIn => EventKind::LetIn,
        What::Dispatched {
            at_once,
            waited,
            fence,
            ahead: before,
        } => {
            let (queued_ahead, active_ahead) = ahead(*before);
            EventKind::Dispatched {
                at_once: *at_once,
                waited: waited.duration().unwrap_or_default(),
                fence: *fence,
                queued_ahead,
                active_ahead,
            }
        }
        What::Unclaimed => EventKind::Unclaimed,
        What::Rejoined => EventKind::Rejoined,
        What::Gathered => EventKind::Gathered,
        What::Raised { priority } => EventKind::Raised {
            priority: *priority,
        },
        What::WaitExceeded {
            waited,
            ahead: before,
        } => {
            let (queued_ahead, active_ahead) = ahead(*before);
            EventKind::WaitExceeded {
                waited: *waited,
                queued_ahead,
                active_ahead,
            }
        }
        What::Moved { idle } => EventKind::Progress { idle: *idle },
        What::Note(text) => EventKind::Note { text: text.clone() },
        What::PhaseBegun(text) => EventKind::PhaseBegun {
            phase: text.clone(),
        },
        What::PhaseOver(text) => EventKind::PhaseOver {
            phase: text.clone(),
        },
        What::NeverReports { elapsed } => EventKind::NeverReports { elapsed: *elapsed },
        What::OnlyReported(end) => {
            let (elapsed, idle) = silence(end);
            EventKind::Stalled { elapsed, idle }
        }
        What::Parked {
            what,
            until: limit,
            leaves,
        } => EventKind::Parked {
            what: what.clone(),
            limit: until(*limit),
            released: *leaves,
        },
        What::Outwaited => EventKind::Outwaited,
        What::Regained => EventKind::Regained,
        What::Unparked => EventKind::Unparked,
        What::Asked { reason, grace } => EventKind::Asked {
            reason: *reason,
            grace: *grace,
        },
        What::GraceOver { reason } => EventKind::GraceOver { reason: *reason },
        What::TeardownBegun => EventKind::TeardownBegun,
        What::Taken { detached, orphans } => EventKind::Taken {
            detached: *detached,
            orphans: *orphans,
        },
        What::TakeRefused {
            orphans,
            max_orphans,
        } => EventKind::TakeRefused {
            orphans: *orphans,
            max_orphans: *max_orphans,
        },
        What::Reclaimed(came) => {
            let how = reclaimed(came.how);
            match &came.recovery {
                Recovery::Dispatched(task) => EventKind::Recovered {
                    how,
                    dispatched: Some(*task),
                },
                Recovery::NobodyWaiting => EventKind::Recovered {
                    how,
                    dispatched: None,
                },
                Recovery::StillBlocked(by) => EventKind::Ineffective {
                    how,
                    blocked_by: *by,
                },
            }
        }
        What::Settled {
            end,
            panicked,
            holds,
            ..
        } => EventKind::Settled {
            outcome: match panicked {
                true => Outcome::Panicked,
                false => outcome(end.as_deref().unwrap_or(&End::Completed)),
            },
            slot_held: *holds,
        },
        What::Left => EventKind::Left,
        What::LateCompletion => EventKind::LateCompletion,
        What::OrphanGone => EventKind::OrphanGone,
        What::OrphanForgotten => EventKind::OrphanForgotten,
        What::Made => EventKind::LaneMade,
        What::Paused { until: end } => EventKind::Paused {
            for_long: end.and_then(until),
        },
        What::Resumed => EventKind::Resumed,
        What::Limited { max_concurrent } => EventKind::Limited {
            max_concurrent: *max_concurrent,
        },
        What::SetAnew => EventKind::Reconfigured,
        What::Draining { deadline } => EventKind::Draining {
            within: until(*deadline),
        },
        What::DrainOver => EventKind::DrainOver,
        What::Closed => EventKind::Closed,
        What::Shutdown => EventKind::Shutdown,
        What::Blocked(blocked) => EventKind::Blocked {
            by: blocked.by,
            healthy: blocked.healthy,
            blocked_for: blocked.blocked_for,
            active: blocked.active,
            max_concurrent: blocked.max_concurrent,
            queued: blocked.queued,
        },
        What::Repaired { faults } => EventKind::Repaired { faults: *faults },
        What::Deadlock { circle, refused } => EventKind::Deadlock {
            cycle: circle.clone(),
            refused: *refused,
        },
        What::Retired => EventKind::Retired,
    }
}

const fn reclaimed(how: Reclaim) -> Reclaimed {
    match how {
        Reclaim::Finished => Reclaimed::Finished,
        Reclaim::Dropped => Reclaimed::Dropped,
        Reclaim::Taken => Reclaimed::Taken,
        Reclaim::Detached => Reclaimed::Detached,
    }
}

const fn outcome(end: &End) -> Outcome {
    match *end {
        End::Completed => Outcome::Completed,
        End::Stalled {
            elapsed,
            idle,
            ceiling,
        } => Outcome::Stalled {
            elapsed,
            idle,
            ceiling,
        },
        End::TimedOut {
            limit,
            allowed,
            elapsed,
            ..
        } => Outcome::TimedOut {
            limit,
            allowed,
            elapsed,
        },
        End::Cancelled { reason, elapsed } => Outcome::Cancelled { reason, elapsed },
        End::CancelledQueued { reason, waited } => Outcome::CancelledQueued { reason, waited },
        End::Cleared { waited } => Outcome::Cleared { waited },
        End::Returned { waited } => Outcome::Returned { waited },
        End::Shutdown { waited } => Outcome::Shutdown { waited },
        End::SchedulerDropped { waited } => Outcome::SchedulerDropped { waited },
        End::RuntimeShutdown => Outcome::RuntimeShutdown,
        End::Refused { .. } => Outcome::Refused,
    }
}

const fn silence(end: &End) -> (Duration, Duration) {
    match *end {
        End::Stalled { elapsed, idle, .. } | End::TimedOut { elapsed, idle, .. } => (elapsed, idle),
        _ => (Duration::ZERO, Duration::ZERO),
    }
}

/// How fields are serialized.
#[cfg(feature = "serde")]
pub(super) mod written {
    use std::time::{SystemTime, UNIX_EPOCH};

    use serde::Serializer;

    pub(in super::super) use crate::snapshot::{maybe_millis, millis};
    use crate::sync::Arc;

    pub(in super::super) fn text<S: Serializer>(
        text: &Arc<str>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    #[expect(clippy::ref_option, reason = "serde hands fields over by reference")]
    pub(in super::super) fn maybe_text<S: Serializer>(
        text: &Option<Arc<str>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match text {
            Some(text) => serializer.serialize_some(&**text),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn unix<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        millis(&since, serializer)
    }
}
