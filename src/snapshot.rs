//! The scheduler as it is at one moment, for people and programs.

use std::time::Duration;

use crate::TaskId;
use crate::engine::{self, BlockedBy, Key, Mode, Priority, Reason, Record, Spec, State, Time};
use crate::events::EventCounters;
use crate::plan::Origin;
use crate::runtime::{
    Domain, GroupCell, Shared, Standing, TaskCell, Watchdog, parked_snapshot, read_facts, standing,
};
use crate::sync::Arc;

/// Every lane; made by [`Lanes::snapshot`](crate::Lanes::snapshot).
///
/// With the feature `serde` it serializes; durations are whole milliseconds.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// In the order in which they were made.
    pub lanes: Vec<LaneSnapshot>,
    /// By name.
    pub groups: Vec<GroupSnapshot>,
    /// By key.
    pub waitpoints: Vec<WaitpointSnapshot>,
    /// Runtimes that poll nobody, as the
    /// [watchdog](crate::LanesBuilder::watchdog) found; none without it.
    pub stuck_runtimes: Vec<StuckRuntime>,
    /// What became of events, where they are kept.
    pub events: Option<EventCounters>,
}

/// A runtime whose every thread is blocked.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StuckRuntime {
    /// Its id, as tokio prints it.
    pub id: String,
    /// How long it is known to be stuck.
    #[cfg_attr(feature = "serde", serde(serialize_with = "millis"))]
    pub stuck: Duration,
}

impl StuckRuntime {
    pub(crate) fn all(shared: &Shared) -> Vec<Self> {
        let now = shared.clock.now();
        let stuck = shared.watchdog.get().map(Watchdog::stuck);
        let stuck = stuck.into_iter().flatten().map(|runtime| Self {
            id: runtime.runtime.to_string(),
            stuck: now.since(runtime.at),
        });
        stuck.collect()
    }
}

/// A waitpoint that is not over.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WaitpointSnapshot {
    /// Its key.
    pub key: String,
    /// The type of the value that it waits for, as the compiler names it.
    pub expects: String,
    /// How long ago it was made.
    #[cfg_attr(feature = "serde", serde(serialize_with = "millis"))]
    pub age: Duration,
    /// The task that awaits it, if one does.
    pub awaited_by: Option<TaskId>,
}

/// A budget that several lanes share.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// Its name.
    pub name: String,
    /// Its budget: how many slots its lanes may hold together.
    pub max_concurrent: usize,
    /// How many they hold.
    pub active: usize,
    /// Who shares it, in the order in which they were configured.
    pub members: Vec<MemberSnapshot>,
}

/// A member of a group: a lane, or all lanes of a pattern.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MemberSnapshot {
    /// The lane's name, or the pattern.
    pub member: String,
    /// How many slots are kept for it.
    pub reserved: usize,
    /// How many it holds.
    pub active: usize,
}

impl GroupSnapshot {
    pub(crate) fn of(group: &Arc<GroupCell>) -> Self {
        let (max_concurrent, used) = group.usage();
        let members = group
            .shares()
            .iter()
            .zip(&used)
            .map(|(share, active)| MemberSnapshot {
                member: share.member.to_string(),
                reserved: share.reserved,
                active: *active,
            });
        Self {
            name: group.name.to_string(),
            max_concurrent,
            active: used.iter().sum(),
            members: members.collect(),
        }
    }
}

/// One lane.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Its name.
    pub name: String,
    /// What says how it is set.
    pub origin: LaneOrigin,
    /// How many slots it has.
    pub max_concurrent: usize,
    /// How many tasks may be queued; `None` where nobody set a bound.
    pub queue_capacity: Option<usize>,
    /// How many orphans it may have.
    pub max_orphans: usize,
    /// What it grants a task that says nothing itself.
    pub limits: Limits,
    /// The group that it is in.
    pub group: Option<String>,
    /// Whether it is paused.
    pub paused: bool,
    /// Which new tasks it takes.
    pub state: LaneState,
    /// Why its waiters wait; `None` where there are none.
    pub blocked_by: Option<BlockedBy>,
    /// Its waiters, in the order of their arrival within each priority, behind
    /// those that superseded a holder.
    pub queued: Vec<TaskSnapshot>,
    /// Who waits for a place in the queue, in the order of their arrival.
    pub at_door: Vec<TaskSnapshot>,
    /// How many places in the queue are reserved.
    pub reserved: usize,
    /// Its holders, the oldest first.
    pub active: Vec<TaskSnapshot>,
    /// Tasks that wait for somebody and gave this lane's slot back meanwhile.
    /// Those that kept it are active.
    pub parked: Vec<TaskSnapshot>,
    /// Tasks whose slot was taken and whose runner has not let go.
    pub orphans: Vec<TaskSnapshot>,
    /// How fast its waiters came and were served of late.
    pub pace: Pace,
    /// Counts since the lane was made.
    pub counters: Counters,
}

