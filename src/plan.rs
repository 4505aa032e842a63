//! How lanes are set: those that are configured by their names, and the
//! patterns by which all others are made on first use.

use std::collections::{BTreeMap, BTreeSet};

use crate::charter::{Charters, Known};
use crate::config::LaneConfig;
use crate::engine::Spec;
use crate::error::{ConfigError, check_name};
use crate::group::GroupConfig;
use crate::pattern::Pattern;
use crate::sync::Arc;

/// The pattern of the default lane.
pub(crate) const DEFAULT: &str = "*";

/// How a lane is set, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) config: LaneConfig,
    /// What a task is granted that says nothing itself.
    pub(crate) base: Arc<Spec>,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is configured by its name.
    Named,
    Pattern(Arc<str>),
    /// Nothing is said of its name any more: it is as it was last.
    Removed,
}

impl Terms {
    fn new(config: LaneConfig, origin: Origin) -> Arc<Self> {
        Arc::new(Self {
            base: Arc::new(config.spec()),
            config,
            origin,
        })
    }

    /// Those of a lane that nothing is said of any more.
    pub(crate) fn removed(&self) -> Arc<Self> {
        Self::new(self.config.clone(), Origin::Removed)
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.origin == Origin::Removed
    }

    /// Whether its lane stays when nobody uses it.
    pub(crate) fn keep(&self) -> bool {
        match self.origin {
            Origin::Named => true,
            Origin::Pattern(_) => self.config.is_pinned(),
            Origin::Removed => false,
        }
    }
}

/// What is said of lanes, unchecked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    lanes: BTreeMap<String, LaneConfig>,
    patterns: BTreeMap<String, LaneConfig>,
    groups: BTreeMap<String, GroupConfig>,
    /// Lanes whose number of slots was given by name: it holds also where it
    /// was changed by hand.
    pub(crate) insisted: BTreeSet<String>,
}

impl Draft {
    /// Says nothing of any lane any more.
    #[cfg(feature = "serde")]
    pub(crate) fn clear(&mut self) {
        self.lanes.clear();
        self.patterns.clear();
        self.groups.clear();
    }

    pub(crate) fn add_lane(&mut self, lane: String, config: LaneConfig) -> Result<(), ConfigError> {
        if self.lanes.contains_key(&lane) {
            return Err(ConfigError::DuplicateLane { lane });
        }
        self.lanes.insert(lane, config);
        Ok(())
    }

    pub(crate) fn add_pattern(
        &mut self,
        pattern: String,
        config: LaneConfig,
    ) -> Result<(), ConfigError> {
        if self.patterns.contains_key(&pattern) {
            return Err(ConfigError::DuplicatePattern { pattern });
        }
        self.patterns.insert(pattern, config);
        Ok(())
    }

    pub(crate) fn set_pattern(&mut self, pattern: String, config: LaneConfig) {
        self.patterns.insert(pattern, config);
    }

    pub(crate) fn add_group(
        &mut self,
        group: String,
        config: GroupConfig,
    ) -> Result<(), ConfigError> {
        if self.groups.contains_key(&group) {
            return Err(ConfigError::DuplicateGroup { group });
        }
        self.groups.insert(group, config);
        Ok(())
    }

    pub(crate) fn set_group(&mut self, group: String, config: GroupConfig) {
        self.groups.insert(group, config);
    }

    pub(crate) fn remove_group(&mut self, group: &str) -> Result<(), ConfigError> {
        let removed = self.groups.remove(group);
        removed.map(drop).ok_or_else(|| ConfigError::UnknownGroup {
            group: group.to_owned(),
        })
    }

    pub(crate) fn lane(&mut self, lane: &str) -> Result<&mut LaneConfig, ConfigError> {
        self.lanes.get_mut(lane).ok_or_else(|| unknown_lane(lane))
    }

    pub(crate) fn remove_lane(&mut self, lane: &str) -> Result<(), ConfigError> {
        let removed = self.lanes.remove(lane);
        removed.map(drop).ok_or_else(|| unknown_lane(lane))
    }

