//! The graph of waits, as far as a search comes: which tasks can move, and which
//! lanes can start a waiter.
//!
//! * A task can move if it is pending in none of our waits, or if one of those
//!   may be given up, or if anything that it awaits can move.
//! * A lane can start a waiter if, once everybody that can move has gone, it has
//!   a free slot, and its group has room. A pause is somebody's decision, and is
//!   left out, and so is a limit of zero, which is one.
//!
//! Whoever can move is found first, and makes others move; what is left then is
//! stuck. So circles need no care, and each task and lane is read once. A search
//! ends as soon as that can move from which it began.
//!
//! No lock is held but while one task, lane or group is read.

mod circle;

use std::collections::HashMap;

pub(super) use circle::Circle;

use super::cell::TaskCell;
use super::domain::Domain;
use super::edge::address;
use super::group::GroupCell;
use super::word::Word;
use crate::sync::Arc;

/// Where a search begins.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Task(&'a Arc<TaskCell>),
    Lane(&'a Arc<Domain>),
}

pub(super) struct Waits {
    nodes: Vec<Node>,
    tasks: HashMap<usize, usize>,
    lanes: HashMap<u64, usize>,
    groups: HashMap<usize, usize>,
    unread: Vec<usize>,
    /// Lanes that were read, to be dropped where the rest is.
    kept: Vec<Arc<Domain>>,
}

struct Node {
    what: What,
    moves: bool,
    /// Who may move when this one can.
    behind: Vec<Behind>,
}

enum What {
    Task(Arc<TaskCell>, Vec<Wait>),
    Lane(Arc<Domain>, Slots),
    Group(Arc<GroupCell>, Budget),
}

#[derive(Clone, Copy)]
enum Behind {
    /// A task that awaits it, or waits for a slot of it.
    Waiter(usize),
    /// A lane of which it holds a slot.
    Lane(usize),
    /// A group of whose budget it uses a part, and as which share.
    Group(usize, usize),
}

/// What one task awaits.
#[derive(Clone, Copy)]
struct Wait {
    on: usize,
    serial: u64,
    owned: bool,
    shared: bool,
}

#[derive(Default)]
struct Slots {
    limit: usize,
    /// Holders that cannot move, as far as is known.
    stuck: usize,
    holders: Vec<usize>,
    /// Its group, and its share there.
    group: Option<(usize, usize)>,
}

#[derive(Default)]
struct Budget {
    budget: usize,
    reserved: Vec<usize>,
    /// How much of it is used by tasks that cannot move, by share.
    stuck: Vec<usize>,
    /// Each with its share.
    holders: Vec<(usize, usize)>,
    lanes: Vec<usize>,
}

/// Whoever has to move for this holder's slot to come free, if not the holder
/// itself. Locks its parts.
fn stuck_for(holder: &Arc<TaskCell>) -> Option<&Arc<TaskCell>> {
    let task = holder.whose();
    (!holder.is_dismissed() && !moves_by_itself(task)).then_some(task)
}

/// Whether it can move, whatever becomes of what it awaits. Locks its parts.
pub(super) fn moves_by_itself(task: &TaskCell) -> bool {
    match task.word.get() {
        Word::Queued => false,
        Word::Running if task.asked().is_none() => {
            let parts = task.shared.lock();
            parts.peek().is_none_or(|rare| {
                let mut awaits = rare.awaits.values();
                rare.awaits.is_empty() || awaits.any(super::parts::Awaited::is_loose)
            })
        }
        // It has a slot, and is in line for another.
        Word::Granted => !task.gathers(),
        // It has a slot to come for, or is at its end.
        _ => true,
    }
}

impl Waits {
    pub(super) fn search(start: Start<'_>) -> Self {
        let mut waits = Self {
            nodes: Vec::new(),
            tasks: HashMap::new(),
            lanes: HashMap::new(),
            groups: HashMap::new(),
            unread: Vec::new(),
            kept: Vec::new(),
        };
        match start {
            Start::Task(task) => waits.task(task),
            Start::Lane(lane) => waits.lane(lane),
        };
        while let Some(node) = waits.unread.pop() {
            if !waits.is_of_no_use(node) {
                waits.read(node);
            }
            if !waits.is_stuck() {
                break;
            }
        }
        waits
    }

    /// Whether that cannot move from which it began.
    pub(super) fn is_stuck(&self) -> bool {
        !self.nodes[FIRST].moves
    }

    fn is_of_no_use(&self, node: usize) -> bool {
        let moves = |behind: &Behind| match *behind {
            Behind::Waiter(n) | Behind::Lane(n) | Behind::Group(n, _) => self.nodes[n].moves,
        };
        let behind = &self.nodes[node].behind;
        node != FIRST && !behind.is_empty() && behind.iter().all(moves)
    }

