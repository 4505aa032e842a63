//! User code that panics, wherever we call it (S14).

mod common;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use common::{MINUTE, SECOND, assert_clean, ceilinged, let_run, now, poll_once, stalled_in};
use laneway::{LaneConfig, Reason, TaskError};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::span;
use tracing_subscriber::layer::{self, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

#[track_caller]
fn panicked<T: std::fmt::Debug>(result: Result<T, TaskError>, message: &str) {
    match result {
        Err(TaskError::Panicked { payload, lane, .. }) => {
            assert_eq!((&*lane, payload.message()), ("main", message));
            let payload = payload.into_inner();
            assert_eq!(*payload.downcast::<&'static str>().unwrap(), message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn s14_a_panic_in_a_task_settles_it_with_the_payload() {
    let (_lanes, main) = ceilinged(1);
    let next = || async {
        main.run(async |_| ()).await.unwrap();
        main.idle().await;
    };
    panicked(main.run(async |_| panic!("run")).await, "run");
    next().await;
    panicked(main.spawn(async |_| panic!("spawn")).await, "spawn");
    next().await;
    let blocking = main.spawn_blocking(|_| panic!("spawn_blocking"));
    panicked(blocking.await, "spawn_blocking");
    next().await;
    // In the closure, before there is a future.
    fn closure(_: laneway::TaskContext) -> std::future::Pending<()> {
        panic!("closure")
    }
    panicked(main.run(closure).await, "closure");
    panicked(main.spawn(closure).await, "closure");
    next().await;
    // In a later poll.
    let later = main.spawn(async |_| {
        sleep(SECOND).await;
        panic!("later")
    });
    panicked(later.await, "later");
    let counters = assert_clean(&main);
    assert_eq!((counters.completed, counters.ended), (9 + 1, 0));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

async fn armed() {
    let _bomb = Bomb;
    pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn s14_a_panic_in_the_drop_of_a_future_costs_no_slot() {
    let (_lanes, main) = ceilinged(1);
    let stalled = main.run(async |_| armed().await).await;
    assert!(matches!(stalled, Err(TaskError::Stalled { .. })));
    let stalled = main.spawn(async |_| armed().await).await;
    assert!(matches!(stalled, Err(TaskError::Stalled { .. })));
    // Dropped by its caller, active and as an orphan.
    for orphan in [false, true] {
        let mut run = Box::pin(main.run(async |_| armed().await));
        assert!(poll_once(run.as_mut()).is_pending());
        if orphan {
            main.run(async |_| ()).await.unwrap();
            assert_eq!(main.snapshot().orphans.len(), 1);
        }
        drop(run);
        assert_clean(&main);
    }
    // A closure that was never called, in line and refused.
    let holder = main.acquire().await.unwrap();
    let bomb = Bomb;
    let queued = main.spawn(async move |_| drop(bomb));
    assert_eq!(main.clear(), 1);
    assert!(matches!(queued.await, Err(TaskError::Cleared { .. })));
    drop(holder);
    assert_eq!(main.run(async |_| 7).await.unwrap(), 7);
    assert_clean(&main);
}

/// A value that nobody took, and that panics when it is dropped.
#[tokio::test(start_paused = true)]
async fn s14_a_panic_in_the_drop_of_a_value_costs_nothing() {
    let (_lanes, main) = ceilinged(1);
    let task = main.spawn(async |_| Bomb);
    main.idle().await;
    drop(task);
    drop(main.spawn(async |_| Bomb));
    main.idle().await;
    let_run().await;
    assert_eq!(main.run(async |_| 7).await.unwrap(), 7);
    assert_clean(&main);
}

/// Panics when it is woken.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        panic!("woken")
    }
}

fn alarmed<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::new(Alarm))))
}

