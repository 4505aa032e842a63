//! Every `Arc` that is handed out, counted: freed with its last holder, however
//! its task has ended (S15). A leak checker sees what nobody can reach; these
//! see what somebody still holds on to.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::{Domain, Shared, TaskCell};
use crate::sync::{Arc, Mutex, Weak};
use crate::{Lane, LaneConfig, Lanes, OnFull, Reason, TaskContext};

const GRACE: Duration = Duration::from_secs(5);

/// What must be gone in the end.
struct Watch {
    domain: Weak<Domain>,
    shared: Weak<Shared>,
    tasks: Arc<Mutex<Vec<Weak<TaskCell>>>>,
}

impl Watch {
    fn on(lane: &Lane) -> Self {
        Self {
            domain: Arc::downgrade(&lane.domain),
            shared: Arc::downgrade(&lane.domain.shared),
            tasks: Arc::default(),
        }
    }

    /// For a task to note itself by.
    fn pen(&self) -> impl Fn(&TaskContext) + Send + use<> {
        let tasks = Arc::clone(&self.tasks);
        move |cx| tasks.lock().push(Arc::downgrade(cx.cell()))
    }

    #[track_caller]
    fn tasks_are_gone(&self) {
        let counts: Vec<usize> = self.tasks.lock().iter().map(Weak::strong_count).collect();
        assert!(!counts.is_empty(), "nobody noted anything");
        assert!(counts.iter().all(|count| *count == 0), "S15: {counts:?}");
    }
}

/// Runs `what` with a lane of one slot, and counts what is left of everything.
#[track_caller]
fn leaves_nothing<Fut: Future<Output = ()>>(what: impl FnOnce(Lane, Arc<Watch>) -> Fut) {
    leaves_nothing_of(LaneConfig::new(1), what);
}

fn bounded() -> LaneConfig {
    LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait)
}

#[track_caller]
fn leaves_nothing_of<Fut: Future<Output = ()>>(
    config: LaneConfig,
    what: impl FnOnce(Lane, Arc<Watch>) -> Fut,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let watch = runtime.block_on(async {
        let lanes = Lanes::builder().lane("main", config).build();
        let lanes = lanes.expect("a sound configuration");
        let lane = lanes.lane("main").expect("it was declared");
        let watch = Arc::new(Watch::on(&lane));
        what(lane.clone(), Arc::clone(&watch)).await;
        // One that nobody notes, so that its cell is kept for another task.
        drop(lane.run(async |_| ()).await);
        drop(lane);
        settle().await;
        watch.tasks_are_gone();
        watch
    });
    drop(runtime);
    assert_eq!(watch.domain.strong_count(), 0, "S15: a lane leaks");
    assert_eq!(watch.shared.strong_count(), 0, "S15: a scheduler leaks");
}

