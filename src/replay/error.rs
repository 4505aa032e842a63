//! Why a recording cannot be saved or replayed.

use std::fmt;
use std::io;

use crate::Event;

/// Why a recording cannot be saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// Nothing is recorded; see [`LanesBuilder::recording`](crate::LanesBuilder::recording).
    #[error("nothing is recorded: it is not turned on")]
    Off,
    /// The writer failed.
    #[error("the recording was not written: {0}")]
    Io(#[from] io::Error),
}

/// Why a recording cannot be read, or was not reproduced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The reader failed.
    #[error("the recording was not read: {0}")]
    Io(#[from] io::Error),
    /// It does not begin as a recording does.
    #[error("this is no recording: it does not begin as one")]
    NoRecording,
    /// It is of another version.
    #[error("a recording of version {found}, and not of {expected}")]
    Version {
        /// The one that it is of.
        found: u32,
        /// The one that is understood.
        expected: u32,
    },
    /// A line cannot be understood.
    #[error("line {line} of the recording: {problem}")]
    Line {
        /// Which, from 1 on.
        line: usize,
        /// What is the matter with it.
        problem: String,
    },
    /// Not all was recorded: there was no room for it before it was saved, or a writer did
    /// not take it.
    #[error(
        "{missed} inputs and events found no room or were not written, and what came of them cannot be known"
    )]
    Overflowed {
        /// How many.
        missed: u64,
    },
    /// The engine decided otherwise than it had.
    #[error(transparent)]
    Diverged(Box<Divergence>),
}

/// The first event that differs between a recording and its replay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Divergence {
    /// The line of the recording at which that was noticed, from 1 on; one more than it has
    /// for what was missing at its end.
    pub line: usize,
    /// The event as it was recorded, in JSON; `None` if none was there.
    pub recorded: Option<String>,
    /// The event that the replay came to; `None` if it came to none.
    pub replayed: Option<Event>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at line {} the replay differs: recorded was ", self.line)?;
        match &self.recorded {
            Some(event) => f.write_str(event)?,
            None => f.write_str("nothing")?,
        }
        f.write_str(", and it came to ")?;
        match &self.replayed {
            Some(event) => match serde_json::to_string(event) {
                Ok(event) => f.write_str(&event),
                Err(_) => write!(f, "{event:?}"),
            },
            None => f.write_str("nothing"),
        }
    }
}

impl std::error::Error for Divergence {}
