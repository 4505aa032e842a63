//! What a graph of waits comes to: the culprit, what time will do about it, and what
//! somebody can do.

use std::collections::HashMap;
use std::time::Duration;

use super::explanation::{Cause, Never, Remedy};
use super::graph::{Due, LaneNode, Stage, TaskNode, Wait, WaitGraph};
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
        let cause = search.task(id);
        let Search { at, .. } = search;
        let (next, never) = what_time_does(graph, &cause, at);
        let remedies = remedies(graph, id, &cause, next.as_ref(), never, at);
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
    lanes: HashMap<&'a str, &'a LaneNode>,
    /// Whether it goes on by itself soon; not yet known while it is being found out, and
    /// what leads back to itself does not.
    flows: HashMap<TaskId, bool>,
    /// The tasks on the way.
    path: Vec<TaskId>,
    /// The last lane on the way.
    at: Option<&'a LaneNode>,
}

impl<'a> Search<'a> {
    fn of(graph: &'a WaitGraph) -> Self {
        let tasks = graph.tasks.iter().map(|node| (node.task.id, node));
        let lanes = graph.lanes.iter().map(|node| (node.name.as_str(), node));
        Self {
            tasks: tasks.collect(),
            lanes: lanes.collect(),
            flows: HashMap::new(),
            path: Vec::new(),
            at: None,
        }
    }

    fn task(&mut self, id: TaskId) -> Cause {
        if let Some(known) = self.path.iter().position(|task| *task == id) {
            let tasks = self.path.split_off(known);
            return Cause::Circle { tasks };
        }
        let Some(node) = self.tasks.get(&id).copied() else {
            return Cause::Unknown;
        };
        if self.path.len() > DEEPEST {
            return Cause::Unknown;
        }
        self.path.push(id);
        match node.stage {
            Stage::Asked | Stage::Dropping | Stage::Teardown => Cause::Ending { task: id },
            Stage::Orphan => Cause::Orphan { task: id },
            Stage::Asleep => Cause::Asleep { task: id },
            Stage::QuietWindow => Cause::QuietWindow { task: id },
            Stage::Granted | Stage::Reserved => Cause::Unclaimed { task: id },
            Stage::Parked => {
                let what = node.waits.iter().find_map(|wait| match wait {
                    Wait::Somebody { what } => Some(what.clone()),
                    _ => None,
                });
                let what = what.unwrap_or_default();
                Cause::Parked { task: id, what }
            }
            _ => match self.worst_wait(node) {
                Some(Wait::Slot { lane, .. } | Wait::Place { lane, .. }) => self.lane(lane),
                Some(Wait::Task { id, .. }) => self.task(*id),
                _ if node.moves => Cause::Moves { task: id },
                _ if node.stage == Stage::Running || node.stage == Stage::Detached => {
                    Cause::Silent { task: id }
                }
                _ => Cause::Unknown,
            },
        }
    }

