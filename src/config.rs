//! How a lane is set.

use std::time::Duration;

use crate::engine::{Ceiling, OnStall, Priority, Settings, Spec};
use crate::error::InvalidDuration;
use crate::timeout::{LaneTimeout, check_limit, check_span};

pub(crate) const GRACE: Duration = Duration::from_secs(5);
const TEARDOWN: Duration = Duration::from_secs(5);
const WARN_AFTER: Duration = Duration::from_secs(30);
const AGING: Duration = Duration::from_secs(30);

/// How a lane is set. Everything but the number of slots has a default that
/// is safe for work nobody has described.
///
/// | what | default |
/// |---|---|
/// | stall ceiling | 10 min after the last progress; 60 min for a task that has never reported any |
/// | on stall | reclaim |
/// | lane timeout | none |
/// | grace, teardown | 5 s each, for tasks that listen, or have hooks |
/// | queue capacity | none; a full queue rejects |
/// | orphans | as many as `max_concurrent`, and at least one |
/// | warn after | 30 s, repeats backing off to 10 min |
/// | aging | 30 s |
/// | kept when nobody uses it | if it was configured by its name |
///
/// ```
/// use std::time::Duration;
/// use laneway::{LaneConfig, Lanes};
///
/// let lanes = Lanes::builder()
///     .lane("main", LaneConfig::new(4))
///     .lane("cron", LaneConfig::new(1).stall_ceiling(Duration::from_secs(600)).strict())
///     .build()?;
/// # Ok::<(), laneway::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "crate::config_file::Written"))]
pub struct LaneConfig {
    max_concurrent: usize,
    ceiling: Ceiling,
    on_stall: OnStall,
    timeout: LaneTimeout,
    teardown: Duration,
    warn_after: Duration,
    aging: Duration,
    max_orphans: Option<usize>,
    pinned: bool,
    queue_capacity: Option<usize>,
    max_parked: Option<usize>,
    on_full: OnFull,
}

/// What happens to a task that finds the queue of its lane full.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OnFull {
    /// It is refused.
    #[default]
    Reject,
    /// `run`, `acquire` and [`Lane::reserve`](crate::Lane::reserve) wait at the
    /// door until there is a place, in order of arrival, whatever their
    /// priority. `spawn` and `spawn_blocking` cannot wait, and are refused.
    Wait,
}

/// What happens to a wait that closes a circle of tasks that wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OnDeadlock {
    /// It is refused, with
    /// [`TaskError::WouldDeadlock`](crate::TaskError::WouldDeadlock).
    #[default]
    Refuse,
    /// It is logged and counted, and waits: until a lane timeout, a ceiling or
    /// somebody ends one of the waits.
    Warn,
}

impl LaneConfig {
    /// A lane with this many slots. With zero, tasks queue and none starts.
    #[must_use]
    pub const fn new(max_concurrent: usize) -> Self {
        Self {
            max_concurrent,
            ceiling: Ceiling::Default,
            on_stall: OnStall::Reclaim,
            timeout: LaneTimeout::NONE,
            teardown: TEARDOWN,
            warn_after: WARN_AFTER,
            aging: AGING,
            max_orphans: None,
            pinned: false,
            queue_capacity: None,
            max_parked: None,
            on_full: OnFull::Reject,
        }
    }

    /// How long a task may be active without progress, from its start on.
    #[must_use]
    pub const fn stall_ceiling(mut self, ceiling: Duration) -> Self {
        self.ceiling = Ceiling::Set(ceiling);
        self
    }

    /// Tasks of this lane may be silent for ever. A task that never settles
    /// then wedges its slot; give it a budget at least.
    #[must_use]
    pub const fn no_stall_ceiling(mut self) -> Self {
        self.ceiling = Ceiling::None;
        self
    }

    /// What happens to a task that stalls.
    #[must_use]
    pub const fn on_stall(mut self, on_stall: OnStall) -> Self {
        self.on_stall = on_stall;
        self
    }

    /// What this lane grants every task.
    #[must_use]
    pub const fn timeout(mut self, timeout: LaneTimeout) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long the `defer` hooks of a task may take, all together, before its
    /// slot is released without them.
    #[must_use]
    pub const fn teardown(mut self, teardown: Duration) -> Self {
        self.teardown = teardown;
        self
    }

    /// How long waiters may see no dispatch, while the holders are silent too,
    /// before the lane says so.
    #[must_use]
    pub const fn warn_after(mut self, warn_after: Duration) -> Self {
        self.warn_after = warn_after;
        self
    }

    /// When a [`Background`](Priority::Background) waiter begins to compete as
    /// [`Normal`](Priority::Normal).
    #[must_use]
    pub const fn aging(mut self, aging: Duration) -> Self {
        self.aging = aging;
        self
    }

