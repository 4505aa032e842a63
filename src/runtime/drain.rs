//! Draining: what runs may finish, what waits is run, handed back or
//! cancelled, and what comes is told to try later.

use std::any::Any;
use std::collections::HashSet;
use std::time::Duration;

use super::cell::TaskCell;
use super::domain::{Domain, DomainRef};
use super::idle::{Idle, first_busy};
use super::sequel::Staged;
use super::shared::Shared;
use super::submit::descends_from_drain;
use super::wakers::drop_guarded;
use crate::TaskId;
use crate::engine::{Key, Leftover, Priority, TICK, Tally, Time};
use crate::host;
use crate::sync::Arc;
use crate::timeout::check_span;

/// How to drain; see [`Lane::drain`](crate::Lane::drain).
///
/// Unless told otherwise, what is queued still runs, and new tasks are refused
/// from everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    within: Duration,
    descendants: Descendants,
    queued: QueuedWork,
}

/// What a drain does with tasks that its own active tasks submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Descendants {
    /// They are refused like any other new task, which may well fail the very
    /// tasks that the drain waits for.
    #[default]
    Refuse,
    /// They are accepted, up to the deadline of the drain.
    Admit,
}

/// What a drain does with tasks that are queued when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum QueuedWork {
    /// They run, as long as the drain's time lasts; then they are handed back.
    #[default]
    Run,
    /// They are handed back at once, with all that is needed to submit them
    /// again elsewhere; their callers are told
    /// [`Draining`](crate::TaskError::Draining).
    Return,
    /// They are cancelled.
    Cancel,
}

impl Drain {
    /// Active tasks have this long to finish; then they are asked to end, with
    /// [`Reason::Draining`](crate::Reason::Draining). A time longer than the
    /// clock can hold is for ever.
    #[must_use]
    pub const fn within(time: Duration) -> Self {
        Self {
            within: time,
            descendants: Descendants::Refuse,
            queued: QueuedWork::Run,
        }
    }

    /// What happens to tasks that draining tasks submit.
    #[must_use]
    pub const fn descendants(mut self, descendants: Descendants) -> Self {
        self.descendants = descendants;
        self
    }

    /// What happens to tasks that are queued.
    #[must_use]
    pub const fn queued(mut self, queued: QueuedWork) -> Self {
        self.queued = queued;
        self
    }

    pub(crate) fn deadline(&self, now: Time) -> Time {
        match check_span("", Some(self.within)) {
            Ok(()) => now + self.within,
            Err(_) => Time::FAR,
        }
    }

    pub(crate) const fn admits(&self) -> bool {
        matches!(self.descendants, Descendants::Admit)
    }

    pub(crate) const fn leftover(&self) -> Leftover {
        match self.queued {
            QueuedWork::Run => Leftover::Run,
            QueuedWork::Return => Leftover::Return,
            QueuedWork::Cancel => Leftover::Cancel,
        }
    }
}

/// What a drain has come to.
///
/// Where several drains of a lane run at once, one of their reports has the
/// tasks that were handed back.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
/// # let main = lanes.lane("main")?;
/// use std::time::Duration;
/// use laneway::Drain;
///
/// let quick = main.spawn(async |_| ());
/// let stuck = main.spawn(async |_| std::future::pending::<()>().await);
/// let report = main.drain(Drain::within(Duration::from_secs(60))).await;
/// assert_eq!((report.finished, report.interrupted, report.orphans), (1, 1, 0));
/// # quick.await?;
/// # assert!(stuck.await.is_err());
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Tasks that ended by themselves while it lasted.
    pub finished: usize,
    /// Active tasks that ended otherwise while it lasted.
    pub interrupted: usize,
    /// Tasks that wait for somebody, and gave their slot back meanwhile. A drain
    /// leaves them be: when what they wait for is there, they come back.
    pub parked: usize,
    /// Tasks whose runner has still not let go of them.
    pub orphans: usize,
    /// Active tasks whose slot could not be taken, at the orphan bound.
    pub still_active: usize,
    /// Queued tasks that were handed back.
    pub returned: Vec<ReturnedTask>,
}

