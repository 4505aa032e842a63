//! How a scheduler is described before it is built.

use crate::config::{LaneConfig, OnDeadlock};
use crate::error::ConfigError;
use crate::events::Hub;
use crate::group::GroupConfig;
use crate::lanes::Lanes;
use crate::plan::{DEFAULT, Draft, Plan};
use crate::runtime::{Shared, Watchdog};
#[cfg(doc)]
use crate::snapshot::Snapshot;
use crate::sync::Arc;

/// Where fences may start at the most: from here they last for ever, and fit a
/// signed column for a while yet.
const GREATEST_FENCE: u64 = 1 << 62;

/// Describes a scheduler; made by [`Lanes::builder`].
#[derive(Clone, Debug)]
#[must_use = "a scheduler that is described is not built yet"]
pub struct LanesBuilder {
    lanes: Vec<(String, LaneConfig)>,
    patterns: Vec<(String, LaneConfig)>,
    groups: Vec<(String, GroupConfig)>,
    observe_only: bool,
    max_orphans: usize,
    fence_start: Option<u64>,
    on_deadlock: OnDeadlock,
    watchdog: bool,
    events: Option<usize>,
    #[cfg(feature = "metrics")]
    metrics: bool,
    #[cfg(feature = "replay")]
    recording: Option<usize>,
}

impl LanesBuilder {
    pub(crate) const fn new() -> Self {
        Self {
            lanes: Vec::new(),
            patterns: Vec::new(),
            groups: Vec::new(),
            observe_only: false,
            max_orphans: 64,
            fence_start: None,
            on_deadlock: OnDeadlock::Refuse,
            watchdog: false,
            events: None,
            #[cfg(feature = "metrics")]
            metrics: false,
            #[cfg(feature = "replay")]
            recording: None,
        }
    }

    /// A lane of this name.
    pub fn lane(mut self, name: impl Into<String>, config: LaneConfig) -> Self {
        self.lanes.push((name.into(), config));
        self
    }

    /// How the lanes are set whose names match a pattern: they are made on first
    /// use, and gone when nobody uses them. It has exactly one `*`, which stands
    /// for any run of characters, also none.
    ///
    /// A lane is made of the most specific pattern that matches its name. A
    /// pattern is more specific than another if everything that it matches,
    /// the other matches too. Two that match one name, and of which neither is
    /// more specific, are refused.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use laneway::{LaneConfig, LaneOrigin, Lanes};
    ///
    /// let lanes = Lanes::builder()
    ///     .pattern("session:*", LaneConfig::new(1))
    ///     .pattern("session:team-*", LaneConfig::new(4))
    ///     .build()?;
    /// assert_eq!(lanes.lane("session:42")?.snapshot().max_concurrent, 1);
    /// let team = lanes.lane("session:team-7")?.snapshot();
    /// assert_eq!(team.max_concurrent, 4);
    /// assert_eq!(team.origin, LaneOrigin::Pattern("session:team-*".into()));
    /// assert!(lanes.lane("sesion:42").is_err());
    /// # Ok(()) }
    /// ```
    pub fn pattern(mut self, pattern: impl Into<String>, config: LaneConfig) -> Self {
        self.patterns.push((pattern.into(), config));
        self
    }

    /// A budget that several lanes share. See [`GroupConfig`].
    pub fn group(mut self, name: impl Into<String>, config: GroupConfig) -> Self {
        self.groups.push((name.into(), config));
        self
    }

    /// How any other lane is set: the pattern `*`. Without this, a name that
    /// nothing is said of is an error: a typo must not serialize a fleet.
    pub fn default_lane(self, config: LaneConfig) -> Self {
        self.pattern(DEFAULT, config)
    }

    /// The lanes and patterns of a configuration that was read from a file,
    /// beside those that are given here. With the feature `serde`.
    #[cfg(feature = "serde")]
    pub fn config(mut self, config: crate::LanesConfig) -> Self {
        self.lanes.extend(config.lanes);
        self.patterns.extend(config.patterns);
        self.groups.extend(config.groups);
        self
    }

