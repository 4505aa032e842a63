//! Where a task waits for a value that comes from outside: an approval, an
//! answer, a webhook.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::TaskId;
use crate::engine::Time;
use crate::error::{ResumeError, WaitpointCancelled, WaitpointError, check_name};
use crate::runtime::{Shared, current_id, drop_guarded, trim, wake_all};
use crate::snapshot::WaitpointSnapshot;
use crate::sync::{Arc, Mutex};

/// A value that is awaited, and that anybody may give who knows the key; made by
/// [`Lanes::waitpoint`](crate::Lanes::waitpoint). Await it for the value.
///
/// It is over when it was resumed or cancelled, or is dropped, and then its key
/// is free for another.
///
/// # Errors
///
/// [`WaitpointCancelled`].
///
/// # Cancel safety
///
/// Awaiting `&mut waitpoint` loses nothing when it is dropped: a value that has
/// come meanwhile is there at the next await.
///
/// # Panics
///
/// If it is polled again after it gave its result.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use laneway::{LaneConfig, Lanes, ResumeError};
///
/// let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
/// let main = lanes.lane("main")?;
/// let approval = lanes.waitpoint::<bool>("approval #12")?;
/// let turn = main.spawn(async |cx| {
///     let wait = cx.waiting("approval #12").release(["main"]);
///     match wait.on(approval).await {
///         Ok(Ok(true)) => "done",
///         Ok(Ok(false)) => "denied",
///         Ok(Err(_cancelled)) => "nobody asked any more",
///         Err(_too_late) => "expired",
///     }
/// });
/// // In a web handler, or by an operator:
/// lanes.resume_waitpoint("approval #12", true)?;
/// assert_eq!(turn.await?, "done");
/// let again = lanes.resume_waitpoint("approval #12", true);
/// assert!(matches!(again, Err(ResumeError::Unknown { .. })));
/// # Ok(()) }
/// ```
#[must_use = "await it, or nobody gets the value"]
pub struct Waitpoint<T> {
    point: Arc<Point>,
    shared: Arc<Shared>,
    value: PhantomData<fn() -> T>,
}

/// A way to resume a waitpoint without its key being looked up: cheap to clone,
/// and typed; made by [`Waitpoint::token`].
pub struct WaitpointToken<T> {
    point: Arc<Point>,
    shared: Arc<Shared>,
    value: PhantomData<fn(T)>,
}

/// What those who wait share with those who resume.
pub(crate) struct Point {
    key: Arc<str>,
    since: Time,
    expects: (TypeId, &'static str),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    waiting: Option<Waker>,
    /// The task that polled it last.
    awaited_by: Option<TaskId>,
}

enum Outcome {
    /// `None` once it was given to whoever waited.
    Resumed(Option<Box<dyn Any + Send>>),
    Cancelled,
    Abandoned,
}

/// Those that are not over, by their keys.
#[derive(Default)]
pub(crate) struct Waitpoints {
    table: Mutex<HashMap<Arc<str>, Arc<Point>>>,
}

impl<T: Send + 'static> Waitpoint<T> {
    pub(crate) fn make(shared: &Arc<Shared>, key: Arc<str>) -> Result<Self, WaitpointError> {
        check_name("a waitpoint's key", &key)?;
        let point = Arc::new(Point {
            key: Arc::clone(&key),
            since: shared.clock.now(),
            expects: (TypeId::of::<T>(), type_name::<T>()),
            state: Mutex::new(State::default()),
        });
        let mut table = shared.waitpoints.table.lock();
        if table.contains_key(&key) {
            return Err(WaitpointError::Taken { key });
        }
        table.insert(key, Arc::clone(&point));
        drop(table);
        Ok(Self {
            point,
            shared: Arc::clone(shared),
            value: PhantomData,
        })
    }

    /// For whoever is to resume it.
    #[must_use]
    pub fn token(&self) -> WaitpointToken<T> {
        WaitpointToken {
            point: Arc::clone(&self.point),
            shared: Arc::clone(&self.shared),
            value: PhantomData,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.point.key
    }
}

impl<T: Send + 'static> Future for Waitpoint<T> {
    type Output = Result<T, WaitpointCancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (fresh, task) = (cx.waker().clone(), current_id());
        let mut state = self.point.state.lock();
        match &mut state.outcome {
            None => {
                state.awaited_by = task;
                let old = state.waiting.replace(fresh);
                drop(state);
                drop_guarded(old);
                Poll::Pending
            }
            Some(Outcome::Resumed(value)) => {
                let value = value.take().and_then(|value| value.downcast().ok());
                drop(state);
                drop_guarded(fresh);
                Poll::Ready(Ok(*value.expect("a Waitpoint gives its result once")))
            }
            Some(Outcome::Cancelled | Outcome::Abandoned) => {
                drop(state);
                drop_guarded(fresh);
                let key = Arc::clone(&self.point.key);
                Poll::Ready(Err(WaitpointCancelled { key }))
            }
        }
    }
}

