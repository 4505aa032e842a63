//! What a lane says about its tasks, and whether that is true.

use std::time::Duration;

use super::book::Book;
use super::life::Life;
use super::limits::Does;
use super::model::Model;
use super::sim::{Sim, Token};
use crate::engine::{Notice, Time};

impl Book {
    pub(super) fn noticed(&mut self, now: Time, notice: &Notice<Token>, sim: &Sim, model: &Model) {
        match *notice {
            Notice::Reclaimed {
                task,
                how,
                orphans,
                recovery,
                ..
            } => {
                assert_eq!(self.owed.take(), Some((task, how, orphans)), "S17");
                let first = self.grants.first();
                let first = first.map(|token| sim.key(*token).seq);
                model.check_recovery(recovery, first);
            }
            Notice::TakeRefused { task, orphans, .. } => {
                assert!(
                    !model.has_room(),
                    "S10: {task} was refused, and there is room"
                );
                assert!(orphans >= model.orphans());
                let life = self.life(task);
                life.refused = Some(now);
                life.was_refused = true;
            }
            Notice::Stalled { task, end } => {
                let dues = self.dues(sim, task).into_iter();
                let life = self.life(task);
                let right = dues
                    .filter(|due| due.does == Does::Say && due.at <= now)
                    .any(|due| due.end(now) == end);
                assert!(right, "S9: {task} does not stall: {end:?}");
                life.stall_said = Some(now);
            }
            Notice::NeverReports { task, elapsed } => {
                let life = self.life(task);
                assert!(!life.never_reports_said, "said twice of {task}");
                assert!(!sim.tasks[task as usize].facts.reported);
                assert!(elapsed >= Duration::from_secs(600));
                life.never_reports_said = true;
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
                assert_eq!(queued_ahead, life.queued_ahead, "{task}");
                assert_eq!(active_ahead, life.active_ahead, "{task}");
                life.wait_said = true;
            }
            Notice::OnWait { task, waited, .. } => {
                let life = self.life(task);
                check_waited(now, life, sim.tasks[task as usize].spec.on_wait, waited);
                assert!(!life.on_wait_said, "said twice of {task}");
                life.on_wait_said = true;
            }
        }
    }
}

fn check_waited(now: Time, life: &Life, after: Option<Duration>, waited: Duration) {
    assert!(life.waits(), "it does not wait any more");
    assert_eq!(waited, now.since(life.enqueued));
    assert!(after.is_some_and(|after| waited >= after), "too early");
}
