//! What [`Lanes::repair`](crate::Lanes::repair) found.

use std::fmt;

use crate::engine::Drift;

/// What the scheduler had wrong of itself, and has right again; made by
/// [`Lanes::repair`](crate::Lanes::repair).
///
/// Of a healthy scheduler it is empty. Its text has a line for each lane and
/// group; with the feature `serde` it serializes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[must_use = "a finding is a bug of this crate, and worth a report"]
#[non_exhaustive]
pub struct RepairReport {
    /// Lanes of which something was wrong, in the order in which they were made.
    pub lanes: Vec<Repaired>,
    /// Groups of which something was wrong, by name.
    pub groups: Vec<Repaired>,
}

/// A lane or a group of which something was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Repaired {
    /// Its name.
    pub name: String,
    /// What was wrong.
    pub findings: Vec<Drift>,
}

impl RepairReport {
    /// Whether nothing was wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.groups.is_empty()
    }
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to repair");
        }
        let lanes = self.lanes.iter().map(|lane| ("lane", lane));
        let groups = self.groups.iter().map(|group| ("group", group));
        for (at, (what, repaired)) in lanes.chain(groups).enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            write!(f, "{line}{what} {repaired}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        for (at, finding) in self.findings.iter().enumerate() {
            let comma = if at == 0 { "" } else { "; " };
            write!(f, "{comma}{finding}")?;
        }
        Ok(())
    }
}
