//! What the journal says, held against the lane: whoever reads nothing else knows who
//! has a slot, who waits and who is an orphan, and hears of every task's end once.

use std::collections::{BTreeMap, BTreeSet};

use super::sim::Token;
use crate::engine::TaskId;
use crate::engine::fact::Tag;
use crate::engine::{End, Fact, Key, Lane, More, Names, State, Time, What};

/// What a task is called in the journal of these tests: the name is its token.
pub(in crate::engine) const NAMES: Names<Token> = Names {
    id: |token| TaskId {
        lane: 1,
        key: Key {
            index: *token,
            seq: 1,
        },
    },
    more: |token| {
        Some(Box::new(More {
            name: Some(token.to_string().into()),
            ..More::default()
        }))
    },
};

fn token(tag: &Tag) -> Option<Token> {
    tag.more()?.name.as_ref()?.parse().ok()
}

/// A lane as far as its journal tells of it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Ledger {
    tasks: BTreeMap<Token, Entry>,
    fence: u64,
    latest: Time,
    /// Who was given a slot, with its fence, as either the journal or the shell has it
    /// and not both.
    granted: BTreeSet<(Token, u64)>,
    /// A fault was planted in the lane, of which no journal can know.
    pub(in crate::engine) is_wrong: bool,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    told: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queue,
    Door,
    Quiet,
    Asleep,
    Slot,
    Away,
    Orphan,
    Gone,
}

impl Ledger {
    pub(in crate::engine) fn read(&mut self, lane: &mut Lane<Token>) {
        if let Some(news) = lane.news() {
            for fact in news.facts() {
                self.read_one(fact);
            }
            news.clear();
        }
    }

    fn read_one(&mut self, fact: &Fact) {
        if fact.at < Time::FAR {
            assert!(fact.at >= self.latest, "the journal goes back: {fact:?}");
            self.latest = fact.at;
        }
        if let Some(token) = token(&fact.tag) {
            self.read_of(token, &fact.what);
        }
    }

    fn read_of(&mut self, token: Token, what: &What) {
        let comes = match what {
            What::Queued(_) => Some(Place::Queue),
            What::AtDoor(_) => Some(Place::Door),
            What::PutOff { .. } => Some(Place::Quiet),
            What::Dispatched { at_once: true, .. } => Some(Place::Slot),
            _ => None,
        };
        if let Some(place) = comes {
            let told = None;
            let before = self.tasks.insert(token, Entry { place, told });
            assert!(before.is_none(), "{token} comes twice: {what:?}");
        }
        let Some(entry) = self.tasks.get_mut(&token) else {
            panic!("{token} did not come: {what:?}");
        };
        let place = entry.place;
        let was =
            |places: &[Place]| assert!(places.contains(&place), "{token} {place:?}: {what:?}");
        was(&[
            Place::Queue,
            Place::Door,
            Place::Quiet,
            Place::Asleep,
            Place::Slot,
            Place::Away,
            Place::Orphan,
        ]
        .into_iter()
        // What a reclaim has come to is known when its task is gone.
        .chain(matches!(what, What::Reclaimed(_)).then_some(Place::Gone))
        .collect::<Vec<_>>());
        match what {
            What::PutOffAgain { .. } => {
                was(&[Place::Queue]);
                entry.place = Place::Quiet;
            }
            What::LetIn => {
                was(&[Place::Door, Place::Quiet]);
                entry.place = Place::Queue;
            }
            What::Dispatched { fence, at_once, .. } => {
                if !at_once {
                    was(&[Place::Queue]);
                }
                assert!(*fence > self.fence, "S11: {what:?}");
                self.fence = *fence;
                entry.place = Place::Slot;
                self.grant(token, *fence);
            }
            What::Unclaimed => {
                was(&[Place::Slot]);
                entry.place = Place::Asleep;
            }
            What::Rejoined => {
                was(&[Place::Asleep]);
                entry.place = Place::Queue;
            }
            What::Parked { leaves: true, .. } => {
                was(&[Place::Slot]);
                entry.place = Place::Away;
            }
            What::Regained => {
                was(&[Place::Away]);
                entry.place = Place::Slot;
            }
            What::Taken { .. } => {
                was(&[Place::Slot, Place::Away]);
                entry.place = Place::Orphan;
            }
            What::Settled { end, holds, .. } => {
                assert_eq!(entry.told, None, "S2: {token} {what:?}");
                entry.told = Some(end.as_deref().copied().unwrap_or(End::Completed));
                if !holds && place != Place::Orphan {
                    entry.place = Place::Gone;
                }
            }
            What::Left => entry.place = Place::Gone,
            What::OrphanGone | What::LateCompletion | What::OrphanForgotten => {
                was(&[Place::Orphan]);
                entry.place = Place::Gone;
            }
            What::Asked { .. } | What::GraceOver { .. } => {
                was(&[Place::Slot, Place::Away, Place::Orphan]);
                assert_eq!(entry.told, None, "S2: {token} {what:?}");
            }
            _ => {}
        }
    }

    /// The journal says so, or the shell was told so.
    pub(in crate::engine) fn grant(&mut self, token: Token, fence: u64) {
        if !self.granted.insert((token, fence)) {
            self.granted.remove(&(token, fence));
        }
    }

    /// Whether it was told how it ended, and how.
    pub(in crate::engine) fn told(&self, token: Token) -> Option<End> {
        self.tasks.get(&token)?.told
    }

    /// The lane is as the journal has it.
    pub(in crate::engine) fn check(&self, lane: &Lane<Token>) {
        if self.is_wrong {
            return;
        }
        let count = |place: Place| {
            let here = self.tasks.values().filter(|entry| entry.place == place);
            here.count()
        };
        assert!(self.granted.is_empty(), "who was dispatched: {self:?}");
        assert_eq!(count(Place::Slot), lane.active(), "who has a slot");
        assert_eq!(count(Place::Orphan), lane.orphans(), "orphans");
        assert_eq!(count(Place::Queue), lane.queued(), "who is in the queue");
        assert_eq!(count(Place::Door), lane.at_door(), "who is at the door");
        for (key, record) in lane.records() {
            if record.keeps {
                continue;
            }
            let Some(entry) = self.tasks.get(&record.payload) else {
                panic!("nobody said that it came: {record:?}");
            };
            let place = match record.state {
                _ if record.away => Place::Away,
                State::Queued => Place::Queue,
                State::AtDoor => Place::Door,
                State::Quiet { .. } => Place::Quiet,
                State::Asleep => Place::Asleep,
                state if state.is_orphan() => Place::Orphan,
                _ => Place::Slot,
            };
            assert_eq!(entry.place, place, "{record:?}");
            let open = record.stands_in || lane.is_open(key);
            assert!(entry.told.is_none() == open, "S2, S7: {record:?}");
        }
        let here = self
            .tasks
            .values()
            .filter(|entry| entry.place != Place::Gone);
        let known = lane.records().filter(|(_, record)| !record.keeps);
        assert_eq!(here.count(), known.count(), "S15");
    }

    /// Everybody's end was told; but for those who came for the slot of a task, and
    /// handed it over.
    pub(in crate::engine) fn check_all_told(&self, mut handed_over: impl FnMut(Token) -> bool) {
        for (token, entry) in &self.tasks {
            assert_eq!(entry.place, Place::Gone, "{token}");
            let told = entry.told.is_some() || handed_over(*token);
            assert!(told, "S7: nobody said how {token} ended");
        }
    }
}
