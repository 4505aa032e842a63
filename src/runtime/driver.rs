//! The one task that each runtime in use hosts: it sleeps until the next
//! moment of all lanes, and on an idle scheduler it sleeps for good.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::shared::Shared;
use super::wakers::{guarded, wake_all};
use super::watchdog::Rung;
use crate::engine::Time;
use crate::host::{self, Handle, Id, Sleep};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Serials, Weak};

/// How many domains are looked at in one poll, before others have their turn.
const BATCH: usize = 256;

/// The runtimes in use. Every driver serves every lane, so that a runtime that
/// is not driven just now, or goes away, leaves nobody without a timer.
#[derive(Debug)]
pub(crate) struct Drivers {
    list: Mutex<Vec<(Id, Arc<Bell>)>>,
    /// Moves with every driver that goes; makes stale what threads remember.
    epoch: AtomicU64,
    /// Tells schedulers apart, also those that are gone.
    scheduler: u64,
}

/// How a sleeping driver is woken, and whether it came.
#[derive(Debug)]
struct Bell {
    waker: Mutex<Option<Waker>>,
    /// Polls of the driver, which alone writes it.
    polls: AtomicU64,
}

/// A driver that was woken.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    bell: Arc<Bell>,
    polls: u64,
}

impl Bell {
    fn new() -> Self {
        Self {
            waker: Mutex::new(None),
            polls: AtomicU64::new(0),
        }
    }
}

impl Heard {
    /// Whether it was polled since it was woken.
    pub(super) fn has_come(&self) -> bool {
        self.bell.polls.load(Ordering::Relaxed) != self.polls
    }
}

crate::sync::per_thread! {
    static SERVED: Cell<Option<Served>> = Cell::new(None);
}

/// The scheduler, epoch and runtime that a thread last found served.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Served(u64, u64, Id);

impl Served {
    #[inline]
    fn is_remembered(self) -> bool {
        SERVED.try_with(Cell::get).ok().flatten() == Some(self)
    }
}

impl Drivers {
    pub(crate) fn new() -> Self {
        static SCHEDULERS: Serials = Serials::from(0);
        Self {
            list: Mutex::new(Vec::new()),
            epoch: AtomicU64::new(0),
            scheduler: SCHEDULERS.next(),
        }
    }

    pub(crate) fn wake(&self) {
        let bells: Vec<_> = {
            let list = self.list.lock();
            list.iter().map(|(_, bell)| Arc::clone(bell)).collect()
        };
        let wakers: Vec<_> = bells.iter().map(|bell| bell.waker.lock().take()).collect();
        wake_all(wakers.into_iter().flatten());
        host::step_aside();
    }

    /// How many runtimes are in use.
    pub(super) fn len(&self) -> usize {
        self.list.lock().len()
    }

    /// Wakes the drivers that are not among these, and adds them.
    pub(super) fn ring_others(&self, rung: &mut Vec<Rung>, at: Time) {
        let is_rung = |id: Id| rung.iter().any(|rung| rung.runtime == id);
        let others: Vec<Id> = {
            let list = self.list.lock();
            let others = list.iter().filter(|(id, _)| !is_rung(*id));
            others.map(|(id, _)| *id).collect()
        };
        let ring = |runtime| {
            let driver = self.ring(runtime)?;
            Some(Rung::new(runtime, at, driver))
        };
        rung.extend(others.into_iter().filter_map(ring));
    }

    /// Wakes the driver of this runtime.
    pub(super) fn ring(&self, runtime: Id) -> Option<Heard> {
        let bell = {
            let list = self.list.lock();
            let found = list.iter().find(|(other, _)| *other == runtime);
            Arc::clone(&found?.1)
        };
        let polls = bell.polls.load(Ordering::Relaxed);
        let waker = bell.waker.lock().take();
        wake_all(waker);
        Some(Heard { bell, polls })
    }

    pub(super) fn serves(&self, id: Id) -> bool {
        self.list.lock().iter().any(|(other, _)| *other == id)
    }

    /// What a thread remembers if it finds this runtime served, until a driver goes.
    #[inline]
    fn now_serve(&self, id: Id) -> Served {
        Served(self.scheduler, self.epoch.load(Ordering::Acquire), id)
    }

