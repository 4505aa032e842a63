//! What is kept of a recording until it is saved.

use std::io::{BufWriter, Write};

use super::SaveError;
use crate::engine::{Fact, Input, Time};
use crate::events::{Hub, event_of};
use crate::sync::Arc;

pub(super) const VERSION: u32 = 1;

/// A line of a recording. Inputs and events are written by reference, and read as
/// they are.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<I, E> {
    Recording {
        version: u32,
        built: Time,
        unix_micros: u64,
    },
    Told {
        lane: u64,
        input: I,
    },
    Event {
        lane: u64,
        at: Time,
        event: E,
    },
    Missed(u64),
}

/// Inputs and facts in the order in which they came; of one that is full, those that
/// came first, since nothing can be made of others.
#[derive(Debug)]
pub(crate) struct Tape {
    capacity: usize,
    entries: Vec<Entry>,
    /// The room of those that were saved last, since new memory costs more than what
    /// is written to it.
    room: Vec<Entry>,
    missed: u64,
    /// A part of it was saved already.
    begun: bool,
}

#[derive(Debug)]
enum Entry {
    Input(u64, Input),
    Fact(u64, u64, Arc<str>, Fact),
}

impl Tape {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: Vec::new(),
            room: Vec::new(),
            missed: 0,
            begun: false,
        }
    }

    pub(crate) fn input(&mut self, lane: u64, input: Input) {
        if self.has_room() {
            self.entries.push(Entry::Input(lane, input));
        }
    }

    pub(crate) fn fact(&mut self, seq: u64, lane: u64, name: Arc<str>, fact: &Fact) {
        if self.has_room() {
            self.entries
                .push(Entry::Fact(seq, lane, name, fact.clone()));
        }
    }

    const fn has_room(&mut self) -> bool {
        let room = self.missed == 0 && self.entries.len() < self.capacity;
        self.missed += !room as u64;
        room
    }

    /// What there is so far; it goes on without it.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            capacity: self.capacity,
            entries: std::mem::replace(&mut self.entries, std::mem::take(&mut self.room)),
            room: Vec::new(),
            missed: self.missed,
            begun: std::mem::replace(&mut self.begun, true),
        }
    }

    /// What was taken is dealt with, and nothing is left in it; so much of it was not
    /// saved.
    pub(crate) fn give_back(&mut self, emptied: Self, lost: u64) {
        self.missed += lost;
        self.room = emptied.entries;
    }
}

/// Writes what was recorded since the last time.
pub(crate) fn save(hub: &Hub, writer: impl Write) -> Result<(), SaveError> {
    let (built, mut tape) = hub.take_tape().ok_or(SaveError::Off)?;
    let written = write(built, &tape, writer);
    // At least one, so that nobody takes what is there for all there was.
    let taken = (tape.entries.len() as u64).max(1);
    tape.entries.clear();
    hub.give_tape_back(tape, if written.is_err() { taken } else { 0 });
    written
}

fn write(built: (Time, u64), tape: &Tape, writer: impl Write) -> Result<(), SaveError> {
    let mut writer = BufWriter::new(writer);
    let mut line = |line: Line<&Input, _>| -> Result<(), SaveError> {
        serde_json::to_writer(&mut writer, &line).map_err(std::io::Error::from)?;
        Ok(writer.write_all(b"\n")?)
    };
    if !tape.begun {
        line(Line::Recording {
            version: VERSION,
            built: built.0,
            unix_micros: built.1,
        })?;
    }
    for entry in &tape.entries {
        line(match entry {
            Entry::Input(lane, input) => Line::Told { lane: *lane, input },
            Entry::Fact(seq, lane, name, fact) => Line::Event {
                lane: *lane,
                at: fact.at,
                event: event_of(built, *seq, (*lane, Arc::clone(name)), fact),
            },
        })?;
    }
    if tape.missed > 0 {
        line(Line::Missed(tape.missed))?;
    }
    Ok(writer.flush()?)
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn s15_the_room_of_what_was_saved_is_used_again_and_holds_nothing() {
        let mut tape = Tape::new(100);
        let record = |tape: &mut Tape| (0..100).for_each(|_| tape.input(1, Input::Retired));
        let save = |tape: &mut Tape| {
            let mut taken = tape.take();
            assert_eq!(taken.entries.len(), 100);
            taken.entries.clear();
            tape.give_back(taken, 0);
        };
        for _ in 0..2 {
            record(&mut tape);
            save(&mut tape);
        }
        assert!(tape.entries.is_empty() && tape.room.is_empty());
        assert!(tape.entries.capacity() >= 100 && tape.room.capacity() >= 100);
    }

    #[test]
    fn an_entry_is_as_small_as_the_docs_say() {
        assert!(size_of::<Entry>() <= 160, "{}", size_of::<Entry>());
    }
}
