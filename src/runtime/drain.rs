//! Draining: what runs may finish, what waits is run, handed back or
//! cancelled, and what comes is told to try later.

use std::any::Any;
use std::time::Duration;

use super::cell::TaskCell;
use super::domain::{Domain, DomainRef};
use super::idle::Idle;
use crate::TaskId;
use crate::engine::{Leftover, Priority, TICK, Tally, Time};
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
    /// They are accepted.
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
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Tasks that ended by themselves while it lasted.
    pub finished: usize,
    /// Active tasks that ended otherwise while it lasted.
    pub interrupted: usize,
    /// Tasks whose runner has still not let go of them.
    pub orphans: usize,
    /// Active tasks whose slot could not be taken, at the orphan bound.
    pub still_active: usize,
    /// Queued tasks that were handed back.
    pub returned: Vec<ReturnedTask>,
}

/// A queued task that a drain handed back: what is needed to persist it, and
/// to submit it again later or elsewhere.
#[derive(Clone)]
#[non_exhaustive]
pub struct ReturnedTask {
    /// Its id, by which its caller's error names it.
    pub id: TaskId,
    /// The name of its lane.
    pub lane: Arc<str>,
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

/// A drain that has begun, on one lane.
pub(crate) struct Draining {
    domain: DomainRef,
    deadline: Time,
    before: Tally,
}

impl Draining {
    pub(crate) fn begin(domain: &DomainRef, drain: Drain) -> Self {
        let now = domain.now();
        let deadline = drain.deadline(now);
        domain.returned.lock().get_or_insert_default();
        let before = domain.act(|engine, effects| {
            let before = engine.tally();
            engine.begin_drain(now, deadline, drain.admits(), drain.leftover(), effects);
            before
        });
        Self {
            domain: domain.clone(),
            deadline,
            before,
        }
    }

    pub(crate) async fn report(self) -> DrainReport {
        let idle = Idle::new(&self.domain);
        let mut idle = std::pin::pin!(idle);
        let mut until = self.deadline + TICK * 2;
        loop {
            let instant = self.domain.shared.clock.instant(until);
            if tokio::time::timeout_at(instant, idle.as_mut())
                .await
                .is_ok()
            {
                break;
            }
            let now = self.domain.now();
            let ends = self.domain.read(|engine| {
                let holders = engine.holders().iter();
                let ends = holders.filter_map(|key| {
                    let record = engine.record(*key)?;
                    engine.take_at(*key, &record.payload.spec)
                });
                ends.max()
            });
            // At the orphan bound a take is tried again and again; that is no
            // reason to wait for ever.
            until = match ends {
                Some(at) if at > now && !self.at_bound() => at + TICK * 2,
                _ if now < self.deadline => self.deadline + TICK * 2,
                _ => break,
            };
        }
        let (after, orphans, still_active) = self
            .domain
            .read(|engine| (engine.tally(), engine.orphans(), engine.active()));
        let count = |after: u64, before: u64| usize::try_from(after - before).unwrap_or(usize::MAX);
        DrainReport {
            finished: count(after.completed, self.before.completed),
            interrupted: count(after.cut_short, self.before.cut_short),
            orphans,
            still_active,
            returned: self.domain.returned.lock().take().unwrap_or_default(),
        }
    }

    fn at_bound(&self) -> bool {
        let orphans = &self.domain.shared.orphans;
        orphans.count() >= orphans.bound()
            || self
                .domain
                .read(|engine| engine.orphans() >= engine.max_orphans())
    }
}

impl DrainReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.finished += other.finished;
        self.interrupted += other.interrupted;
        self.orphans += other.orphans;
        self.still_active += other.still_active;
        self.returned.extend(other.returned);
    }
}

/// Keeps a task that is handed back for whoever awaits the drain's report.
pub(super) fn hand_back(domain: &Domain, task: &TaskCell, waited: Duration) {
    let task = ReturnedTask {
        id: task.id(),
        lane: Arc::clone(&domain.name),
        name: task.name.clone(),
        key: task.key.clone(),
        meta: task.meta.clone(),
        priority: task.spec.priority,
        waited,
    };
    if let Some(returned) = domain.returned.lock().as_mut() {
        returned.push(task);
    }
}
