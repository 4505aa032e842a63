//! Messages that are offered to whoever runs, and are tasks of their own if
//! nobody takes them.
//!
//! An offer is a queued task from the start. Taking its message is taking it
//! out of the queue, in the lane's critical section: until then it is in line,
//! and from then on it is with its taker. So there is no moment at which a
//! message belongs to nobody, whatever ends meanwhile.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::cell::TaskCell;
use super::domain::Domain;
use super::handle::TaskHandle;
use super::parts::Rare;
use super::shared::trim;
use super::wakers::{Ticket, Wakers, drop_guarded};
use crate::engine::{End, Key, Reason};
use crate::sync::{Arc, Mutex, Weak};
use crate::{TaskError, TaskId};

/// A message on its way, as its task carries it.
#[derive(Clone)]
pub(crate) struct Letter {
    kind: TypeId,
    envelope: Arc<dyn Any + Send + Sync>,
    /// Moves what it has into an older one, if that can be done.
    join: Option<Join>,
    /// For how long its task is put off by whatever is merged into it.
    quiet: Option<Duration>,
}

type Join = fn(newer: &Letter, older: &Letter, task: &Arc<TaskCell>) -> bool;

pub(crate) struct Envelope<M> {
    message: Mutex<Option<M>>,
    taker: Taker,
}

type Taker = Arc<Mutex<Option<TaskId>>>;

impl<M: Send + 'static> Envelope<M> {
    pub(crate) fn new(message: M) -> Arc<Self> {
        Arc::new(Self {
            message: Mutex::new(Some(message)),
            taker: Arc::default(),
        })
    }

    pub(crate) fn letter(self: &Arc<Self>) -> Letter {
        Letter {
            kind: TypeId::of::<M>(),
            envelope: Arc::clone(self) as Arc<dyn Any + Send + Sync>,
            join: None,
            quiet: None,
        }
    }

    pub(crate) fn taker(&self) -> Taker {
        Arc::clone(&self.taker)
    }

    fn open(&self) -> Option<M> {
        self.message.lock().take()
    }
}

/// What opens an envelope for the message's own task. It goes with whatever would
/// have started that, and the message with it: its envelope may be kept for longer
/// by a handle (S15).
pub(crate) struct Opener<M: Send + 'static>(Arc<Envelope<M>>);

impl<M: Send + 'static> Opener<M> {
    pub(crate) const fn new(envelope: Arc<Envelope<M>>) -> Self {
        Self(envelope)
    }

    pub(crate) fn open(self) -> Option<M> {
        self.0.open()
    }
}

impl<M: Send + 'static> Drop for Opener<M> {
    fn drop(&mut self) {
        drop_guarded(self.0.open());
    }
}

/// The offers of one lane that are still in line, and who would take one.
#[derive(Debug, Default)]
pub(crate) struct Offers(Mutex<HashMap<TypeId, Kind>>);

#[derive(Debug, Default)]
struct Kind {
    /// By the key of their tasks, in order of arrival.
    waiting: HashMap<Option<Arc<str>>, BTreeMap<u64, Weak<TaskCell>>>,
    readers: Wakers,
}