#[tokio::test(start_paused = true)]
async fn s14_a_waker_that_panics_costs_no_other_waiter_its_wake_up() {
    let (_lanes, main) = ceilinged(2);
    let holders = (main.acquire().await.unwrap(), main.acquire().await.unwrap());
    let mut alarm = Box::pin(main.acquire());
    assert!(alarmed(alarm.as_mut()).is_pending());
    let other = tokio::spawn({
        let main = main.clone();
        async move { main.run(async |_| now()).await }
    });
    let_run().await;
    let began = now();
    // Both are granted in one breath.
    main.set_max_concurrent(4).unwrap();
    assert_eq!(other.await.unwrap().unwrap(), began);
    assert!(alarmed(alarm.as_mut()).is_ready(), "granted all the same");
    drop((holders, alarm));
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s14_wakers_of_those_who_await_the_end_may_panic_too() {
    let (_lanes, main) = ceilinged(1);
    let (end, ended) = oneshot::channel::<()>();
    let mut task = main.spawn(async |cx| {
        ended.await.unwrap();
        (cx.id(), 7)
    });
    let (id, cx) = (task.id(), main.clone());
    let mut idle = Box::pin(cx.idle());
    let mut active = Box::pin(cx.wait_active(MINUTE));
    assert!(alarmed(Pin::new(&mut task)).is_pending());
    assert!(alarmed(idle.as_mut()).is_pending());
    assert!(alarmed(active.as_mut()).is_pending());
    let others = tokio::spawn({
        let main = main.clone();
        async move { tokio::join!(main.idle(), main.wait_active(MINUTE)) }
    });
    let_run().await;
    end.send(()).unwrap();
    others.await.unwrap().1.unwrap();
    assert_eq!(task.await.unwrap(), (id, 7));
    idle.await;
    active.await.unwrap();
}

/// The waker of a stalled task is the way to its runner, and not the only one.
#[tokio::test(start_paused = true)]
async fn s14_a_runner_whose_waker_panics_loses_its_slot_all_the_same() {
    let (_lanes, main) = ceilinged(1);
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(alarmed(run.as_mut()).is_pending());
    main.run(async |_| ()).await.unwrap();
    assert!(matches!(run.await, Err(TaskError::Stalled { .. })));
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s14_an_on_wait_callback_that_panics_costs_nothing() {
    let (_lanes, main) = ceilinged(1);
    let holder = main.acquire().await.unwrap();
    let loud = main.task().on_wait(SECOND, |_| panic!("on_wait"));
    let loud = loud.spawn(async |_| 1);
    let (told, tells) = oneshot::channel();
    let quiet = main.task().on_wait(SECOND, move |info| {
        told.send(info).unwrap();
    });
    let quiet = quiet.spawn(async |_| 2);
    let info = tells.await.unwrap();
    assert_eq!((&*info.lane, info.id), ("main", quiet.id()));
    assert_eq!(
        (info.waited, info.queued_ahead, info.active_ahead),
        (SECOND, 1, 1)
    );
    drop(holder);
    assert_eq!((loud.await.unwrap(), quiet.await.unwrap()), (1, 2));
    assert_clean(&main);
}

/// A callback may use its lane (S13).
#[tokio::test(start_paused = true)]
async fn s13_an_on_wait_callback_may_call_back_into_its_lane() {
    let (_lanes, main) = ceilinged(1);
    let holder = main.acquire().await.unwrap();
    let lane = main.clone();
    let waiter = main.task().on_wait(SECOND, move |info| {
        assert_eq!(lane.snapshot().queued[0].id, info.id);
        lane.set_max_concurrent(2).unwrap();
    });
    let began = now();
    let started = waiter.spawn(async |_| now()).await.unwrap();
    assert_eq!(started - began, SECOND);
    drop(holder);
}

/// A destructor may use its lane, and so may a waker (S13).
#[tokio::test(start_paused = true)]
async fn s13_wakers_and_destructors_may_call_back_into_their_lane() {
    struct Caller(laneway::Lane);
    impl Wake for Caller {
        fn wake(self: Arc<Self>) {
            let _ = self.0.snapshot();
        }
    }
    impl Drop for Caller {
        fn drop(&mut self) {
            drop(self.0.spawn(async |_| ()));
        }
    }
    let (_lanes, main) = common::one_lane(LaneConfig::new(1).stall_ceiling(MINUTE));
    let caller = Arc::new(Caller(main.clone()));
    let waker = Waker::from(caller);
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(
        run.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let mut acquire = Box::pin(main.acquire());
    assert!(
        acquire
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    main.run(async |_| ()).await.unwrap();
    drop((run, acquire));
    main.idle().await;
    assert_clean(&main);
}

/// A subscriber that panics at everything it is told of the lanes.
struct Touchy;

impl Touchy {
    fn touch(what: &'static str) {
        std::panic::resume_unwind(Box::new(what));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Touchy {
    fn on_new_span(&self, _: &span::Attributes<'_>, _: &span::Id, _: layer::Context<'_, S>) {
        Self::touch("a new span");
    }

    fn on_event(&self, _: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        Self::touch("an event");
    }
}

/// The same where it only panics once it knows the span.
struct TouchyInside;

impl<S: tracing::Subscriber> Layer<S> for TouchyInside {
    fn on_enter(&self, _: &span::Id, _: layer::Context<'_, S>) {
        Touchy::touch("entering");
    }

    fn on_exit(&self, _: &span::Id, _: layer::Context<'_, S>) {
        Touchy::touch("leaving");
    }

    fn on_record(&self, _: &span::Id, _: &span::Record<'_>, _: layer::Context<'_, S>) {
        Touchy::touch("recording");
    }

    fn on_follows_from(&self, _: &span::Id, _: &span::Id, _: layer::Context<'_, S>) {
        Touchy::touch("following");
    }

    fn on_close(&self, _: span::Id, _: layer::Context<'_, S>) {
        Touchy::touch("closing");
    }
}

async fn hang_and_go_on(rounds: u32) {
    let (_lanes, main) = ceilinged(1);
    for n in 0..rounds {
        let stuck = main.spawn(async |_| pending::<()>().await);
        let next = main.spawn(async move |_| n);
        stalled_in(stuck.await, "main");
        assert_eq!(next.await.unwrap(), n);
        assert_eq!(main.run(async |_| n).await.unwrap(), n);
        let on_a_thread = main.spawn_blocking(move |_| n);
        let slot = main.acquire().await.unwrap();
        let parks = main.run(async move |cx| {
            let wait = cx.waiting("nobody").release(["main"]);
            wait.on(tokio::task::yield_now()).await.map(|()| n)
        });
        let ((), parked) = tokio::join!(async { drop(slot) }, parks);
        assert_eq!(parked.unwrap().unwrap(), n);
        assert_eq!(on_a_thread.await.unwrap(), n);
    }
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s14_a_subscriber_that_panics_at_what_is_said_costs_nothing() {
    let touchy = Registry::default().with(Touchy);
    let _default = tracing::subscriber::set_default(touchy);
    hang_and_go_on(20).await;
}

#[tokio::test(start_paused = true)]
async fn s14_a_subscriber_that_panics_in_a_span_costs_nothing() {
    let touchy = Registry::default().with(TouchyInside);
    let _default = tracing::subscriber::set_default(touchy);
    hang_and_go_on(20).await;
}

#[tokio::test(start_paused = true)]
async fn s14_a_meta_that_panics_as_it_goes_costs_nobody_an_answer() {
    let (_lanes, main) = ceilinged(1);
    let task = || main.task().meta(Bomb);
    assert!(matches!(task().run(async |_| 1).await, Ok(1)));
    assert!(matches!(task().spawn(async |_| 2).await, Ok(2)));
    let stalled = task()
        .run(async |_| std::future::pending::<()>().await)
        .await;
    assert!(
        matches!(stalled, Err(TaskError::Stalled { .. })),
        "{stalled:?}"
    );
    let slot = task().acquire().await.unwrap();
    let queued = task().spawn(async |_| 3);
    queued.cancel(Reason::User);
    let cancelled = queued.await;
    assert!(matches!(cancelled, Err(TaskError::CancelledQueued { .. })));
    drop(slot);
    assert!(main.try_acquire().is_ok());
}
