//! Tasks that wait for each other in a circle.

use std::fmt;

use crate::TaskId;
use crate::sync::Arc;

/// The tasks of a deadlock, each of which waits for the next, and the last for
/// the first.
///
/// The first is the one whose wait was refused. Printed, it is one line:
///
/// ```text
/// task 2-1 in lane "main" waits for lane "session:42"; task 1-1 "turn 17" in lane "session:42" waits for task 2-1
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(Arc<[CycleTask]>);

/// One task of a [`Cycle`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CycleTask {
    /// The task.
    pub id: TaskId,
    /// What its submitter named it.
    pub name: Option<Arc<str>>,
    /// The name of its lane.
    pub lane: Arc<str>,
    /// What it waits for.
    pub waits_for: WaitsFor,
}

/// What a task of a [`Cycle`] waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// A slot of a lane, held by the next task.
    Lane {
        /// The lane's name.
        lane: Arc<str>,
        /// The lane's group, where it is the budget of the group that is used
        /// up; the next task may be of any of its lanes then.
        group: Option<Arc<str>>,
    },
    /// The next task itself.
    Task {
        /// That task.
        id: TaskId,
    },
}

impl Cycle {
    pub(crate) fn new(tasks: Vec<CycleTask>) -> Self {
        Self(tasks.into())
    }

    /// The tasks, from the one whose wait was refused.
    #[must_use]
    pub fn tasks(&self) -> &[CycleTask] {
        &self.0
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, task) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{task}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CycleTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, " in lane {:?} waits for {}", self.lane, self.waits_for)
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lane { lane, group: None } => write!(f, "lane {lane:?}"),
            Self::Lane {
                lane,
                group: Some(group),
            } => write!(f, "lane {lane:?} of group {group:?}"),
            Self::Task { id } => write!(f, "task {id}"),
        }
    }
}