/// Until every runner and the driver have come.
async fn settle() {
    tokio::time::sleep(GRACE * 4).await;
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

#[test]
fn of_a_task_that_ends_by_itself() {
    leaves_nothing(async |lane, watch| {
        let note = watch.pen();
        lane.run(async |cx| note(&cx)).await.expect("it runs");
        let note = watch.pen();
        let spawned = lane.spawn(async move |cx| note(&cx));
        spawned.await.expect("it runs");
        let note = watch.pen();
        let blocking = lane.spawn_blocking(move |cx| note(&cx));
        blocking.await.expect("it runs");
    });
}

#[test]
fn of_a_task_that_panics() {
    leaves_nothing(async |lane, watch| {
        let note = watch.pen();
        let panics = async move |cx: TaskContext| {
            note(&cx);
            std::panic::resume_unwind(Box::new("on purpose"));
        };
        lane.run(panics).await.expect_err("it panics");
        let note = watch.pen();
        let spawned = lane.spawn(async move |cx| {
            note(&cx);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        spawned.await.expect_err("it panics");
    });
}

#[test]
fn of_a_future_that_is_dropped() {
    leaves_nothing(async |lane, watch| {
        let note = watch.pen();
        let mut active = Box::pin(lane.run(async |cx| {
            note(&cx);
            pending::<()>().await;
        }));
        poll_once(active.as_mut()).await;
        let mut queued = Box::pin(lane.run(async |_| ()));
        poll_once(queued.as_mut()).await;
        let mut acquiring = Box::pin(lane.acquire());
        poll_once(acquiring.as_mut()).await;
        // Granted, and never polled again.
        drop(active);
        drop(queued);
        drop(acquiring);
    });
}

#[test]
fn of_a_handle_that_nobody_awaits() {
    leaves_nothing(async |lane, watch| {
        for aborts in [true, false] {
            let note = watch.pen();
            let handle = lane.spawn(async move |cx| {
                note(&cx);
                if aborts {
                    pending::<()>().await;
                }
            });
            tokio::task::yield_now().await;
            drop(if aborts {
                handle.abort_on_drop()
            } else {
                handle
            });
            settle().await;
        }
    });
}

#[test]
fn of_a_slot_and_its_context() {
    leaves_nothing(async |lane, watch| {
        let slot = lane.acquire().await.expect("free");
        watch.pen()(slot.context());
        let (context, lost) = (slot.context().clone(), slot.lost());
        drop(slot);
        assert_eq!(watch.tasks.lock()[0].strong_count(), 2, "its two holders");
        drop(lost);
        assert_eq!(watch.tasks.lock()[0].strong_count(), 1, "its last holder");
        drop(context);
        watch.tasks_are_gone();
        let tried = lane.try_acquire().expect("free");
        watch.pen()(tried.context());
    });
}

#[test]
fn of_what_is_asked_and_taken() {
    leaves_nothing(async |lane, watch| {
        for force in [false, true] {
            let note = watch.pen();
            let handle = lane.spawn(async move |cx: TaskContext| {
                note(&cx);
                cx.defer(async |_| ());
                let _child = cx.spawn(pending::<()>());
                cx.cancelled().await;
                pending::<()>().await;
            });
            tokio::task::yield_now().await;
            if force {
                lane.reset();
            } else {
                handle.cancel(Reason::User);
            }
            handle.await.expect_err("it was ended");
        }
        let slot = lane.acquire().await.expect("free");
        watch.pen()(slot.context());
        lane.reset();
        assert!(!slot.is_current());
    });
}

#[test]
fn of_tasks_that_wait_for_each_other() {
    leaves_nothing(async |lane, watch| {
        let (note, inner, pen) = (watch.pen(), lane.clone(), watch.pen());
        let outer = lane.spawn(async move |cx| {
            note(&cx);
            let nested = inner.task().key("inner").spawn(async move |cx| pen(&cx));
            // Behind its own parent, for as long as that one waits.
            tokio::time::timeout(GRACE, nested.may_abandon())
                .await
                .expect_err("full");
        });
        outer.await.expect("it runs");
    });
}

#[test]
fn of_tasks_that_outlive_their_scheduler() {
    leaves_nothing(async |lane, watch| {
        let note = watch.pen();
        let active = lane.spawn(async move |cx: TaskContext| {
            note(&cx);
            cx.cancelled().await;
        });
        let queued = lane.spawn(async |_| ());
        tokio::task::yield_now().await;
        let (shutdown, context) = (lane.shutdown(), watch.tasks.lock()[0].upgrade());
        drop(lane);
        shutdown.await;
        active.await.expect("it ends in its grace");
        queued.await.expect_err("never begun");
        drop(context);
    });
}

#[test]
fn of_a_place_that_is_kept() {
    leaves_nothing_of(bounded(), async |lane, watch| {
        let slot = lane.acquire().await.expect("free");
        let used = lane.reserve().await.expect("a place");
        let mut waits = Box::pin(lane.task().key("k").reserve());
        poll_once(waits.as_mut()).await;
        let mut comes = Box::pin(lane.task().key("k").run(async |_| ()));
        poll_once(comes.as_mut()).await;
        let note = watch.pen();
        let task = used.spawn(async move |cx| note(&cx));
        drop(waits);
        drop(comes);
        drop(slot);
        task.await.expect("it runs");
        let lapsed = lane.reserve().await.expect("a place");
        tokio::time::sleep(GRACE * 20).await;
        drop(lapsed);
    });
}

#[test]
fn of_a_message() {
    leaves_nothing(async |lane, watch| {
        let slot = lane.acquire().await.expect("free");
        watch.pen()(slot.context());
        let mut inbox = slot.context().inbox::<u32>();
        let mut waits = Box::pin(inbox.recv());
        poll_once(waits.as_mut()).await;
        drop(waits);
        for key in ["", "k"] {
            let task = lane.task();
            let task = if key.is_empty() { task } else { task.key(key) };
            drop(task.offer(7_u32, async |_, _| ()));
        }
        assert_eq!(inbox.try_recv(), Some(7));
        assert_eq!(lane.domain.offers.len(), 1, "one of them is not for it");
        drop(inbox);
        drop(slot);
        settle().await;
        assert_eq!(lane.domain.offers.len(), 0, "S15: a message is kept");
    });
}

#[test]
fn of_what_is_merged() {
    leaves_nothing(async |lane, watch| {
        let slot = lane.acquire().await.expect("free");
        let merged = |note: Box<dyn Fn(&TaskContext) + Send>| {
            let task = lane.task().key("k");
            task.coalesce(1, |a, b| a + b, async move |cx, _: u32| note(&cx))
        };
        let all = [0; 3].map(|_| merged(Box::new(watch.pen())));
        drop(slot);
        for one in all {
            one.await.expect("it runs");
        }
        assert_eq!(lane.domain.offers.len(), 0, "S15: a letter is kept");
    });
}

/// A chain of two lanes; each way of ending its task, wherever it waits.
#[test]
fn of_a_task_of_a_chain() {
    const NAMES: [&str; 2] = ["session", "main"];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let watches = runtime.block_on(async {
        let lanes = Lanes::builder()
            .lane("session", LaneConfig::new(1))
            .lane("main", LaneConfig::new(1))
            .build();
        let lanes = lanes.expect("a sound configuration");
        let chain = lanes
            .chain(["session", "main"])
            .expect("they were declared");
        let names = ["session", "main"];
        let of = names.map(|name| lanes.lane(name).expect("it was declared"));
        let watches = [Watch::on(&of[0]), Watch::on(&of[1])];
        for stage in 0..4 {
            let busy = (stage < 2).then(|| of[1 - stage].try_acquire().expect("it is free"));
            let note = watches[0].pen();
            let release: &[&str] = if stage == 3 { &NAMES[1..] } else { &NAMES };
            let task = chain.spawn(async move |cx| {
                note(&cx);
                if stage > 1 {
                    let wait = cx.waiting("x").release(release);
                    drop(wait.on(pending::<()>()).await);
                }
            });
            tokio::task::yield_now().await;
            if stage != 0 {
                task.cancel(Reason::User);
            }
            drop(busy);
            drop(task.await);
            let note = watches[1].pen();
            let mut run = Box::pin(chain.run(async |cx| {
                note(&cx);
                let wait = cx.waiting("x").release(release);
                drop(wait.on(pending::<()>()).await);
            }));
            poll_once(run.as_mut()).await;
        }
        drop((chain, of));
        settle().await;
        watches.iter().for_each(Watch::tasks_are_gone);
        watches
    });
    drop(runtime);
    for watch in watches {
        assert_eq!(watch.domain.strong_count(), 0, "S15: a lane leaks");
        assert_eq!(watch.shared.strong_count(), 0, "S15: a scheduler leaks");
    }
}

/// It comes back to a free slot, to one that it waits for, or is ended on its
/// way: whatever it held meanwhile knows nothing of it any more.
#[test]
fn of_a_task_that_comes_back() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let lanes = Lanes::builder()
            .lane("session", LaneConfig::new(1))
            .lane("main", LaneConfig::new(1))
            .build();
        let lanes = lanes.expect("a sound configuration");
        let chain = lanes.chain(["session", "main"]).expect("declared");
        let main = lanes.lane("main").expect("it was declared");
        for (waits, ends) in [(false, false), (true, false), (true, true)] {
            let watch = Watch::on(&main);
            let (note, (answer, asked)) = (watch.pen(), tokio::sync::oneshot::channel());
            let task = chain.spawn(async move |cx| {
                note(&cx);
                drop(cx.waiting("x").release(["main"]).on(asked).await);
            });
            tokio::task::yield_now().await;
            let busy = waits.then(|| main.try_acquire().expect("it was given back"));
            answer.send(()).expect("it waits");
            tokio::task::yield_now().await;
            if ends {
                task.cancel(Reason::User);
                drop(task.await);
                drop(busy);
            } else {
                drop(busy);
                task.await.expect("it runs");
            }
            // One that nobody notes, so that its cell is kept for another task.
            drop(main.run(async |_| ()).await);
            settle().await;
            watch.tasks_are_gone();
        }
    });
}

#[test]
fn of_the_key_of_a_place_that_is_not_used() {
    leaves_nothing_of(bounded(), async |lane, watch| {
        let place = lane.task().key("k").reserve().await.expect("a place");
        assert_eq!(lane.domain.shared.keys.len(), 1);
        drop(place);
        assert_eq!(lane.domain.shared.keys.len(), 0, "S15: a key is kept");
        let note = watch.pen();
        lane.run(async |cx| note(&cx)).await.expect("it runs");
    });
}

#[test]
fn of_a_lane_that_leaves_its_group() {
    let group = crate::GroupConfig::new(1)
        .member("session:*")
        .member("main");
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .pattern("session:*", LaneConfig::new(1))
        .group("shared", group);
    let lanes = lanes.build().expect("a sound configuration");
    let main = lanes.lane("main").expect("it was declared");
    let group = main.domain.group().expect("it is in one");
    for n in 0..3 {
        drop(lanes.lane(&format!("session:{n}")).expect("of the pattern"));
        assert_eq!(group.members(), 1, "S15: a group keeps a lane");
    }
}