    fn add(&mut self, what: What) -> usize {
        self.nodes.push(Node {
            what,
            moves: false,
            behind: Vec::new(),
        });
        self.unread.push(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn task(&mut self, task: &Arc<TaskCell>) -> usize {
        if let Some(known) = self.tasks.get(&address(task)) {
            return *known;
        }
        let node = self.add(What::Task(Arc::clone(task), Vec::new()));
        self.tasks.insert(address(task), node);
        node
    }

    fn lane(&mut self, lane: &Arc<Domain>) -> usize {
        if let Some(known) = self.lanes.get(&lane.serial) {
            return *known;
        }
        let node = self.add(What::Lane(Arc::clone(lane), Slots::default()));
        self.lanes.insert(lane.serial, node);
        node
    }

    fn group(&mut self, group: &Arc<GroupCell>) -> usize {
        let address = Arc::as_ptr(group).addr();
        if let Some(known) = self.groups.get(&address) {
            return *known;
        }
        let node = self.add(What::Group(Arc::clone(group), Budget::default()));
        self.groups.insert(address, node);
        // Read at once: whoever asks wants to know how it stands.
        self.unread.pop();
        self.read(node);
        node
    }

    fn read(&mut self, node: usize) {
        match &self.nodes[node].what {
            What::Task(task, _) => {
                let task = Arc::clone(task);
                self.read_task(node, &task);
            }
            What::Lane(lane, _) => {
                let lane = Arc::clone(lane);
                self.read_lane(node, &lane);
            }
            What::Group(group, _) => {
                let group = Arc::clone(group);
                self.read_group(node, &group);
            }
        }
    }

    fn read_task(&mut self, node: usize, task: &Arc<TaskCell>) {
        if task.word.get() == Word::Queued {
            // A place that is kept for somebody else lapses if he does not come.
            let lapses = task.domain().read(|engine| {
                let record = engine.record(task.slot_key());
                engine.kept() > 0 && record.is_some_and(|record| record.keeps)
            });
            if lapses {
                self.let_move(node);
                return;
            }
            let on = self.lane(task.domain());
            self.waits_on(node, &[Wait::for_a_slot(on)]);
            return;
        }
        if moves_by_itself(task) {
            self.let_move(node);
            return;
        }
        let mut awaits: Vec<(Arc<TaskCell>, Wait)> = {
            let parts = task.shared.lock();
            let awaits = parts
                .peek()
                .into_iter()
                .flat_map(|rare| rare.awaits.values());
            let wait = |awaited: &super::parts::Awaited| Wait {
                on: usize::MAX,
                serial: awaited.serial,
                owned: awaited.owned,
                shared: awaited.shared,
            };
            awaits
                .map(|awaited| (Arc::clone(&awaited.task), wait(awaited)))
                .collect()
        };
        if awaits.is_empty() {
            self.let_move(node);
            return;
        }
        // The same search twice takes the same way.
        awaits.sort_unstable_by_key(|(_, wait)| wait.serial);
        let of_nodes = |(child, wait): (Arc<TaskCell>, Wait)| Wait {
            on: self.task(&child),
            ..wait
        };
        let waits: Vec<Wait> = awaits.into_iter().map(of_nodes).collect();
        self.waits_on(node, &waits);
    }

    fn waits_on(&mut self, node: usize, waits: &[Wait]) {
        if let What::Task(_, known) = &mut self.nodes[node].what {
            known.extend(waits);
        }
        for wait in waits {
            if self.nodes[wait.on].moves {
                self.let_move(node);
            }
            self.nodes[wait.on].behind.push(Behind::Waiter(node));
        }
    }

    fn read_lane(&mut self, node: usize, lane: &Arc<Domain>) {
        let group = lane.group();
        let mut slots = Slots::default();
        let mut holders = Vec::new();
        let share = {
            let seat = lane.seat().lock();
            slots.limit = match seat.engine.settings().max_concurrent {
                0 => usize::MAX,
                slots => slots,
            };
            let held = seat.engine.holders();
            // As soon as so many of them can move, one slot at least comes free.
            let enough = (held.len() + 1).saturating_sub(slots.limit);
            let mut moving = 0;
            for record in held.iter().filter_map(|key| seat.engine.record(*key)) {
                if moving == enough {
                    break;
                }
                match stuck_for(&record.payload) {
                    Some(task) => holders.push(Arc::clone(task)),
                    None => moving += 1,
                }
            }
            if moving == enough {
                // Whoever is on the list is not its last holder.
                holders.clear();
            }
            group.as_ref().and_then(|group| seat.share_of(group))
        };
        slots.stuck = holders.len();
        slots.holders = holders.iter().map(|holder| self.task(holder)).collect();
        if let (Some(group), Some(share)) = (&group, share) {
            let group = self.group(group);
            slots.group = Some((group, share));
            if let What::Group(_, budget) = &mut self.nodes[group].what {
                budget.lanes.push(node);
            }
        }
        let holders = slots.holders.clone();
        self.nodes[node].what = What::Lane(Arc::clone(lane), slots);
        for holder in holders {
            self.holds(holder, Behind::Lane(node));
        }
        self.look_at_lane(node);
    }

    fn read_group(&mut self, node: usize, group: &Arc<GroupCell>) {
        let (limit, held) = group.held(&mut self.kept, |holder| stuck_for(holder).cloned());
        let shares = group.shares();
        let mut budget = Budget {
            budget: limit,
            reserved: shares.iter().map(|share| share.reserved).collect(),
            stuck: vec![0; shares.len()],
            ..Budget::default()
        };
        let mut holds = Vec::new();
        for (share, holder) in &held {
            budget.stuck[*share] += 1;
            let holder = self.task(holder);
            budget.holders.push((holder, *share));
            holds.push((holder, Behind::Group(node, *share)));
        }
        self.nodes[node].what = What::Group(Arc::clone(group), budget);
        for (holder, what) in holds {
            self.holds(holder, what);
        }
    }

    /// A holder that was not known to move holds a slot of this.
    fn holds(&mut self, holder: usize, what: Behind) {
        if self.nodes[holder].moves {
            self.let_go(what);
        } else {
            self.nodes[holder].behind.push(what);
        }
    }

    /// It can move, and so can whoever waits for just that.
    fn let_move(&mut self, node: usize) {
        let mut moving = vec![node];
        while let Some(node) = moving.pop() {
            if std::mem::replace(&mut self.nodes[node].moves, true) {
                continue;
            }
            for behind in std::mem::take(&mut self.nodes[node].behind) {
                moving.extend(self.freed(behind));
            }
        }
    }

    fn let_go(&mut self, what: Behind) {
        for node in self.freed(what) {
            self.let_move(node);
        }
    }

    /// Something that kept this has moved: who can move for that.
    fn freed(&mut self, what: Behind) -> Vec<usize> {
        match what {
            Behind::Waiter(task) => vec![task],
            Behind::Lane(lane) => {
                if let What::Lane(_, slots) = &mut self.nodes[lane].what {
                    slots.stuck -= 1;
                }
                vec![lane]
                    .into_iter()
                    .filter(|lane| self.starts(*lane))
                    .collect()
            }
            Behind::Group(group, share) => {
                let What::Group(_, budget) = &mut self.nodes[group].what else {
                    return Vec::new();
                };
                budget.stuck[share] -= 1;
                let lanes = budget.lanes.clone();
                lanes
                    .into_iter()
                    .filter(|lane| self.starts(*lane))
                    .collect()
            }
        }
    }

    fn look_at_lane(&mut self, lane: usize) {
        if self.starts(lane) {
            self.let_move(lane);
        }
    }

    /// Whether a lane can start a waiter, by what is known.
    fn starts(&self, lane: usize) -> bool {
        let What::Lane(_, slots) = &self.nodes[lane].what else {
            return false;
        };
        slots.stuck < slots.limit && self.has_room(slots)
    }

    fn has_room(&self, slots: &Slots) -> bool {
        slots
            .group
            .is_none_or(|(group, share)| match &self.nodes[group].what {
                What::Group(_, budget) => budget.has_room(share),
                _ => true,
            })
    }
}

/// The node from which a search begins.
const FIRST: usize = 0;

impl Wait {
    const fn for_a_slot(on: usize) -> Self {
        Self {
            on,
            serial: 0,
            owned: true,
            shared: false,
        }
    }
}

impl Budget {
    /// Whether one more fits for this share, once everybody that can move has
    /// gone. What is reserved for others is left out where nothing would fit
    /// beside it, whoever goes: that is somebody's decision.
    fn has_room(&self, share: usize) -> bool {
        let others = |used: fn(usize, usize) -> usize| -> usize {
            let both = self.reserved.iter().zip(&self.stuck).enumerate();
            let others = both.filter(|(other, _)| *other != share);
            let used = others.map(|(_, (reserved, stuck))| used(*reserved, *stuck));
            used.fold(0, usize::saturating_add)
        };
        let full = self.stuck[share].saturating_add(others(usize::max)) >= self.budget;
        !full || others(|reserved, _| reserved) >= self.budget
    }

    /// Whose part of the budget this share could have. What is reserved for others
    /// it could not, whoever goes.
    fn in_the_way_of(&self, share: usize) -> impl Iterator<Item = usize> {
        let beyond = move |of: usize| of == share || self.stuck[of] > self.reserved[of];
        let holders = self.holders.iter().filter(move |(_, of)| beyond(*of));
        holders.map(|(holder, _)| *holder)
    }
}
