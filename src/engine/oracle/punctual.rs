//! Whether everybody was dealt with by the moment at which they had to be (S8),
//! and not before the grace that follows a sleep of the machine (S19).

use std::time::Duration;

use super::book::{Book, CLAIM, KEPT};
use super::life::{Life, Stage};
use super::limits::{Does, Due, Kind, dues};
use super::sim::{Sim, Task, Token};
use crate::engine::{TICK, Time};

/// How often a take that was refused is tried again (S10).
const RETRY: Duration = Duration::from_secs(1);
/// How soon a stall is reported again that nothing is done about, and how far
/// that backs off.
const SOONEST_REPEAT: Duration = Duration::from_secs(30);
const LONGEST_REPEAT: Duration = Duration::from_secs(600);

/// The time between two reports of one stall.
pub(super) fn step(ceiling: Duration, reports: u32) -> Duration {
    let first = ceiling.max(SOONEST_REPEAT);
    (first * 2u32.pow(reports.min(12) - 1)).min(longest(ceiling))
}

fn longest(ceiling: Duration) -> Duration {
    LONGEST_REPEAT.max(ceiling)
}

impl Book {
    /// What a task is due for by now, and has had its grace tick for where that
    /// came late (S19).
    pub(super) fn due_now(&self, now: Time, token: Token, does: Does, sim: &Sim) -> Vec<Due> {
        let dues = self.dues(now, sim, token);
        let life = &self.lives[token as usize];
        let graced = life
            .graced
            .filter(|graced| dues.iter().any(|due| due.at == *graced));
        let due = |due: &Due| {
            // Whose take was refused at the bound is past any grace, for that stall.
            let refused = life.refused.is_some_and(|at| due.at <= at);
            let refused = does == Does::Detach && refused;
            let graced = refused || has_had_grace(now, due.at, self.woken, graced);
            due.does == does && due.at <= now && (!due.is_silence() || graced)
        };
        dues.into_iter().filter(due).collect()
    }

    /// S8: nobody is past its moment, once the driver has come; but at the
    /// bound (S10), or right after a sleep (S19).
    pub(super) fn check_in_time(&self, now: Time, sim: &Sim) {
        for (life, task) in self.lives.iter().zip(&sim.tasks) {
            if life.stage != Stage::Gone {
                self.check_life(now, life, task);
            }
        }
    }

    fn check_life(&self, now: Time, life: &Life, task: &Task) {
        let woken = self.woken + TICK;
        let overdue = |at: Time| at.max(woken) <= now;
        let at_bound = |at: Time| {
            let full = self.last_full.map(|full| full + RETRY);
            full.is_some_and(|until| now < until.max(at))
        };
        let fail = |what: &str| -> ! {
            panic!("S8: {what} at {now:?}, woken at {woken:?}: {life:?} {task:?}");
        };
        // Hooks that begin at their last moment are told so by the driver's next look,
        // which may come within that moment.
        if life.hooks_until.is_some_and(|at| at < now && overdue(at)) {
            fail("its hooks run on");
        }
        match life.stage {
            Stage::Queued | Stage::Asleep | Stage::Gathers => {
                if life.quiet_until.is_some_and(overdue) {
                    fail("it is put off on and on");
                }
                let after = |span: Option<Duration>| span.map(|span| life.enqueued + span);
                if after(task.spec.wait).is_some_and(overdue) {
                    fail("it waits on");
                }
                if after(task.spec.warn_wait).is_some_and(overdue) && !life.wait_said {
                    fail("nobody said how long it waits");
                }
                if after(task.spec.on_wait).is_some_and(overdue) && !life.on_wait_said {
                    fail("its caller was not called");
                }
            }
            Stage::Granted if overdue((life.started + CLAIM).max(life.slept + TICK)) => {
                fail("nobody comes for its grant")
            }
            Stage::Placed { come: false } if overdue(life.started + CLAIM) => {
                fail("nobody comes for its place");
            }
            Stage::Placed { come: true } if overdue(life.started + KEPT) => {
                fail("its place is kept on");
            }
            Stage::Placed { .. } => {}
            Stage::Delivering { by } if by.is_some_and(overdue) => fail("its caller is not told"),
            Stage::Delivering { .. } => {}
            Stage::Granted | Stage::Orphan | Stage::Gone | Stage::Teardown => {}
            Stage::Parked { until, .. } if until.is_some_and(overdue) => fail("it is parked on"),
            Stage::Asked { by } if overdue(by) => fail("its grace is over"),
            Stage::Asked { .. } => {}
            Stage::Told { by } => {
                // A runner with a value in its hands has one tick more.
                let extra = if task.facts.done {
                    TICK * 2
                } else {
                    Duration::ZERO
                };
                if overdue(by + extra) && now >= woken + extra {
                    if !at_bound(by) {
                        fail("its slot is not taken");
                    }
                    assert!(life.refused.is_some(), "S10: refused, and nobody was told");
                }
            }
            Stage::Running | Stage::Detached | Stage::Parked { .. } => {
                for due in dues(now, task, life, self.observe_only) {
                    // Its budget is looked at when it may have been claimed.
                    let at = match due.kind {
                        Kind::Budget => due
                            .at
                            .max(life.claimed + task.spec.budget.unwrap_or_default()),
                        _ => due.at,
                    };
                    let late = overdue(at);
                    match due.does {
                        Does::Ask if late => fail("it is not asked"),
                        Does::Detach if late && !at_bound(at) => fail("it is not detached"),
                        Does::Say if late => {
                            // Silence that is extended later is still the same one.
                            let began = due.last + due.allowed;
                            let said = life.stall_said.filter(|said| began <= *said);
                            let Some(said) = said else {
                                fail("nobody said that it stalls");
                            };
                            if overdue(said + longest(due.allowed)) {
                                fail("nobody said again that it stalls");
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// A late driver has just come: who was found to be overdue by more than a
    /// tick, and lives, has its grace tick now (S19).
    pub(super) fn grant_grace(&mut self, now: Time, sim: &Sim) {
        let late = |at: Time| now > at + TICK;
        for (token, at) in (0..).zip(0..self.lives.len()) {
            let due = match self.lives[at].stage {
                Stage::Granted | Stage::Placed { come: false } => {
                    Some(self.lives[at].started + CLAIM)
                }
                Stage::Told { by } => Some(by),
                Stage::Running | Stage::Parked { until: None, .. } => self
                    .dues(now, sim, token)
                    .into_iter()
                    .filter(|due| due.is_silence() && late(due.at))
                    .map(|due| due.at)
                    .min(),
                _ => None,
            };
            if due.is_some_and(late) {
                self.lives[at].graced = due;
            }
        }
    }
}

/// S19: what is more than a tick late was late because we slept, and it has a
/// tick from when we woke, once.
fn has_had_grace(now: Time, due: Time, woken: Time, graced: Option<Time>) -> bool {
    now <= due + TICK || now >= woken + TICK || graced.is_some()
}

pub(super) fn check_grace(now: Time, due: Time, woken: Time, life: &Life) {
    assert!(
        has_had_grace(now, due, woken, life.graced),
        "S19: due at {due:?}, we woke at {woken:?}, and it is {now:?}: {life:?}"
    );
}