/// What says how a lane is set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum LaneOrigin {
    /// It is configured by its name.
    Named,
    /// It was made on first use, as this pattern says; `*` is the default
    /// lane's.
    Pattern(String),
    /// Nothing, since it was removed; it is as it was last, until it has run
    /// out.
    Removed,
}

/// Which new tasks a lane takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum LaneState {
    /// All.
    Open,
    /// None, or only descendants of its own tasks.
    Draining,
    /// None; what is queued runs.
    Closed,
    /// None, and everything was ended.
    Shutdown,
}

/// How fast a lane's waiters come and are served: averages of the last dozen or
/// so, `None` without enough of a history. Tasks that find their slot free are no
/// waiters, and not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Pace {
    /// How many tasks come to wait in a second. It falls while none comes for
    /// longer than usual.
    pub arrivals_per_second: Option<f64>,
    /// How many waiters are given a slot in a second, while there are any. It
    /// falls while none is for longer than usual.
    pub dispatches_per_second: Option<f64>,
    /// How long those who were given a slot had waited for it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "maybe_millis"))]
    pub waited: Option<Duration>,
    /// How long one would wait that joined the end of the queue now, if the lane
    /// goes on as it did.
    #[cfg_attr(feature = "serde", serde(serialize_with = "maybe_millis"))]
    pub expected_wait: Option<Duration>,
}

impl Pace {
    fn of(pace: &engine::Pace, waiters: usize, now: Time) -> Self {
        Self {
            expected_wait: pace.expected_wait(waiters, now),
            arrivals_per_second: pace.arrivals_per_second(now),
            dispatches_per_second: pace.dispatches_per_second(now),
            waited: pace.waited(),
        }
    }
}

/// Counts since a lane was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counters {
    /// Tasks that were accepted.
    pub submitted: u64,
    /// Slots that were granted.
    pub granted: u64,
    /// Tasks that ended by themselves, with a value or a panic.
    pub completed: u64,
    /// Tasks that ended otherwise, queued or active. One whose slot was taken
    /// counts as taken.
    pub ended: u64,
    /// Slots that came back because their task was dropped for a stall or a
    /// timeout. A task that ended by itself in its grace counts as completed.
    pub reclaimed: u64,
    /// Reclaims after which a waiter was dispatched, in this lane or in another of
    /// its group.
    pub recovered: u64,
    /// Reclaims that helped nobody who waited: the lane was paused, had fewer
    /// slots by then, or no room in its group. One that nobody waited for is
    /// neither this nor recovered.
    pub ineffective: u64,
    /// Slots that were taken without the runner's help.
    pub taken: u64,
    /// Results that came after their slot had been taken.
    pub late: u64,
    /// Faults of the scheduler itself that it found in this lane and mended: a
    /// waiter that could have had a slot, or what
    /// [`Lanes::repair`](crate::Lanes::repair) found. Any is a bug of this crate.
    pub repaired: u64,
    /// Waits for this lane, or for its tasks, that closed a circle of waits. Refused ones,
    /// unless the scheduler only warns.
    pub deadlocks: u64,
}

