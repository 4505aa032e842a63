//! Inputs that nobody needs to keep, since the fact that came of them says it all: most
//! tasks come plainly, and complete.

use std::time::Duration;

use super::entry::{Entry, IfFull};
use super::fact::{Fact, Told, What};
use super::input::{Input, Label};
use super::journal::News;
use super::recorder::Comer;
use super::slab::Key;
use super::time::Time;

/// What was told to the lane right before a fact, and is not kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Implied {
    Nothing,
    /// [`Input::Come`], by [`Comer::Plain`].
    Come {
        present: bool,
        at_once: bool,
        if_full: IfFull,
    },
    /// [`Input::Release`] and [`Input::NoteRelease`] of a task that completed.
    Done,
}

impl News {
    /// Somebody came plainly. Whether the only fact since there were so many says all else
    /// that was told of it; from now on it does.
    #[inline]
    pub(super) fn implies_come(
        &mut self,
        before: usize,
        now: Time,
        key: Option<Key>,
        entry: Entry,
    ) -> bool {
        let Some([fact]) = self.places.get_mut(before..self.len) else {
            return false;
        };
        // All of it: what is added to it has to be told again, too.
        let Entry {
            present,
            at_once,
            descendant,
            part,
            waited,
            if_full,
        } = entry;
        let plainly = !(descendant || part) && waited.is_zero();
        let says = plainly && fact.at == now && key == Some(fact.tag.key());
        if says {
            fact.tag.implied = Implied::Come {
                present,
                at_once,
                if_full,
            };
        }
        says
    }

    /// Somebody was released, and completed: the same of how its caller was told.
    #[inline]
    pub(super) fn implies_done(&mut self, before: usize, now: Time) -> bool {
        let Some([fact]) = self.places.get_mut(before..self.len) else {
            return false;
        };
        let What::Settled { end, holds, .. } = &fact.what else {
            return false;
        };
        let says = fact.at == now && end.is_none() && !*holds;
        if says {
            fact.tag.implied = Implied::Done;
        }
        says
    }
}

impl Fact {
    /// Says each input that it implies.
    pub(crate) fn implied<E>(&self, mut say: impl FnMut(&Input) -> Result<(), E>) -> Result<(), E> {
        let (now, key) = (self.at, self.tag.key());
        match self.tag.implied {
            Implied::Nothing => Ok(()),
            Implied::Come {
                present,
                at_once,
                if_full,
            } => say(&Input::Come {
                now,
                key: Some(key),
                label: self.tag.more().map(|more| Box::new(Label::from(more))),
                entry: Entry {
                    present,
                    at_once,
                    descendant: false,
                    part: false,
                    waited: Duration::ZERO,
                    if_full,
                },
                comer: Comer::Plain,
            }),
            Implied::Done => {
                let completed = true;
                say(&Input::Release { key, completed })?;
                let What::Settled { panicked, ran, .. } = self.what else {
                    return Ok(());
                };
                let end = None;
                let told = Told { end, panicked, ran };
                say(&Input::NoteRelease {
                    now,
                    key,
                    told,
                    completed,
                })
            }
        }
    }
}
