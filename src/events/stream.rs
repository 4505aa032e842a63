//! A reader.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::event::{Event, EventKind, Overflow};
use super::hub::{Cursor, Found, Hub};
use crate::TaskId;
use crate::runtime::Domain;
use crate::sync::{Arc, Weak};

/// Events, one after another; made by [`Lanes::events`](crate::Lanes::events),
/// [`Lanes::subscribe_from`](crate::Lanes::subscribe_from),
/// [`Lanes::task_events`](crate::Lanes::task_events) and
/// [`TaskHandle::events`](crate::TaskHandle::events).
///
/// It reads from what the scheduler keeps, at its own pace, and holds nobody up. Where
/// it is so slow that events are overwritten before it comes for them, it is told with
/// one [`Overflow`], and goes on with what there is.
///
/// A stream of all tasks ends when nothing comes any more: the scheduler was shut down, or the
/// last [`Lanes`](crate::Lanes) dropped, and every task has ended. A stream of one task ends
/// after the task's [`Settled`](EventKind::Settled), whatever it came to.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use laneway::{EventKind, LaneConfig, Lanes, Outcome, Reason};
///
/// let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).events(1024).build()?;
/// let main = lanes.lane("main")?;
/// let slot = main.acquire().await?;
/// let task = main.task().name("turn 17").spawn(async |_| ());
/// let mut events = task.events()?;
/// task.cancel(Reason::User);
///
/// let mut kinds = Vec::new();
/// while let Some(event) = events.next().await {
///     kinds.push(event?.kind);
/// }
/// assert!(matches!(kinds[0], EventKind::Queued { active_ahead: 1, .. }));
/// let EventKind::Settled { outcome, .. } = &kinds[1] else { panic!("{kinds:?}") };
/// assert!(matches!(outcome, Outcome::CancelledQueued { reason: Reason::User, .. }));
/// # drop((slot, task));
/// # Ok(()) }
/// ```
#[must_use = "a stream does nothing unless it is read"]
pub struct EventStream {
    hub: Arc<Hub>,
    cursor: Cursor,
    fetched: VecDeque<Event>,
    /// Where the only task is that it reads of.
    home: Weak<Domain>,
    over: bool,
}

impl EventStream {
    /// Of everything, from that number on, or from now on.
    pub(crate) fn from(hub: &Arc<Hub>, next: Option<u64>) -> Self {
        Self::at(hub, hub.cursor(next, None), Weak::new())
    }

    /// Of one task, from the oldest that is kept.
    pub(crate) fn of(hub: &Arc<Hub>, id: TaskId, home: Weak<Domain>) -> Self {
        let next = hub.counters().available_from;
        Self::at(hub, hub.cursor(Some(next), Some(id)), home)
    }

    fn at(hub: &Arc<Hub>, cursor: Cursor, home: Weak<Domain>) -> Self {
        Self {
            hub: Arc::clone(hub),
            cursor,
            fetched: VecDeque::new(),
            home,
            over: false,
        }
    }

    /// The next event, or that some were missed; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// [`Overflow`], after which the stream goes on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, Overflow>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The same, if it is there already; `None` also where there is nothing yet.
    ///
    /// # Errors
    ///
    /// [`Overflow`], after which the stream goes on.
    pub fn try_next(&mut self) -> Option<Result<Event, Overflow>> {
        match self.find(None) {
            Poll::Ready(found) => found,
            Poll::Pending => None,
        }
    }

    fn find(&mut self, waker: Option<&Waker>) -> Poll<Option<Result<Event, Overflow>>> {
        loop {
            if let Some(event) = self.fetched.pop_front() {
                if self.cursor.of.is_some() && matches!(event.kind, EventKind::Settled { .. }) {
                    self.over = true;
                    self.fetched.clear();
                }
                self.hub.streamed();
                self.hub.report();
                return Poll::Ready(Some(Ok(event)));
            }
            if self.over {
                return Poll::Ready(None);
            }
            // Before the look: whoever has ended by then has its last word in the log,
            // or had it there, and it was overwritten.
            let comes = self.comes();
            match self.hub.fetch(&mut self.cursor, &mut self.fetched, waker) {
                Found::Events | Found::More => {}
                Found::Missed(overflow) => {
                    self.hub.report();
                    return Poll::Ready(Some(Err(overflow)));
                }
                Found::Nothing if comes => return Poll::Pending,
                Found::Nothing | Found::Over => self.over = true,
            }
        }
    }

    /// Whether more can come, as far as its task has a say in it.
    fn comes(&self) -> bool {
        let Some(id) = self.cursor.of else {
            return true;
        };
        let home = self.home.upgrade();
        home.is_some_and(|lane| lane.read(|engine| engine.is_open(id.key)))
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Overflow>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.find(Some(cx.waker()))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.hub.leave(&self.cursor);
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream")
            .field("next", &self.cursor.next)
            .field("task", &self.cursor.of)
            .finish_non_exhaustive()
    }
}
