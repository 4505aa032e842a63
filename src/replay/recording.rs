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
    lines: Vec<Line<Input, Value>>,
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
        let mut lines = Vec::new();
        let mut built = None;
        for (line, text) in (1..).zip(reader.lines()) {
            let understood = serde_json::from_str::<Line<Input, Value>>(&text?);
            let parsed = understood.map_err(|problem| match built {
                None => first_of(line, &problem),
                Some(_) => ReplayError::Line {
                    line,
                    problem: problem.to_string(),
                },
            })?;
            match (parsed, built) {
                (
                    Line::Recording {
                        version,
                        built: at,
                        unix_micros,
                    },
                    None,
                ) => {
                    if version != VERSION {
                        let (found, expected) = (version, VERSION);
                        return Err(ReplayError::Version { found, expected });
                    }
                    built = Some((at, unix_micros));
                }
                (Line::Recording { .. }, Some(_)) => {
                    let problem = "another recording begins".to_owned();
                    return Err(ReplayError::Line { line, problem });
                }
                (_, None) => return Err(ReplayError::NoRecording),
                (other, Some(_)) => lines.push(other),
            }
        }
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
        let missed = self.lines.iter().rev().find_map(|line| match line {
            Line::Missed(missed) => Some(*missed),
            _ => None,
        });
        if let Some(missed) = missed {
            return Err(ReplayError::Overflowed { missed });
        }
        let mut stage = Stage::new(self.built);
        // The first line is the recording's own.
        let numbered = (2..).zip(&self.lines);
        for (line, what) in numbered {
            match what {
                Line::Told { lane, input } => stage.tell(line, *lane, input)?,
                Line::Event { lane, at, event } => stage.compare(line, *lane, *at, event)?,
                Line::Recording { .. } | Line::Missed(_) => {}
            }
        }
        let events = stage.end(self.lines.len() + 2)?;
        Ok(Replayed { events })
    }
}

fn first_of(line: usize, _: &serde_json::Error) -> ReplayError {
    debug_assert_eq!(line, 1);
    ReplayError::NoRecording
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