/// One task.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TaskSnapshot {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// How urgent it is here: by its own priority, or by that of somebody who
    /// waits behind it.
    pub priority: Priority,
    /// What it was granted.
    pub limits: Limits,
    /// How long it waited, or has waited, for its slot.
    #[cfg_attr(feature = "serde", serde(serialize_with = "millis"))]
    pub waited: Duration,
    /// How long it has been active.
    #[cfg_attr(feature = "serde", serde(serialize_with = "maybe_millis"))]
    pub age: Option<Duration>,
    /// How long ago it, or a child it awaits, last gave a sign of life.
    #[cfg_attr(feature = "serde", serde(serialize_with = "maybe_millis"))]
    pub idle: Option<Duration>,
    /// Whether it ever reported progress.
    pub reported: bool,
    /// Whether it waits for a slot in another of our lanes.
    pub waiting: bool,
    /// The tokio runtime in which it was submitted, as tokio prints its id.
    pub runtime: Option<String>,
    /// Whether it was spawned: that runtime polls it, or runs it on a thread, and nobody
    /// else does.
    pub spawned: bool,
    /// Where it stands, if it has, or had, a slot.
    pub standing: Option<Standing>,
    /// The fence of its grant.
    pub fence: Option<u64>,
    /// What it said last that it is doing.
    pub note: Option<String>,
    /// The innermost phase it is in.
    pub phase: Option<String>,
    /// Why it was asked to end, if it was.
    pub asked: Option<Reason>,
    /// Whom it waits for, if it is parked.
    pub parked: Option<ParkedSnapshot>,
}

/// What a parked task waits for.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ParkedSnapshot {
    /// What it said that it waits for.
    pub what: String,
    /// Whether it still waits for that, and not only for its slots, or for nothing.
    pub waits: bool,
    /// How long it has waited.
    #[cfg_attr(feature = "serde", serde(serialize_with = "millis"))]
    pub waited: Duration,
    /// How long it may wait.
    #[cfg_attr(feature = "serde", serde(serialize_with = "millis"))]
    pub limit: Duration,
    /// The lanes whose slot it gave back.
    pub released: Vec<String>,
}

/// What a task is granted; `None` where there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Limits {
    /// How long it may be active without progress: its stall ceiling, or the
    /// default one as it stands. A phase may replace it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "maybe_millis"))]
    pub stall_ceiling: Option<Duration>,
    /// The idle part of its lane timeout.
    #[cfg_attr(feature = "serde", serde(serialize_with = "maybe_millis"))]
    pub idle: Option<Duration>,
    /// Its budget.
    #[cfg_attr(feature = "serde", serde(serialize_with = "maybe_millis"))]
    pub budget: Option<Duration>,
    /// How long it may be queued.
    #[cfg_attr(feature = "serde", serde(serialize_with = "maybe_millis"))]
    pub wait: Option<Duration>,
    /// How long it may take to end once it was asked to, if it listens.
    #[cfg_attr(feature = "serde", serde(serialize_with = "millis"))]
    pub grace: Duration,
    /// How long its hooks may take.
    #[cfg_attr(feature = "serde", serde(serialize_with = "millis"))]
    pub teardown: Duration,
}

impl Limits {
    pub(crate) fn of(spec: &Spec, reported: bool) -> Self {
        Self {
            stall_ceiling: spec.ceiling.after(reported),
            idle: spec.idle,
            budget: spec.budget,
            wait: spec.wait,
            grace: spec.grace,
            teardown: spec.teardown,
        }
    }
}

impl LaneState {
    pub(crate) const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Open => Self::Open,
            Mode::Draining { .. } => Self::Draining,
            Mode::Closed => Self::Closed,
            Mode::Shutdown => Self::Shutdown,
        }
    }
}

impl LaneOrigin {
    fn of(origin: &Origin) -> Self {
        match origin {
            Origin::Named => Self::Named,
            Origin::Pattern(pattern) => Self::Pattern(pattern.to_string()),
            Origin::Removed => Self::Removed,
        }
    }
}

/// What is read of one task under its lane's lock.
pub(crate) struct Seen {
    arrival: u64,
    priority: Priority,
    /// Of its place in line.
    seq: u64,
    state: State,
    first: bool,
    away: bool,
    place: Time,
    /// Since when it waits: whoever comes back has run since it came first.
    since: Time,
    started: Time,
    task: Arc<TaskCell>,
}

impl Seen {
    pub(crate) fn of(key: Key, record: &Record<Arc<TaskCell>>) -> Self {
        Self {
            arrival: key.seq,
            priority: record.priority,
            seq: record.place.seq,
            state: record.state,
            first: record.first,
            away: record.away,
            place: record.place.since,
            since: if record.stands_in {
                record.enqueued
            } else {
                record.place.since
            },
            started: record.started,
            task: Arc::clone(&record.payload),
        }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }
}

