//! How a job ended, from what its child and its lanes have to say about it.

use std::fmt;
use std::io;

use laneway::{Reason, TaskError};

use crate::child::Exit;

/// Why there is no exit status to speak of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error("cannot run it: {0}")]
    Child(#[from] io::Error),
    #[error(transparent)]
    Lane(#[from] TaskError),
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Succeeded,
    Failed(String),
    TimedOut(String),
    Stalled(String),
    /// Cut short because the runner itself was told to stop.
    Interrupted(String),
    /// Never started, for the same reason.
    NotRun,
}

impl From<Result<Exit, JobError>> for Outcome {
    fn from(result: Result<Exit, JobError>) -> Self {
        match result {
            Ok(exit) => Self::of_exit(&exit),
            Err(JobError::Lane(error)) => Self::of_lane(&error),
            Err(error @ JobError::Child(_)) => Self::Failed(error.to_string()),
        }
    }
}

impl Outcome {
    /// A child that was asked to end has not succeeded, however it left.
    fn of_exit(exit: &Exit) -> Self {
        let said = match &exit.last_line {
            Some(line) => format!("last line {:?}", shorten(line)),
            None => "printed nothing".to_owned(),
        };
        let why = format!("{}, {said}", exit.status);
        match exit.asked {
            None if exit.status.success() => Self::Succeeded,
            None => Self::Failed(why),
            Some(Reason::Stalled) => Self::Stalled(why),
            Some(Reason::TimedOut) => Self::TimedOut(why),
            Some(_) => Self::Interrupted(why),
        }
    }

    fn of_lane(error: &TaskError) -> Self {
        let why = error.to_string();
        match error {
            TaskError::Stalled { .. } => Self::Stalled(why),
            TaskError::TimedOut { .. } => Self::TimedOut(why),
            TaskError::Cancelled { .. } => Self::Interrupted(why),
            TaskError::CancelledQueued { .. }
            | TaskError::Closed { .. }
            | TaskError::Draining { .. }
            | TaskError::Shutdown { .. } => Self::NotRun,
            _ => Self::Failed(why),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("ok"),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::TimedOut(why) => write!(f, "TIMED OUT: {why}"),
            Self::Stalled(why) => write!(f, "STALLED: {why}"),
            Self::Interrupted(why) => write!(f, "interrupted: {why}"),
            Self::NotRun => f.write_str("not run"),
        }
    }
}

fn shorten(line: &str) -> &str {
    line.char_indices()
        .nth(60)
        .map_or(line, |(end, _)| &line[..end])
}
