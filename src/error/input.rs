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

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternProblem {
    /// It could not be a name either.
    #[error(transparent)]
    Name(NameProblem),
    /// It has no `*`, or more than one.
    #[error("has {stars} times `*`, and one is needed; a lane of one name is given with `lane`")]
    Stars {
        /// How many it has.
        stars: usize,
    },
}

/// Why a group cannot have a member, or cannot keep for it what it was to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberProblem {
    /// It is no name.
    #[error(transparent)]
    Name(InvalidName),
    /// It is meant as a pattern, and is none.
    #[error("the pattern {0}")]
    Pattern(PatternProblem),
    /// No lane has this name or ever can, for no pattern matches it.
    #[error("there can be no such lane: add it, or a pattern that matches it")]
    Unknown,
    /// It stands for lanes that another member of the group stands for, and
    /// neither is more specific.
    #[error("the group's member {member:?} stands for the same lanes, and is no more specific")]
    Overlaps {
        /// The other member.
        member: String,
    },
    /// A lane would be in two groups.
    #[error("group {group:?} claims it too, as {member:?}, and a lane is in one group at most")]
    ClaimedTwice {
        /// The other group.
        group: String,
        /// Its member that stands for the same lane.
        member: String,
    },
    /// Something is reserved for it, and it is no member.
    #[error(
        "slots are reserved for it, and it is no member: name it with `member`, in the same words"
    )]
    ReservedForStranger,
    /// More is reserved for it than its own limit lets it use.
    #[error("{reserved} slots are reserved for it, and it may use {max_concurrent}")]
    OverLane {
        /// What is reserved for it.
        reserved: usize,
        /// The lane's own limit.
        max_concurrent: usize,
    },
    /// With it, more is reserved than there is.
    #[error("with it {total} slots are reserved, and the group has {budget}")]
    OverBudget {
        /// What is reserved for the members up to this one.
        total: usize,
        /// The budget of the group.
        budget: usize,
    },
}

/// Why a scheduler could not be built, or be set anew; nothing was changed.
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
        /// The lane's name, or its pattern; `*` for the default lane.
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
    /// A lane's name has a `*`, which only a pattern has.
    #[error("lane {lane:?} has a `*` in its name: give it as a pattern, or without")]
    PatternAsLane {
        /// The name as given.
        lane: String,
    },
    /// A pattern cannot work.
    #[error("pattern {pattern:?} {problem}")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        problem: PatternProblem,
    },
    /// A pattern was given twice. The default lane is the pattern `*`.
    #[error("pattern {pattern:?} is configured twice{}", default_lane(.pattern))]
    DuplicatePattern {
        /// The pattern.
        pattern: String,
    },
    /// Two patterns match one name, and neither is more specific than the
    /// other: it does not match only names that the other matches too.
    #[error(
        "patterns {one:?} and {other:?} both match {name:?}, and neither is more specific: \
         lengthen one of them until it matches only what the other matches, or nothing of it"
    )]
    OverlappingPatterns {
        /// One of the two.
        one: String,
        /// The other.
        other: String,
        /// A name that both match.
        name: String,
    },
    /// A lane that is not configured under its own name was to be changed or
    /// removed.
    #[error(
        "lane {lane:?} is not configured by its name, so there is nothing to change: \
         add it, or change the pattern that matches it"
    )]
    UnknownLane {
        /// The name.
        lane: String,
    },
    /// A pattern that is not configured was to be removed.
    #[error("pattern {pattern:?} is not configured, so there is nothing to remove")]
    UnknownPattern {
        /// The pattern.
        pattern: String,
    },
    /// A group's name cannot work.
    #[error("group {group:?}: {problem}")]
    GroupName {
        /// The name as given.
        group: String,
        /// What is wrong with it.
        problem: InvalidName,
    },
    /// Two groups were given one name.
    #[error("group {group:?} is configured twice")]
    DuplicateGroup {
        /// The name.
        group: String,
    },
    /// A group that is not configured was to be removed.
    #[error("group {group:?} is not configured, so there is nothing to remove")]
    UnknownGroup {
        /// The name.
        group: String,
    },
    /// A group cannot have this member, or cannot keep for it what it was to.
    #[error("group {group:?}, member {member:?}: {problem}")]
    Member {
        /// The name of the group.
        group: String,
        /// The member: a lane's name, or a pattern.
        member: String,
        /// What is wrong with it.
        problem: MemberProblem,
    },
    /// The first fence is so great that the fences of a lane could run out.
    #[error("fences may not start at {given}: {max} is the most")]
    FenceStart {
        /// The first fence as given.
        given: u64,
        /// The greatest that is accepted.
        max: u64,
    },
    /// The system has no thread for the watchdog.
    #[error("no thread for the watchdog: {kind}")]
    Watchdog {
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// A recording has room for nothing.
    #[error("a recording with room for nothing")]
    RecordsNothing,
    /// A recording is to be kept, and no events; see
    /// [`LanesBuilder::events`](crate::LanesBuilder::events).
    #[error("a recording needs the log of events, which is not turned on")]
    RecordingWithoutEvents,
    /// So many events cannot be kept.
    #[error("{given} events cannot be kept: at least one, and {max} at the most")]
    Events {
        /// How many were to be.
        given: usize,
        /// The greatest number that is accepted.
        max: usize,
    },
}

fn default_lane(pattern: &str) -> &'static str {
    if pattern == "*" {
        ": the default lane is the pattern `*`, so give one of the two"
    } else {
        ""
    }
}

/// Why [`Lanes::lane`](crate::Lanes::lane) has no lane for a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneNameError {
    /// The name cannot work.
    #[error(transparent)]
    Invalid(#[from] InvalidName),
    /// No lane is configured under this name, no pattern matches it, and there
    /// is no default lane.
    #[error("no lane is called {name:?}, no pattern matches it, and no default lane is configured")]
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

/// Why [`Lanes::chain`](crate::Lanes::chain) made no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// It has no lane.
    #[error("a chain needs a lane")]
    Empty,
    /// It has a lane twice: its tasks would wait for a slot that they hold.
    #[error("lane {lane:?} is in the chain twice, at {first} and at {second}")]
    Twice {
        /// The lane's name.
        lane: String,
        /// Where it stands first, counted from zero.
        first: usize,
        /// Where it stands again.
        second: usize,
    },
    /// One of the names is that of no lane.
    #[error(transparent)]
    Lane(#[from] LaneNameError),
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
