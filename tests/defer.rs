//! `defer` hooks: what is done between a task's end and its slot's.

mod common;

use std::future::{Future, pending};
use std::time::Duration;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, ceilinged, let_run, now, poll_once,
};
use laneway::{Reason, TaskContext, TaskError, Timeout};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// What hooks said, in order.
#[derive(Clone)]
struct Said(UnboundedSender<(&'static str, Reason)>);

impl Said {
    fn new() -> (Self, Heard) {
        let (say, hear) = mpsc::unbounded_channel();
        (Self(say), Heard(hear))
    }

    /// A hook that takes so long and then says its name.
    fn defer(&self, cx: &TaskContext, name: &'static str, takes: Duration) {
        let say = self.0.clone();
        cx.defer(move |reason| async move {
            sleep(takes).await;
            let _ = say.send((name, reason));
        });
    }
}

struct Heard(UnboundedReceiver<(&'static str, Reason)>);

impl Heard {
    fn all(&mut self) -> Vec<(&'static str, Reason)> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// Ends by itself, with two hooks.
async fn with_hooks(cx: TaskContext, said: Said) -> &'static str {
    said.defer(&cx, "first", SECOND);
    said.defer(&cx, "second", SECOND);
    "value"
}

#[tokio::test(start_paused = true)]
async fn hooks_run_last_first_before_the_slot_is_released() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let (said, mut heard) = Said::new();
    let spawned = main.spawn({
        let said = said.clone();
        async move |cx| with_hooks(cx, said).await
    });
    let next = main.spawn(async |_| now());
    assert_eq!(next.await.unwrap() - began, 2 * SECOND);
    assert_eq!(spawned.await.unwrap(), "value");
    let expected = [("second", Reason::Completed), ("first", Reason::Completed)];
    assert_eq!(heard.all(), expected);

    let ran = main.run(async |cx| with_hooks(cx, said).await).await;
    assert_eq!(ran.unwrap(), "value");
    assert_eq!(heard.all(), expected);
    assert_eq!(assert_clean(&main).completed, 3);
}

#[tokio::test(start_paused = true)]
async fn hooks_are_told_why() {
    let (lanes, main) = ceilinged(1);
    let (said, mut heard) = Said::new();
    let endless = async |cx: TaskContext, said: Said| {
        said.defer(&cx, "hook", SECOND);
        pending::<()>().await;
    };
    let spawn = || {
        let said = said.clone();
        main.spawn(async move |cx| endless(cx, said).await)
    };

    let began = now();
    assert!(matches!(spawn().await, Err(TaskError::Stalled { .. })));
    // Who has a hook listens: grace, and then the hook.
    assert_eq!(now() - began, CEILING + 6 * SECOND);
    assert_eq!(heard.all(), [("hook", Reason::Stalled)]);

    let task = spawn();
    let_run().await;
    lanes.cancel(task.id(), Reason::User).unwrap();
    assert!(task.await.is_err());
    assert_eq!(heard.all(), [("hook", Reason::User)]);

    let bounded = main.task().timeout(Timeout::budget(MINUTE));
    let timed_out = bounded
        .run(async |cx| endless(cx, said.clone()).await)
        .await;
    assert!(matches!(timed_out, Err(TaskError::TimedOut { .. })));
    assert_eq!(heard.all(), [("hook", Reason::TimedOut)]);

    let panicked = main.run(async |cx: TaskContext| {
        said.defer(&cx, "hook", SECOND);
        panic!("over");
    });
    assert!(matches!(panicked.await, Err(TaskError::Panicked { .. })));
    assert_eq!(heard.all(), [("hook", Reason::Panicked)]);
    assert_eq!(assert_clean(&main).taken, 0);
}

/// A task that ends within its grace ended by itself.
#[tokio::test(start_paused = true)]
async fn s3_hooks_of_a_task_that_ends_in_its_grace_are_told_that_it_completed() {
    let (_lanes, main) = ceilinged(1);
    let (said, mut heard) = Said::new();
    let value = main.run(async |cx: TaskContext| {
        said.defer(&cx, "hook", SECOND);
        cx.cancelled().await
    });
    assert_eq!(value.await.unwrap(), Reason::Stalled);
    assert_eq!(heard.all(), [("hook", Reason::Completed)]);
}

#[tokio::test(start_paused = true)]
async fn s8_a_hook_that_never_ends_ends_with_the_teardown_and_leaves_no_orphan() {
    let (_lanes, main) = ceilinged(1);
    let (said, mut heard) = Said::new();
    let began = now();
    let task = main.spawn({
        let said = said.clone();
        async move |cx| {
            said.defer(&cx, "never reached", Duration::ZERO);
            cx.defer(|_| pending());
            said.defer(&cx, "reached", SECOND);
            7
        }
    });
    let next = main.spawn(async |_| now()).await.unwrap() - began;
    assert!(next >= 5 * SECOND, "{next:?}");
    assert!(next <= 5 * SECOND + TICK, "{next:?}");
    // The value is as good as ever.
    assert_eq!(task.await.unwrap(), 7);
    assert_eq!(heard.all(), [("reached", Reason::Completed)]);
    assert_eq!(assert_clean(&main).taken, 0);

    // And after a reclaim: ceiling, grace, teardown, one tick.
    let began = now();
    let phantom = main.spawn(async move |cx| {
        cx.defer(|_| pending());
        pending::<()>().await;
    });
    let next = main.spawn(async |_| now()).await.unwrap() - began;
    assert!(next >= CEILING + 10 * SECOND, "{next:?}");
    assert!(next <= CEILING + 10 * SECOND + TICK, "{next:?}");
    assert!(matches!(phantom.await, Err(TaskError::Stalled { .. })));
    assert_eq!(assert_clean(&main).taken, 0);
}

/// A hook that blocks its thread is past helping: the slot is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s8_a_hook_that_blocks_gives_way_as_an_orphan() {
    let config = laneway::LaneConfig::new(1).teardown(common::SHORT);
    let (_lanes, main) = common::one_lane(config);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let task = main.spawn(async move |cx| {
        cx.defer(move |_| async move { released.recv().unwrap() });
        7
    });
    main.run(async |_| ()).await.unwrap();
    // It was through with its work, and its value is there.
    assert_eq!(task.await.unwrap(), 7);
    assert_eq!(main.snapshot().orphans.len(), 1);
    release.send(()).unwrap();
    common::orphans_gone(&main).await;
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn hooks_run_when_the_future_of_a_run_is_dropped() {
    let (_lanes, main) = ceilinged(1);
    let (said, mut heard) = Said::new();
    let began = now();
    let mut run = Box::pin(main.run(async |cx: TaskContext| {
        said.defer(&cx, "hook", SECOND);
        pending::<()>().await;
    }));
    assert!(poll_once(run.as_mut()).is_pending());
    let next = main.spawn(async |_| now());
    drop(run);
    assert!(main.try_acquire().is_err(), "the slot is in teardown");
    assert_eq!(next.await.unwrap() - began, SECOND);
    assert_eq!(heard.all(), [("hook", Reason::Dropped)]);
    assert_clean(&main);
}

/// Dropped in the middle of its hooks: they go on where they are.
#[tokio::test(start_paused = true)]
async fn hooks_go_on_when_the_future_of_a_run_is_dropped_during_them() {
    let (_lanes, main) = ceilinged(1);
    let (said, mut heard) = Said::new();
    let run = main.run(async |cx| with_hooks(cx, said).await);
    let cut_short = tokio::time::timeout(3 * SECOND / 2, run).await;
    assert!(cut_short.is_err());
    assert_eq!(heard.all(), [("second", Reason::Completed)]);
    main.idle().await;
    assert_eq!(heard.all(), [("first", Reason::Completed)]);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn hooks_of_a_slot_and_of_a_blocking_closure_run_too() {
    let (_lanes, main) = ceilinged(1);
    let (said, mut heard) = Said::new();
    let slot = main.acquire().await.unwrap();
    said.defer(slot.context(), "slot", SECOND);
    drop(slot);
    main.run(async |_| ()).await.unwrap();
    assert_eq!(heard.all(), [("slot", Reason::Completed)]);

    let task = main.spawn_blocking(move |cx| said.defer(&cx, "thread", SECOND));
    task.await.unwrap();
    assert_eq!(heard.all(), [("thread", Reason::Completed)]);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s14_a_hook_that_panics_costs_nobody_else_anything() {
    let (_lanes, main) = ceilinged(1);
    let (said, mut heard) = Said::new();
    fn at_once(_: Reason) -> std::future::Ready<()> {
        panic!("in the hook itself")
    }
    let task = main.run(async |cx: TaskContext| {
        said.defer(&cx, "first", SECOND);
        cx.defer(|_| async { panic!("in its future") });
        said.defer(&cx, "second", SECOND);
        cx.defer(at_once);
        7
    });
    assert_eq!(task.await.unwrap(), 7);
    assert_eq!(
        heard.all(),
        [("second", Reason::Completed), ("first", Reason::Completed)]
    );
    assert_clean(&main);
}

/// A hook may use the lane that it holds up, even wait for it.
#[tokio::test(start_paused = true)]
async fn s13_hooks_may_call_back_into_their_lane() {
    let (lanes, main) = ceilinged(2);
    let inner = main.clone();
    let task = main.run(async |cx: TaskContext| {
        cx.defer(move |_| async move {
            assert_eq!(inner.run(async |_| 5).await.unwrap(), 5);
            let _ = inner.snapshot();
            inner.set_max_concurrent(1).unwrap();
        });
        lanes.clear()
    });
    task.await.unwrap();
    assert_eq!(assert_clean(&main).completed, 2);
    assert_eq!(main.snapshot().max_concurrent, 1);
}

/// Children that were spawned in the task's name end with it.
#[tokio::test(start_paused = true)]
async fn children_are_aborted_with_their_task_and_before_its_slot_goes_on() {
    struct Tell(UnboundedSender<&'static str>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send("child gone").unwrap();
        }
    }
    async fn endless(_tell: Tell) {
        pending().await
    }
    fn task(cx: &TaskContext, tell: Tell) -> impl Future<Output = ()> + use<> {
        drop(cx.spawn(endless(tell)));
        sleep(SECOND)
    }
    let (_lanes, main) = ceilinged(1);
    let (tell, mut told) = mpsc::unbounded_channel();
    for spawned in [true, false] {
        let child = Tell(tell.clone());
        let next = if spawned {
            drop(main.spawn(async move |cx| task(&cx, child).await));
            main.spawn(async |_| ())
        } else {
            let mut run = Box::pin(main.run(async |cx| task(&cx, child).await));
            assert!(poll_once(run.as_mut()).is_pending());
            let_run().await;
            main.spawn(async |_| ())
        };
        let tell = tell.clone();
        let after = main.spawn(async move |_| tell.send("next").unwrap());
        next.await.unwrap();
        after.await.unwrap();
        assert_eq!(told.recv().await, Some("child gone"));
        assert_eq!(told.recv().await, Some("next"));
    }
    assert_clean(&main);
}

/// One that a hook starts is too late to be awaited.
#[tokio::test(start_paused = true)]
async fn s8_a_child_that_a_hook_starts_does_not_hold_its_task_up() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let task = main.run(async |cx: TaskContext| {
        let late = cx.clone();
        cx.defer(async move |_| drop(late.spawn(pending::<()>())));
    });
    task.await.unwrap();
    assert_eq!(now(), began);
    assert_clean(&main);
}

/// A child that does not end is given up with the teardown.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_child_that_blocks_holds_its_task_up_for_the_teardown_only() {
    let config = laneway::LaneConfig::new(1).teardown(common::SHORT);
    let (_lanes, main) = common::one_lane(config);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let task = main.spawn(async move |cx| {
        drop(cx.spawn(async move {
            started.send(()).unwrap();
            released.recv()
        }));
        ended.await.unwrap();
        7
    });
    // Not by the task: it would be queued behind the blocked child.
    has_started.await.unwrap();
    end.send(()).unwrap();
    assert_eq!(task.await.unwrap(), 7);
    main.wait_active(HOUR).await.unwrap();
    assert_clean(&main);
    release.send(()).unwrap();
}

/// S8: without any hook, too, the slot is held until what was part of a task
/// that is dropped has gone.
#[tokio::test(start_paused = true)]
async fn s8_a_part_of_a_task_that_is_dropped_is_gone_before_its_slot_is_free() {
    let (_lanes, main) = ceilinged(1);
    let mut turn = Box::pin(main.run(async |cx| {
        let _part = cx.spawn(pending::<()>());
        pending::<()>().await;
    }));
    assert!(poll_once(turn.as_mut()).is_pending());
    let_run().await;
    drop(turn);
    assert!(main.try_acquire().is_err(), "its part is still there");
    let_run().await;
    assert_clean(&main);
}
