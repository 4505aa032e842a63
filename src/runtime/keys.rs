//! Tasks by the key that their submitter gave them. Only tasks that have one
//! pay for it.

use std::collections::HashMap;

use super::cell::TaskCell;
use super::shared::trim;
use crate::sync::{Arc, Mutex, Weak};

/// Tasks that share a key, by their address.
type Sharers = HashMap<usize, Weak<TaskCell>>;

#[derive(Debug, Default)]
pub(crate) struct Keys {
    table: Mutex<HashMap<Arc<str>, Sharers>>,
}

impl Keys {
    #[inline]
    pub(crate) fn note(&self, task: &Arc<TaskCell>) {
        let Some(key) = task.labels().and_then(|labels| labels.key.as_ref()) else {
            return;
        };
        let mut table = self.table.lock();
        let tasks = table.entry(Arc::clone(key)).or_default();
        tasks.insert(Arc::as_ptr(task).addr(), Arc::downgrade(task));
    }

    pub(crate) fn forget(&self, task: &TaskCell) {
        let Some(key) = task.key() else { return };
        let mut table = self.table.lock();
        if let Some(tasks) = table.get_mut(key) {
            tasks.remove(&std::ptr::from_ref(task).addr());
            trim(tasks);
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

    pub(crate) fn tasks(&self, key: &str) -> Vec<Arc<TaskCell>> {
        let table = self.table.lock();
        let tasks = table.get(key).into_iter().flat_map(HashMap::values);
        tasks.filter_map(Weak::upgrade).collect()
    }
}
