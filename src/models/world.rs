//! What every model stands in: a host, a scheduler, futures polled by hand.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::engine::TICK;
use crate::host::Handle;
use crate::runtime::{Domain, Shared};
use crate::sync::{Arc, AtomicBool, Ordering, Untracked, Weak};
use crate::{Lane, LaneConfig, Lanes, LanesBuilder};

pub(super) const CEILING: Duration = Duration::from_secs(60);
/// What the engine gives a runner to come for its grant (S20).
pub(super) const CLAIM: Duration = Duration::from_secs(5);

pub(super) struct World {
    pub(super) host: Handle,
    pub(super) lanes: Lanes,
    pub(super) lane: Lane,
}

impl World {
    /// One lane, `main`, whose tasks never stall.
    pub(super) fn new(slots: usize) -> Self {
        Self::with(LaneConfig::new(slots).no_stall_ceiling(), |more| more)
    }

    /// One lane, `main`, with a ceiling.
    pub(super) fn ceilinged(slots: usize) -> Self {
        Self::with(LaneConfig::new(slots).stall_ceiling(CEILING), |more| more)
    }

    pub(super) fn with(
        config: LaneConfig,
        more: impl FnOnce(LanesBuilder) -> LanesBuilder,
    ) -> Self {
        let host = Handle::enter_new();
        let lanes = more(Lanes::builder().lane("main", config)).build();
        let lanes = lanes.expect("a sound configuration");
        let lane = lanes.lane("main").expect("it was declared");
        Self { host, lanes, lane }
    }

    /// Time passes, and the driver has come.
    pub(super) fn pass(&self, span: Duration) {
        self.host.advance(span);
        self.host.poll_all();
    }

    /// The driver comes at the last moment of a ceiling and what follows it.
    pub(super) fn stall(&self) {
        self.pass(CEILING);
        for _ in 0..4 {
            self.pass(TICK);
        }
    }

    /// Until nobody is left who was woken.
    pub(super) fn quiesce(&self, hands: &mut [&mut dyn Follow]) {
        loop {
            self.host.poll_all();
            let mut moved = false;
            for hand in &mut *hands {
                moved |= hand.follow();
            }
            if !moved && !self.host.poll_one() {
                return;
            }
        }
    }

    /// Nobody is left in the lane, and nothing of it in memory (S2, S5, S15).
    pub(super) fn wind_up(self) {
        self.host.poll_all();
        let snapshot = self.lane.snapshot();
        assert!(snapshot.active.is_empty(), "S2: {snapshot:?}");
        assert!(snapshot.queued.is_empty(), "S5: {snapshot:?}");
        assert!(snapshot.orphans.is_empty(), "S10: {snapshot:?}");
        // The slots are whole: as many as there were can be had at once.
        if snapshot.state == crate::LaneState::Open {
            let all: Vec<_> = (0..snapshot.max_concurrent)
                .map(|_| self.lane.try_acquire().expect("S2: a slot was lost"))
                .collect();
            assert!(self.lane.try_acquire().is_err(), "S1: a slot too many");
            drop(all);
        }
        let domain: Weak<Domain> = Arc::downgrade(&self.lane.domain);
        let shared: Weak<Shared> = Arc::downgrade(&self.lane.domain.shared);
        drop((self.lane, self.lanes));
        self.host.poll_all();
        self.host.shut_down();
        Handle::leave();
        assert_eq!(domain.strong_count(), 0, "S15: a lane leaks");
        assert_eq!(shared.strong_count(), 0, "S15: a scheduler leaks");
    }
}

/// A future whose polls are the model's own.
pub(super) struct Hand<T> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    woken: Arc<Woken>,
    value: Option<T>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// A [`Hand`], whatever it holds.
pub(super) trait Follow {
    /// Polls it if it was woken, and says whether it was.
    fn follow(&mut self) -> bool;
}

impl<T> Hand<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            future: Some(Box::pin(future)),
            woken: Arc::new(Woken(AtomicBool::new(false))),
            value: None,
        }
    }

    /// One that was polled once, and is pending.
    pub(super) fn pending(future: impl Future<Output = T> + Send + 'static) -> Self {
        let mut hand = Self::new(future);
        assert!(!hand.poll(), "it was to wait");
        hand
    }

    /// One poll; true once it is ready.
    pub(super) fn poll(&mut self) -> bool {
        self.woken.0.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.woken));
        if let Some(future) = &mut self.future
            && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            self.value = Some(value);
            self.future = None;
        }
        self.value.is_some()
    }

    /// What it came to, once everything is quiet (S7).
    #[track_caller]
    pub(super) fn answer(mut self) -> T {
        if self.value.is_none() {
            while self.follow() {}
        }
        if self.value.is_none() {
            assert!(!self.poll(), "a lost wake-up: it was ready and slept");
            panic!("S7: it waits for ever");
        }
        self.value.take().expect("it is ready")
    }
}

impl<T> Follow for Hand<T> {
    fn follow(&mut self) -> bool {
        if self.future.is_none() || !self.woken.0.load(Ordering::Acquire) {
            return false;
        }
        self.poll();
        true
    }
}

/// Counts things that no checker is to see, since they order nothing.
#[derive(Clone)]
pub(super) struct Tally(Arc<Untracked>);

impl Tally {
    pub(super) fn new() -> Self {
        Self(Arc::new(Untracked::new(0)))
    }

    pub(super) fn note(&self) {
        self.0.add(1);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.get()
    }
}