impl Offers {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let kinds = self.0.lock();
        let lines = kinds.values().flat_map(|kind| kind.waiting.values());
        lines.map(BTreeMap::len).sum::<usize>().max(kinds.len())
    }

    /// In the critical section in which it was queued, or its grant passed on (S20).
    pub(super) fn put(&self, task: &Arc<TaskCell>) {
        let Some(letter) = task.letter() else { return };
        let mut kinds = self.0.lock();
        let kind = kinds.entry(letter.kind).or_default();
        let line = kind.waiting.entry(key_of(task)).or_default();
        line.insert(task.slot_key().seq, Arc::downgrade(task));
    }

    /// Wakes whoever may take it.
    pub(super) fn announce(&self, task: &TaskCell) {
        let Some(letter) = task.letter() else { return };
        let readers = match self.0.lock().get_mut(&letter.kind) {
            Some(kind) => kind.readers.take(),
            None => return,
        };
        super::wakers::wake_all(readers);
    }

    /// It is not in line any more.
    pub(super) fn forget(&self, task: &TaskCell) {
        let Some(letter) = task.letter() else { return };
        let mut kinds = self.0.lock();
        if let Some(kind) = kinds.get_mut(&letter.kind) {
            kind.remove(&key_of(task), task.slot_key().seq);
        }
        tidy(&mut kinds, letter.kind);
    }

    /// In the critical section: merges the letter of a task that comes now into
    /// the newest of its kind and key that waits and has not begun, and returns
    /// that one, and its quiet window. Whoever was looked at is dropped outside.
    pub(super) fn merge(
        &self,
        task: &TaskCell,
        waits: impl Fn(&TaskCell) -> bool,
        seen: &mut Vec<Arc<TaskCell>>,
    ) -> Option<(Key, Option<Duration>)> {
        let letter = task.letter()?;
        let join = letter.join?;
        let kinds = self.0.lock();
        let line = kinds.get(&letter.kind)?.waiting.get(&key_of(task))?;
        // Of those that have begun there are no more than there are slots.
        line.values().rev().find_map(|older| {
            let older = older.upgrade()?;
            let into = older.letter().filter(|_| waits(&older));
            let into = into.filter(|into| join(letter, into, &older));
            let found = into.map(|into| (older.slot_key(), into.quiet));
            seen.push(older);
            found
        })
    }

    /// Takes out the oldest that is for this task: of its key, or of none.
    fn next(&self, kind: TypeId, reader: &TaskCell) -> Option<Weak<TaskCell>> {
        let mut kinds = self.0.lock();
        let waiting = kinds.get_mut(&kind)?;
        let own = key_of(reader);
        let first = |key: &Option<Arc<str>>| {
            let line = waiting.waiting.get(key)?;
            line.keys().next().copied()
        };
        let of_key = first(&own).map(|seq| (seq, own));
        let of_none = first(&None).map(|seq| (seq, None));
        let (seq, key) = match (of_key, of_none) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        let next = waiting.remove(&key, seq);
        tidy(&mut kinds, kind);
        next
    }
}

impl Kind {
    fn remove(&mut self, key: &Option<Arc<str>>, seq: u64) -> Option<Weak<TaskCell>> {
        let line = self.waiting.get_mut(key)?;
        let removed = line.remove(&seq);
        if line.is_empty() {
            self.waiting.remove(key);
            trim(&mut self.waiting);
        }
        removed
    }
}

fn tidy(kinds: &mut HashMap<TypeId, Kind>, kind: TypeId) {
    let unused = |kind: &Kind| kind.waiting.is_empty() && kind.readers.is_empty();
    if kinds.get(&kind).is_some_and(unused) {
        kinds.remove(&kind);
    }
}

fn key_of(task: &TaskCell) -> Option<Arc<str>> {
    task.labels()?.key.clone()
}

/// What a running task takes messages from; made by
/// [`TaskContext::inbox`](crate::TaskContext::inbox).
///
/// Any number of them may be open at once. Each message goes to one of them.
pub struct Inbox<M> {
    task: Arc<TaskCell>,
    kind: TypeId,
    reader: Ticket,
    signal: Ticket,
    messages: PhantomData<fn() -> M>,
}

enum Taken<M> {
    Message(M),
    Nothing,
    /// Its task takes no more messages.
    Over,
}

impl<M: Send + 'static> Inbox<M> {
    pub(crate) fn of(task: Arc<TaskCell>) -> Self {
        Self {
            task,
            kind: TypeId::of::<M>(),
            reader: Ticket::default(),
            signal: Ticket::default(),
            messages: PhantomData,
        }
    }

    /// Waits for the next message. `None` when the task was asked to end, or
    /// has lost its slot: what is offered from then on is a task of its own.
    /// While the task is [parked](crate::TaskContext::waiting) without its slot
    /// it waits on, and what is offered meanwhile is a task of its own that may
    /// start at once.
    ///
    /// Waiting for a message is silence, and taking one is not progress by
    /// itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses no message.
    pub async fn recv(&mut self) -> Option<M> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Takes the next message, if there is one.
    pub fn try_recv(&mut self) -> Option<M> {
        match self.take() {
            Taken::Message(message) => Some(message),
            Taken::Nothing | Taken::Over => None,
        }
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<M>> {
        for registered in [false, true] {
            match self.take() {
                Taken::Message(message) => return Poll::Ready(Some(message)),
                Taken::Over => return Poll::Ready(None),
                Taken::Nothing if !registered => self.register(cx),
                // Nothing came before the registration.
                Taken::Nothing => {}
            }
        }
        Poll::Pending
    }

    fn register(&mut self, cx: &Context<'_>) {
        let fresh = cx.waker().clone();
        let old = {
            let mut kinds = self.task.domain().offers.0.lock();
            let kind = kinds.entry(self.kind).or_default();
            kind.readers.register(&mut self.reader, fresh)
        };
        drop_guarded(old);
        self.task
            .register(Rare::signal, &mut self.signal, cx.waker());
        // It may have come here from another runtime (S8).
        self.task.domain().shared.drive_here();
    }

    fn take(&self) -> Taken<M> {
        let (task, kind) = (&self.task, self.kind);
        let domain: &Arc<Domain> = task.domain();
        let now = task.now();
        // Those that were looked at are dropped outside the lock.
        let (taken, _seen) = domain.act(|engine, effects| {
            let mut seen = Vec::new();
            let record = engine.record(task.slot_key());
            let Some(record) = record.filter(|record| record.state.goes_on()) else {
                return (Taken::Over, seen);
            };
            if record.away {
                // Until it has its slot again, what is offered is for others.
                return (Taken::Nothing, seen);
            }
            while let Some(offer) = domain.offers.next(kind, task) {
                let Some(offer) = offer.upgrade() else {
                    continue;
                };
                let key = offer.slot_key();
                // One that was granted a slot meanwhile is a task of its own, and in
                // line here again should that be passed on (S20).
                let waits = engine
                    .record(key)
                    .filter(|record| record.state.waits())
                    .map(|record| now.since(record.place.since));
                let envelope = offer.letter().and_then(Letter::of::<Envelope<M>>);
                let message = match (waits, &envelope) {
                    (Some(_), Some(envelope)) => envelope.open(),
                    _ => None,
                };
                seen.push((offer, envelope.clone()));
                if let (Some(message), Some(waited), Some(envelope)) = (message, waits, envelope) {
                    *envelope.taker.lock() = Some(task.id());
                    let reason = Reason::HandedOver;
                    let end = End::CancelledQueued { reason, waited };
                    engine.withdraw(now, key, end, effects);
                    engine.let_in(now, effects);
                    return (Taken::Message(message), seen);
                }
            }
            (Taken::Nothing, seen)
        });
        taken
    }
}

