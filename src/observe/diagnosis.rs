//! What is wrong, worst first.

use std::time::Duration;

use super::explanation::{self, Cause, LaneExplanation, Never, Remedy};
use super::graph::Due;
use super::walk::{Reading, stage};
use crate::engine::{BlockedBy, Facts, Record};
use crate::runtime::{DomainRef, Shared, TaskCell, callers_are_gone};
use crate::snapshot::{LaneSnapshot, StuckRuntime, TaskSnapshot};
use crate::sync::Arc;
use crate::{Standing, TaskId};

/// What is wrong with a scheduler, the worst first; made by
/// [`Lanes::diagnose`](crate::Lanes::diagnose).
///
/// Printed, it is a text to be read: each finding with its evidence and what helps.
/// With the feature `serde` it serializes; durations are whole milliseconds.
///
/// One lane was read after the other: it is no moment of the whole.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[must_use]
pub struct Diagnosis {
    /// None where all is well.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Whether nothing was found.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.findings.is_empty()
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// What it is, and whose fault.
    pub problem: Problem,
    /// The lanes in which somebody waits for that.
    pub lanes: Vec<String>,
    /// How many wait there.
    pub waiting: usize,
    /// How long the first of them has waited.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::snapshot::millis"))]
    pub waited: Duration,
    /// What time will do about it, if anything.
    pub next: Option<Due>,
    /// Why time will do nothing about it, where that is so.
    pub never: Option<Never>,
    /// What somebody can do about it.
    pub remedies: Vec<Remedy>,
    /// Why the first waiter of the first of those lanes waits, down to the root.
    pub evidence: Option<Box<LaneExplanation>>,
}

/// What is wrong; the worst first.
///
/// "For long" is as long as the lane's
/// [`warn_after`](crate::LaneConfig::warn_after).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Problem {
    /// A runtime polls nobody: every thread of it is blocked. Where it is the only one
    /// in use, it takes the [watchdog](crate::LanesBuilder::watchdog) to know.
    RuntimeStuck {
        /// Its id, as tokio prints it.
        runtime: String,
    },
    /// What a lane has to do in time is overdue, and no runtime in use comes to do it:
    /// its last thread is blocked, or it is not driven. Slots that should have been taken
    /// are not.
    NotDriven {
        /// By how much.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::snapshot::millis"))]
        overdue: Duration,
    },
    /// Tasks wait for each other, each for the next, and the last for the first.
    Circle {
        /// Those tasks.
        tasks: Vec<TaskId>,
    },
    /// A slot is not taken, since there are as many orphans as there may be (S10).
    OrphanBound {
        /// The task that keeps it.
        task: TaskId,
        /// Its lane.
        lane: String,
    },
    /// A slot is held by a task that nobody polls: its future was forgotten, or is in a
    /// `select!` that moved on.
    Phantom {
        /// That task.
        task: TaskId,
    },
    /// A task blocks the thread that polls it, and has for long given no sign of life.
    BlockedPoll {
        /// That task.
        task: TaskId,
    },
    /// A task is polled over and over, reports no progress and comes to no end.
    Spinning {
        /// That task.
        task: TaskId,
    },
    /// A holder has for long given no sign of life: whatever it waits for outside of our
    /// lanes is silent.
    Silent {
        /// That task.
        task: TaskId,
    },
    /// A lane is paused, for good, and somebody has waited in it for long.
    Paused {
        /// The lane.
        lane: String,
    },
    /// A lane has no slots, and somebody has waited in it for long.
    NoSlots {
        /// The lane.
        lane: String,
    },
    /// A group has no slot for a lane, whoever goes: what is left of its budget is
    /// reserved for others, or there is none.
    NoBudget {
        /// The group.
        group: String,
        /// The lane.
        lane: String,
    },
    /// A task waits for somebody while others wait for long behind it, or has waited
    /// for most of the time that it may.
    Parked {
        /// That task.
        task: TaskId,
        /// What it said that it waits for.
        what: String,
    },
    /// A waiter was given a slot and not polled, so that it sleeps beside the queue (S20).
    Asleep {
        /// That task.
        task: TaskId,
    },
    /// What somebody has long waited for was not read: it is too many waits away, or
    /// behind too many tasks. See [`WaitGraph::omitted`](crate::WaitGraph::omitted).
    Unread {
        /// The lane.
        lane: String,
    },
    /// Tasks whose slots were taken run on.
    Orphans {
        /// Their lane.
        lane: String,
        /// Those tasks.
        tasks: Vec<TaskId>,
    },
    /// More tasks come to a lane than are dispatched, and somebody has waited for long.
    Grows {
        /// The lane.
        lane: String,
        /// How many come in an hour, by recent history.
        arrivals_per_hour: u64,
        /// How many are given a slot in an hour, by recent history.
        dispatches_per_hour: u64,
    },
    /// Nobody waits for anybody who waits in a lane that stands still: the handles of all
    /// of them were dropped.
    CallersGone {
        /// The lane.
        lane: String,
    },
    /// A group's budget, or what of it is not reserved for others, is in use for long.
    /// A holder moves.
    GroupFull {
        /// The group.
        group: String,
    },
    /// All slots of a lane are in use for long. A holder moves.
    AtCapacity {
        /// The lane.
        lane: String,
    },
}