/// A queued task that a drain handed back: what is needed to persist it, and
/// to submit it again later or elsewhere.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
/// # let main = lanes.lane("main")?;
/// use std::time::Duration;
/// use laneway::{Drain, QueuedWork};
///
/// let slot = main.acquire().await?;
/// let queued = main.task().key("turn/17").meta(17_u32).spawn(async |_| ());
/// tokio::time::sleep(Duration::from_secs(2)).await;
///
/// let drain = main.drain(Drain::within(Duration::from_secs(60)).queued(QueuedWork::Return));
/// drop(slot);
/// let report = drain.await;
/// let task = &report.returned[0];
/// assert_eq!(task.key.as_deref(), Some("turn/17"));
/// assert_eq!(task.waited, Duration::from_secs(2));
/// let turn = task.meta.as_ref().and_then(|meta| meta.downcast_ref::<u32>());
/// assert_eq!(turn, Some(&17));
///
/// // Submitted again, it has its old place in line.
/// main.resume();
/// main.task().priority(task.priority).waited(task.waited).run(async |_| ()).await?;
/// # assert!(queued.await.is_err_and(|error| error.is_retryable()));
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ReturnedTask {
    /// Its id, by which its caller's error names it.
    pub id: TaskId,
    /// The name of its lane.
    pub lane: Arc<str>,
    /// The lanes that it was to pass through, that one first, for
    /// [`Lanes::chain`](crate::Lanes::chain).
    pub chain: Vec<Arc<str>>,
    /// Its name.
    pub name: Option<Arc<str>>,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// The value that its submitter gave it.
    pub meta: Option<Arc<dyn Any + Send + Sync>>,
    /// How urgent it was.
    pub priority: Priority,
    /// How long it had waited, for
    /// [`TaskBuilder::waited`](crate::TaskBuilder::waited).
    pub waited: Duration,
}

impl std::fmt::Debug for ReturnedTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReturnedTask")
            .field("id", &self.id)
            .field("lane", &self.lane)
            .field("name", &self.name)
            .field("key", &self.key)
            .field("priority", &self.priority)
            .field("waited", &self.waited)
            .finish_non_exhaustive()
    }
}

/// A drain that has begun.
pub(crate) struct Draining {
    /// The lanes, with their counts from before.
    lanes: Vec<(DomainRef, Tally)>,
    deadline: Time,
    /// Of all lanes: also of those that are made while it lasts.
    all: Option<Arc<Shared>>,
}

impl Draining {
    /// `all`: a drain of all lanes, also of those that are made while it lasts.
    pub(crate) fn begin(
        lanes: Vec<DomainRef>,
        drain: Drain,
        deadline: Time,
        all: Option<&Arc<Shared>>,
    ) -> Self {
        // Every lane first hears of the drain and starts nobody any more; only
        // then is anybody told. Else what is handed back from one lane would
        // start its successor in another.
        let lanes: Vec<_> = lanes
            .into_iter()
            .map(|domain| {
                domain.returned.lock().reports += 1;
                let before = domain.act(|engine, _| {
                    engine.start_draining(deadline, drain.admits(), drain.leftover());
                    engine.hold_for_drain();
                    engine.tally()
                });
                (domain, before)
            })
            .collect();
        if let Some(shared) = all {
            shared.all_have_heard(drain);
        }
        let settle = |(domain, _): &(DomainRef, Tally)| {
            let leaving = leaving(domain, drain);
            let now = domain.now();
            let ((), staged) =
                domain.stage(|engine, effects| engine.settle_drain(now, &leaving, effects));
            staged
        };
        let staged: Vec<_> = lanes.iter().map(settle).collect();
        staged.into_iter().for_each(Staged::carry_out);
        Self {
            lanes,
            deadline,
            all: all.cloned(),
        }
    }

    pub(crate) async fn report(mut self) -> DrainReport {
        let mut until = self.deadline + TICK * 2;
        loop {
            self.discover();
            let lanes: Vec<DomainRef> = self.lanes.iter().map(|(d, _)| d.clone()).collect();
            let Some(busy) = first_busy(lanes.iter()) else {
                break;
            };
            let instant = busy.shared.clock.instant(until);
            let idle = Idle::new(busy);
            if host::timeout_at(instant, idle).await.is_err() {
                match self.next_end(busy.now()) {
                    Some(at) => until = at,
                    None => break,
                }
            }
        }
        let mut report = DrainReport::default();
        for (domain, before) in &self.lanes {
            report.add(domain, *before);
        }
        report
    }

    fn discover(&mut self) {
        let Some(shared) = &self.all else { return };
        let known = self.lanes.iter().map(|(lane, _)| lane.serial);
        let known: HashSet<u64> = known.collect();
        for domain in shared.all() {
            if !known.contains(&domain.serial) {
                domain.returned.lock().reports += 1;
                self.lanes.push((domain, Tally::default()));
            }
        }
    }

