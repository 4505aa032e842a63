//! What a graph of waits comes to: the culprit, what time will do about it, and what
//! somebody can do.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::explanation::{Cause, Never, Remedy};
use super::flow::Flow;
use super::graph::{Due, LaneNode, On, Stage, TaskNode, Wait, WaitGraph};
use crate::engine::{BlockedBy, Bound, Follows};
use crate::{Standing, TaskId};

/// How many of several that could be named are.
const NAMED: usize = 3;
/// Deeper than any path of waits, in steps from a task to a lane to a task.
const DEEPEST: usize = 256;

pub(super) struct Verdict {
    pub(super) cause: Cause,
    pub(super) next: Option<Due>,
    pub(super) never: Option<Never>,
    pub(super) remedies: Vec<Remedy>,
}

impl Verdict {
    pub(super) const fn nobody_waits() -> Self {
        Self {
            cause: Cause::NobodyWaits,
            next: None,
            never: None,
            remedies: Vec::new(),
        }
    }

    pub(super) fn of_task(graph: &WaitGraph, id: TaskId) -> Self {
        let mut search = Search::of(graph);
        let cause = search.root(id);
        let (next, never) = search.what_time_does(&cause);
        let remedies = search.remedies(id, &cause, next.as_ref(), never);
        Self {
            cause,
            next,
            never,
            remedies,
        }
    }
}

/// The way down to the root.
struct Search<'a> {
    tasks: HashMap<TaskId, &'a TaskNode>,
    lanes: HashMap<u64, &'a LaneNode>,
    flow: Flow,
    /// The tasks that were come to.
    seen: HashSet<TaskId>,
    /// How many holders of a lane were followed in vain.
    tried: HashMap<u64, usize>,
    /// The tasks on the way.
    path: Vec<TaskId>,
    /// The first part of a way that came back to itself.
    circle: Vec<TaskId>,
    /// The last lane on the way.
    at: Option<&'a LaneNode>,
}

impl<'a> Search<'a> {
    fn of(graph: &'a WaitGraph) -> Self {
        let tasks = graph.tasks.iter().map(|node| (node.task.id, node));
        let lanes = graph.lanes.iter().map(|node| (node.serial, node));
        Self {
            tasks: tasks.collect(),
            lanes: lanes.collect(),
            flow: Flow::of(graph),
            seen: HashSet::new(),
            tried: HashMap::new(),
            path: Vec::new(),
            circle: Vec::new(),
            at: None,
        }
    }

    /// It is a circle only if no way leads anywhere else: then nobody on any of them can
    /// move, as in `runtime/waits`.
    fn root(&mut self, id: TaskId) -> Cause {
        self.task(id).unwrap_or_else(|| Cause::Circle {
            tasks: std::mem::take(&mut self.circle),
        })
    }

    /// What this task comes to; `None` if it leads to nothing but what was seen.
    fn task(&mut self, id: TaskId) -> Option<Cause> {
        if !self.seen.insert(id) {
            let known = self.path.iter().position(|task| *task == id);
            if let Some(known) = known.filter(|_| self.circle.is_empty()) {
                self.circle = self.path[known..].to_vec();
            }
            return None;
        }
        let Some(node) = self.node(id) else {
            return Some(Cause::Unknown);
        };
        if self.path.len() > DEEPEST {
            return Some(Cause::Unknown);
        }
        self.path.push(id);
        let cause = match node.stage {
            Stage::Asked | Stage::Dropping | Stage::Teardown | Stage::Delivering => {
                Some(Cause::Ending { task: id })
            }
            Stage::Orphan => Some(Cause::Orphan { task: id }),
            Stage::Asleep => Some(Cause::Asleep { task: id }),
            Stage::QuietWindow => Some(Cause::QuietWindow { task: id }),
            Stage::Granted | Stage::Reserved => Some(Cause::Unclaimed { task: id }),
            Stage::Parked => {
                let what = node.waits.iter().find_map(|wait| match wait {
                    Wait::Somebody { what } => Some(what.clone()),
                    _ => None,
                });
                let what = what.unwrap_or_default();
                Some(Cause::Parked { task: id, what })
            }
            _ if node.moves => Some(Cause::Moves { task: id }),
            _ => self.waits(node),
        };
        self.path.pop();
        cause
    }

    /// Of what it waits for, that first which will not go on by itself, then the oldest;
    /// what it may abandon only if nothing else explains that it does not move.
    fn waits(&mut self, node: &TaskNode) -> Option<Cause> {
        let mut waits = node.ours();
        waits.sort_by_key(|(wait, on)| (!wait.is_firm(), self.flow.has(on)));
        for (_, on) in &waits {
            let cause = match on {
                On::Lane(serial) => self.lane(*serial),
                On::Task(id) => self.task(*id),
            };
            if cause.is_some() {
                return cause;
            }
        }
        // All of it leads back.
        if !waits.is_empty() && waits.iter().all(|(wait, _)| wait.is_firm()) {
            return None;
        }
        Some(match node.stage {
            Stage::Running | Stage::Detached | Stage::ComingBack => {
                Cause::Silent { task: node.task.id }
            }
            _ => Cause::Unknown,
        })
    }