impl Problem {
    /// The worst is the first.
    const fn rank(&self) -> u8 {
        match self {
            Self::RuntimeStuck { .. } => 0,
            Self::NotDriven { .. } | Self::Circle { .. } => 1,
            Self::OrphanBound { .. } => 2,
            Self::Phantom { .. } => 3,
            Self::BlockedPoll { .. } => 4,
            Self::Spinning { .. } => 5,
            Self::Silent { .. } => 6,
            Self::Paused { .. } => 7,
            Self::NoSlots { .. } => 8,
            Self::NoBudget { .. } => 9,
            Self::Parked { .. } => 10,
            Self::Asleep { .. } | Self::Unread { .. } => 11,
            Self::Orphans { .. } => 12,
            Self::Grows { .. } => 13,
            Self::CallersGone { .. } => 14,
            Self::GroupFull { .. } => 15,
            Self::AtCapacity { .. } => 16,
        }
    }
}

/// Later than any driver comes that comes at all.
const OVERDUE: Duration = Duration::from_millis(500);

/// What is wrong with all lanes.
pub(crate) fn diagnose(shared: &Arc<Shared>) -> Diagnosis {
    let mut found = Found::of(shared);
    for stuck in StuckRuntime::all(shared) {
        found.add(Finding::of(Problem::RuntimeStuck { runtime: stuck.id }));
    }
    let overdue = shared.timers.first();
    let overdue = overdue.map_or(Duration::ZERO, |at| shared.clock.now().since(at));
    if overdue >= OVERDUE {
        found.add(Finding::of(Problem::NotDriven { overdue }));
    }
    let domains = shared.all();
    let looks: Vec<Look<'_>> = domains.iter().map(Look::at).collect();
    for look in &looks {
        look.tell(&mut found);
    }
    let mut findings = found.findings;
    for finding in &mut findings {
        // To end whoever is not polled there helps nobody.
        let there = match &finding.problem {
            Problem::RuntimeStuck { runtime } => Some(runtime.as_str()),
            Problem::NotDriven { .. } => None,
            _ => continue,
        };
        let in_poll = looks.iter().flat_map(|look| look.in_poll(there));
        finding.remedies = in_poll.map(|id| Remedy::Unblock { id }).collect();
    }
    findings.sort_by_key(|finding| (finding.problem.rank(), std::cmp::Reverse(finding.waited)));
    Diagnosis { findings }
}

impl Finding {
    const fn of(problem: Problem) -> Self {
        Self {
            problem,
            lanes: Vec::new(),
            waiting: 0,
            waited: Duration::ZERO,
            next: None,
            never: None,
            remedies: Vec::new(),
            evidence: None,
        }
    }
}

/// Each problem once, however many lanes suffer from it.
struct Found {
    findings: Vec<Finding>,
    read: Reading,
}

impl Found {
    fn of(shared: &Shared) -> Self {
        Self {
            findings: Vec::new(),
            read: Reading::of(shared),
        }
    }

    fn add(&mut self, finding: Finding) {
        let known = self.findings.iter_mut();
        let mut known = known.filter(|known| known.problem.is_of(&finding.problem));
        let Some(known) = known.next() else {
            self.findings.push(finding);
            return;
        };
        for lane in finding.lanes {
            // One lane after the other is looked at.
            if known.lanes.last() != Some(&lane) {
                known.lanes.push(lane);
                known.waiting += finding.waiting;
            }
        }
        known.waited = known.waited.max(finding.waited);
        for remedy in finding.remedies {
            if !known.remedies.contains(&remedy) {
                known.remedies.push(remedy);
            }
        }
        known.next = known.next.or(finding.next);
        known.never = known.never.or(finding.never);
    }
}

