//! What is to follow from an input that the engine was given, once its lock is
//! released.

use super::cell::TaskCell;
use super::domain::{Actions, Domain, Engine};
use super::group::Beside;
use super::perform;
use super::word::Word;
use crate::engine::{Effect, Effects, Time};
use crate::sync::Arc;

/// An input that was taken, and what is to follow from it.
#[must_use = "effects that are not carried out are lost wake-ups"]
pub(crate) struct Staged {
    pub(super) domain: Arc<Domain>,
    pub(super) sequel: Sequel,
}

impl Staged {
    pub(crate) fn carry_out(self) {
        self.sequel.carry_out(&self.domain);
        self.domain.tell_readers();
    }

    /// The lane of everybody who is given a slot or a place by it.
    pub(super) fn served(&self, lanes: &mut Vec<Arc<Domain>>) {
        let serves =
            |effect: &&Effect<_>| matches!(effect, Effect::Grant(_) | Effect::Place { .. });
        let served = self.sequel.effects.iter().filter(serves);
        lanes.extend(served.map(|_| Arc::clone(&self.domain)));
        for staged in &self.sequel.beside {
            staged.served(lanes);
        }
    }
}

/// What is to follow from an input.
pub(super) struct Sequel {
    pub(super) effects: Actions,
    /// When the driver is to come, if it does not know.
    arm: Option<Time>,
    /// What follows in other lanes of its group.
    pub(super) beside: Beside,
}

impl Sequel {
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            effects: Effects::new(),
            arm: None,
            beside: Beside::new(),
        }
    }

    /// What must be done after every input, before the lock is released.
    #[inline]
    pub(super) fn note(&mut self, domain: &Domain, engine: &mut Engine) {
        if !self.effects.is_empty() {
            self.effects.iter().for_each(publish);
        }
        domain.hint(engine);
        domain.write_down(engine);
        self.arm = engine.rearm();
    }

    #[inline]
    pub(super) fn is_nothing(&self) -> bool {
        self.arm.is_none() && self.effects.is_empty() && self.beside.is_empty()
    }

    pub(super) fn carry_out(self, domain: &Arc<Domain>) {
        if let Some(at) = self.arm {
            domain.arm(at);
        }
        perform::carry_out_all(domain, self.effects);
        self.beside.into_iter().for_each(Staged::carry_out);
    }
}

/// What nobody may see late.
fn publish(effect: &Effect<Arc<TaskCell>>) {
    match effect {
        Effect::Grant(grant) => grant.task.granted(grant.fence, grant.at, Word::Granted),
        Effect::Place { task } => task.word.set(Word::Granted),
        Effect::Lost { task } => task.lose(),
        _ => {}
    }
}
