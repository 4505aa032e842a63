//! Whoever waits for something of ours with a hostile waker, and is woken, or
//! goes while that is registered: it is woken and dropped outside every lock
//! (S13).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use laneway::testing::HostileWaker;
use laneway::{Lane, LaneConfig, Lanes, Offered, OnFull, Reason, Slot};

use crate::common::{HOUR, MINUTE, let_run, poll_once};
use crate::kinds::paused;

/// A waker that looks at everything there is when it is woken and when it is
/// dropped, beside what its kind does: it hangs where a lock is held.
struct Looks {
    lanes: Lanes,
    hostile: Waker,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        drop(self.lanes.snapshot());
        self.hostile.wake_by_ref();
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        drop(self.lanes.snapshot());
    }
}

type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// Everybody who can wait, beside one who holds a lane of one.
struct Crowd {
    lanes: Lanes,
    main: Lane,
    door: Lane,
    slot: Slot,
    /// The queue of `door` is full of it.
    place: Wait,
}

impl Crowd {
    async fn new() -> Self {
        let one = LaneConfig::new(1).stall_ceiling(HOUR);
        let full = LaneConfig::new(0).queue_capacity(1).on_full(OnFull::Wait);
        let builder = Lanes::builder().lane("main", one.clone());
        let builder = builder.lane("before", one).lane("door", full);
        let lanes = builder.events(64).build().unwrap();
        let [main, door] = ["main", "door"].map(|name| lanes.lane(name).unwrap());
        let slot = main.acquire().await.unwrap();
        let lane = door.clone();
        let mut place: Wait = Box::pin(async move { drop(lane.acquire().await) });
        assert!(poll_once(place.as_mut()).is_pending());
        Self {
            lanes,
            main,
            door,
            slot,
            place,
        }
    }

    /// Each of them pending, with a waker of this kind.
    fn wait(&self, kind: HostileWaker) -> Vec<Wait> {
        let waker = |kind: HostileWaker| {
            let (lanes, hostile) = (self.lanes.clone(), kind.waker(&self.main));
            Waker::from(Arc::new(Looks { lanes, hostile }))
        };
        // This one holds a timer of tokio's, which does not survive a waker
        // that panics when it is dropped.
        let timed = match kind {
            HostileWaker::PanicsInDrop => HostileWaker::Panics,
            other => other,
        };
        let mut all = vec![(self.leave(), timed)];
        all.extend(self.others().into_iter().map(|wait| (wait, kind)));
        for (n, (wait, kind)) in all.iter_mut().enumerate() {
            // Twice, so that the first waker is dropped for the second.
            for _ in 0..2 {
                let waker = waker(*kind);
                let mut cx = Context::from_waker(&waker);
                assert!(
                    wait.as_mut().poll(&mut cx).is_pending(),
                    "the {n}th, {kind:?}"
                );
            }
        }
        all.into_iter().map(|(wait, _)| wait).collect()
    }

    fn leave(&self) -> Wait {
        let lane = self.main.clone();
        Box::pin(async move { lane.wait_active(HOUR).await.unwrap() })
    }

    fn others(&self) -> Vec<Wait> {
        let (main, cx) = (&self.main, self.slot.context().clone());
        let [point, other] =
            ["point", "other"].map(|key| self.lanes.waitpoint::<u32>(key).unwrap());
        let parked = cx.waiting("other").on(other);
        let mut inbox = cx.inbox::<u32>();
        let chain = self.lanes.chain(["before", "main"]).unwrap();
        let (door, idle, lanes) = (self.door.clone(), main.clone(), self.lanes.clone());
        let task = || main.task().key("k");
        let shared = task().coalesce(7, |a: u32, b| a + b, async |_, n| n);
        let offered = task().offer("text", async |_, text| text);
        let spawned = main.spawn(async |_| ());
        vec![
            Box::pin(async move { assert_eq!(inbox.recv().await, Some(7)) }),
            Box::pin(async move { assert_eq!(parked.await.unwrap(), Ok(7)) }),
            Box::pin(async move { assert_eq!(cx.cancelled().await, Reason::User) }),
            Box::pin(async move { assert_eq!(point.await, Ok(7)) }),
            Box::pin(async move {
                // From its first poll on.
                let mut events = lanes.events().unwrap();
                drop(events.next().await.unwrap());
            }),
            Box::pin(async move { drop(chain.acquire().await.unwrap()) }),
            Box::pin(async move { drop(door.reserve().await.unwrap()) }),
            Box::pin(async move { assert_eq!(*shared.await.unwrap(), 7) }),
            Box::pin(async move { assert_eq!(offered.await.unwrap(), Offered::Ran("text")) }),
            Box::pin(async move { spawned.await.unwrap() }),
            Box::pin(async move { idle.idle().await }),
        ]
    }
}

#[test]
fn s13_whoever_goes_takes_a_hostile_waker_along() {
    for &kind in HostileWaker::ALL {
        paused().block_on(async {
            let crowd = Crowd::new().await;
            drop(crowd.wait(kind));
            drop(crowd.slot);
            assert_eq!(crowd.main.run(async |_| 7).await.unwrap(), 7);
        });
    }
}

#[test]
fn s13_s14_whoever_is_woken_by_a_hostile_waker_comes_to_its_end() {
    for &kind in HostileWaker::ALL {
        paused().block_on(async {
            let crowd = Crowd::new().await;
            let mut all = crowd.wait(kind);
            let message = crowd.main.task().offer(7_u32, async |_, n| n);
            for key in ["point", "other"] {
                crowd.lanes.resume_waitpoint(key, 7_u32).unwrap();
            }
            // Parked, a task takes no message, and asked to end, neither.
            for wait in all[1..3].iter_mut().rev() {
                assert!(poll_once(wait.as_mut()).is_ready());
            }
            drop(all.drain(1..3));
            crowd.lanes.cancel(crowd.slot.id(), Reason::User).unwrap();
            drop((crowd.place, crowd.slot));
            let all = futures::future::join_all(all);
            tokio::time::timeout(MINUTE, all).await.expect("all of it");
            message.await.unwrap();
            let_run().await;
        });
    }
}
