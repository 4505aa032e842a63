//! The one task that each runtime in use hosts: it sleeps until the next
//! moment of all lanes, and on an idle scheduler it sleeps for good.

use std::cell::Cell;
use std::future::Future;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::time::Sleep;

use super::shared::Shared;
use super::wakers::{guarded, wake_all};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Weak};

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

/// How a sleeping driver is woken.
#[derive(Debug, Default)]
struct Bell {
    driver: Mutex<Option<Waker>>,
    decoy: Mutex<Option<Waker>>,
}

impl Bell {
    /// The driver, and after it the decoy.
    fn ring(&self) {
        let driver = self.driver.lock().take();
        wake_all(driver);
        let decoy = self.decoy.lock().take();
        wake_all(decoy);
    }
}

thread_local! {
    /// The scheduler, epoch and runtime that this thread last found served.
    static SERVED: Cell<Option<(u64, u64, Id)>> = const { Cell::new(None) };
}

impl Drivers {
    pub(crate) fn new() -> Self {
        static SCHEDULERS: AtomicU64 = AtomicU64::new(0);
        Self {
            list: Mutex::new(Vec::new()),
            epoch: AtomicU64::new(0),
            scheduler: SCHEDULERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(crate) fn wake(&self) {
        let bells: Vec<_> = {
            let list = self.list.lock();
            list.iter().map(|(_, bell)| Arc::clone(bell)).collect()
        };
        for bell in bells {
            bell.ring();
        }
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
        let served = (
            self.drivers.scheduler,
            self.drivers.epoch.load(Ordering::Acquire),
            handle.id(),
        );
        if SERVED.try_with(Cell::get).ok().flatten() == Some(served) {
            return Some(handle);
        }
        self.serve(&handle)?;
        let _ = SERVED.try_with(|cache| cache.set(Some(served)));
        Some(handle)
    }

    fn serve(self: &Arc<Self>, handle: &Handle) -> Option<()> {
        let id = handle.id();
        let bell = {
            let mut list = self.drivers.list.lock();
            if list.iter().any(|(other, _)| *other == id) {
                return Some(());
            }
            // A runtime without timers panics here and nowhere else.
            catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).ok()?;
            let bell = Arc::new(Bell::default());
            list.push((id, Arc::clone(&bell)));
            bell
        };
        // Outside the lock: a runtime that is shutting down drops it at once.
        let shared = Arc::downgrade(self);
        drop(handle.spawn(Driver {
            shared: Weak::clone(&shared),
            bell: Arc::clone(&bell),
            id,
            sleep: None,
        }));
        if handle.runtime_flavor() != RuntimeFlavor::CurrentThread {
            drop(handle.spawn(Decoy { shared, bell }));
        }
        Some(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Their weak references are dead by now; polled once more, they end.
        self.drivers.wake();
    }
}

/// A task that does nothing.
///
/// What a worker of tokio woke last waits for that very worker, and no other
/// may have it, even while the worker is blocked in the poll that woke it. So
/// that this is never the driver, whoever wakes the driver wakes its decoy
/// right after it (S8).
struct Decoy {
    shared: Weak<Shared>,
    bell: Arc<Bell>,
}

impl Future for Decoy {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        *self.bell.decoy.lock() = Some(cx.waker().clone());
        if self.shared.strong_count() > 0 {
            Poll::Pending
        } else {
            Poll::Ready(())
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
        *driver.bell.driver.lock() = Some(cx.waker().clone());
        loop {
            let Some(shared) = driver.shared.upgrade() else {
                return Poll::Ready(());
            };
            let now = shared.clock.now();
            for domain in shared.timers.due(now, BATCH) {
                if let Some(domain) = domain.upgrade() {
                    guarded("the driver", || domain.fire());
                }
            }
            let Some(next) = shared.timers.first() else {
                driver.sleep = None;
                return Poll::Pending;
            };
            if next <= now {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let until = shared.clock.instant(next);
            let sleep = match &mut driver.sleep {
                Some(sleep) => {
                    if sleep.deadline() != until {
                        sleep.as_mut().reset(until);
                    }
                    sleep
                }
                none => none.insert(Box::pin(tokio::time::sleep_until(until))),
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