    /// Turns every reclaim into a warning: the way to adopt the crate in a
    /// running system. Lane timeouts hold as ever, since somebody set them.
    pub const fn observe_only(mut self) -> Self {
        self.observe_only = true;
        self
    }

    /// The first fence of every lane. Without this, the Unix time in
    /// microseconds, so that fences grow across restarts of the process.
    pub const fn fence_start(mut self, fence: u64) -> Self {
        self.fence_start = Some(fence);
        self
    }

    /// What happens to a wait that closes a circle of tasks that wait for each
    /// other, none of which can move; [`OnDeadlock::Refuse`] unless told. Lane
    /// timeouts and ceilings that would end one of the waits in the end are left
    /// out of account.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use laneway::{LaneConfig, Lanes, OnDeadlock, TaskError, Timeout};
    ///
    /// let lanes = Lanes::builder()
    ///     .lane("main", LaneConfig::new(1))
    ///     .on_deadlock(OnDeadlock::Warn)
    ///     .build()?;
    /// let main = lanes.lane("main")?;
    /// let wait = Timeout::wait(Duration::from_millis(20));
    /// let inner = main
    ///     .run(async |_| main.task().timeout(wait).run(async |_| ()).await)
    ///     .await?;
    /// assert!(matches!(inner, Err(TaskError::TimedOut { .. })));
    /// assert_eq!(main.snapshot().counters.deadlocks, 1);
    /// # Ok(()) }
    /// ```
    pub const fn on_deadlock(mut self, on_deadlock: OnDeadlock) -> Self {
        self.on_deadlock = on_deadlock;
        self
    }

    /// A plain thread of the system's watches whether the runtimes poll anybody,
    /// while somebody waits or a limit is overdue; otherwise it sleeps. A runtime
    /// that polls nobody for a second is stuck: some task blocks its last thread.
    /// That is an error in the log and in
    /// [`Snapshot::stuck_runtimes`](Snapshot::stuck_runtimes), and overdue tasks
    /// lose their slots all the same.
    ///
    /// It reads the system's clock: not for tests that pause tokio's.
    pub const fn watchdog(mut self) -> Self {
        self.watchdog = true;
        self
    }

    /// Turns on the log of events: what happens to tasks and lanes, of which the latest
    /// so many are kept, at some 80 bytes each beside names, keys and notes, and at the
    /// most 2^24 of them. Without this nothing is written down, and nothing paid for it.
    ///
    /// See [`Lanes::events`] for how to read it.
    pub const fn events(mut self, capacity: usize) -> Self {
        self.events = Some(capacity);
        self
    }

    /// Turns on metrics, with the feature `metrics`: what lanes do goes to the recorder
    /// of the [`metrics`](https://docs.rs/metrics) facade, which is to be installed
    /// before the scheduler is built. Without this nothing is counted for it, and
    /// nothing paid.
    ///
    /// They are labelled by lane where the lane is configured by its name, and otherwise
    /// by the pattern that it is made of, so that there are as many series as there are
    /// lines of configuration. All of them are in `docs/metrics.md`, with a dashboard and
    /// alerts in `dashboards/`.
    ///
    /// The recorder is called with no lock of ours held, by whoever submits, polls or
    /// settles a task; one that panics loses its numbers and costs nothing else. Its
    /// handles are kept: an exporter must not forget what was idle for a while.
    ///
    /// ```
    /// use laneway::{LaneConfig, Lanes};
    ///
    /// // Here the recorder of an exporter is installed, and then:
    /// let lanes = Lanes::builder()
    ///     .lane("main", LaneConfig::new(4))
    ///     .pattern("session:*", LaneConfig::new(1))
    ///     .metrics()
    ///     .build()?;
    /// # Ok::<(), laneway::ConfigError>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub const fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Turns on the recording of all that the scheduler's engine is told and decides, beside
    /// the log of [`events`](Self::events), which it needs; see [`replay`](crate::replay).
    ///
    /// So many inputs and events together are kept until [`Lanes::save_recording`] takes
    /// them: room for what comes from one save to the next. What finds none is counted, and
    /// the recording ends there. It costs least with a log as long: an event stays in it until
    /// it is saved, and one that it has to let go of is kept beside it, at some 90 bytes. An input
    /// takes 160, but none where its event says it all. So a task that is granted what the one
    /// before it in its lane was, comes with nothing special about it, and completes, takes the
    /// room of its two events, and costs little more than with the log alone. The room of inputs
    /// is kept, and while it is saved another is filled.
    #[cfg(feature = "replay")]
    pub const fn recording(mut self, capacity: usize) -> Self {
        self.recording = Some(capacity);
        self
    }

