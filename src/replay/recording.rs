//! A recording that was read back, and what its replay came to.

use std::io::BufRead;

use serde_json::Value;

use super::ReplayError;
use super::save::{Line, VERSION};
use super::stage::Stage;
use crate::engine::{Input, Time};
use crate::{Event, EventKind, TaskId};

/// What a scheduler was told and what it decided, read back. See [the module](super).
#[derive(Debug)]
pub struct Recording {
    built: (Time, u64),
    /// With their numbers.
    lines: Vec<(usize, Line<Input, Value>)>,
}

/// What the engine came to once more: all that was recorded.
#[derive(Clone, Debug)]
pub struct Replayed {
    events: Vec<Event>,
}

impl Recording {
    /// Reads a recording, from its first line on: the parts that
    /// [`Lanes::save_recording`](crate::Lanes::save_recording) wrote, one after another.
    ///
    /// # Errors
    ///
    /// [`ReplayError`]: it cannot be read, or is none of this version.
    pub fn read(reader: impl BufRead) -> Result<Self, ReplayError> {
        let (mut lines, mut built) = (Vec::new(), None);
        // A save that failed may have left half a line. Then a later one says that some is
        // missing.
        let mut half = None;
        for (number, text) in (1..).zip(reader.lines()) {
            let text = text?;
            if text.trim().is_empty() {
                continue;
            }
            match serde_json::from_str(&text) {
                Ok(Line::Recording {
                    version,
                    built: at,
                    unix_micros,
                }) => begins(number, version, (at, unix_micros), &mut built)?,
                _ if built.is_none() => return Err(ReplayError::NoRecording),
                Ok(line) => {
                    if let Line::Missed(_) = line {
                        half = None;
                    }
                    lines.push((number, line));
                }
                Err(problem) => half = half.or_else(|| Some(not_understood(number, &problem))),
            }
        }
        half.map_or(Ok(()), Err)?;
        let built = built.ok_or(ReplayError::NoRecording)?;
        Ok(Self { built, lines })
    }

    /// Tells the engine all of it once more, and holds what it decides against what was
    /// recorded, event for event. O(n log n).
    ///
    /// # Errors
    ///
    /// [`ReplayError::Diverged`], with the first event that differs;
    /// [`ReplayError::Overflowed`] if a part of it is missing;
    /// [`ReplayError::Line`] if it speaks of a lane or group that it does not know.
    pub fn replay(&self) -> Result<Replayed, ReplayError> {
        let missed = self.lines.iter().rev().find_map(|(_, line)| match line {
            Line::Missed(missed) => Some(*missed),
            _ => None,
        });
        if let Some(missed) = missed {
            return Err(ReplayError::Overflowed { missed });
        }
        let mut stage = Stage::new(self.built);
        let mut parts = 1;
        for (line, what) in &self.lines {
            let line = *line;
            match what {
                Line::Told { lane, input } => stage.tell(line, *lane, input)?,
                Line::Event { lane, at, event } => stage.compare(line, *lane, *at, event)?,
                Line::Part(part) if *part == parts => parts += 1,
                Line::Part(part) => {
                    let problem = format!("part {part} of it begins, and not part {parts}");
                    return Err(ReplayError::Line { line, problem });
                }
                Line::Recording { .. } | Line::Missed(_) => {}
            }
        }
        let events = stage.end(self.lines.last().map_or(1, |(line, _)| *line) + 1)?;
        Ok(Replayed { events })
    }
}

/// A recording begins, and if one did before, it is the same.
fn begins(
    line: usize,
    version: u32,
    this: (Time, u64),
    built: &mut Option<(Time, u64)>,
) -> Result<(), ReplayError> {
    if version != VERSION {
        let (found, expected) = (version, VERSION);
        return Err(ReplayError::Version { found, expected });
    }
    if *built.get_or_insert(this) != this {
        let problem = "the recording of another scheduler begins".to_owned();
        return Err(ReplayError::Line { line, problem });
    }
    Ok(())
}

fn not_understood(line: usize, problem: &serde_json::Error) -> ReplayError {
    let problem = match problem.is_eof() {
        true => "it ends in the middle".to_owned(),
        // Without the place, which is one in this line.
        false => problem.to_string().split(" at line ").take(1).collect(),
    };
    ReplayError::Line { line, problem }
}

impl Replayed {
    /// All that happened, in its order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What happened to one task.
    pub fn of(&self, task: TaskId) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |e| e.task == Some(task))
    }

    /// Who was given a slot, and when: each is an [`EventKind::Dispatched`].
    pub fn dispatched(&self) -> impl Iterator<Item = &Event> {
        self.which(|kind| matches!(kind, EventKind::Dispatched { .. }))
    }

    /// Which lanes were blocked, and why, where that was worth a warning: each is an
    /// [`EventKind::Blocked`] that is not healthy.
    pub fn blocked(&self) -> impl Iterator<Item = &Event> {
        self.which(|kind| matches!(kind, EventKind::Blocked { healthy: false, .. }))
    }

    /// What reclaims came to: each is an [`EventKind::Recovered`] or an
    /// [`EventKind::Ineffective`].
    pub fn reclaimed(&self) -> impl Iterator<Item = &Event> {
        self.which(|kind| {
            matches!(
                kind,
                EventKind::Recovered { .. } | EventKind::Ineffective { .. }
            )
        })
    }

    fn which(&self, is: fn(&EventKind) -> bool) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| is(&event.kind))
    }
}
