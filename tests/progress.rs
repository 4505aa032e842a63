//! How a task says that it moves (S9).

mod common;

use std::future::pending;
use std::time::Duration;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, ceilinged, let_run, now, one_lane, poll_once,
};
use futures::{Stream, StreamExt, stream};
use laneway::{LaneConfig, TaskContext, TaskError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{advance, sleep};

/// A little less than the ceiling.
const NEARLY: Duration = CEILING.checked_sub(Duration::from_millis(1)).unwrap();

/// How long after its start the task was reclaimed as stalled.
#[track_caller]
fn stalled_after<T: std::fmt::Debug>(result: Result<T, TaskError>) -> Duration {
    match result {
        Err(TaskError::Stalled { elapsed, .. }) => elapsed,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_about(took: Duration, expected: Duration) {
    assert!(took >= expected && took <= expected + TICK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn s9_progress_just_within_the_ceiling_is_never_reclaimed() {
    let (_lanes, main) = ceilinged(2);
    let began = now();
    let ran = main.run(async |cx| {
        for _ in 0..500 {
            sleep(NEARLY).await;
            cx.progress();
        }
    });
    let spawned = main.spawn(async |_| {
        for _ in 0..500 {
            sleep(NEARLY).await;
            assert!(laneway::progress());
        }
    });
    let (ran, spawned) = tokio::join!(ran, spawned);
    ran.unwrap();
    spawned.unwrap();
    assert!(now() - began > 83 * HOUR);
    assert_eq!(assert_clean(&main).reclaimed, 0);
}

/// Silence begins with the task, however late it came for its slot (S20).
#[tokio::test(start_paused = true)]
async fn s9_what_a_grant_waits_for_its_runner_is_no_silence() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(3 * SECOND));
    let holder = main.try_acquire().unwrap();
    let mut late = Box::pin(main.run(async |_| sleep(2 * SECOND).await));
    assert!(poll_once(late.as_mut()).is_pending());
    drop(holder);
    sleep(4 * SECOND).await;
    late.await.unwrap();
    assert_eq!(assert_clean(&main).reclaimed, 0);
}

#[tokio::test(start_paused = true)]
async fn s9_nor_is_what_a_spawned_task_waits_for_its_turn() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(3 * SECOND));
    let late = main.spawn(async |_| sleep(2 * SECOND).await);
    // At once, so that it has had no turn yet.
    advance(4 * SECOND).await;
    late.await.unwrap();
    assert_eq!(assert_clean(&main).reclaimed, 0);
}

/// Being polled is not progress, and neither is a timer beside the task.
#[tokio::test(start_paused = true)]
async fn s9_only_a_report_is_progress() {
    let (_lanes, main) = ceilinged(1);
    let busy = main.run(async |_| {
        loop {
            sleep(SECOND).await;
        }
    });
    let busy: Result<(), _> = busy.await;
    assert_about(stalled_after(busy), CEILING);
}

async fn deep(depth: u32) {
    if depth > 0 {
        Box::pin(deep(depth - 1)).await;
    } else {
        sleep(NEARLY).await;
        assert!(laneway::progress_note("deep down"));
        sleep(NEARLY).await;
        assert!(laneway::progress());
        sleep(NEARLY).await;
    }
}

#[tokio::test(start_paused = true)]
async fn s9_progress_reaches_its_task_from_any_depth() {
    let (_lanes, main) = ceilinged(1);
    assert!(!laneway::progress(), "there is no task out here");
    assert!(!laneway::progress_note("nowhere"));
    let task = main.spawn(async |_| deep(20).await);
    sleep(2 * CEILING - SECOND).await;
    let snapshot = main.snapshot();
    assert_eq!(snapshot.active[0].note.as_deref(), Some("deep down"));
    assert!(snapshot.active[0].reported);
    task.await.unwrap();
    assert!(!laneway::progress());

    // Nested, it is the innermost task that is meant, and then the outer one.
    let outer = main.task().name("outer");
    let outer = outer.run(async |_| {
        laneway::progress_note("outer");
        let (_other, side) = one_lane(LaneConfig::new(1));
        side.run(async |_| laneway::progress_note("inner"))
            .await
            .unwrap();
        main.snapshot().active[0].note.clone()
    });
    assert_eq!(outer.await.unwrap().as_deref(), Some("outer"));
    // A plain spawn is nobody's.
    let lost = main.run(async |_| tokio::spawn(async { laneway::progress() }).await);
    assert!(!lost.await.unwrap().unwrap());
}

/// A stream of tokens with keep-alives in between.
fn tokens(every: Duration, items: Vec<&'static str>) -> impl futures::Stream<Item = &'static str> {
    let items = stream::iter(items);
    Box::pin(items.then(move |item| async move {
        sleep(every).await;
        item
    }))
}

#[tokio::test(start_paused = true)]
async fn s9_items_of_a_tracked_stream_are_progress() {
    let (_lanes, main) = ceilinged(1);
    let count = main.run(async |cx| {
        let stream = cx.track(tokens(NEARLY, vec!["token"; 30]));
        assert_eq!(futures::Stream::size_hint(&stream), (30, Some(30)));
        stream.count().await
    });
    assert_eq!(count.await.unwrap(), 30);
}

#[tokio::test(start_paused = true)]
async fn s9_keep_alives_do_not_hide_a_dead_upstream() {
    let (_lanes, main) = ceilinged(1);
    let mut items = vec!["token", "ping", "token"];
    items.extend(vec!["ping"; 100]);
    let dead = main.run(async |cx| {
        let stream = cx.track(tokens(MINUTE, items));
        stream.when(|item| *item != "ping").count().await
    });
    assert_about(stalled_after(dead.await), 3 * MINUTE + CEILING);
    // The end of a stream is no item.
    let ended = main.run(async |cx| {
        let _ = cx.track(stream::empty::<u8>()).count().await;
        sleep(MINUTE).await;
        let _ = cx.track(stream::empty::<u8>()).count().await;
        pending::<()>().await;
    });
    assert_about(stalled_after(ended.await), CEILING);
}

#[tokio::test(start_paused = true)]
async fn s9_reads_of_a_tracked_reader_are_progress() {
    let (_lanes, main) = ceilinged(1);
    for pings in [false, true] {
        let (mut write, read) = tokio::io::duplex(64);
        let writer = tokio::spawn(async move {
            for n in 0..20 {
                sleep(NEARLY).await;
                let bytes: &[u8] = if pings && n >= 3 { b":" } else { b"data" };
                if write.write_all(bytes).await.is_err() {
                    return;
                }
            }
        });
        let result = main.run(async |cx| {
            let mut all = Vec::new();
            if pings {
                let mut read = cx.track_read(read).when(|bytes| bytes != b":");
                read.read_to_end(&mut all).await
            } else {
                let mut read = cx.track_read(read);
                read.read_to_end(&mut all).await
            }
        });
        let result = result.await;
        if pings {
            assert_about(stalled_after(result), 3 * NEARLY + CEILING);
        } else {
            assert_eq!(result.unwrap().unwrap(), 80);
        }
        writer.await.unwrap();
    }
    // The end of a reader is no read.
    let ended = main.run(async |cx| {
        sleep(MINUTE).await;
        let mut none = cx.track_read(tokio::io::empty());
        none.read_to_end(&mut Vec::new()).await.unwrap();
        pending::<()>().await;
    });
    assert_about(stalled_after(ended.await), CEILING);
}

/// A part of the task on a tokio task of its own, spawned or scoped.
async fn part(say: mpsc::UnboundedSender<bool>) {
    for _ in 0..10 {
        sleep(NEARLY).await;
        let _ = say.send(laneway::progress());
    }
}

#[tokio::test(start_paused = true)]
async fn s9_progress_of_spawned_and_scoped_parts_is_the_tasks() {
    let (_lanes, main) = ceilinged(1);
    let (say, mut said) = mpsc::unbounded_channel();
    let task = main.run(async |cx: TaskContext| {
        cx.spawn(part(say.clone())).await.unwrap();
        tokio::spawn(cx.scope(part(say.clone()))).await.unwrap();
    });
    task.await.unwrap();
    drop(say);
    let mut heard = 0;
    while let Some(was_in_a_task) = said.recv().await {
        assert!(was_in_a_task);
        heard += 1;
    }
    assert_eq!(heard, 20);
    // What outlives its task may still report, and it counts for nothing.
    let (send, receive) = oneshot::channel();
    main.run(async |cx: TaskContext| send.send(cx).unwrap())
        .await
        .unwrap();
    let cx = receive.await.unwrap();
    cx.progress();
    let _phase = cx.phase("after the end").silence(SECOND).unwrap();
    assert!(cx.scope(async { laneway::progress() }).await);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s9_a_blocking_closure_reports_progress_too() {
    let (_lanes, main) = ceilinged(1);
    let (step, steps) = std::sync::mpsc::channel::<()>();
    let (stepped, mut has_stepped) = mpsc::unbounded_channel();
    let task = main.spawn_blocking(move |cx| {
        for n in 0..20 {
            if n % 2 == 0 {
                cx.progress();
            } else {
                assert!(laneway::progress());
            }
            stepped.send(()).unwrap();
            steps.recv().unwrap();
        }
        cx.cancel_reason()
    });
    for _ in 0..20 {
        has_stepped.recv().await.unwrap();
        // A thread holds the clock, so it is moved by hand.
        advance(NEARLY).await;
        let_run().await;
        step.send(()).unwrap();
    }
    assert_eq!(task.await.unwrap(), None);
    assert_eq!(assert_clean(&main).taken, 0);
}

/// A tracked stream is as long as the stream.
#[tokio::test]
async fn a_tracked_stream_says_how_long_it_is() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let mut items = slot.context().track(stream::iter([1, 2, 3]));
    assert_eq!(items.size_hint(), (3, Some(3)));
    items.next().await;
    assert_eq!(items.size_hint(), (2, Some(2)));
}