    /// Of what it waits for, what will not go on by itself; else the oldest.
    fn worst_wait(&mut self, node: &'a TaskNode) -> Option<&'a Wait> {
        let mut first = None;
        for wait in node.waits.iter().filter(|wait| wait.is_ours()) {
            if !self.wait_flows(wait, 0) {
                return Some(wait);
            }
            first = first.or(Some(wait));
        }
        first
    }

    fn lane(&mut self, name: &str) -> Cause {
        let Some(lane) = self.lanes.get(name).copied() else {
            return Cause::Unknown;
        };
        self.at = Some(lane);
        let named = || lane.name.clone();
        if lane.max_concurrent == 0 {
            return Cause::NoSlots { lane: named() };
        }
        if lane.paused {
            return Cause::Paused { lane: named() };
        }
        let flows = lane.holders.iter().find(|id| self.task_flows(**id, 0));
        match (flows.or_else(|| lane.holders.first()), &lane.group) {
            (Some(holder), _) => self.task(*holder),
            (None, Some(group)) if by_group(lane) => Cause::GroupBudget {
                lane: named(),
                group: group.clone(),
            },
            _ => Cause::Unknown,
        }
    }

    fn task_flows(&mut self, id: TaskId, depth: usize) -> bool {
        if let Some(known) = self.flows.get(&id) {
            return *known;
        }
        let Some(node) = self.tasks.get(&id).copied() else {
            // It has just ended.
            return true;
        };
        if depth > DEEPEST {
            return false;
        }
        self.flows.insert(id, false);
        let flows = match node.stage {
            Stage::Queued | Stage::AtDoor | Stage::Gathering | Stage::ComingBack => {
                self.all_flow(node, depth)
            }
            Stage::Running => node.moves || self.all_flow(node, depth),
            _ => false,
        };
        self.flows.insert(id, flows);
        flows
    }

    fn all_flow(&mut self, node: &'a TaskNode, depth: usize) -> bool {
        let ours = || node.waits.iter().filter(|wait| wait.is_ours());
        ours().next().is_some() && ours().all(|wait| self.wait_flows(wait, depth))
    }

    fn wait_flows(&mut self, wait: &Wait, depth: usize) -> bool {
        match wait {
            Wait::Task { id, .. } => self.task_flows(*id, depth + 1),
            Wait::Slot { lane, .. } | Wait::Place { lane, .. } => {
                let Some(lane) = self.lanes.get(lane.as_str()).copied() else {
                    return false;
                };
                let open = lane.max_concurrent > 0 && !lane.paused;
                open && lane
                    .holders
                    .iter()
                    .any(|id| self.task_flows(*id, depth + 1))
            }
            Wait::Somebody { .. } | Wait::Waitpoint { .. } => false,
        }
    }
}

const fn by_group(lane: &LaneNode) -> bool {
    matches!(
        lane.blocked_by,
        Some(BlockedBy::GroupBudget | BlockedBy::Reservation)
    )
}

/// What comes next by itself, or why nothing does.
fn what_time_does(
    graph: &WaitGraph,
    cause: &Cause,
    at: Option<&LaneNode>,
) -> (Option<Due>, Option<Never>) {
    let next = |ids: &[TaskId]| {
        let nodes = ids.iter().filter_map(|id| graph.task(*id));
        let dues = nodes.flat_map(|node| node.dues.iter().copied());
        dues.filter(|due| due.follows != Follows::Reported)
            .min_by_key(|due| due.after)
    };
    match cause {
        Cause::NobodyWaits | Cause::Moves { .. } | Cause::Unknown => (None, None),
        Cause::Paused { lane } => {
            let resumes = graph.lane(lane).and_then(|lane| lane.resumes_after);
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
            let beside = at.filter(|lane| lane.holders.contains(task));
            let beside = beside.and_then(|lane| next(&lane.holders));
            let beside = beside.filter(|due| due.follows.frees_slot());
            let own = next(&[*task]);
            let due = match (own, beside) {
                (Some(own), Some(beside)) if beside.after < own.after => Some(beside),
                (own, beside) => own.or(beside),
            };
            let never = graph.task(*task).and_then(|node| node.never);
            (due, never.filter(|_| due.is_none()))
        }
    }
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

fn remedies(
    graph: &WaitGraph,
    asked: TaskId,
    cause: &Cause,
    next: Option<&Due>,
    never: Option<Never>,
    at: Option<&LaneNode>,
) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    match cause {
        Cause::NobodyWaits
        | Cause::Unknown
        | Cause::QuietWindow { .. }
        | Cause::Unclaimed { .. } => {}
        Cause::Moves { .. } => remedies.extend(at.map(more_room)),
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
            let standing = graph.task(*task).and_then(|node| node.task.standing);
            if standing == Some(Standing::NotPolled) {
                remedies.push(Remedy::Poll { id: *task });
            }
            remedies.extend(at.map(more_room));
            remedies.extend(waitpoints(graph, *task));
            remedies.push(Remedy::Cancel { id: *task });
            let stuck = matches!(
                standing,
                Some(Standing::NotPolled | Standing::InPoll | Standing::RuntimeStuck)
            );
            if stuck && next.is_some_and(|due| due.needs_runner) {
                // To be asked is not enough for it.
                remedies.extend(graph.task(*task).map(|node| Remedy::Reset {
                    lane: node.lane.clone(),
                }));
            }
            remedies.extend(next.filter(silence).map(|_| Remedy::Extend { id: *task }));
        }
        Cause::Parked { task, .. } => {
            remedies.extend(waitpoints(graph, *task));
            remedies.push(Remedy::Cancel { id: *task });
        }
        Cause::Ending { task } => {
            if never == Some(Never::OrphanBound) || next.is_some_and(|due| due.needs_runner) {
                let lane = graph.task(*task).map(|node| &node.lane);
                let node = lane.and_then(|lane| graph.lane(lane));
                let orphans = node.map_or(&[][..], |node| &node.orphans);
                let forget = |id: &TaskId| Remedy::ForgetOrphan { id: *id };
                remedies.extend(orphans.iter().take(NAMED).map(forget));
                remedies.extend(lane.map(|lane| Remedy::Reset { lane: lane.clone() }));
            }
        }
        Cause::Asleep { task } => {
            remedies.push(Remedy::Poll { id: *task });
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
    let door = |wait: &Wait| match wait {
        Wait::Place { lane, .. } => graph.lane(lane),
        _ => None,
    };
    let node = graph.task(asked);
    if let Some(lane) = node.and_then(|node| node.waits.iter().find_map(door)) {
        remedies.push(Remedy::QueueCapacity {
            lane: lane.name.clone(),
            at_least: lane.queued + lane.at_door,
        });
    }
    remedies
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

fn waitpoints(graph: &WaitGraph, task: TaskId) -> Vec<Remedy> {
    let waits = graph.task(task).map_or(&[][..], |node| &node.waits);
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
