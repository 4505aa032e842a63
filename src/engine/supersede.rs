//! A newer task takes the place of older ones.

use std::time::Duration;

use super::effects::Effects;
use super::entry::{Accepted, Entry, IfFull, Line, Refused};
use super::lane::Lane;
use super::queue::Place;
use super::slab::Key;
use super::task::{End, Record, Spec, State};
use super::time::Time;
use super::vocabulary::Reason;

/// Whom a newer task supersedes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Older<'a> {
    These(&'a [Key]),
    /// Whoever holds the slot; only in a lane of one.
    Holders,
}

impl<P: Clone> Lane<P> {
    /// Submits a task in the place of older ones, or changes nothing.
    ///
    /// Those of them that wait are settled here. Those that hold a slot are
    /// returned, to be cancelled by the caller in the same critical section:
    /// what that takes, only the shell knows. Where there are such, the newer
    /// task goes before everybody who waits, since it is their slot that it
    /// gets; where there are none, it has the best place in line of those that
    /// it superseded. Either way a full queue does not refuse it.
    pub(crate) fn submit_instead(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        mut entry: Entry,
        older: Older<'_>,
        effects: &mut Effects<P>,
    ) -> Result<(Accepted, Vec<Key>), Refused> {
        self.admits(entry.descendant)?;
        let older = match older {
            Older::These(keys) => keys,
            Older::Holders if self.settings.max_concurrent > 1 => return Err(Refused::NoKey),
            Older::Holders => &self.holders.clone(),
        };
        let state = |key: &Key| self.tasks.get(*key).map(|record| record.state);
        let in_state = |is: fn(State) -> bool| -> Vec<Key> {
            let are = |key: &&Key| state(key).is_some_and(is);
            let mut keys: Vec<Key> = older.iter().filter(are).copied().collect();
            keys.sort_unstable_by_key(|key| key.seq);
            keys
        };
        let holders = in_state(|state| state.holds_slot() || state == State::Detached);
        let waiting = in_state(State::waits);
        let record = |key: &Key| self.tasks.get(*key);
        let goes_first =
            |record: &Record<P>| record.is_holder() || record.state.waits() && record.first;
        let first = older.iter().filter_map(record).any(goes_first);
        // One that is parked without its slot is to come back to its place.
        let away = holders.iter().filter_map(record);
        let away = away.filter(|record| record.away);
        let records = waiting.iter().filter_map(record).chain(away);
        // That place may be in use by whoever stands in for it, and no two have
        // the same: so it is the moment before.
        let before = |place: Place| Place {
            since: place.since.before(Duration::from_nanos(1)),
            seq: self.tasks.next_seq(),
        };
        let places = records.clone().map(|record| match record.away {
            true => before(record.place),
            false => record.place,
        });
        let line = match places.min() {
            _ if first => Line::First,
            Some(place) => Line::At(place),
            None => Line::Last,
        };
        // Only what is in the queue has a place there to leave.
        if first || records.clone().any(|record| record.state != State::AtDoor) {
            entry.if_full = IfFull::Enter;
        }
        self.finds_room(entry)?;
        let now = self.advance(now);
        for key in waiting {
            if let Some(record) = self.tasks.get(key) {
                let waited = now.since(record.place.since);
                let reason = Reason::Superseded;
                let end = End::CancelledQueued { reason, waited };
                self.settle_queued(now, key, end, effects);
            }
        }
        let accepted = self.submit_as(now, task, spec, entry, line)?;
        self.let_in(now, effects);
        Ok((accepted, holders))
    }
}
