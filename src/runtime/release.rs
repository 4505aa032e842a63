//! How a runner lets go of its task's slot, or a waiter of its place.

use super::cell::TaskCell;
use super::domain::{Domain, Engine};
use super::sequel::Sequel;
use super::{journal, links};
use crate::engine::{End, Reason, Released, State, Time};
use crate::sync::Arc;

/// What was known of a task when it was let go of.
#[derive(Debug, Default)]
pub(crate) struct Release {
    /// How it was to end, if it had been asked to.
    pub(crate) end: Option<End>,
    /// When it joined the queue.
    pub(crate) since: Option<Time>,
}

/// What is said of a slot that goes back by itself.
pub(super) const fn ended(completed: bool) -> Reason {
    if completed {
        Reason::Completed
    } else {
        Reason::Dropped
    }
}

impl Domain {
    /// The runner is through with its task, or its waiter is gone.
    #[inline]
    pub(crate) fn release(
        self: &Arc<Self>,
        task: &TaskCell,
        completed: bool,
        reason: Reason,
    ) -> Release {
        if task.is_linked() {
            // Before anybody else has what it had (S11).
            task.lose();
            links::let_go(task, completed);
        }
        let mut seat = self.seat().lock();
        if !seat.is_alone() {
            drop(seat);
            return self.release_in_group(task, completed, reason);
        }
        let released = release_locked(&mut seat.engine, task, completed, reason);
        if seat.engine.has_sequel(&released) {
            let mut sequel = Sequel::new();
            let effects = &mut sequel.effects;
            seat.engine.settle_release(self.now(), &released, effects);
            sequel.note(self, &mut seat.engine);
            drop(seat);
            sequel.carry_out(self);
        } else {
            // No moment comes sooner because somebody left.
            self.hint(&seat.engine);
            self.write_down(&mut seat.engine);
            drop(seat);
        }
        self.tell_readers();
        self.let_go(task, completed, released)
    }

    /// What a task gave back, and comes back to no more, it does not have to let go
    /// of. False where it has come back to it.
    pub(super) fn release_if_away(self: &Arc<Self>, link: &TaskCell, completed: bool) -> bool {
        self.act(|engine, effects| {
            let record = engine.record(link.slot_key());
            let away = record.is_some_and(|record| record.away);
            if away {
                // No slot comes free by that, so that nobody is served.
                let released = release_locked(engine, link, completed, ended(completed));
                if engine.has_sequel(&released) {
                    engine.settle_release(self.now(), &released, effects);
                }
            }
            away
        })
    }

    #[cold]
    #[inline(never)]
    fn release_in_group(
        self: &Arc<Self>,
        task: &TaskCell,
        completed: bool,
        reason: Reason,
    ) -> Release {
        let released = self.act(|engine, effects| {
            let released = release_locked(engine, task, completed, reason);
            if engine.has_sequel(&released) {
                engine.settle_release(self.now(), &released, effects);
            }
            released
        });
        self.let_go(task, completed, released)
    }

    #[inline(always)]
    fn let_go(
        &self,
        task: &TaskCell,
        completed: bool,
        released: Released<Arc<TaskCell>>,
    ) -> Release {
        let gone = match released {
            // Whoever waits for the slot to be free is told by the settlement
            // that follows.
            Released::Held(gone) => gone,
            Released::Orphan(gone) => {
                self.shared.orphans.release();
                let late = completed && gone.end() != Some(End::Completed);
                // What a task holds beside its own slot comes back with it.
                if late && gone.state == State::Orphan && task.principal().is_none() {
                    super::log::late_completion(task);
                }
                gone
            }
            Released::Unknown => return Release::default(),
        };
        Release {
            end: gone.ended(),
            since: Some(gone.since),
        }
    }
}

#[inline(always)]
fn release_locked(
    engine: &mut Engine,
    task: &TaskCell,
    completed: bool,
    reason: Reason,
) -> Released<Arc<TaskCell>> {
    let told = |released: &_| journal::told(task, released, completed, reason);
    let released = engine.release(task.slot_key(), completed, told);
    if let Released::Held(_) = released {
        task.lose();
    }
    released
}