impl LaneSnapshot {
    pub(crate) fn of(domain: &Domain) -> Self {
        let now = domain.now();
        let terms = domain.terms.get();
        // Under the lock only what must be of one moment; the rest is read
        // from the tasks themselves.
        let (mut snapshot, mut seen) = domain.read(|engine| {
            let settings = engine.settings();
            let tally = engine.tally();
            let snapshot = Self {
                name: domain.name.to_string(),
                max_concurrent: settings.max_concurrent,
                queue_capacity: terms.config.capacity(),
                max_orphans: engine.max_orphans(),
                origin: LaneOrigin::of(&terms.origin),
                limits: Limits::of(&terms.base, false),
                group: None,
                paused: engine.is_paused(),
                state: LaneState::of(engine.mode()),
                blocked_by: engine.blocked_by(),
                queued: Vec::new(),
                at_door: Vec::new(),
                reserved: engine.kept(),
                active: Vec::new(),
                parked: Vec::new(),
                orphans: Vec::new(),
                pace: Pace::of(engine.pace(), engine.waiters(), now),
                counters: Counters {
                    submitted: tally.submitted,
                    granted: tally.started,
                    completed: tally.completed,
                    ended: tally.ended,
                    reclaimed: tally.reclaimed,
                    recovered: tally.recovered,
                    ineffective: tally.ineffective,
                    taken: tally.taken,
                    late: tally.late,
                    repaired: tally.repaired,
                    deadlocks: domain.deadlocks.load(crate::sync::Ordering::Relaxed),
                },
            };
            let seen: Vec<Seen> = engine
                .records()
                .map(|(key, record)| Seen::of(key, record))
                .collect();
            (snapshot, seen)
        });
        snapshot.group = domain.group().map(|group| group.name.to_string());
        seen.sort_by_key(|seen| {
            let seq = if seen.first {
                u64::MAX - seen.seq
            } else {
                seen.seq
            };
            (!seen.first, seen.priority, seen.place, seq)
        });
        let mut at_door = Vec::new();
        for seen in &seen {
            let into = match seen.state {
                State::AtDoor => {
                    at_door.push(seen);
                    continue;
                }
                State::Placed => continue,
                state if state.waits() => &mut snapshot.queued,
                state if state.is_orphan() => &mut snapshot.orphans,
                _ if seen.away => &mut snapshot.parked,
                _ => &mut snapshot.active,
            };
            into.push(TaskSnapshot::of(seen, now));
        }
        at_door.sort_by_key(|seen| seen.arrival);
        let at_door = at_door.into_iter().map(|seen| TaskSnapshot::of(seen, now));
        snapshot.at_door = at_door.collect();
        snapshot
            .active
            .sort_by_key(|task| std::cmp::Reverse(task.age));
        snapshot
    }
}

impl TaskSnapshot {
    pub(crate) fn of(seen: &Seen, now: Time) -> Self {
        let task = seen.task.whose();
        let started = !seen.state.waits();
        let facts = read_facts(task, now);
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            id: task.id(),
            name: owned(task.name()),
            key: owned(task.key()),
            priority: seen.priority,
            limits: Limits::of(task.spec(), facts.reported),
            waited: if started { seen.started } else { now }.since(seen.since),
            age: started.then(|| now.since(seen.started)),
            idle: started.then(|| now.since(facts.active_at.max(seen.started))),
            reported: facts.reported,
            waiting: facts.waiting,
            runtime: task.home().map(|id| id.to_string()),
            spawned: task.bound().is_some(),
            standing: started.then(|| standing(task, now)),
            fence: started.then(|| seen.task.fence()),
            note: owned(task.note().as_deref()),
            phase: owned(task.phase().as_deref()),
            asked: task.asked().map(|asked| asked.reason),
            parked: parked_snapshot(task, now),
        }
    }
}

#[cfg(feature = "serde")]
pub(crate) fn millis<S: serde::Serializer>(
    span: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(feature = "serde")]
#[expect(clippy::ref_option, reason = "serde hands fields over by reference")]
pub(crate) fn maybe_millis<S: serde::Serializer>(
    span: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => millis(span, serializer),
        None => serializer.serialize_none(),
    }
}
