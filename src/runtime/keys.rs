//! Tasks by the key that their submitter gave them. Only tasks that have one
//! pay for it.

use std::collections::{BTreeMap, HashMap};

use super::cell::TaskCell;
use super::shared::trim;
use crate::sync::{Arc, Mutex, Weak};

/// Tasks that share a key, in the order in which they were described.
type Sharers = BTreeMap<u64, Weak<TaskCell>>;

#[derive(Debug, Default)]
pub(crate) struct Keys {
    table: Mutex<HashMap<Arc<str>, Sharers>>,
}

impl Keys {
    #[inline]
    pub(crate) fn note(&self, task: &Arc<TaskCell>) {
        let Some(labels) = task.labels() else { return };
        let Some(key) = &labels.key else { return };
        let mut table = self.table.lock();
        let tasks = table.entry(Arc::clone(key)).or_default();
        tasks.insert(labels.serial, Arc::downgrade(task));
    }

    pub(crate) fn forget(&self, task: &TaskCell) {
        let Some(labels) = task.labels() else { return };
        let Some(key) = &labels.key else { return };
        let mut table = self.table.lock();
        if let Some(tasks) = table.get_mut(key) {
            tasks.remove(&labels.serial);
            if tasks.is_empty() {
                table.remove(key);
                trim(&mut table);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.lock().len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.table.lock().capacity()
    }

    pub(crate) fn tasks(&self, key: &str) -> Vec<Arc<TaskCell>> {
        let table = self.table.lock();
        let tasks = table.get(key).into_iter().flat_map(BTreeMap::values);
        tasks.filter_map(Weak::upgrade).collect()
    }
}
