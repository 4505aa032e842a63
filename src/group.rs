//! How lanes share a budget.

use std::collections::BTreeMap;

/// A budget that several lanes share, whatever each of them may have by itself;
/// given to [`LanesBuilder::group`](crate::LanesBuilder::group).
///
/// A member is a lane's name, or a pattern with one `*`, which stands for every
/// lane that it matches. A lane is in one group at most. A task of a member
/// starts when its lane has a slot for it **and** the budget has room. Of those
/// that wait in several members, the order within a lane decides here once more:
/// the more urgent first, then the one that has waited longest, and every eighth
/// time the oldest whatever its priority.
///
/// What is [reserved](Self::reserve) for a member is never lent to its
/// siblings, not even while nobody uses it. Beyond that, a member may use what
/// is left of the budget, as far as its own `max_concurrent` goes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use laneway::{BlockedBy, GroupConfig, LaneConfig, Lanes};
///
/// let background = GroupConfig::new(3)
///     .member("review")
///     .member("plugin:*")
///     .reserve("review", 1);
/// let lanes = Lanes::builder()
///     .lane("review", LaneConfig::new(2))
///     .pattern("plugin:*", LaneConfig::new(2))
///     .group("background", background)
///     .build()?;
///
/// // Two for the plugins; the third slot is kept for reviews.
/// let lint = lanes.lane("plugin:lint")?;
/// let (a, b) = (lint.try_acquire()?, lanes.lane("plugin:docs")?.try_acquire()?);
/// let third = lint.spawn(async |_| ());
/// assert_eq!(lint.snapshot().blocked_by, Some(BlockedBy::Reservation));
/// lanes.lane("review")?.run(async |_| ()).await?;
/// drop((a, b));
/// third.await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "crate::config_file::WrittenGroup")
)]
#[must_use]
pub struct GroupConfig {
    pub(crate) max_concurrent: usize,
    pub(crate) members: Vec<String>,
    pub(crate) reserved: BTreeMap<String, usize>,
}

impl GroupConfig {
    /// A budget of this many slots, over all members together. With zero, none
    /// of them starts anything.
    pub const fn new(max_concurrent: usize) -> Self {
        Self {
            max_concurrent,
            members: Vec::new(),
            reserved: BTreeMap::new(),
        }
    }

    /// A lane by its name, or every lane that a pattern matches. A name goes
    /// before a pattern, and a more specific pattern before a more general one.
    pub fn member(mut self, member: impl Into<String>) -> Self {
        self.members.push(member.into());
        self
    }

    /// Keeps this many slots of the budget for a member, named as in
    /// [`member`](Self::member). All lanes of a pattern have them together. Said
    /// twice of one member, the later holds.
    pub fn reserve(mut self, member: impl Into<String>, slots: usize) -> Self {
        self.reserved.insert(member.into(), slots);
        self
    }
}
