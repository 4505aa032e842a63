//! Findings as one wants to read them at three in the morning.

use std::fmt::{self, Display, Formatter};

use super::diagnosis::{Diagnosis, Finding, Problem};
use super::span::Span;
use super::text::Coming;

impl Display for Diagnosis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_healthy() {
            return writeln!(f, "nothing is wrong");
        }
        for finding in &self.findings {
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}", self.problem, Waiting(self))?;
        if let Some(why) = &self.evidence {
            let text = why.to_string();
            writeln!(f, "  {}", text.lines().next().unwrap_or_default())?;
        } else if let Some(due) = &self.next {
            writeln!(f, "  {}", Coming(due, None))?;
        } else if let Some(never) = &self.never {
            writeln!(f, "  by itself: never ({never})")?;
        }
        for remedy in &self.remedies {
            writeln!(f, "  helps: {remedy}")?;
        }
        Ok(())
    }
}

/// Who waits for it, if anybody does.
struct Waiting<'a>(&'a Finding);

impl Display for Waiting<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Finding {
            lanes,
            waiting,
            waited,
            ..
        } = self.0;
        let Some((first, others)) = lanes.split_first() else {
            return Ok(());
        };
        write!(f, "; {waiting} wait in lane {first:?}")?;
        match others {
            [] => {}
            [other] => write!(f, " and lane {other:?}")?,
            others => write!(f, " and {} lanes more", others.len())?,
        }
        write!(f, ", the first for {}", Span(*waited))
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuntimeStuck { runtime } => {
                write!(
                    f,
                    "runtime {runtime} is stuck: every thread of it is blocked"
                )
            }
            Self::NotDriven { overdue } => write!(
                f,
                "no runtime sees to the lanes: what is due has been so for {}",
                Span(*overdue)
            ),
            Self::Unread { lane } => {
                write!(f, "what lane {lane:?} waits for is too far away to be told")
            }
            Self::Circle { tasks } => {
                let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
                write!(f, "tasks wait for each other: {}", tasks.join(", "))
            }
            Self::OrphanBound { task, lane } => write!(
                f,
                "the slot of {task} in lane {lane:?} is not taken: as many orphans as there may be"
            ),
            Self::Phantom { task } => write!(f, "nobody polls {task}, which holds a slot"),
            Self::BlockedPoll { task } => write!(f, "{task} blocks the thread that polls it"),
            Self::Spinning { task } => write!(f, "{task} is polled without end"),
            Self::Silent { task } => write!(f, "{task} holds a slot and is silent"),
            Self::Paused { lane } => write!(f, "lane {lane:?} is paused"),
            Self::NoSlots { lane } => write!(f, "lane {lane:?} has no slots"),
            Self::NoBudget { group, lane } => {
                write!(f, "group {group:?} has no slot for lane {lane:?}")
            }
            Self::Parked { task, what } => write!(f, "{task} waits for {what:?}"),
            Self::Asleep { task } => {
                write!(f, "nobody polls {task}, which was given a slot and lost it")
            }
            Self::Orphans { lane, tasks } => match &tasks[..] {
                [task] => write!(f, "an orphan of lane {lane:?} runs on: {task}"),
                tasks => write!(f, "{} orphans of lane {lane:?} run on", tasks.len()),
            },
            Self::Grows {
                lane,
                arrivals_per_hour,
                dispatches_per_hour,
            } => write!(
                f,
                "the queue of lane {lane:?} grows: {arrivals_per_hour} come in an hour, \
                 and {dispatches_per_hour} are dispatched"
            ),
            Self::CallersGone { lane } => {
                write!(f, "nobody waits for whoever waits in lane {lane:?}")
            }
            Self::GroupFull { group } => {
                write!(
                    f,
                    "the budget of group {group:?} is in use, and a holder moves"
                )
            }
            Self::AtCapacity { lane } => {
                write!(
                    f,
                    "all slots of lane {lane:?} are in use, and a holder moves"
                )
            }
        }
    }
}