impl<T> Drop for Waitpoint<T> {
    fn drop(&mut self) {
        // Nobody asks for a value that came and was not awaited.
        let unasked = {
            let mut state = self.point.state.lock();
            let outcome = state.outcome.get_or_insert(Outcome::Abandoned);
            let value = match outcome {
                Outcome::Resumed(value) => value.take(),
                Outcome::Cancelled | Outcome::Abandoned => None,
            };
            (value, state.waiting.take())
        };
        drop_guarded(unasked);
        self.shared.waitpoints.forget(&self.point);
    }
}

impl<T> std::fmt::Debug for Waitpoint<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Waitpoint");
        debug.field("key", &self.point.key).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> WaitpointToken<T> {
    /// Gives the value, and wakes whoever waits for it.
    ///
    /// # Errors
    ///
    /// [`ResumeError`]: it was resumed or cancelled before, or nobody waits any
    /// more. The value is dropped then.
    pub fn resume(&self, value: T) -> Result<(), ResumeError> {
        let outcome = Outcome::Resumed(Some(Box::new(value)));
        self.point.end(&self.shared.waitpoints, outcome)
    }

    /// Ends it without a value.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    pub fn cancel(&self) -> Result<(), ResumeError> {
        self.point.end(&self.shared.waitpoints, Outcome::Cancelled)
    }
}

impl<T> Clone for WaitpointToken<T> {
    fn clone(&self) -> Self {
        Self {
            point: Arc::clone(&self.point),
            shared: Arc::clone(&self.shared),
            value: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for WaitpointToken<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("WaitpointToken");
        debug.field("key", &self.point.key).finish_non_exhaustive()
    }
}

impl Point {
    /// Whoever is first decides; everybody later learns what it came to.
    fn end(&self, points: &Waitpoints, outcome: Outcome) -> Result<(), ResumeError> {
        let mut state = self.state.lock();
        if let Some(before) = &state.outcome {
            let key = Arc::clone(&self.key);
            let error = match before {
                Outcome::Resumed(_) => ResumeError::AlreadyResumed { key },
                Outcome::Cancelled => ResumeError::Cancelled { key },
                Outcome::Abandoned => ResumeError::Abandoned { key },
            };
            drop(state);
            drop_guarded(outcome);
            return Err(error);
        }
        state.outcome = Some(outcome);
        let waiting = state.waiting.take();
        drop(state);
        points.forget(self);
        wake_all(waiting);
        Ok(())
    }
}

impl Waitpoints {
    fn find(&self, key: &str) -> Result<Arc<Point>, ResumeError> {
        let found = self.table.lock().get(key).cloned();
        let key = || Arc::from(key);
        found.ok_or_else(|| ResumeError::Unknown { key: key() })
    }

    fn forget(&self, point: &Point) {
        let mut table = self.table.lock();
        let ours = |known: &Arc<Point>| std::ptr::eq(&raw const **known, point);
        let gone = if table.get(&point.key).is_some_and(ours) {
            table.remove(&point.key)
        } else {
            None
        };
        trim(&mut table);
        drop(table);
        drop(gone);
    }

    pub(crate) fn resume<T: Send + 'static>(&self, key: &str, value: T) -> Result<(), ResumeError> {
        let point = self.find(key)?;
        let (expects, expected) = point.expects;
        if expects != TypeId::of::<T>() {
            return Err(ResumeError::WrongType {
                key: Arc::clone(&point.key),
                expected,
                given: type_name::<T>(),
            });
        }
        point.end(self, Outcome::Resumed(Some(Box::new(value))))
    }

    pub(crate) fn cancel(&self, key: &str) -> Result<(), ResumeError> {
        self.find(key)?.end(self, Outcome::Cancelled)
    }

    pub(crate) fn snapshot(&self, now: Time) -> Vec<WaitpointSnapshot> {
        let table = self.table.lock();
        let points: Vec<_> = table.values().cloned().collect();
        drop(table);
        let of = |point: Arc<Point>| WaitpointSnapshot {
            key: point.key.to_string(),
            expects: point.expects.1.to_owned(),
            age: now.since(point.since),
            awaited_by: point.state.lock().awaited_by,
        };
        let mut points: Vec<_> = points.into_iter().map(of).collect();
        points.sort_by(|a, b| a.key.cmp(&b.key));
        points
    }
}

impl std::fmt::Debug for Waitpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waitpoints").finish_non_exhaustive()
    }
}
