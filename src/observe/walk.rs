//! How the graph of waits is read: breadth first, each task and lane once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::explanation::Never;
use super::graph::{Due, LaneNode, Stage, TaskNode, Wait, WaitGraph};
use crate::TaskId;
use crate::clock::Clock;
use crate::engine::{BlockedBy, Bound, End, Facts, Follows, Key, Outlook, Spec, State, Time};
use crate::runtime::{self, Domain, DomainRef, GroupCell, Pending, Shared, TaskCell, read_facts};
use crate::snapshot::{GroupSnapshot, LaneState, Limits, Seen, TaskSnapshot, WaitpointSnapshot};
use crate::sync::Arc;

/// How many waits deep it is followed. Deeper than any sane nesting, as in
/// `runtime/facts`.
const DEEPEST: usize = 64;
/// How many tasks are read at the most.
const MOST: usize = 10_000;

/// A graph that is being read.
pub(super) struct Walk<'a> {
    now: Time,
    read: &'a mut Reading,
    graph: WaitGraph,
    /// By their numbers, since lanes of two schedulers may share a name.
    lanes: HashSet<u64>,
    groups: HashSet<usize>,
    tasks: HashSet<TaskId>,
    todo: VecDeque<(Arc<TaskCell>, usize)>,
}

/// What was read besides tasks, so that a lane that many wait for is read once for all
/// of them.
pub(super) struct Reading {
    lanes: HashMap<u64, Arc<Whole>>,
    waitpoints: HashMap<TaskId, Vec<WaitpointSnapshot>>,
}

impl Reading {
    pub(super) fn of(shared: &Shared) -> Self {
        let mut waitpoints: HashMap<_, Vec<_>> = HashMap::new();
        for point in shared.waitpoints.snapshot(Clock.now()) {
            if let Some(task) = point.awaited_by {
                waitpoints.entry(task).or_default().push(point);
            }
        }
        Self {
            lanes: HashMap::new(),
            waitpoints,
        }
    }

    fn again(&mut self, domain: &Domain, now: Time) -> Arc<Whole> {
        let whole = Arc::new(read_lane(domain, now));
        self.lanes.insert(domain.serial, Arc::clone(&whole));
        whole
    }

    fn lane(&mut self, domain: &Domain, now: Time) -> Arc<Whole> {
        let known = self.lanes.get(&domain.serial).map(Arc::clone);
        known.unwrap_or_else(|| self.again(domain, now))
    }
}

/// What is read of a task under its lane's lock.
struct Sight {
    seen: Seen,
    outlook: Vec<Outlook>,
    end: Option<End>,
    refused: bool,
    only_reports: bool,
    at_orphan_bound: bool,
    beyond_bounds: bool,
    warn_after: Duration,
}

/// What is read of a lane, and of its group where that is in its way.
struct Whole {
    node: LaneNode,
    /// How many would be served before each who is in line.
    ahead: HashMap<Key, usize>,
    first: Option<Arc<TaskCell>>,
    holders: Vec<Arc<TaskCell>>,
    orphans: Vec<Arc<TaskCell>>,
    group: Option<Arc<GroupCell>>,
}

impl<'a> Walk<'a> {
    /// All that this task waits for.
    pub(super) fn from_task(
        read: &'a mut Reading,
        domain: &Domain,
        task: &Arc<TaskCell>,
    ) -> WaitGraph {
        let mut walk = Self::new(read, domain);
        walk.find(task, 0);
        walk.finish()
    }

    /// All that the first waiter of this lane waits for, and who that is; where nobody
    /// waits, the lane with whoever holds its slots.
    pub(super) fn from_lane(
        read: &'a mut Reading,
        domain: &DomainRef,
    ) -> (Option<TaskId>, WaitGraph) {
        let mut walk = Self::new(read, domain);
        let whole = walk.read.again(domain, walk.now);
        match &whole.first {
            Some(first) => walk.find(first, 0),
            None => walk.lane(domain, 0),
        }
        let graph = walk.finish();
        let first = whole.first.as_ref().map(|first| first.whose().id());
        // It may have been served, and be through, between the two.
        (first.filter(|first| graph.task(*first).is_some()), graph)
    }

    fn new(read: &'a mut Reading, domain: &Domain) -> Self {
        Self {
            now: domain.now(),
            read,
            graph: WaitGraph::default(),
            lanes: HashSet::new(),
            groups: HashSet::new(),
            tasks: HashSet::new(),
            todo: VecDeque::new(),
        }
    }