impl Problem {
    /// A circle is the same wherever one begins to tell it.
    fn is_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Circle { tasks }, Self::Circle { tasks: others }) => {
                tasks.len() == others.len() && tasks.iter().all(|task| others.contains(task))
            }
            _ => self == other,
        }
    }
}

/// What is wrong with a holder that gives no sign of life, by where it stands.
fn silent(holder: &TaskSnapshot) -> Problem {
    let task = holder.id;
    match (holder.standing, &holder.runtime) {
        (Some(Standing::NotPolled), _) => Problem::Phantom { task },
        (Some(Standing::InPoll), _) => Problem::BlockedPoll { task },
        (Some(Standing::PolledWithoutEnd), _) => Problem::Spinning { task },
        (Some(Standing::RuntimeStuck), Some(runtime)) => Problem::RuntimeStuck {
            runtime: runtime.clone(),
        },
        _ => Problem::Silent { task },
    }
}

/// One lane, as far as it is looked at.
struct Look<'a> {
    domain: &'a DomainRef,
    lane: LaneSnapshot,
    /// What is long here.
    long: Duration,
}

impl<'a> Look<'a> {
    fn at(domain: &'a DomainRef) -> Self {
        let long = domain.terms.with(|terms| terms.config.warning_after());
        Self {
            domain,
            lane: LaneSnapshot::of(domain),
            long,
        }
    }

    fn tell(&self, found: &mut Found) {
        if let Some(waited) = self.waited().filter(|waited| *waited >= self.long) {
            self.waiters(waited, found);
        }
        for task in &self.lane.active {
            self.holder(task, found);
        }
        for task in self.lane.active.iter().chain(&self.lane.parked) {
            self.parked(task, found);
        }
        if !self.lane.orphans.is_empty() {
            let tasks = self.lane.orphans.iter().map(|task| task.id);
            let mut finding = Finding::of(Problem::Orphans {
                lane: self.lane.name.clone(),
                tasks: tasks.collect(),
            });
            finding.remedies = self.for_orphans();
            found.add(finding);
        }
    }

    fn for_orphans(&self) -> Vec<Remedy> {
        self.domain.read(|engine| {
            let orphans = engine.records().filter(|(_, of)| of.state.is_orphan());
            let remedy = |(_, of): (_, &Record<Arc<TaskCell>>)| {
                Remedy::for_orphan(of.payload.whose().id(), stage(of.state, &Facts::default()))
            };
            orphans.filter_map(remedy).collect()
        })
    }

    /// Those whose runner is in a poll on this runtime, or on any.
    fn in_poll<'b>(&'b self, runtime: Option<&'b str>) -> impl Iterator<Item = TaskId> + 'b {
        let holders = self.lane.active.iter().chain(&self.lane.orphans);
        let there = holders.filter(move |task| {
            runtime.is_none_or(|runtime| task.runtime.as_deref() == Some(runtime))
        });
        let in_poll = there.filter(|task| task.standing == Some(Standing::InPoll));
        in_poll.map(|task| task.id)
    }

    /// How long the first has waited.
    fn waited(&self) -> Option<Duration> {
        let waiters = self.lane.queued.iter().chain(&self.lane.at_door);
        waiters.map(|task| task.waited).max()
    }

    /// Somebody has waited for long.
    fn waiters(&self, waited: Duration, found: &mut Found) {
        let why = explanation::lane_of(&mut found.read, self.domain);
        let Some(problem) = self.problem(&why) else {
            return;
        };
        let waiting = self.lane.queued.len() + self.lane.at_door.len();
        let with = |problem| Finding {
            problem,
            lanes: vec![self.lane.name.clone()],
            waiting,
            waited,
            next: why.next,
            never: why.never,
            remedies: why.remedies.clone(),
            evidence: Some(Box::new(why.clone())),
        };
        found.add(with(problem));
        if let Some(grows) = self.grows() {
            found.add(with(grows));
        }
        // Where it moves, whoever was sent off on its own is served in the end.
        if !matches!(why.cause, Cause::Moves { .. }) && callers_are_gone(self.domain) {
            let clear = Remedy::Clear {
                lane: self.lane.name.clone(),
            };
            found.add(Finding {
                remedies: vec![clear],
                ..with(Problem::CallersGone {
                    lane: self.lane.name.clone(),
                })
            });
        }
    }

