//! Writing a recording, part by part, as JSON lines.

use std::io::{BufWriter, Write};

use super::SaveError;
use super::tape::{Kept, Part};
use crate::Event;
use crate::engine::{Input, Time};
use crate::events::{Hub, event_of};

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
    /// The part of this number begins; that of the first is the recording's own line.
    Part(u64),
}

/// A part of a recording that is being saved.
struct Saving<'a> {
    hub: &'a Hub,
    part: Part,
    saved: bool,
}

/// Writes what was recorded since the last time.
pub(crate) fn save(hub: &Hub, writer: impl Write) -> Result<(), SaveError> {
    let part = hub.begin_part().ok_or(SaveError::Off)?;
    let saved = false;
    let mut saving = Saving { hub, part, saved };
    saving.write(writer)?;
    saving.saved = true;
    Ok(())
}

impl Saving<'_> {
    fn write(&self, writer: impl Write) -> Result<(), SaveError> {
        let mut writer = BufWriter::new(writer);
        let written = self.write_lines(&mut writer);
        let written = written.and_then(|()| Ok(writer.flush()?));
        if written.is_err() {
            // Else it would be written when this is dropped, after all.
            drop(writer.into_parts());
        }
        written
    }

    fn write_lines(&self, mut writer: &mut impl Write) -> Result<(), SaveError> {
        let Self { hub, part, .. } = self;
        let built = hub.built();
        // Once some is missing, a part before may have failed, and then it is not known what
        // it has left: nothing, a line or half of one.
        if part.number == 0 || part.missed > 0 {
            let (built, unix_micros) = built;
            let begins = Line::Recording {
                version: VERSION,
                built,
                unix_micros,
            };
            line(&mut writer, begins)?;
        }
        if part.number > 0 {
            line(&mut writer, Line::Part(part.number))?;
        }
        let mut inputs = part.inputs.iter().peekable();
        let mut facts = Vec::new();
        let mut next = part.facts.start;
        while next < part.facts.end {
            hub.recorded(part, next, &mut facts);
            for (lane, name, fact) in facts.drain(..) {
                while let Some(kept) = inputs.next_if(|kept| kept.before <= next) {
                    kept.write(&mut writer)?;
                }
                fact.implied(|input| line(&mut writer, Line::Told { lane, input }))?;
                let (at, event) = (fact.at, event_of(built, next, (lane, name), &fact));
                line(&mut writer, Line::Event { lane, at, event })?;
                next += 1;
            }
        }
        inputs.try_for_each(|kept| kept.write(&mut writer))?;
        if part.missed > 0 {
            line(&mut writer, Line::Missed(part.missed))?;
        }
        Ok(())
    }
}

impl Drop for Saving<'_> {
    /// Also where the writer failed, or panicked: then all of it is lost.
    fn drop(&mut self) {
        let Part { inputs, facts, .. } = &mut self.part;
        // At least one, so that nobody takes what is there for all there was.
        let all = (inputs.len() as u64 + (facts.end - facts.start)).max(1);
        inputs.clear();
        self.hub
            .end_part(&mut self.part, if self.saved { 0 } else { all });
    }
}

impl Kept {
    fn write(&self, writer: &mut impl Write) -> Result<(), SaveError> {
        let (lane, input) = (self.lane, &self.input);
        line(writer, Line::Told { lane, input })
    }
}

fn line(writer: &mut impl Write, line: Line<&Input, Event>) -> Result<(), SaveError> {
    serde_json::to_writer(&mut *writer, &line).map_err(std::io::Error::from)?;
    Ok(writer.write_all(b"\n")?)
}
