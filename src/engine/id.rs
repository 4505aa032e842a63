//! What a task is called by everybody but its owner.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::slab::Key;

/// Names one task of one scheduler, for ever.
///
/// Printed as `LANE-SEQ`: the serial number of its lane and its number in that
/// lane. Two tasks of one scheduler never have the same id.
#[derive(Clone, Copy)]
pub struct TaskId {
    pub(crate) lane: u64,
    pub(crate) key: Key,
}

impl PartialEq for TaskId {
    fn eq(&self, other: &Self) -> bool {
        (self.lane, self.key.seq) == (other.lane, other.key.seq)
    }
}

impl Eq for TaskId {}

impl Hash for TaskId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.lane, self.key.seq).hash(state);
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.lane, self.key.seq)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for TaskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn an_id_is_its_lane_and_its_number_wherever_it_is_kept() {
        let id = |lane, index, seq| TaskId {
            lane,
            key: Key { index, seq },
        };
        assert_eq!(id(1, 2, 3), id(1, 4, 3));
        assert_ne!(id(1, 2, 3), id(2, 2, 3));
        assert_ne!(id(1, 2, 3), id(1, 2, 4));
        let state = RandomState::new();
        let hash = |id: TaskId| state.hash_one(id);
        assert_eq!(hash(id(1, 2, 3)), hash(id(1, 4, 3)));
        assert_ne!(hash(id(1, 2, 3)), hash(id(1, 2, 4)));
        assert_eq!(format!("{0} {0:?}", id(1, 2, 3)), "1-3 TaskId(1-3)");
    }
}