    /// A fifth more come than are served, and not only just now: in both halves of the
    /// time that is long here.
    fn grows(&self) -> Option<Problem> {
        let pace = &self.lane.pace;
        let (arrivals, dispatches) = (pace.arrivals_per_second?, pace.dispatches_per_second?);
        let served = dispatches * (self.long / 2).as_secs_f64();
        let came = |from: Duration, to: Duration| {
            let ages = self.lane.queued.iter().map(|task| task.waited);
            ages.filter(|age| (from..to).contains(age)).count() as f64
        };
        let half = self.long / 2;
        let fewest = came(Duration::ZERO, half).min(came(half, self.long));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is positive, and what is beyond u64 is as well u64::MAX"
        )]
        let per_hour = |rate: f64| (rate * 3600.0).round() as u64;
        (fewest > served * 1.2).then(|| Problem::Grows {
            lane: self.lane.name.clone(),
            arrivals_per_hour: per_hour(arrivals),
            dispatches_per_hour: per_hour(dispatches),
        })
    }

    /// What it is that the first waiter waits for, if that is wrong.
    fn problem(&self, why: &LaneExplanation) -> Option<Problem> {
        let lane = || self.lane.name.clone();
        Some(match &why.cause {
            Cause::Circle { tasks } => Problem::Circle {
                tasks: tasks.clone(),
            },
            Cause::Silent { task } => silent(&why.graph.task(*task)?.task),
            Cause::Ending { task } if why.never == Some(Never::OrphanBound) => {
                Problem::OrphanBound {
                    task: *task,
                    lane: why.graph.task(*task)?.lane.clone(),
                }
            }
            // A pause that ends by itself is somebody's plan (S16).
            Cause::Paused { .. } if why.next.is_some() => return None,
            Cause::Paused { lane } => Problem::Paused { lane: lane.clone() },
            Cause::NoSlots { lane } => Problem::NoSlots { lane: lane.clone() },
            Cause::GroupBudget { lane, group } => Problem::NoBudget {
                group: group.clone(),
                lane: lane.clone(),
            },
            Cause::Parked { task, what } => Problem::Parked {
                task: *task,
                what: what.clone(),
            },
            Cause::Asleep { task } => Problem::Asleep { task: *task },
            Cause::Moves { .. } => match (self.lane.blocked_by, &self.lane.group) {
                (Some(BlockedBy::GroupBudget | BlockedBy::Reservation), Some(group)) => {
                    Problem::GroupFull {
                        group: group.clone(),
                    }
                }
                _ => Problem::AtCapacity { lane: lane() },
            },
            Cause::Unknown if why.graph.omitted > 0 => Problem::Unread { lane: lane() },
            // It will have ended by itself, or is on its way.
            _ => return None,
        })
    }

    /// What is wrong with a holder, whoever waits.
    fn holder(&self, task: &TaskSnapshot, found: &mut Found) {
        let idle = task.idle.unwrap_or_default();
        if task.waiting
            || task.parked.as_ref().is_some_and(|p| p.waits)
            || task.asked.is_some()
            || idle < self.long
        {
            return;
        }
        let id = task.id;
        let ceiling = [task.limits.stall_ceiling, task.limits.idle];
        let overdue = ceiling.into_iter().flatten().any(|ceiling| idle >= ceiling);
        let problem = match silent(task) {
            // It would be gone, were stalls not only reported.
            Problem::Silent { .. } | Problem::BlockedPoll { .. } if !overdue => return,
            // It may well be busy, and not report it.
            Problem::Spinning { .. } if !overdue => return,
            problem => problem,
        };
        let mut finding = Finding::of(problem);
        finding.remedies = vec![Remedy::Cancel { id }];
        if let Some(why) = explanation::task_of(&mut found.read, self.domain, id) {
            (finding.next, finding.never) = (why.next, why.never);
            finding.remedies = why.remedies;
        }
        found.add(finding);
    }

    /// It has waited for somebody for most of the time that it may.
    fn parked(&self, task: &TaskSnapshot, found: &mut Found) {
        let Some(parked) = task.parked.as_ref().filter(|parked| parked.waits) else {
            return;
        };
        if parked.waited < self.long || parked.waited < parked.limit / 2 {
            return;
        }
        let mut finding = Finding::of(Problem::Parked {
            task: task.id,
            what: parked.what.clone(),
        });
        finding.remedies = vec![Remedy::Cancel { id: task.id }];
        if let Some(why) = explanation::task_of(&mut found.read, self.domain, task.id) {
            (finding.next, finding.never) = (why.next, why.never);
            finding.remedies = why.remedies;
        }
        found.add(finding);
    }
}
