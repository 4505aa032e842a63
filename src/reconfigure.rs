//! Changing how lanes are set while they run.

use std::fmt;
use std::time::Duration;

use crate::config::{LaneConfig, OnFull};
use crate::engine::OnStall;
use crate::error::ConfigError;
use crate::group::GroupConfig;
use crate::plan::Draft;
use crate::timeout::LaneTimeout;

type Edit = Box<dyn FnOnce(LaneConfig) -> LaneConfig + Send + Sync>;

/// What is to be changed; see [`Lanes::reconfigure`](crate::Lanes::reconfigure).
///
/// Its methods only record. They are carried out in their order, all of them
/// or none.
#[derive(Default)]
pub struct Reconfigure {
    changes: Vec<Change>,
}

enum Change {
    AddLane(String, LaneConfig),
    EditLane(String, Vec<Edit>, bool),
    RemoveLane(String),
    SetPattern(String, LaneConfig),
    RemovePattern(String),
    #[cfg(feature = "serde")]
    Replace(crate::LanesConfig),
    SetGroup(String, GroupConfig),
    RemoveGroup(String),
}

impl Reconfigure {
    /// Changes a lane that is configured by its name; what is not named stays
    /// as it is. With no change at all, it only demands that there is such a
    /// lane.
    ///
    /// Refused with [`ConfigError::UnknownLane`] if there is none.
    pub fn lane(&mut self, name: impl Into<String>) -> LaneChange<'_> {
        let change = Change::EditLane(name.into(), Vec::new(), false);
        self.changes.push(change);
        match self.changes.last_mut() {
            Some(Change::EditLane(_, edits, insists)) => LaneChange { edits, insists },
            _ => unreachable!("it was just pushed"),
        }
    }

    /// Configures a lane by its name. If a pattern has made it already, it is
    /// that lane which is set anew, with all its tasks.
    ///
    /// Refused with [`ConfigError::DuplicateLane`] if it is configured.
    pub fn add_lane(&mut self, name: impl Into<String>, config: LaneConfig) {
        self.changes.push(Change::AddLane(name.into(), config));
    }

    /// Says nothing of a lane any more. If a pattern matches its name, the lane
    /// is that pattern's from now on. Else its name is unknown to
    /// [`Lanes::lane`](crate::Lanes::lane), while whoever has a handle to it
    /// goes on as before, and the lane is gone when the last of its handles and
    /// tasks is.
    ///
    /// Refused with [`ConfigError::UnknownLane`] if it is not configured by its
    /// name.
    pub fn remove_lane(&mut self, name: impl Into<String>) {
        self.changes.push(Change::RemoveLane(name.into()));
    }

    /// Adds a pattern, or sets one anew, as in
    /// [`LanesBuilder::pattern`](crate::LanesBuilder::pattern). The default lane
    /// is the pattern `*`.
    pub fn pattern(&mut self, pattern: impl Into<String>, config: LaneConfig) {
        self.changes
            .push(Change::SetPattern(pattern.into(), config));
    }

    /// Removes a pattern. Its lanes are those of the next more general pattern,
    /// or are treated as lanes that were [removed](Self::remove_lane).
    ///
    /// Refused with [`ConfigError::UnknownPattern`] if there is none.
    pub fn remove_pattern(&mut self, pattern: impl Into<String>) {
        self.changes.push(Change::RemovePattern(pattern.into()));
    }

    /// Replaces the whole configuration, as when a file is read again: what it
    /// does not name is [removed](Self::remove_lane). What is recorded after
    /// this is carried out on it. With the feature `serde`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// let config = serde_json::from_str(r#"{ "lanes": { "main": { "max_concurrent": 8 } } }"#)?;
    /// lanes.reconfigure(|change| {
    ///     change.replace(config);
    ///     change.lane("main");                // refused if it is not there
    /// })?;
    /// assert_eq!(lanes.lane("main")?.snapshot().max_concurrent, 8);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "serde")]
    pub fn replace(&mut self, config: crate::LanesConfig) {
        self.changes.push(Change::Replace(config));
    }

    /// Adds a group, or sets one anew, as in
    /// [`LanesBuilder::group`](crate::LanesBuilder::group). Lanes that come to
    /// it, leave it or change to another take their tasks with them, and nobody
    /// is evicted. Until all have moved, no group that changes starts anybody.
    pub fn group(&mut self, group: impl Into<String>, config: GroupConfig) {
        self.changes.push(Change::SetGroup(group.into(), config));
    }

    /// Removes a group. Its lanes go on, each by itself.
    ///
    /// Refused with [`ConfigError::UnknownGroup`] if there is none.
    pub fn remove_group(&mut self, group: impl Into<String>) {
        self.changes.push(Change::RemoveGroup(group.into()));
    }

    /// Carried out on what is said of lanes now.
    pub(crate) fn apply(self, draft: &mut Draft) -> Result<(), ConfigError> {
        for change in self.changes {
            match change {
                Change::AddLane(lane, config) => draft.add_lane(lane, config)?,
                Change::RemoveLane(lane) => draft.remove_lane(&lane)?,
                Change::SetPattern(pattern, config) => draft.set_pattern(pattern, config),
                Change::RemovePattern(pattern) => draft.remove_pattern(&pattern)?,
                #[cfg(feature = "serde")]
                Change::Replace(config) => {
                    draft.clear();
                    for (lane, config) in config.lanes {
                        draft.add_lane(lane, config)?;
                    }
                    for (pattern, config) in config.patterns {
                        draft.add_pattern(pattern, config)?;
                    }
                    for (group, config) in config.groups {
                        draft.add_group(group, config)?;
                    }
                }
                Change::SetGroup(group, config) => draft.set_group(group, config),
                Change::RemoveGroup(group) => draft.remove_group(&group)?,
                Change::EditLane(lane, edits, insists) => {
                    let config = draft.lane(&lane)?;
                    let edited = edits
                        .into_iter()
                        .fold(config.clone(), |config, edit| edit(config));
                    *config = edited;
                    if insists {
                        draft.insisted.insert(lane);
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Reconfigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconfigure")
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

/// What is to be changed of one lane; made by [`Reconfigure::lane`]. Its
/// methods are those of [`LaneConfig`].
pub struct LaneChange<'a> {
    edits: &'a mut Vec<Edit>,
    insists: &'a mut bool,
}

impl LaneChange<'_> {
    /// How many slots it has, whatever
    /// [`Lane::set_max_concurrent`](crate::Lane::set_max_concurrent) said
    /// before.
    pub fn max_concurrent(self, max_concurrent: usize) -> Self {
        *self.insists = true;
        self.edit(move |config| config.slots(max_concurrent))
    }

    /// See [`LaneConfig::stall_ceiling`].
    pub fn stall_ceiling(self, ceiling: Duration) -> Self {
        self.edit(move |config| config.stall_ceiling(ceiling))
    }

    /// See [`LaneConfig::no_stall_ceiling`].
    pub fn no_stall_ceiling(self) -> Self {
        self.edit(LaneConfig::no_stall_ceiling)
    }

    /// See [`LaneConfig::on_stall`].
    pub fn on_stall(self, on_stall: OnStall) -> Self {
        self.edit(move |config| config.on_stall(on_stall))
    }

    /// See [`LaneConfig::timeout`]; it replaces the whole of it.
    pub fn timeout(self, timeout: LaneTimeout) -> Self {
        self.edit(move |config| config.timeout(timeout))
    }

    /// See [`LaneConfig::teardown`].
    pub fn teardown(self, teardown: Duration) -> Self {
        self.edit(move |config| config.teardown(teardown))
    }

    /// See [`LaneConfig::warn_after`].
    pub fn warn_after(self, warn_after: Duration) -> Self {
        self.edit(move |config| config.warn_after(warn_after))
    }

    /// See [`LaneConfig::aging`].
    pub fn aging(self, aging: Duration) -> Self {
        self.edit(move |config| config.aging(aging))
    }

    /// See [`LaneConfig::queue_capacity`]. Those who are queued already stay.
    pub fn queue_capacity(self, capacity: usize) -> Self {
        self.edit(move |config| config.queue_capacity(capacity))
    }

    /// See [`LaneConfig::max_parked`]. Those that there are already stay.
    pub fn max_parked(self, max_parked: usize) -> Self {
        self.edit(move |config| config.max_parked(max_parked))
    }

    /// See [`LaneConfig::on_full`].
    pub fn on_full(self, on_full: OnFull) -> Self {
        self.edit(move |config| config.on_full(on_full))
    }

    /// See [`LaneConfig::max_orphans`]. Those that there are already stay.
    pub fn max_orphans(self, max_orphans: usize) -> Self {
        self.edit(move |config| config.max_orphans(max_orphans))
    }

    /// See [`LaneConfig::strict`].
    pub fn strict(self) -> Self {
        self.edit(LaneConfig::strict)
    }

    fn edit(self, edit: impl FnOnce(LaneConfig) -> LaneConfig + Send + Sync + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }
}

impl fmt::Debug for LaneChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneChange")
            .field("changes", &self.edits.len())
            .finish_non_exhaustive()
    }
}