    pub(crate) fn remove_pattern(&mut self, pattern: &str) -> Result<(), ConfigError> {
        let removed = self.patterns.remove(pattern);
        removed
            .map(drop)
            .ok_or_else(|| ConfigError::UnknownPattern {
                pattern: pattern.to_owned(),
            })
    }
}

fn unknown_lane(lane: &str) -> ConfigError {
    ConfigError::UnknownLane {
        lane: lane.to_owned(),
    }
}

/// A draft that can work.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    lanes: BTreeMap<Arc<str>, Arc<Terms>>,
    /// The more specific of two that match one name comes first.
    patterns: Vec<(Pattern, Arc<Terms>)>,
    groups: BTreeMap<String, GroupConfig>,
    pub(crate) charters: Charters,
}

impl Known for Plan {
    fn slots(&self, lane: &str) -> Option<usize> {
        self.terms(lane).map(|terms| terms.config.max_concurrent())
    }

    fn meets(&self, pattern: &Pattern) -> bool {
        let mut patterns = self.patterns.iter();
        self.lanes.keys().any(|lane| pattern.matches(lane))
            || patterns.any(|(other, _)| pattern.meets(other))
    }
}

impl Plan {
    pub(crate) fn new(draft: Draft) -> Result<Self, ConfigError> {
        let mut lanes: BTreeMap<Arc<str>, Arc<Terms>> = BTreeMap::new();
        let mut last: Option<Arc<Terms>> = None;
        for (lane, config) in draft.lanes {
            check_name("a lane name", &lane).map_err(|problem| ConfigError::Name {
                lane: lane.clone(),
                problem,
            })?;
            if lane.contains('*') {
                return Err(ConfigError::PatternAsLane { lane });
            }
            check_config(&lane, &config)?;
            // Many lanes are set alike, and those share it.
            let terms = match last.take() {
                Some(terms) if terms.config == config => terms,
                _ => Terms::new(config, Origin::Named),
            };
            lanes.insert(Arc::from(lane), Arc::clone(&terms));
            last = Some(terms);
        }
        let mut patterns: Vec<(Pattern, Arc<Terms>)> = Vec::new();
        for (text, config) in draft.patterns {
            let pattern = Pattern::new(&text).map_err(|problem| ConfigError::Pattern {
                pattern: text.clone(),
                problem,
            })?;
            check_config(&text, &config)?;
            for (other, _) in &patterns {
                if let Some(name) = pattern.quarrel(other) {
                    let (one, other) = (other.to_string(), text);
                    return Err(ConfigError::OverlappingPatterns { one, other, name });
                }
            }
            let origin = Origin::Pattern(Arc::clone(pattern.text()));
            patterns.push((pattern, Terms::new(config, origin)));
        }
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.weight()));
        let mut plan = Self {
            lanes,
            patterns,
            groups: BTreeMap::new(),
            charters: Charters::default(),
        };
        plan.charters = Charters::new(&draft.groups, &plan)?;
        plan.groups = draft.groups;
        Ok(plan)
    }

    /// How a lane of this name is set; `None` if nothing is said of it. O(log n)
    /// in the lanes that are configured, O(n) in the patterns.
    pub(crate) fn terms(&self, name: &str) -> Option<&Arc<Terms>> {
        let matching = || {
            self.patterns
                .iter()
                .find(|(pattern, _)| pattern.matches(name))
        };
        let pattern = || matching().map(|(_, terms)| terms);
        self.lanes.get(name).or_else(pattern)
    }

    /// Those that are configured by their names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lanes.keys()
    }

    pub(crate) fn draft(&self) -> Draft {
        let lane =
            |(lane, terms): (&Arc<str>, &Arc<Terms>)| (lane.to_string(), terms.config.clone());
        let pattern =
            |(pattern, terms): &(Pattern, Arc<Terms>)| (pattern.to_string(), terms.config.clone());
        Draft {
            lanes: self.lanes.iter().map(lane).collect(),
            patterns: self.patterns.iter().map(pattern).collect(),
            groups: self.groups.clone(),
            insisted: BTreeSet::new(),
        }
    }
}

fn check_config(lane: &str, config: &LaneConfig) -> Result<(), ConfigError> {
    config.check().map_err(|problem| ConfigError::Duration {
        lane: lane.to_owned(),
        problem,
    })
}