    /// By when those that are active now have ended at the latest; `None` when
    /// there is nobody left who ends. At the orphan bound a take is tried
    /// again and again after that moment: no reason to wait for ever.
    fn next_end(&self, now: Time) -> Option<Time> {
        if now < self.deadline {
            return Some(self.deadline + TICK * 2);
        }
        let ends = self.lanes.iter().filter_map(|(domain, _)| {
            domain.read(|engine| {
                let holders = engine.holders().iter();
                let ends = holders.filter_map(|key| {
                    let record = engine.record(*key)?;
                    engine.take_at(*key, record.payload.spec())
                });
                ends.max()
            })
        });
        ends.max().filter(|at| *at > now).map(|at| at + TICK * 2)
    }
}

impl Drop for Draining {
    /// Through, or nobody awaits the report: what no other report is to have
    /// is not kept for a later drain, since it may be back in line by then.
    fn drop(&mut self) {
        if let Some(shared) = &self.all {
            shared.report_over();
        }
        for (domain, _) in &self.lanes {
            domain.returned.lock().reports -= 1;
            forget_returned(domain);
        }
    }
}

/// What a lane's drains hand back, kept for the reports to come.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    /// How many drains are to report on the lane.
    reports: usize,
    /// It was made while all lanes drain, and some report of that is yet to find it.
    pub(super) expected: bool,
    tasks: Vec<ReturnedTask>,
}

impl Returned {
    const fn is_awaited(&self) -> bool {
        self.reports > 0 || self.expected
    }
}

/// Drops what was handed back and nobody is to report.
pub(super) fn forget_returned(domain: &Domain) {
    let stale = {
        let mut returned = domain.returned.lock();
        if returned.is_awaited() {
            return;
        }
        std::mem::take(&mut returned.tasks)
    };
    // Its metadata is the user's.
    drop_guarded(stale);
}

/// Those of a lane's waiters that a drain settles: all, but for descendants of
/// tasks that it waits for, and for those that have begun and come back.
fn leaving(domain: &DomainRef, drain: Drain) -> Vec<Key> {
    let waiting: Vec<(Key, Arc<TaskCell>)> = domain.read(|engine| {
        let waiting = engine.waiting().into_iter();
        waiting
            .filter_map(|key| Some((key, engine.record(key)?)))
            .filter(|(_, record)| !record.stands_in)
            .map(|(key, record)| (key, Arc::clone(&record.payload)))
            .collect()
    });
    // Lineage is read outside the lock: it reaches into other tasks.
    let leaves = |task: &TaskCell| !(drain.admits() && descends_from_drain(task));
    waiting
        .into_iter()
        .filter(|(_, task)| leaves(task))
        .map(|(key, _)| key)
        .collect()
}

impl DrainReport {
    fn add(&mut self, domain: &DomainRef, before: Tally) {
        let (after, orphans, active, parked) = domain.read(|engine| {
            // One that was in line for its slot was asked to end with those who are active.
            let left = engine
                .records()
                .filter(|(_, r)| r.away && r.state.goes_on());
            let (orphans, parked) = (engine.orphans(), left.count());
            (engine.tally(), orphans, engine.active(), parked)
        });
        let count = |after: u64, before: u64| usize::try_from(after - before).unwrap_or(usize::MAX);
        self.finished += count(after.completed, before.completed);
        self.interrupted += count(after.cut_short, before.cut_short);
        self.orphans += orphans;
        self.parked += parked;
        self.still_active += active;
        self.returned
            .append(&mut std::mem::take(&mut domain.returned.lock().tasks));
    }
}

/// Keeps a task that is handed back for whoever awaits the drain's report of
/// this lane. False if nobody does.
pub(super) fn hand_back(domain: &Domain, task: &TaskCell, waited: Duration) -> bool {
    let labels = task.labels().cloned().unwrap_or_default();
    let task = ReturnedTask {
        id: task.id(),
        lane: Arc::clone(&task.domain().name),
        chain: task.links().map_or_else(
            || vec![Arc::clone(&task.domain().name)],
            |links| links.names(),
        ),
        name: labels.name,
        key: labels.key,
        meta: labels.meta,
        priority: task.spec().priority,
        waited,
    };
    let mut returned = domain.returned.lock();
    let awaited = returned.is_awaited();
    if awaited {
        returned.tasks.push(task);
    } else {
        drop(returned);
        drop_guarded(task);
    }
    awaited
}