    /// How many tasks may be queued. A task that would be one more is refused,
    /// with [`TaskError::QueueFull`](crate::TaskError::QueueFull). With zero,
    /// only who finds a free slot is accepted.
    ///
    /// One that gave its slot back because nobody polled for it comes back to
    /// its place all the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use laneway::{LaneConfig, Lanes, TaskError};
    ///
    /// let config = LaneConfig::new(1).queue_capacity(1);
    /// let lanes = Lanes::builder().lane("provider", config).build()?;
    /// let provider = lanes.lane("provider")?;
    /// let slot = provider.acquire().await?;
    /// let queued = provider.spawn(async |_| ());
    /// let refused = provider.spawn(async |_| ()).await;
    /// assert!(matches!(refused, Err(TaskError::QueueFull { capacity: 1, queued: 1, .. })));
    /// drop(slot);
    /// queued.await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn queue_capacity(mut self, capacity: usize) -> Self {
        self.queue_capacity = Some(capacity);
        self
    }

    /// How many tasks may be parked that gave this lane's slot back
    /// ([`TaskContext::waiting`](crate::TaskContext::waiting)); as many as will
    /// unless told. One more is refused, with
    /// [`WaitingError::TooMany`](crate::WaitingError::TooMany), and runs on. Whoever
    /// ends meanwhile counts in its own lane until its hooks have run: they run
    /// without a slot, too. A lane further on in a chain is rid of it at once.
    #[must_use]
    pub const fn max_parked(mut self, max_parked: usize) -> Self {
        self.max_parked = Some(max_parked);
        self
    }

    /// What happens to a task that finds the queue full; it is rejected unless
    /// told. Those who wait for a place count as waiters in every other
    /// respect: a wait timeout covers their time at the door, and the verbs
    /// that speak to the queued speak to them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use laneway::{LaneConfig, Lanes, OnFull};
    ///
    /// let config = LaneConfig::new(1).queue_capacity(0).on_full(OnFull::Wait);
    /// let lanes = Lanes::builder().lane("provider", config).build()?;
    /// let provider = lanes.lane("provider")?;
    /// let (a, b) = tokio::join!(provider.run(async |_| 1), provider.run(async |_| 2));
    /// assert_eq!(a? + b?, 3);                         // one after the other
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// How many orphans this lane may have: tasks whose slot was taken and
    /// whose runner has not let go yet. A lane of one with an orphan may run
    /// the abandoned task and its successor at the same moment; see
    /// [`strict`](Self::strict).
    #[must_use]
    pub const fn max_orphans(mut self, max_orphans: usize) -> Self {
        self.max_orphans = Some(max_orphans);
        self
    }

    /// Never more tasks than `max_concurrent`, not even abandoned ones: no
    /// slot is taken from a runner. A task that is still polled is dropped and
    /// its slot reclaimed as ever; one whose runner is stuck holds its slot
    /// until the runner comes back, or somebody resets the lane.
    #[must_use]
    pub const fn strict(self) -> Self {
        self.max_orphans(0)
    }

    /// A lane that a pattern makes on first use is kept once it was made, with
    /// its counters, when nobody uses it any more. A lane configured by its
    /// name is kept anyway.
    #[must_use]
    pub const fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }

    /// For [`Reconfigure`](crate::Reconfigure); else it is given to [`new`](Self::new).
    pub(crate) const fn slots(mut self, max_concurrent: usize) -> Self {
        self.max_concurrent = max_concurrent;
        self
    }

    pub(crate) const fn max_concurrent(&self) -> usize {
        self.max_concurrent
    }

    pub(crate) const fn is_pinned(&self) -> bool {
        self.pinned
    }

    pub(crate) fn check(&self) -> Result<(), InvalidDuration> {
        let ceiling = match self.ceiling {
            Ceiling::Set(ceiling) => Some(ceiling),
            Ceiling::None | Ceiling::Default => None,
        };
        check_limit("the stall ceiling", ceiling)?;
        check_limit("warn_after", Some(self.warn_after))?;
        check_span("the teardown", Some(self.teardown))?;
        check_span("aging", Some(self.aging))?;
        self.timeout.check()
    }

    pub(crate) fn settings(&self, observe_only: bool) -> Settings {
        Settings {
            max_concurrent: self.max_concurrent,
            max_orphans: self.max_orphans,
            aging: self.aging,
            warn_after: self.warn_after,
            observe_only,
            queue_capacity: self.queue_capacity.unwrap_or(usize::MAX),
            max_parked: self.max_parked,
        }
    }

    pub(crate) const fn capacity(&self) -> Option<usize> {
        self.queue_capacity
    }

    pub(crate) const fn when_full(&self) -> OnFull {
        self.on_full
    }

    pub(crate) const fn lane_timeout(&self) -> LaneTimeout {
        self.timeout
    }

    pub(crate) const fn warning_after(&self) -> Duration {
        self.warn_after
    }

    /// What a task of this lane is granted that says nothing itself.
    pub(crate) fn spec(&self) -> Spec {
        Spec {
            priority: Priority::Normal,
            ceiling: self.ceiling,
            on_stall: self.on_stall,
            idle: self.timeout.idle,
            budget: self.timeout.budget,
            wait: self.timeout.wait,
            grace: self.timeout.grace.unwrap_or(GRACE),
            teardown: self.teardown,
            warn_wait: None,
            on_wait: None,
        }
    }
}
