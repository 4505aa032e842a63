//! Bad input, refused at the call that gave it (S18).

use std::fmt;
use std::time::Duration;

/// The longest name of a lane or a task, and the longest key, in bytes.
pub(crate) const LONGEST_NAME: usize = 256;

/// A duration that cannot work as what it was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidDuration {
    /// What it was given for.
    pub what: &'static str,
    /// What was given.
    pub given: Duration,
}

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, given } = self;
        if given.is_zero() {
            write!(f, "{what} may not be zero")
        } else {
            write!(f, "{what} of {given:?} is longer than the clock can hold")
        }
    }
}

impl std::error::Error for InvalidDuration {}

/// A name or key that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
#[non_exhaustive]
pub struct InvalidName {
    /// What it was to name.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: NameProblem,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// It has no characters.
    #[error("may not be empty")]
    Empty,
    /// It is longer than names may be.
    #[error("is {len} bytes long, and {max} is the most")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// The greatest length, in bytes.
        max: usize,
    },
    /// It has a control character, which would garble a log.
    #[error("has a control character at byte {at}")]
    ControlCharacter {
        /// Where it stands, in bytes from the start.
        at: usize,
    },
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let problem = if name.is_empty() {
        NameProblem::Empty
    } else if name.len() > LONGEST_NAME {
        NameProblem::TooLong {
            len: name.len(),
            max: LONGEST_NAME,
        }
    } else if let Some(at) = name.find(char::is_control) {
        NameProblem::ControlCharacter { at }
    } else {
        return Ok(());
    };
    Err(InvalidName { what, problem })
}

/// Why a scheduler could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A lane's name cannot work.
    #[error("lane {lane:?}: {problem}")]
    Name {
        /// The name as given.
        lane: String,
        /// What is wrong with it.
        problem: InvalidName,
    },
    /// A duration in a lane's configuration cannot work.
    #[error("lane {lane:?}: {problem}")]
    Duration {
        /// The lane's name; `*` for the default lane.
        lane: String,
        /// What is wrong.
        problem: InvalidDuration,
    },
    /// Two lanes were given one name.
    #[error("lane {lane:?} is configured twice")]
    DuplicateLane {
        /// The name.
        lane: String,
    },
    /// The first fence is so great that the fences of a lane could run out.
    #[error("fences may not start at {given}: {max} is the most")]
    FenceStart {
        /// The first fence as given.
        given: u64,
        /// The greatest that is accepted.
        max: u64,
    },
}

/// Why [`Lanes::lane`](crate::Lanes::lane) has no lane for a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneNameError {
    /// The name cannot work.
    #[error(transparent)]
    Invalid(#[from] InvalidName),
    /// No lane was configured under this name, and there is no default lane.
    #[error("no lane is called {name:?}, and no default lane is configured")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The scheduler was closed: lanes are not made on first use any more.
    #[error("lane {name:?} was not made: the scheduler is closed")]
    Closed {
        /// The name.
        name: String,
    },
}

/// An option of a task that cannot work; the task was not submitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOption {
    /// Its name or its key.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// One of its durations.
    #[error(transparent)]
    Duration(#[from] InvalidDuration),
    /// It was to supersede somebody, and has no key that says whom. Only in a
    /// lane of one slot is that clear without.
    #[error("a task without a key can supersede only in a lane of one slot")]
    NoKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s18_names_are_checked() {
        let problem = |name: &str| check_name("a lane name", name).map_err(|e| e.problem);
        assert_eq!(problem(""), Err(NameProblem::Empty));
        assert_eq!(
            problem(&"x".repeat(257)),
            Err(NameProblem::TooLong { len: 257, max: 256 })
        );
        assert_eq!(
            problem("a\nb"),
            Err(NameProblem::ControlCharacter { at: 1 })
        );
        assert_eq!(problem(&"x".repeat(256)), Ok(()));
        assert_eq!(problem("session:тикет 42"), Ok(()));
    }
}
