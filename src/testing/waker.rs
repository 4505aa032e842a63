//! Wakers that misbehave, for futures that are polled by hand.

use std::task::{Wake, Waker};

use crate::Lane;
use crate::sync::Arc;

/// One way in which a waker misbehaves. The scheduler calls and drops wakers
/// outside its locks, and survives what they do (S13, S14).
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
/// # let main = lanes.lane("main")?;
/// use std::future::Future;
/// use std::task::Context;
/// use laneway::testing::HostileWaker;
///
/// let slot = main.acquire().await?;
/// let mut waiter = Box::pin(main.run(async |_| "served"));
/// let waker = HostileWaker::Panics.waker(&main);
/// assert!(waiter.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
/// drop(slot);                                     // wakes, and survives it
/// assert_eq!(waiter.await?, "served");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostileWaker {
    /// Woken, it looks at the lane, tries for a slot, submits and cancels.
    Reenters,
    /// Woken, it panics.
    Panics,
    /// Dropped, it does so.
    ReentersInDrop,
    /// Dropped, it panics.
    PanicsInDrop,
}

impl HostileWaker {
    /// Every kind there is.
    pub const ALL: &'static [Self] = &[
        Self::Reenters,
        Self::Panics,
        Self::ReentersInDrop,
        Self::PanicsInDrop,
    ];

    /// A waker of this kind, which wakes nobody.
    #[must_use]
    pub fn waker(self, lane: &Lane) -> Waker {
        let lane = lane.clone();
        Waker::from(Arc::new(Misbehaves { kind: self, lane }))
    }
}

struct Misbehaves {
    kind: HostileWaker,
    lane: Lane,
}

impl Misbehaves {
    fn act(&self, reenters: HostileWaker, panics: HostileWaker) {
        if self.kind == reenters {
            drop(self.lane.snapshot());
            drop(self.lane.try_acquire());
            drop(self.lane.spawn(async |_| ()).abort_on_drop());
        }
        if self.kind == panics && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("hostile: a waker"));
        }
    }
}

impl Wake for Misbehaves {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.act(HostileWaker::Reenters, HostileWaker::Panics);
    }
}

impl Drop for Misbehaves {
    fn drop(&mut self) {
        self.act(HostileWaker::ReentersInDrop, HostileWaker::PanicsInDrop);
    }
}
