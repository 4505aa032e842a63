//! Where a task stands: whether its runner is in a poll, and whether it comes
//! when it is woken.
//!
//! A poll costs two stores for this and reads no clock. What can be told from
//! them alone is whether a poll is under way. For the rest the scheduler
//! *probes*: it wakes the runner, which a future must always put up with, and
//! sees a tick later whether it came. A silent peer, a future that nobody polls
//! and a runtime that polls nobody look the same from inside, and not to a
//! probe.

use std::time::Duration;

use super::cell::TaskCell;
use super::domain::{Domain, DomainRef};
use super::driver::Heard;
use super::facts;
use super::word::Word;
use crate::engine::{TICK, Time};
use crate::sync::Arc;

/// So many polls in a second are more than a silent peer has caused.
const SPINNING: u64 = 1000;
/// How deep a chain of tasks that await each other is followed.
const DEEPEST: usize = 8;
/// As long a silence is worth a probe, and another one.
const RECENT: Duration = Duration::from_secs(1);

/// Where an active task, or an orphan, stands.
///
/// What is beyond [`InPoll`](Self::InPoll) and [`Pending`](Self::Pending) is
/// known once the task was *probed*: its runner was woken, and a tick later it
/// was seen whether it had come. That happens when a lane is about to warn that
/// its dispatch is blocked, and in [`Lanes::probe`](crate::Lanes::probe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Standing {
    /// It has its slot, and its runner has not come for it yet.
    Unclaimed,
    /// Its runner is in a poll now. One that stays there is a thread that the
    /// task blocks.
    InPoll,
    /// Pending, and not probed since it was heard of last.
    Pending,
    /// Pending, and polled when it is woken: whatever it waits for is silent.
    PolledWhenWoken,
    /// Woken, and not polled: its future is in a `select!` that moved on, or
    /// was forgotten, or whoever polls it does something else.
    NotPolled,
    /// Woken, and not polled, and nor is anything else on its runtime: a thread
    /// is blocked there.
    RuntimeStuck,
    /// Polled over and over, and never silent for long, nor through.
    PolledWithoutEnd,
    /// A closure on a thread of its own, which nobody can look into.
    OnThread,
    /// A slot that somebody holds by hand.
    ByHand,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unclaimed => "not claimed yet",
            Self::InPoll => "in poll",
            Self::Pending => "pending",
            Self::PolledWhenWoken => "pending, polled when woken",
            Self::NotPolled => "woken but not polled",
            Self::RuntimeStuck => "woken but not polled, nor is its runtime",
            Self::PolledWithoutEnd => "polled without end",
            Self::OnThread => "on a thread",
            Self::ByHand => "held by hand",
        })
    }
}

/// What was known when its runner was woken.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    at: Time,
    /// Polls that had begun or ended.
    turn: u32,
    /// The driver of its runtime, which was woken with it.
    driver: Option<Heard>,
    /// What the probe before said of the same silence, until this one tells.
    told: Standing,
}

/// Wakes the runners of silent holders, for [`standing`] to tell a tick later.
/// Says whether there is anything to wait for.
pub(super) fn probe<'a>(
    domain: &Domain,
    silent: impl IntoIterator<Item = &'a Arc<TaskCell>>,
    now: Time,
) -> bool {
    let mut any = false;
    for task in silent {
        any |= wake(domain, task.whose(), now, DEEPEST);
    }
    any
}

/// The task, and what it awaits: whichever of them is to blame.
fn wake(domain: &Domain, task: &Arc<TaskCell>, now: Time, deepest: usize) -> bool {
    let recent = |probe: Probe| probe.is_of(task) && now.since(probe.at) < RECENT;
    let fresh = can_be_probed(task) && !last_probe(task).is_some_and(recent);
    if fresh {
        let driver = task.home().and_then(|id| domain.shared.drivers.ring(id));
        let probe = Probe {
            at: now,
            turn: task.turn(),
            driver,
            told: standing(task, now),
        };
        task.shared.lock().rare().probe = Some(Box::new(probe));
        task.wake_runner();
    }
    if deepest == 0 {
        return fresh;
    }
    let below = facts::awaited(task);
    let below = below
        .iter()
        .map(|child| wake(domain, child, now, deepest - 1));
    below.fold(fresh, |any, woken| any | woken)
}

/// It is polled, not just now, and not for a slot of ours. A runner in a poll may
/// have no waker yet, and will say so itself.
fn can_be_probed(task: &TaskCell) -> bool {
    let turn = task.turn();
    task.word.get() == Word::Running && turn > 0 && turn.is_multiple_of(2) && !task.is_adrift()
}

impl Probe {
    /// Whether it is of the silence in which the task is now.
    fn is_of(&self, task: &TaskCell) -> bool {
        let heard = task.last_report().max(Some(task.stirred()));
        heard.is_some_and(|heard| self.at > heard)
    }
}

fn last_probe(task: &TaskCell) -> Option<Probe> {
    let parts = task.shared.lock();
    parts.peek()?.probe.as_deref().cloned()
}

/// Where a holder or an orphan stands.
pub(crate) fn standing(task: &TaskCell, now: Time) -> Standing {
    let turn = task.turn();
    match task.word.get() {
        Word::Queued | Word::Granted | Word::Asleep => return Standing::Unclaimed,
        _ if task.is_blocking() => return Standing::OnThread,
        _ if turn == 0 => return Standing::ByHand,
        _ if turn % 2 == 1 => return Standing::InPoll,
        _ => {}
    }
    let Some(probe) = last_probe(task).filter(|probe| probe.is_of(task)) else {
        return Standing::Pending;
    };
    if now < probe.at + TICK {
        return probe.told;
    }
    let polls = turn.wrapping_sub(probe.turn) / 2;
    if polls == 0 {
        return match &probe.driver {
            Some(driver) if !driver.has_come() => Standing::RuntimeStuck,
            _ => Standing::NotPolled,
        };
    }
    let since = u64::try_from(now.since(probe.at).as_millis()).unwrap_or(u64::MAX);
    if u64::from(polls) * 1000 >= since.saturating_mul(SPINNING) {
        Standing::PolledWithoutEnd
    } else {
        Standing::PolledWhenWoken
    }
}

/// Probes every holder of these lanes that has been silent for a second.
pub(crate) fn probe_all(domains: &[DomainRef]) {
    for domain in domains {
        let now = domain.now();
        let holders = domain.seat().lock().holders();
        let is_silent = |holder: &&Arc<TaskCell>| {
            let signs = facts::holder(holder, now);
            !signs.waiting && now.since(signs.active_at) >= RECENT
        };
        probe(domain, holders.iter().filter(is_silent), now);
    }
}