    /// How many orphans there may be over all lanes; 64 unless told.
    pub const fn max_orphans(mut self, max_orphans: usize) -> Self {
        self.max_orphans = max_orphans;
        self
    }

    /// Builds the scheduler. Needs no runtime; nothing runs until a task is
    /// submitted.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: a name, a pattern, a duration, a first fence or a number of
    /// events that cannot work, a lane, a pattern or a group that is configured twice, two
    /// patterns of which neither is more specific, or a group that cannot have
    /// a member or keep for it what it was to; or a system without a thread for
    /// the [`watchdog`](Self::watchdog).
    pub fn build(self) -> Result<Lanes, ConfigError> {
        let names: Vec<String> = self.lanes.iter().map(|(name, _)| name.clone()).collect();
        let mut draft = Draft::default();
        for (lane, config) in self.lanes {
            draft.add_lane(lane, config)?;
        }
        for (pattern, config) in self.patterns {
            draft.add_pattern(pattern, config)?;
        }
        for (group, config) in self.groups {
            draft.add_group(group, config)?;
        }
        let plan = Plan::new(draft)?;
        if let Some(given) = self.fence_start
            && given > GREATEST_FENCE
        {
            let max = GREATEST_FENCE;
            return Err(ConfigError::FenceStart { given, max });
        }
        let fence = self.fence_start.unwrap_or_else(crate::clock::unix_micros);
        let mut shared = Shared::new(self.observe_only, self.max_orphans, plan, fence);
        shared.on_deadlock = self.on_deadlock;
        if let Some(given) = self.events {
            if !(1..=crate::events::MOST).contains(&given) {
                let max = crate::events::MOST;
                return Err(ConfigError::Events { given, max });
            }
            #[cfg(feature = "metrics")]
            let meter = self.metrics.then(crate::metrics::EventMeter::new);
            #[cfg(not(feature = "metrics"))]
            let meter = None;
            let hub = Hub::new(given, meter);
            #[cfg(feature = "replay")]
            let hub = match self.recording {
                Some(capacity) => hub.recording(capacity),
                None => hub,
            };
            shared.hub = Some(Arc::new(hub));
        }
        #[cfg(feature = "replay")]
        match self.recording {
            Some(0) => return Err(ConfigError::RecordsNothing),
            Some(_) if self.events.is_none() => return Err(ConfigError::RecordingWithoutEvents),
            _ => {}
        }
        #[cfg(feature = "metrics")]
        if self.metrics {
            shared.meters = Some(crate::metrics::Meters::new());
        }
        let shared = Arc::new(shared);
        if self.watchdog {
            let watchdog = Watchdog::start(Arc::downgrade(&shared));
            let watchdog =
                watchdog.map_err(|error| ConfigError::Watchdog { kind: error.kind() })?;
            shared.watchdog.get_or_init(|| watchdog);
        }
        for name in names {
            shared.declare(&name);
        }
        if shared.meters.is_some() {
            shared.all().iter().for_each(|lane| lane.tell_readers());
        }
        Ok(Lanes::of(shared))
    }
}
