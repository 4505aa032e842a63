//! Groups that can work: who is in which, and what is reserved for whom.

use std::collections::BTreeMap;

use crate::error::{ConfigError, MemberProblem, check_name};
use crate::group::GroupConfig;
use crate::pattern::Pattern;
use crate::sync::Arc;

/// All groups of one version of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Charters {
    pub(crate) groups: BTreeMap<Arc<str>, Charter>,
    by_name: BTreeMap<Arc<str>, Place>,
    /// The more specific of two that match one name comes first.
    by_pattern: Vec<(Pattern, Place)>,
}

/// One group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Charter {
    pub(crate) budget: usize,
    pub(crate) shares: Vec<Share>,
}

/// A member, and what it has for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) member: Arc<str>,
    pub(crate) reserved: usize,
}

/// Where a lane belongs: to which group, and to which of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: Arc<str>,
    pub(crate) share: u32,
}

/// What is known of lanes, so that nobody is a member who cannot be.
pub(crate) trait Known {
    /// How many slots a lane of this name has; `None` where there can be none.
    fn slots(&self, lane: &str) -> Option<usize>;
    /// Whether there can be a lane that the pattern matches.
    fn meets(&self, pattern: &Pattern) -> bool;
}

impl Charters {
    pub(crate) fn new(
        groups: &BTreeMap<String, GroupConfig>,
        known: &impl Known,
    ) -> Result<Self, ConfigError> {
        let mut charters = Self::default();
        for (name, config) in groups {
            check_name("a group name", name).map_err(|problem| ConfigError::GroupName {
                group: name.clone(),
                problem,
            })?;
            charters.add(name, config, known)?;
        }
        let weight = |(pattern, _): &(Pattern, Place)| std::cmp::Reverse(pattern.weight());
        charters.by_pattern.sort_by_key(weight);
        Ok(charters)
    }

    /// The group of a lane. O(log n) in the members by name, O(n) in the
    /// patterns; asked once for each lane that is made.
    pub(crate) fn place(&self, lane: &str) -> Option<&Place> {
        let matching = || {
            let mut patterns = self.by_pattern.iter();
            patterns.find(|(pattern, _)| pattern.matches(lane))
        };
        let by_pattern = || matching().map(|(_, place)| place);
        self.by_name.get(lane).or_else(by_pattern)
    }

    fn add(
        &mut self,
        name: &str,
        config: &GroupConfig,
        known: &impl Known,
    ) -> Result<(), ConfigError> {
        let group: Arc<str> = Arc::from(name);
        let refuse = |member: &str, problem: MemberProblem| {
            Err(ConfigError::Member {
                group: name.to_owned(),
                member: member.to_owned(),
                problem,
            })
        };
        let stranger = |member: &&String| !config.members.contains(member);
        if let Some(member) = config.reserved.keys().find(stranger) {
            return refuse(member, MemberProblem::ReservedForStranger);
        }
        let (mut shares, mut total) = (Vec::new(), 0_usize);
        for member in &config.members {
            let reserved = config.reserved.get(member).copied().unwrap_or(0);
            let place = Place {
                group: Arc::clone(&group),
                share: u32::try_from(shares.len()).unwrap_or(u32::MAX),
            };
            if let Err(problem) = self.seat(member, reserved, place, known) {
                return refuse(member, problem);
            }
            let sum = total.checked_add(reserved);
            total = sum.unwrap_or(usize::MAX);
            if sum.is_none_or(|sum| sum > config.max_concurrent) {
                let budget = config.max_concurrent;
                return refuse(member, MemberProblem::OverBudget { total, budget });
            }
            shares.push(Share {
                member: Arc::from(member.as_str()),
                reserved,
            });
        }
        let budget = config.max_concurrent;
        self.groups.insert(group, Charter { budget, shares });
        Ok(())
    }

    /// One member, beside all that are there.
    fn seat(
        &mut self,
        member: &str,
        reserved: usize,
        place: Place,
        known: &impl Known,
    ) -> Result<(), MemberProblem> {
        let claimed = |by: &Place, member: &str| {
            let (group, member) = (by.group.to_string(), member.to_owned());
            if by.group == place.group {
                MemberProblem::Overlaps { member }
            } else {
                MemberProblem::ClaimedTwice { group, member }
            }
        };
        if member.contains('*') {
            let pattern = Pattern::new(member).map_err(MemberProblem::Pattern)?;
            for (other, by) in &self.by_pattern {
                let alike = other.text() == pattern.text();
                let fatal = if by.group == place.group {
                    alike || pattern.quarrel(other).is_some()
                } else {
                    pattern.meets(other)
                };
                if fatal {
                    return Err(claimed(by, other.text()));
                }
            }
            let mut names = self.by_name.iter();
            let foreign = names.find(|(name, by)| by.group != place.group && pattern.matches(name));
            if let Some((name, by)) = foreign {
                return Err(claimed(by, name));
            }
            if !known.meets(&pattern) {
                return Err(MemberProblem::Unknown);
            }
            self.by_pattern.push((pattern, place));
            return Ok(());
        }
        check_name("a member", member).map_err(MemberProblem::Name)?;
        if let Some(by) = self.by_name.get(member) {
            return Err(claimed(by, member));
        }
        let mut patterns = self.by_pattern.iter();
        let foreign =
            patterns.find(|(pattern, by)| by.group != place.group && pattern.matches(member));
        if let Some((pattern, by)) = foreign {
            return Err(claimed(by, pattern.text()));
        }
        let Some(max_concurrent) = known.slots(member) else {
            return Err(MemberProblem::Unknown);
        };
        if reserved > max_concurrent {
            return Err(MemberProblem::OverLane {
                reserved,
                max_concurrent,
            });
        }
        self.by_name.insert(Arc::from(member), place);
        Ok(())
    }
}