    fn lane(&mut self, serial: u64) -> Option<Cause> {
        let Some(lane) = self.lanes.get(&serial).copied() else {
            return Some(Cause::Unknown);
        };
        let before = self.at.replace(lane);
        let named = || lane.name.clone();
        if lane.max_concurrent == 0 {
            return Some(Cause::NoSlots { lane: named() });
        }
        if lane.paused {
            return Some(Cause::Paused { lane: named() });
        }
        if self.flow.has(&On::Lane(serial)) {
            let away = |id: &TaskId| Some((self.flow.away(&On::Task(*id))?, *id));
            let nearest = lane.holders.iter().filter_map(away);
            let (_, holder) = nearest.min_by_key(|(away, _)| *away)?;
            return self.task(holder);
        }
        if lane.holders.is_empty() {
            return Some(match &lane.group {
                Some(group) if by_group(lane) => Cause::GroupBudget {
                    lane: named(),
                    group: group.clone(),
                },
                _ => Cause::Unknown,
            });
        }
        // Whoever comes to this lane again goes on with the next of them.
        loop {
            let tried = self.tried.entry(serial).or_default();
            let Some(holder) = lane.holders.get(*tried) else {
                self.at = before;
                return None;
            };
            if let Some(cause) = self.task(*holder) {
                return Some(cause);
            }
            *self.tried.entry(serial).or_default() += 1;
        }
    }

