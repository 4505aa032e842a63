//! What a search found stuck: the circle in it, and who of that is refused.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use super::super::cell::TaskCell;
use super::super::domain::Domain;
use super::super::group::GroupCell;
use super::{FIRST, Wait, Waits, What};
use crate::error::{Cycle, CycleTask, WaitsFor};
use crate::sync::Arc;

/// A circle of waits, and the newest of those that can be refused.
pub(in crate::runtime) struct Circle {
    pub(in crate::runtime) cycle: Cycle,
    pub(in crate::runtime) parent: Arc<TaskCell>,
    pub(in crate::runtime) child: Arc<TaskCell>,
    /// The child is in line, and for this wait alone.
    pub(in crate::runtime) leaves: bool,
}

impl Waits {
    /// What it waits for that is stuck, too.
    fn stuck_below(&self, node: usize) -> Vec<usize> {
        let mut below = Vec::new();
        match &self.nodes[node].what {
            What::Task(_, waits) => below.extend(waits.iter().map(|wait| wait.on)),
            What::Lane(_, slots) => {
                if slots.stuck >= slots.limit {
                    below.extend(&slots.holders);
                }
                if let Some((group, share)) = slots.group
                    && let What::Group(_, budget) = &self.nodes[group].what
                    && !budget.has_room(share)
                {
                    below.extend(budget.in_the_way_of(share));
                }
            }
            // Looked at from its lanes.
            What::Group(..) => {}
        }
        below.retain(|node| !self.nodes[*node].moves);
        below
    }

    /// All that is stuck below the first, each with what it was reached from.
    fn reach(&self) -> (BTreeMap<usize, usize>, Option<usize>) {
        let mut from = BTreeMap::new();
        let mut back = None;
        let mut next = VecDeque::from([FIRST]);
        while let Some(node) = next.pop_front() {
            for below in self.stuck_below(node) {
                if below == FIRST {
                    back = back.or(Some(node));
                } else if let Entry::Vacant(free) = from.entry(below) {
                    free.insert(node);
                    next.push_back(below);
                }
            }
        }
        (from, back)
    }

    /// What a second search has to find again, so that there was a moment
    /// between the two at which all of it was so at once.
    pub(in crate::runtime) fn mark(&self) -> Vec<Vec<u64>> {
        let (from, _) = self.reach();
        let mut marks: Vec<Vec<u64>> = from
            .into_keys()
            .chain([FIRST])
            .map(|node| self.mark_of(node))
            .collect();
        marks.sort_unstable();
        marks
    }

    fn mark_of(&self, node: usize) -> Vec<u64> {
        let name = |task: &TaskCell| [task.id().lane, task.id().key.seq];
        let below: Vec<u64> = match &self.nodes[node].what {
            What::Task(_, waits) => waits.iter().map(|wait| wait.serial).collect(),
            What::Lane(..) | What::Group(..) => {
                let holders = self.stuck_below(node).into_iter();
                let holder = |node: usize| match &self.nodes[node].what {
                    What::Task(task, _) => name(task).to_vec(),
                    _ => Vec::new(),
                };
                holders.flat_map(holder).collect()
            }
        };
        let head = match &self.nodes[node].what {
            What::Task(task, _) => vec![0, name(task)[0], name(task)[1]],
            What::Lane(lane, slots) => {
                let budget = slots.group.map(|(group, _)| match &self.nodes[group].what {
                    What::Group(group, budget) => [Arc::as_ptr(group).addr(), budget.budget],
                    _ => [0; 2],
                });
                let [group, budget] = budget.unwrap_or_default();
                vec![
                    1,
                    lane.serial,
                    slots.limit as u64,
                    group as u64,
                    budget as u64,
                ]
            }
            What::Group(..) => Vec::new(),
        };
        head.into_iter().chain(below).collect()
    }

    /// The shortest circle through that from which the search began; `None` if
    /// it is stuck behind one that it is no part of.
    pub(in crate::runtime) fn circle(&self) -> Option<Circle> {
        let (from, back) = self.reach();
        let mut path = vec![back?];
        while let Some(before) = path.last().and_then(|node| from.get(node)) {
            path.push(*before);
        }
        // From the first on, in the order in which they wait.
        path.reverse();
        if path.first() != Some(&FIRST) {
            path.insert(0, FIRST);
        }
        let steps: Vec<Step<'_>> = (0..path.len())
            .filter_map(|at| self.step(&path, at))
            .collect();
        let refusable = steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.can_be_refused());
        let (newest, step) = refusable.max_by_key(|(_, step)| step.wait.serial)?;
        let told = steps[newest..].iter().chain(&steps[..newest]);
        Some(Circle {
            cycle: Cycle::new(told.map(Step::told).collect()),
            parent: Arc::clone(step.task),
            child: Arc::clone(step.child),
            leaves: step.child_is_queued() && !step.wait.shared,
        })
    }

    /// The wait that begins at this place of a circle, if it is that of a task
    /// for another.
    fn step(&self, path: &[usize], at: usize) -> Option<Step<'_>> {
        let next = |n: usize| path[(at + n) % path.len()];
        let (What::Task(task, waits), What::Task(child, _)) =
            (&self.nodes[next(0)].what, &self.nodes[next(1)].what)
        else {
            return None;
        };
        let (lane, group) = match &self.nodes[next(2)].what {
            What::Lane(lane, slots) => {
                let full = slots.stuck >= slots.limit && slots.holders.contains(&next(3));
                let group = slots.group.filter(|_| !full);
                (Some(lane), group.map(|(group, _)| &self.nodes[group].what))
            }
            _ => (None, None),
        };
        let group = match group {
            Some(What::Group(group, _)) => Some(group),
            _ => None,
        };
        let wait = waits.iter().find(|wait| wait.on == next(1))?;
        Some(Step {
            task,
            child,
            wait: *wait,
            lane,
            group,
        })
    }
}

/// A task of a circle, and what it waits for.
struct Step<'a> {
    task: &'a Arc<TaskCell>,
    child: &'a Arc<TaskCell>,
    wait: Wait,
    /// Where the child is in line.
    lane: Option<&'a Arc<Domain>>,
    group: Option<&'a Arc<GroupCell>>,
}

impl Step<'_> {
    const fn child_is_queued(&self) -> bool {
        self.lane.is_some()
    }

    /// A child that runs as part of its parent cannot be left.
    const fn can_be_refused(&self) -> bool {
        self.child_is_queued() || !self.wait.owned
    }

    fn told(&self) -> CycleTask {
        let labels = self.task.labels();
        CycleTask {
            id: self.task.id(),
            name: labels.and_then(|labels| labels.name.clone()),
            lane: Arc::clone(&self.task.domain().name),
            waits_for: match self.lane {
                Some(lane) => WaitsFor::Lane {
                    lane: Arc::clone(&lane.name),
                    group: self.group.map(|group| Arc::clone(&group.name)),
                },
                None => WaitsFor::Task {
                    id: self.child.id(),
                },
            },
        }
    }
}