    fn finish(mut self) -> WaitGraph {
        while let Some((task, depth)) = self.todo.pop_front() {
            if self.graph.tasks.len() >= MOST {
                self.graph.omitted += 1;
            } else {
                self.read(&task, depth);
            }
        }
        self.sort();
        self.graph
    }

    /// Those that have been silent the longest come first.
    fn sort(&mut self) {
        let idle = self.graph.tasks.iter();
        let idle: HashMap<TaskId, Option<Duration>> =
            idle.map(|node| (node.task.id, node.task.idle)).collect();
        let silence = |id: &TaskId| std::cmp::Reverse(idle.get(id).copied().flatten());
        for lane in &mut self.graph.lanes {
            lane.holders.sort_by_key(silence);
            lane.orphans.sort_by_key(silence);
        }
    }

    /// The task that this is, or stands for, is in the graph.
    fn find(&mut self, cell: &Arc<TaskCell>, depth: usize) {
        let task = cell.whose();
        if depth > DEEPEST {
            self.graph.omitted += usize::from(!self.tasks.contains(&task.id()));
        } else if self.tasks.insert(task.id()) {
            self.todo.push_back((Arc::clone(task), depth));
        }
    }

    fn read(&mut self, task: &Arc<TaskCell>, depth: usize) {
        let pending = runtime::pending(task);
        let facts = read_facts(task, self.now);
        let key = task.slot_key();
        let sight = task.domain().read(|engine| {
            let record = engine.record(key)?;
            Some(Sight {
                seen: Seen::of(key, record),
                outlook: engine.outlook(key, task.spec(), &facts),
                end: record.end(),
                refused: record.said().refused,
                only_reports: engine.only_reports(task.spec()),
                at_orphan_bound: engine.is_at_orphan_bound(),
                beyond_bounds: engine.is_beyond_bounds(key),
                warn_after: engine.settings().warn_after,
            })
        });
        // It is over by now.
        let Some(mut sight) = sight else { return };
        if sight.seen.state().goes_on() {
            sight.outlook.extend(drained_elsewhere(task, &pending));
            sight.outlook.sort_by_key(|outlook| outlook.at);
        }
        let mut lines = Vec::new();
        let waits = self.waits(task, &sight, pending, depth, &mut lines);
        let node = TaskNode {
            lines,
            ..self.node(task, &sight, &facts, waits)
        };
        self.graph.tasks.push(node);
    }

    fn waits(
        &mut self,
        task: &Arc<TaskCell>,
        sight: &Sight,
        pending: Vec<Pending>,
        depth: usize,
        lines: &mut Vec<u64>,
    ) -> Vec<Wait> {
        let mut waits = Vec::new();
        waits.extend(self.in_line(task, sight.seen.state(), depth, lines));
        let id = task.id();
        for pending in pending {
            let in_line = pending.is_place_of(task);
            let Pending { on, loose } = pending;
            if in_line {
                let key = on.slot_key();
                let state = |engine: &runtime::Engine| engine.record(key).map(|of| of.state);
                let state = on.domain().read(state);
                waits.extend(state.and_then(|state| self.in_line(&on, state, depth, lines)));
            } else if on.settled().is_none() {
                self.find(&on, depth + 1);
                waits.push(Wait::Task {
                    id: on.id(),
                    may_abandon: loose,
                });
            }
        }
        if let State::Parked { .. } = sight.seen.state() {
            let parked = runtime::parked_snapshot(task, self.now);
            waits.extend(parked.map(|parked| Wait::Somebody { what: parked.what }));
        }
        if !sight.seen.state().waits() {
            let points = self.read.waitpoints.get(&id).into_iter().flatten();
            waits.extend(points.map(|point| Wait::Waitpoint {
                key: point.key.clone(),
                expects: point.expects.clone(),
            }));
        }
        waits
    }