    fn node(&self, id: TaskId) -> Option<&'a TaskNode> {
        self.tasks.get(&id).copied()
    }

    /// What comes next by itself, or why nothing does.
    fn what_time_does(&self, cause: &Cause) -> (Option<Due>, Option<Never>) {
        let next = |ids: &[TaskId]| {
            let nodes = ids.iter().filter_map(|id| self.node(*id));
            let dues = nodes.flat_map(|node| node.dues.iter().copied());
            dues.filter(|due| due.follows != Follows::Reported)
                .min_by_key(|due| due.after)
        };
        match cause {
            Cause::NobodyWaits | Cause::Moves { .. } | Cause::Unknown => (None, None),
            Cause::Paused { .. } => {
                let resumes = self.at.and_then(|lane| lane.resumes_after);
                let due = resumes.map(lane_resumes);
                (due, due.is_none().then_some(Never::PausedByHand))
            }
            Cause::NoSlots { .. } => (None, Some(Never::NoSlots)),
            Cause::GroupBudget { .. } => (None, Some(Never::GroupBudget)),
            Cause::Circle { tasks } => {
                let due = next(tasks);
                (due, due.is_none().then_some(Never::Circle))
            }
            Cause::Silent { task }
            | Cause::Parked { task, .. }
            | Cause::Ending { task }
            | Cause::Unclaimed { task }
            | Cause::Asleep { task }
            | Cause::QuietWindow { task }
            | Cause::Orphan { task } => {
                // Another holder of the same lane may be the first to lose its slot.
                let beside = self.at.filter(|lane| lane.holders.contains(task));
                let beside = beside.and_then(|lane| next(&lane.holders));
                let beside = beside.filter(|due| due.follows.frees_slot());
                let own = next(&[*task]);
                let due = match (own, beside) {
                    (Some(own), Some(beside)) if beside.after < own.after => Some(beside),
                    (own, beside) => own.or(beside),
                };
                let never = self.node(*task).and_then(|node| node.never);
                (due, never.filter(|_| due.is_none()))
            }
        }
    }

    /// What makes room for the take of this task.
    fn for_orphans(&self, task: TaskId) -> impl Iterator<Item = Remedy> {
        let orphans = self.lanes.get(&task.lane);
        let orphans = orphans.map_or(&[][..], |lane| &lane.orphans);
        let nodes = orphans.iter().filter_map(|id| self.node(*id));
        let remedy = |node: &TaskNode| Remedy::for_orphan(node.task.id, node.stage);
        nodes.filter_map(remedy).take(NAMED)
    }

    fn remedies(
        &self,
        asked: TaskId,
        cause: &Cause,
        next: Option<&Due>,
        never: Option<Never>,
    ) -> Vec<Remedy> {
        let mut remedies = Vec::new();
        match cause {
            Cause::NobodyWaits
            | Cause::Unknown
            | Cause::QuietWindow { .. }
            | Cause::Unclaimed { .. } => {}
            Cause::Moves { .. } => remedies.extend(self.at.map(more_room)),
            Cause::Silent { task } => {
                let silence = |due: &&Due| {
                    let bounds = [
                        Bound::StallCeiling,
                        Bound::Idle,
                        Bound::Phase,
                        Bound::Extension,
                    ];
                    bounds.contains(&due.bound) && due.task == Some(*task)
                };
                let standing = self.node(*task).and_then(|node| node.task.standing);
                if standing == Some(Standing::NotPolled) {
                    remedies.push(Remedy::Poll { id: *task });
                }
                remedies.extend(self.waitpoints(*task));
                remedies.push(Remedy::Cancel { id: *task });
                if never == Some(Never::OrphanBound) {
                    remedies.extend(self.for_orphans(*task));
                }
                let stuck = matches!(
                    standing,
                    Some(Standing::NotPolled | Standing::InPoll | Standing::RuntimeStuck)
                );
                if stuck && next.is_some_and(|due| due.needs_runner) {
                    // To be asked is not enough for it.
                    remedies.extend(self.node(*task).map(|node| Remedy::Reset {
                        lane: node.lane.clone(),
                    }));
                }
                remedies.extend(next.filter(silence).map(|_| Remedy::Extend { id: *task }));
                // Last: two at once in a lane of one is seldom what helps.
                remedies.extend(self.at.map(more_room));
            }
            Cause::Parked { task, .. } => {
                remedies.extend(self.waitpoints(*task));
                remedies.push(Remedy::Cancel { id: *task });
            }
            Cause::Ending { task } => {
                if never == Some(Never::OrphanBound) || next.is_some_and(|due| due.needs_runner) {
                    let lane = self.node(*task).map(|node| &node.lane);
                    remedies.extend(self.for_orphans(*task));
                    remedies.extend(lane.map(|lane| Remedy::Reset { lane: lane.clone() }));
                }
            }
            Cause::Asleep { task } => {
                // One that was spawned is its runtime's to poll, which has no thread for it.
                let spawned = self.node(*task).is_some_and(|node| node.task.spawned);
                remedies.extend((!spawned).then_some(Remedy::Poll { id: *task }));
                remedies.push(Remedy::Cancel { id: *task });
            }
            Cause::Orphan { task } => remedies.push(Remedy::ForgetOrphan { id: *task }),
            Cause::Paused { lane } => remedies.push(Remedy::Resume { lane: lane.clone() }),
            Cause::NoSlots { lane } => remedies.push(Remedy::SetMaxConcurrent {
                lane: lane.clone(),
                at_least: 1,
            }),
            Cause::GroupBudget { group, .. } => remedies.push(Remedy::Group {
                group: group.clone(),
            }),
            Cause::Circle { tasks } => {
                remedies.extend(tasks.iter().map(|id| Remedy::Cancel { id: *id }));
            }
        }
        let door = |(wait, on): (&Wait, On)| match (wait, on) {
            (Wait::Place { .. }, On::Lane(lane)) => self.lanes.get(&lane).copied(),
            _ => None,
        };
        let node = self.node(asked);
        if let Some(lane) = node.and_then(|node| node.ours().into_iter().find_map(door)) {
            remedies.push(Remedy::QueueCapacity {
                lane: lane.name.clone(),
                at_least: lane.places_wanted,
            });
        }
        remedies
    }

    fn waitpoints(&self, task: TaskId) -> Vec<Remedy> {
        let waits = self.node(task).map_or(&[][..], |node| &node.waits);
        let keys = waits.iter().filter_map(|wait| match wait {
            Wait::Waitpoint { key, .. } => Some(key),
            _ => None,
        });
        let both = |key: &String| {
            let (resumed, cancelled) = (key.clone(), key.clone());
            [
                Remedy::ResumeWaitpoint { key: resumed },
                Remedy::CancelWaitpoint { key: cancelled },
            ]
        };
        keys.flat_map(both).collect()
    }
}

const fn by_group(lane: &LaneNode) -> bool {
    matches!(
        lane.blocked_by,
        Some(BlockedBy::GroupBudget | BlockedBy::Reservation)
    )
}

const fn lane_resumes(after: Duration) -> Due {
    Due {
        bound: Bound::Pause,
        after,
        follows: Follows::LaneResumes,
        task: None,
        grace: None,
        teardown: None,
        needs_runner: false,
    }
}

/// One more could start beside those that hold what there is.
fn more_room(lane: &LaneNode) -> Remedy {
    match &lane.group {
        Some(group) if by_group(lane) => Remedy::Group {
            group: group.clone(),
        },
        _ => Remedy::SetMaxConcurrent {
            lane: lane.name.clone(),
            at_least: lane.active + 1,
        },
    }
}
