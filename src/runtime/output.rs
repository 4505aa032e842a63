//! Where a detached task's value waits for its handle.

use super::runner::{Outcome, Sink};
use crate::error::message_of;
use crate::sync::{Arc, Mutex};

#[derive(Debug)]
pub(crate) struct Output<T>(Mutex<Option<Outcome<T>>>);

impl<T> Output<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    pub(crate) fn take(&self) -> Option<Outcome<T>> {
        self.0.lock().take()
    }
}

impl<T> Output<Arc<T>> {
    /// For one of several who get it. A panic is told to each of them by its
    /// message.
    pub(crate) fn share(&self) -> Option<Outcome<Arc<T>>> {
        Some(match self.0.lock().as_ref()? {
            Ok(value) => Ok(Arc::clone(value)),
            Err(payload) => Err(Box::new(message_of(&**payload))),
        })
    }
}

impl<T> Sink<T> for Arc<Output<T>> {
    fn put(&mut self, outcome: Outcome<T>) {
        *self.0.lock() = Some(outcome);
    }

    fn take_back(&mut self) -> Option<Outcome<T>> {
        self.take()
    }
}

/// The value of a task that its caller polls: it goes no further.
impl<T> Sink<T> for Option<Outcome<T>> {
    fn put(&mut self, outcome: Outcome<T>) {
        *self = Some(outcome);
    }

    fn take_back(&mut self) -> Self {
        self.take()
    }
}