impl Letter {
    /// One that is merged into an older one of its kind.
    pub(super) fn merging<B: Send + Sync + 'static>(
        batch: &Arc<B>,
        join: Join,
        quiet: Option<Duration>,
    ) -> Self {
        Self {
            kind: TypeId::of::<B>(),
            envelope: Arc::clone(batch) as Arc<dyn Any + Send + Sync>,
            join: Some(join),
            quiet,
        }
    }

    pub(super) fn of<E: Send + Sync + 'static>(&self) -> Option<Arc<E>> {
        Arc::clone(&self.envelope).downcast().ok()
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        let old = {
            let mut kinds = self.task.domain().offers.0.lock();
            let kind = kinds.get_mut(&self.kind);
            let old = kind.and_then(|kind| kind.readers.remove(&self.reader));
            tidy(&mut kinds, self.kind);
            old
        };
        drop_guarded(old);
        self.task.deregister(Rare::signal, &self.signal);
    }
}

impl<M> std::fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("task", &self.task).finish()
    }
}

/// What became of an offered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offered<T> {
    /// A running task took it from its inbox. What it did with it, it knows.
    Taken {
        /// Which task.
        by: TaskId,
    },
    /// Nobody took it, and its own task ran.
    Ran(T),
}

/// An offered message: await it to learn what became of it, or drop it; made
/// by [`TaskBuilder::offer`](crate::TaskBuilder::offer).
///
/// # Cancel safety
///
/// As that of a [`TaskHandle`].
#[must_use = "await it, or drop it on purpose: the message is on its way either way"]
pub struct OfferHandle<T> {
    task: TaskHandle<T>,
    taker: Taker,
}

impl<T> OfferHandle<T> {
    pub(crate) const fn new(task: TaskHandle<T>, taker: Taker) -> Self {
        Self { task, taker }
    }

    /// The id of the message's task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// Says that whoever awaits the handle need not, to go on; see
    /// [`Run::may_abandon`](crate::Run::may_abandon).
    pub fn may_abandon(mut self) -> Self {
        self.task = self.task.may_abandon();
        self
    }

    /// The task in which the message travels: to ask where it is, and to
    /// cancel it. One whose message was taken ended with
    /// [`Reason::HandedOver`].
    pub const fn task(&self) -> &TaskHandle<T> {
        &self.task
    }
}

impl<T> Future for OfferHandle<T> {
    type Output = Result<Offered<T>, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let told = std::task::ready!(Pin::new(&mut self.task).poll(cx));
        let taker = *self.taker.lock();
        Poll::Ready(match (told, taker) {
            (Err(TaskError::CancelledQueued { .. }), Some(by)) => Ok(Offered::Taken { by }),
            (told, _) => told.map(Offered::Ran),
        })
    }
}

impl<T> std::fmt::Debug for OfferHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OfferHandle").field(&self.task).finish()
    }
}
