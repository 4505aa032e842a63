//! How a lane is set, which may change while it runs.

use crate::plan::Terms;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// A lane that was never set anew costs its tasks one load of a flag. One that
/// was takes a lock for each, and its tasks carry what they were granted with
/// them, so that a later change is none of theirs (S4).
#[derive(Debug)]
pub(crate) struct InForce {
    first: Arc<Terms>,
    changed: AtomicBool,
    latest: Mutex<Option<Arc<Terms>>>,
}

impl InForce {
    pub(super) fn new(first: Arc<Terms>) -> Self {
        Self {
            first,
            changed: AtomicBool::new(false),
            latest: Mutex::new(None),
        }
    }

    /// Those that replaced the first ones, if any did.
    #[inline]
    pub(crate) fn changed(&self) -> Option<Arc<Terms>> {
        // Relaxed: the lock orders what is read behind it, and whoever knows
        // of the change sees the flag.
        if self.changed.load(Ordering::Relaxed) {
            self.latest.lock().clone()
        } else {
            None
        }
    }

    #[inline]
    pub(crate) fn with<R>(&self, question: impl FnOnce(&Terms) -> R) -> R {
        match self.changed() {
            None => question(&self.first),
            Some(latest) => question(&latest),
        }
    }

    pub(crate) fn get(&self) -> Arc<Terms> {
        self.changed().unwrap_or_else(|| Arc::clone(&self.first))
    }

    pub(super) fn set(&self, terms: Arc<Terms>) {
        *self.latest.lock() = Some(terms);
        self.changed.store(true, Ordering::Relaxed);
    }
}
