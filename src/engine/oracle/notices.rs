//! What a lane says about its tasks, and whether that is true.

use std::time::Duration;

use super::book::{Book, KEPT};
use super::life::{Life, Stage};
use super::limits::Does;
use super::model::Model;
use super::punctual::{check_grace, step};
use super::shell::OVER_ALL;
use super::sim::{Sim, Token};
use crate::engine::{End, Notice, Reclaim, Recovery, Time};

impl Book {
    pub(super) fn noticed(&mut self, now: Time, notice: &Notice<Token>, sim: &Sim, model: &Model) {
        match *notice {
            Notice::Reclaimed {
                task,
                end,
                how,
                orphans,
                ref recovery,
            } => {
                assert_eq!(self.owed.take(), Some((task, how, orphans)), "S17");
                self.check_reclaimed(task, end, how, sim);
                model.check_recovery(recovery, self.grants.first().copied());
                match recovery {
                    Recovery::Dispatched(_) => self.tally.recovered += 1,
                    Recovery::StillBlocked(_) => self.tally.ineffective += 1,
                    Recovery::NobodyWaiting => {}
                }
            }
            Notice::TakeRefused {
                task,
                orphans,
                max_orphans,
            } => {
                assert!(
                    !model.has_room(),
                    "S10: {task} was refused, and there is room"
                );
                // By its own bound, or else by that over all lanes.
                let own = (model.orphans(), model.bound());
                let right = if own.0 >= own.1 { own } else { OVER_ALL };
                assert_eq!((orphans, max_orphans), right, "S10: {task}");
                let life = self.life(task);
                life.refused = Some(now);
                life.was_refused = true;
            }
            Notice::Stalled { task, end } => {
                let dues = self.dues(now, sim, task).into_iter();
                let (woken, life) = (self.woken, self.life(task));
                let due = dues
                    .filter(|due| due.does == Does::Say && due.at <= now)
                    .find(|due| due.end(now) == end);
                let Some(due) = due else {
                    panic!("S9: {task} does not stall: {end:?}");
                };
                match life.stall_said.filter(|said| due.at <= *said) {
                    Some(said) => {
                        let soonest = said + step(due.allowed, life.stall_reports);
                        assert!(soonest <= now, "S16: repeats back off: {life:?}");
                        life.stall_reports += 1;
                    }
                    None => {
                        check_grace(now, due.at, woken, life);
                        life.stall_reports = 1;
                    }
                }
                life.stall_said = Some(now);
            }
            Notice::NeverReports { task, elapsed } => {
                let life = self.life(task);
                assert!(!life.never_reports_said, "said twice of {task}");
                assert!(!sim.tasks[task as usize].facts.reported);
                let begun = life.started + life.parked_for;
                assert_eq!(elapsed, now.since(begun), "{task}");
                assert!(elapsed >= Duration::from_secs(600));
                life.never_reports_said = true;
            }
            Notice::Lapsed { task } => {
                let life = self.life(task);
                assert_eq!(life.stage, Stage::Placed { come: true }, "{task} lapsed");
                assert!(now.since(life.started) >= KEPT, "{task} lapsed too early");
                life.stage = Stage::Gone;
            }
            Notice::WaitExceeded {
                task,
                waited,
                queued_ahead,
                active_ahead,
            } => {
                let life = self.life(task);
                check_waited(now, life, sim.tasks[task as usize].spec.warn_wait, waited);
                assert!(!life.wait_said, "said twice of {task}");
                life.check_ahead(queued_ahead, active_ahead);
                life.wait_said = true;
            }
            Notice::OnWait {
                task,
                waited,
                queued_ahead,
                active_ahead,
            } => {
                let life = self.life(task);
                check_waited(now, life, sim.tasks[task as usize].spec.on_wait, waited);
                assert!(!life.on_wait_said, "said twice of {task}");
                life.check_ahead(queued_ahead, active_ahead);
                life.on_wait_said = true;
            }
        }
    }

    /// What a reclaim is said to have come to. That it found a value is its
    /// caller's to know: what is reported of it is why it was asked.
    fn check_reclaimed(&self, token: Token, end: End, how: Reclaim, sim: &Sim) {
        let life = &self.lives[token as usize];
        match how {
            Reclaim::Finished | Reclaim::Dropped | Reclaim::Detached => {
                assert!(life.ends.contains(&end), "S17: {token}: {end:?}: {life:?}");
            }
            Reclaim::Taken => life.check_end(end, &sim.tasks[token as usize]),
        }
    }
}

fn check_waited(now: Time, life: &Life, after: Option<Duration>, waited: Duration) {
    let waits = life.waits() || life.stage == Stage::Gathers;
    assert!(waits, "it does not wait any more");
    assert_eq!(waited, now.since(life.enqueued));
    assert!(after.is_some_and(|after| waited >= after), "too early");
}