    /// The wait of whoever is in this state in its lane, if that is one; the lane's
    /// number goes to `lines`.
    fn in_line(
        &mut self,
        cell: &Arc<TaskCell>,
        state: State,
        depth: usize,
        lines: &mut Vec<u64>,
    ) -> Option<Wait> {
        if !matches!(state, State::Queued | State::AtDoor) {
            return None;
        }
        self.lane(cell.domain(), depth);
        lines.push(cell.domain().serial);
        let now = self.now;
        let whole = self.read.lane(cell.domain(), now);
        let ahead = whole.ahead.get(&cell.slot_key());
        let queued_ahead = ahead.copied().unwrap_or(0);
        let (lane, active_ahead) = (whole.node.name.clone(), whole.node.active);
        let expected = cell
            .domain()
            .read(|engine| engine.pace().expected_wait(queued_ahead, now));
        Some(match state {
            State::AtDoor => Wait::Place {
                lane,
                queued_ahead,
                active_ahead,
                expected,
            },
            _ => Wait::Slot {
                lane,
                queued_ahead,
                active_ahead,
                expected,
            },
        })
    }

    /// The lane is in the graph, and so is whoever keeps its waiters waiting.
    fn lane(&mut self, domain: &Domain, depth: usize) {
        if !self.lanes.insert(domain.serial) {
            return;
        }
        let whole = self.read.lane(domain, self.now);
        let mut node = whole.node.clone();
        if let Some(group) = &whole.group {
            self.group(group);
        }
        let ids = |walk: &mut Self, tasks: &[Arc<TaskCell>]| -> Vec<TaskId> {
            let mut ids = Vec::with_capacity(tasks.len());
            for task in tasks {
                walk.find(task, depth + 1);
                let id = task.whose().id();
                // In a group, one task may hold slots of two of its lanes.
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            ids
        };
        node.holders = ids(self, &whole.holders);
        node.orphans = ids(self, &whole.orphans);
        self.graph.lanes.push(node);
    }

    fn group(&mut self, group: &Arc<GroupCell>) {
        if self.groups.insert(Arc::as_ptr(group).addr()) {
            self.graph.groups.push(GroupSnapshot::of(group));
        }
    }

    fn node(
        &self,
        task: &Arc<TaskCell>,
        sight: &Sight,
        facts: &Facts,
        waits: Vec<Wait>,
    ) -> TaskNode {
        let mut snapshot = TaskSnapshot::of(&sight.seen, self.now);
        // A link of a chain is asked through its task, and a queued one never.
        snapshot.asked = snapshot.asked.or_else(|| sight.end.map(|end| end.reason()));
        let stage = stage(sight.seen.state(), facts);
        let moves = stage == Stage::Running
            && !waits.iter().any(Wait::is_firm)
            && snapshot.idle.is_some_and(|idle| idle < sight.warn_after);
        let orphans = &task.domain().shared.orphans;
        let full = sight.at_orphan_bound || orphans.count() >= orphans.bound();
        let bound = full && !sight.beyond_bounds;
        let of = sight.outlook.iter();
        let dues = of.map(|outlook| self.due(task, outlook, facts, bound));
        let dues: Vec<Due> = dues.collect();
        let never = never(stage, sight, &waits, &dues);
        let holds = runtime::holds(task);
        TaskNode {
            lane: task.domain().name.to_string(),
            task: snapshot,
            stage,
            holds: holds.iter().map(|lane| lane.to_string()).collect(),
            waits,
            lines: Vec::new(),
            moves,
            dues,
            never,
        }
    }

    fn due(&self, task: &TaskCell, outlook: &Outlook, facts: &Facts, bound: bool) -> Due {
        let Outlook {
            bound: what,
            at,
            follows,
        } = *outlook;
        let spec: &Spec = task.spec();
        let asks = follows == Follows::SlotReclaimed;
        let takes = asks || matches!(follows, Follows::SlotTaken | Follows::RunsOnWithoutSlot);
        Due {
            bound: what,
            after: at.since(self.now),
            follows,
            task: Some(task.id()),
            grace: Some(spec.grace).filter(|grace| asks && facts.listens && !grace.is_zero()),
            teardown: Some(spec.teardown).filter(|_| asks && facts.hooks),
            needs_runner: takes && bound,
        }
    }
}

/// The end by the drain of a lane where it has a slot beside its own, or comes back for
/// one: its own lane knows only of its own slot.
fn drained_elsewhere(task: &TaskCell, pending: &[Pending]) -> Option<Outlook> {
    let own = task.domain().serial;
    let held = runtime::held_in(task);
    let beside = held.iter().filter(|lane| lane.serial != own);
    let comes = pending.iter().filter(|pending| pending.is_place_of(task));
    let beside = beside.map(|lane| &**lane);
    let lanes = beside.chain(comes.map(|pending| &***pending.on.domain()));
    let until = |lane: &Domain| lane.read(|engine| engine.drains_until());
    let at = lanes.filter_map(until).min().filter(|at| *at < Time::FAR)?;
    Some(Outlook {
        bound: Bound::Drain,
        at,
        follows: Follows::SlotReclaimed,
    })
}

fn read_lane(domain: &Domain, now: Time) -> Whole {
    let mut whole = read_engine(domain, now);
    if let Some((group, share)) = domain.share() {
        whole.node.group = Some(group.name.to_string());
        let by = whole.node.blocked_by;
        if matches!(by, Some(BlockedBy::GroupBudget | BlockedBy::Reservation)) {
            whole.holders = group.in_the_way_of(share);
            whole.group = Some(group);
        }
    }
    whole
}

fn read_engine(domain: &Domain, now: Time) -> Whole {
    let terms = domain.terms.get();
    domain.read(|engine| {
        let settings = engine.settings();
        let served = engine.served(now);
        let payload = |key: &Key| engine.record(*key).map(|of| Arc::clone(&of.payload));
        let orphans = engine.records().filter(|(_, of)| of.state.is_orphan());
        // Whoever is not in line, but waits all the same, if nobody else does.
        let aside = || {
            let asleep = |key: &&Key| !served.contains(key);
            engine.waiting().iter().find(asleep).copied()
        };
        let first = served.first().copied().or_else(aside);
        let after = |at: Option<Time>| at.filter(|at| *at < Time::FAR).map(|at| at.since(now));
        Whole {
            first: first.as_ref().and_then(payload),
            holders: engine.holders().iter().filter_map(payload).collect(),
            orphans: orphans.map(|(_, of)| Arc::clone(&of.payload)).collect(),
            node: LaneNode {
                serial: domain.serial,
                name: domain.name.to_string(),
                max_concurrent: settings.max_concurrent,
                active: engine.active(),
                queued: engine.waiters() - engine.at_door(),
                at_door: engine.places_wanted() - engine.places_taken(),
                places_wanted: engine.places_wanted(),
                queue_capacity: terms.config.capacity(),
                blocked_by: engine.blocked_by(),
                paused: engine.is_paused(),
                resumes_after: after(engine.resumes_at()),
                state: LaneState::of(engine.mode()),
                drains_for: after(engine.drains_until()),
                group: None,
                holders: Vec::new(),
                orphans: Vec::new(),
                max_orphans: engine.max_orphans(),
                limits: Limits::of(&terms.base, false),
                warn_after: settings.warn_after,
            },
            group: None,
            ahead: served.into_iter().zip(0..).collect(),
        }
    })
}

pub(super) fn stage(state: State, facts: &Facts) -> Stage {
    match state {
        State::Queued => Stage::Queued,
        State::Quiet { .. } => Stage::QuietWindow,
        State::AtDoor => Stage::AtDoor,
        State::Placed => Stage::Reserved,
        State::Asleep => Stage::Asleep,
        State::Granted if facts.claimed => Stage::Running,
        State::Granted if facts.gathers => Stage::Gathering,
        State::Granted => Stage::Granted,
        State::Running => Stage::Running,
        State::Parked { .. } => Stage::Parked,
        State::ComingBack => Stage::ComingBack,
        State::Asked { .. } => Stage::Asked,
        State::Dropping { .. } => Stage::Dropping,
        State::Teardown { .. } => Stage::Teardown,
        State::Detached => Stage::Detached,
        State::Delivering { .. } => Stage::Delivering,
        State::Orphan => Stage::Orphan,
    }
}

/// Why time will not end what this task does now, if it does not.
fn never(stage: Stage, sight: &Sight, waits: &[Wait], dues: &[Due]) -> Option<Never> {
    let ends = |due: &Due| due.follows != Follows::Reported;
    match stage {
        Stage::Dropping if sight.refused => Some(Never::OrphanBound),
        Stage::Orphan => Some(Never::RunnerGone),
        _ if dues.iter().any(ends) => None,
        // It was to run on without its slot.
        Stage::Running if sight.refused => Some(Never::OrphanBound),
        Stage::Asleep => Some(Never::NotPolled),
        // What they wait for is further on in the graph.
        _ if waits.iter().any(Wait::is_ours) => None,
        Stage::Running if sight.only_reports && !dues.is_empty() => Some(Never::OnlyReported),
        Stage::Running | Stage::Detached | Stage::Parked => Some(Never::NoLimit),
        _ => None,
    }
}
