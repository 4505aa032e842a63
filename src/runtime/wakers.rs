//! Who is to be woken for something, without user code under a lock (S13).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::engine::trim;
use crate::sync::Serials;

/// Wakers of several futures, each under a ticket of its own.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    entries: Vec<(u64, Waker)>,
}

/// For all of them together, since a ticket may outlive the wakers that it is of: it
/// must not be that of somebody else in those that come after (S7).
static TICKETS: Serials = Serials::from(1);

/// A future's place among the [`Wakers`]; zero before it has one.
#[derive(Debug, Default)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) const NONE: Self = Self(0);
}

impl Wakers {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Puts a waker in, or in the place of the ticket's former one, which is
    /// returned: its destructor is user code, and the caller holds a lock.
    #[must_use = "drop it outside the lock"]
    pub(crate) fn register(&mut self, ticket: &mut Ticket, waker: Waker) -> Option<Waker> {
        if let Some((_, old)) = self.entries.iter_mut().find(|(id, _)| *id == ticket.0) {
            return Some(std::mem::replace(old, waker));
        }
        ticket.0 = TICKETS.next();
        self.entries.push((ticket.0, waker));
        None
    }

    #[must_use = "drop it outside the lock"]
    pub(crate) fn remove(&mut self, ticket: &Ticket) -> Option<Waker> {
        let at = self.entries.iter().position(|(id, _)| *id == ticket.0)?;
        let (_, waker) = self.entries.swap_remove(at);
        trim(&mut self.entries);
        Some(waker)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[must_use = "wake them outside the lock"]
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.entries)
            .into_iter()
            .map(|(_, waker)| waker)
            .collect()
    }
}

/// Wakes, and survives a waker that panics: it costs nobody else's wake-up
/// (S14).
pub(crate) fn wake(waker: Waker) {
    guarded("a waker", || waker.wake());
}

pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        wake(waker);
    }
}

/// Runs user code that has no caller to panic into (S14).
pub(crate) fn guarded<R>(what: &'static str, code: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(payload) => {
            let panic = crate::error::PanicPayload::new(payload);
            // The subscriber is the user's, too, and may be what panicked.
            quietly(|| tracing::error!(target: "laneway", %panic, "{what} panicked"));
            // A payload whose own destructor panics is not worth a slot.
            quietly(move || drop(panic));
            None
        }
    }
}

/// The last resort, where even saying that something panicked may panic.
pub(crate) fn quietly<R>(code: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(payload) => {
            if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
                std::mem::forget(again);
            }
            None
        }
    }
}

/// Drops a user's value; a destructor that panics is reported and costs
/// nothing else (S14).
pub(crate) fn drop_guarded<T>(value: T) {
    guarded("a destructor", move || drop(value));
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn s15_a_storm_of_futures_that_are_dropped_gives_its_room_back() {
        let mut wakers = Wakers::new();
        let tickets: Vec<Ticket> = (0..if cfg!(miri) { 200 } else { 1_000 })
            .map(|_| {
                let mut ticket = Ticket::NONE;
                assert!(
                    wakers
                        .register(&mut ticket, Waker::noop().clone())
                        .is_none()
                );
                ticket
            })
            .collect();
        assert!(wakers.entries.capacity() >= tickets.len());
        for ticket in &tickets {
            assert!(wakers.remove(ticket).is_some());
        }
        assert!(wakers.is_empty());
        assert!(wakers.entries.capacity() < 100);
    }
}
