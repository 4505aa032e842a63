//! What a blocked thread waits for.

use crate::sync::{Condvar, Mutex, lock};

#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Blocks the thread, as a faulty task does.
    pub(crate) fn pass(&self) {
        let shut = lock(&self.open);
        let passed = self.opened.wait_while(shut, |open| !*open);
        drop(passed.unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    pub(crate) fn open(&self) {
        *lock(&self.open) = true;
        self.opened.notify_all();
    }
}
