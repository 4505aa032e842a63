//! Who goes on by itself.

use std::collections::{HashMap, HashSet, VecDeque};

use super::graph::{On, Stage, TaskNode, WaitGraph};

/// The tasks that go on by themselves soon, and the lanes that come to a free slot
/// for that: those that move, and whoever waits for nothing but them, and so on. What
/// waits for itself is never come to. Each wait is looked at once.
pub(super) struct Flow {
    /// How many waits each is away from those that move, so that whoever goes on to
    /// what is nearer comes to one of them.
    away: HashMap<On, usize>,
}

impl Flow {
    pub(super) fn of(graph: &WaitGraph) -> Self {
        let mut behind: HashMap<On, Vec<On>> = HashMap::new();
        // How many waits of a task are yet to be found to flow; of a lane, one is enough.
        let mut open: HashMap<On, usize> = HashMap::new();
        let mut known = HashSet::new();
        let mut next = VecDeque::new();
        for node in &graph.tasks {
            let task = On::Task(node.task.id);
            known.insert(task);
            if node.moves {
                next.push_back((task, 0));
            }
            let waits = stands_for(node);
            open.insert(task, waits.len());
            for on in waits {
                behind.entry(on).or_default().push(task);
            }
        }
        for lane in &graph.lanes {
            let on = On::Lane(lane.serial);
            known.insert(on);
            if lane.max_concurrent > 0 && !lane.paused {
                open.insert(on, 1);
                for holder in &lane.holders {
                    behind.entry(On::Task(*holder)).or_default().push(on);
                }
            }
        }
        // It has just ended.
        let gone = behind.keys().filter(|on| !known.contains(on));
        next.extend(gone.map(|on| (*on, 0)));
        let mut away = HashMap::new();
        while let Some((on, far)) = next.pop_front() {
            if away.contains_key(&on) {
                continue;
            }
            away.insert(on, far);
            for waiter in behind.remove(&on).unwrap_or_default() {
                if let Some(open) = open.get_mut(&waiter) {
                    *open = open.saturating_sub(1);
                    if *open == 0 {
                        next.push_back((waiter, far + 1));
                    }
                }
            }
        }
        Self { away }
    }

    pub(super) fn has(&self, on: &On) -> bool {
        self.away.contains_key(on)
    }

    pub(super) fn away(&self, on: &On) -> Option<usize> {
        self.away.get(on).copied()
    }
}

/// What has to go on for this task to go on; what it may abandon counts where it waits
/// for nothing else.
fn stands_for(node: &TaskNode) -> Vec<On> {
    let waits = match node.stage {
        Stage::Queued | Stage::AtDoor | Stage::Gathering | Stage::ComingBack | Stage::Running => {
            node.ours()
        }
        _ => return Vec::new(),
    };
    let firm = waits.iter().any(|(wait, _)| wait.is_firm());
    let waits = waits.iter().filter(|(wait, _)| wait.is_firm() || !firm);
    waits.map(|(_, on)| *on).collect()
}