    fn forget(&self, id: Id, bell: &Arc<Bell>) {
        let mut list = self.list.lock();
        list.retain(|(other, b)| *other != id || !Arc::ptr_eq(b, bell));
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

impl Shared {
    /// The runtime of the caller, with a driver on it. `None` where there is
    /// no runtime, or one without timers.
    pub(crate) fn enter_runtime(self: &Arc<Self>) -> Option<Handle> {
        let handle = Handle::try_current().ok()?;
        let served = self.drivers.now_serve(handle.id());
        if served.is_remembered() {
            return Some(handle);
        }
        self.serve(&handle)?;
        let _ = SERVED.try_with(|cache| cache.set(Some(served)));
        Some(handle)
    }

    /// Whether this runtime went since the caller entered it. Mostly one load.
    #[inline]
    pub(super) fn has_gone(&self, runtime: Id) -> bool {
        !self.drivers.now_serve(runtime).is_remembered() && !self.drivers.serves(runtime)
    }

    /// Fires domains whose moment has come, and says when the next one is, if
    /// that has come, too.
    pub(super) fn see_to_moments(&self, now: Time) -> Option<Time> {
        for domain in self.timers.due(now, BATCH) {
            if let Some(domain) = domain.upgrade() {
                guarded("the driver", || domain.fire());
            }
        }
        self.timers.first().filter(|next| *next <= now)
    }

    /// Somebody waits on this runtime for what a moment brings. The driver of
    /// the runtime that the moment was set on may stand still, or be gone, so
    /// there is to be one here (S8).
    pub(crate) fn drive_here(self: &Arc<Self>) {
        drop(self.enter_runtime());
    }

    fn serve(self: &Arc<Self>, handle: &Handle) -> Option<()> {
        let id = handle.id();
        if self.drivers.serves(id) {
            return Some(());
        }
        if !host::has_timers() {
            return None;
        }
        let bell = Arc::new(Bell::new());
        {
            let mut list = self.drivers.list.lock();
            if list.iter().any(|(other, _)| *other == id) {
                return Some(());
            }
            list.push((id, Arc::clone(&bell)));
        }
        // Outside the lock: a runtime that is shutting down drops it at once.
        drop(handle.spawn(Driver {
            shared: Arc::downgrade(self),
            bell,
            id,
            sleep: None,
        }));
        Some(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Their weak references are dead by now; polled once more, they end.
        self.drivers.wake();
        if let Some(watchdog) = self.watchdog.get() {
            watchdog.look_up();
        }
        if let Some(hub) = &self.hub {
            hub.end();
        }
    }
}

struct Driver {
    shared: Weak<Shared>,
    bell: Arc<Bell>,
    id: Id,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        // Before the table is read, so that whoever arms an earlier moment
        // afterwards finds somebody to wake.
        *driver.bell.waker.lock() = Some(cx.waker().clone());
        let polls = driver.bell.polls.load(Ordering::Relaxed);
        driver.bell.polls.store(polls + 1, Ordering::Relaxed);
        loop {
            let Some(shared) = driver.shared.upgrade() else {
                return Poll::Ready(());
            };
            let now = shared.clock.now();
            if shared.see_to_moments(now).is_some() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(next) = shared.timers.first() else {
                driver.sleep = None;
                return Poll::Pending;
            };
            let until = shared.clock.instant(next);
            let sleep = match &mut driver.sleep {
                Some(sleep) => {
                    if sleep.deadline() != until {
                        sleep.as_mut().reset(until);
                    }
                    sleep
                }
                none => none.insert(Box::pin(host::sleep_until(until))),
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            driver.sleep = None;
        }
    }
}

impl Drop for Driver {
    /// The runtime goes, or the scheduler is gone. In the first case, whatever
    /// was bound to this runtime is settled (S7); the moments stay in the
    /// table, for the other drivers or the next one.
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.drivers.forget(self.id, &self.bell);
            guarded("the driver's end", || {
                super::perform::runtime_gone(&shared, self.id);
            });
        }
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;
    use crate::plan::{Draft, Plan};

    #[test]
    fn s15_a_runtime_that_is_gone_is_forgotten() {
        let plan = Plan::new(Draft::default()).unwrap();
        let shared = Arc::new(Shared::new(false, 64, plan, 0));
        for _ in 0..3 {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async { shared.drive_here() });
            assert_eq!(shared.drivers.list.lock().len(), 1);
            drop(runtime);
            assert!(shared.drivers.list.lock().is_empty());
        }
    }
}
