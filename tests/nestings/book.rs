//! Who holds what and waits for whom, as the tasks themselves tell it: a
//! deliberately naive graph, to judge every refusal by.

use std::collections::{BTreeMap, HashMap, HashSet};

use laneway::TaskId;

use crate::case::{Case, Group, LANES};

#[derive(Debug)]
pub(crate) struct Book {
    slots: [usize; LANES],
    groups: Vec<Group>,
    /// The lane of everybody who is active.
    active: HashMap<TaskId, usize>,
    over: HashSet<TaskId>,
    waits: BTreeMap<u64, (TaskId, Wait)>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Slot(usize),
    /// For a task, and for its slot in this lane if it has not begun.
    Task(TaskId, usize),
}

impl Book {
    pub(crate) fn new(case: &Case) -> Self {
        Self {
            slots: case.slots,
            groups: case.groups.clone(),
            active: HashMap::new(),
            over: HashSet::new(),
            waits: BTreeMap::new(),
            last: 0,
        }
    }

    pub(crate) const fn resize(&mut self, lane: usize, slots: usize) {
        self.slots[lane] = slots;
    }

    pub(crate) fn begins(&mut self, task: TaskId, lane: usize) {
        self.active.insert(task, lane);
    }

    pub(crate) fn ends(&mut self, task: TaskId) {
        self.active.remove(&task);
        self.over.insert(task);
    }

    /// The number of the wait.
    pub(crate) fn waits(&mut self, task: TaskId, wait: Wait) -> u64 {
        self.last += 1;
        self.waits.insert(self.last, (task, wait));
        self.last
    }

    /// It waits for something else now.
    pub(crate) fn waits_on(&mut self, number: u64, wait: Wait) {
        if let Some((_, old)) = self.waits.get_mut(&number) {
            *old = wait;
        }
    }

    pub(crate) fn waited(&mut self, number: u64) {
        self.waits.remove(&number);
    }

    /// A task that is active, by its id in print.
    pub(crate) fn called(&self, id: &str) -> Option<TaskId> {
        self.active
            .keys()
            .copied()
            .find(|task| task.to_string() == id)
    }

    /// Whether a task can never move again, unless somebody interferes.
    pub(crate) fn is_stuck(&self, task: TaskId) -> bool {
        let tasks = self.active.keys().copied();
        let mut stuck: HashSet<TaskId> = tasks.collect();
        loop {
            let moving: Vec<TaskId> = stuck
                .iter()
                .copied()
                .filter(|task| self.moves(*task, &stuck))
                .collect();
            if moving.is_empty() {
                return stuck.contains(&task);
            }
            for task in moving {
                stuck.remove(&task);
            }
        }
    }

    fn moves(&self, task: TaskId, stuck: &HashSet<TaskId>) -> bool {
        let mut waits = self.waits.values().filter(|(of, _)| *of == task).peekable();
        waits.peek().is_none() || waits.any(|(_, wait)| self.can_end(wait, stuck))
    }

    fn can_end(&self, wait: &Wait, stuck: &HashSet<TaskId>) -> bool {
        match *wait {
            Wait::Slot(lane) => self.starts(lane, stuck),
            Wait::Task(child, _) if self.over.contains(&child) => true,
            Wait::Task(child, _) if self.active.contains_key(&child) => !stuck.contains(&child),
            Wait::Task(_, lane) => self.starts(lane, stuck),
        }
    }

    /// Whether a lane has a slot, and its group room, once everybody is gone who
    /// is not stuck.
    fn starts(&self, lane: usize, stuck: &HashSet<TaskId>) -> bool {
        let held = |lane: usize| {
            let of_lane = |task: &&TaskId| self.active.get(task) == Some(&lane);
            stuck.iter().filter(of_lane).count()
        };
        let has = |group: &&Group| (group.from..group.from + group.lanes).contains(&lane);
        let room = self.groups.iter().find(has).is_none_or(|group| {
            let lanes = group.from..group.from + group.lanes;
            let used: usize = lanes.map(held).sum();
            let kept = if lane == group.from {
                0
            } else {
                group.reserved.saturating_sub(held(group.from))
            };
            used + kept < group.budget
        });
        held(lane) < self.slots[lane] && room
    }
}
