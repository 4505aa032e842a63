//! Who waits for whom, and whose signs of life count for whom (S9).

#![expect(
    clippy::disallowed_types,
    reason = "what the tasks of the tests themselves share"
)]

mod common;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, ceilinged, lanes_of, let_run, now,
    poll_once, stalled_in,
};
use laneway::{Lane, LaneConfig, Lanes, Reason, TaskError};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// A parent is not younger than it is because its child's scheduler is older.
#[tokio::test(start_paused = true)]
async fn s8_a_parent_of_a_child_in_an_older_scheduler_stalls_in_time() {
    let (_older, inner) = ceilinged(1);
    sleep(HOUR).await;
    let (_newer, outer) = ceilinged(1);
    let began = now();
    let parent = outer.run(async |_| {
        let child = inner.run(async |cx| {
            sleep(SECOND).await;
            cx.progress();
            sleep(SECOND).await;
        });
        child.await.unwrap();
        std::future::pending::<()>().await;
    });
    let parent = timeout(24 * HOUR, parent).await.expect("it stalls");
    stalled_in(parent, "main");
    let took = now() - began;
    let exact = 2 * SECOND + CEILING;
    assert!(took >= exact && took <= exact + 2 * TICK, "{took:?}");
    assert_eq!(assert_clean(&inner).reclaimed, 0);
}

/// Nor is it older than it is because its child's scheduler is younger.
#[tokio::test(start_paused = true)]
async fn s9_progress_in_a_younger_scheduler_is_progress_of_the_parent() {
    let (_older, outer) = ceilinged(1);
    sleep(HOUR).await;
    let (_newer, inner) = ceilinged(1);
    let parent = outer.run(async |_| inner.run(common::stream).await);
    assert_eq!(parent.await.unwrap().unwrap(), "streamed");
    for lane in [&outer, &inner] {
        assert_eq!(assert_clean(lane).reclaimed, 0);
    }
}

struct Three {
    lanes: Lanes,
    a: Lane,
    b: Lane,
    inner: Lane,
}

fn three() -> Three {
    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(1).stall_ceiling(CEILING))
        .build()
        .unwrap();
    let [a, b, inner] = ["a", "b", "inner"].map(|name| lanes.lane(name).unwrap());
    Three { lanes, a, b, inner }
}

fn resume_after_an_hour(lane: &Lane) {
    let lane = lane.clone();
    drop(tokio::spawn(async move {
        sleep(HOUR).await;
        lane.resume();
    }));
}

#[tokio::test(start_paused = true)]
async fn s9_a_handle_is_awaited_by_whoever_polls_it_now() {
    let Three {
        lanes: _lanes,
        a,
        b,
        inner,
    } = three();
    inner.pause();
    let mut child = inner.spawn(async |_| 5);
    // One looks at it, and is done.
    a.run(async |_| assert!(poll_once(Pin::new(&mut child)).is_pending()))
        .await
        .unwrap();
    // Another awaits it in earnest, for longer than its ceiling.
    resume_after_an_hour(&inner);
    let got = b.run(async |_| child.await).await;
    assert_eq!(got.unwrap().unwrap(), 5);
    assert_eq!(assert_clean(&b).reclaimed, 0);
}

#[tokio::test(start_paused = true)]
async fn s9_a_run_is_awaited_by_whoever_polls_it_now() {
    let Three {
        lanes: _lanes,
        a,
        b,
        inner,
    } = three();
    inner.pause();
    let mut child = Box::pin(inner.run(async |_| 5));
    a.run(async |_| assert!(poll_once(child.as_mut()).is_pending()))
        .await
        .unwrap();
    resume_after_an_hour(&inner);
    let got = b.run(async |_| child.await).await;
    assert_eq!(got.unwrap().unwrap(), 5);
    assert_eq!(assert_clean(&b).reclaimed, 0);
}

/// Looked at outside of any task first, as by a `select!`.
#[tokio::test(start_paused = true)]
async fn s9_what_nobody_awaited_before_is_awaited_by_who_polls_it_now() {
    let Three {
        lanes: _lanes,
        a: _,
        b,
        inner,
    } = three();
    inner.pause();
    let mut child = inner.spawn(async |_| 5);
    let mut run = Box::pin(inner.run(async |_| 6));
    assert!(poll_once(Pin::new(&mut child)).is_pending());
    assert!(poll_once(run.as_mut()).is_pending());
    resume_after_an_hour(&inner);
    let got = b.run(async |_| (child.await.unwrap(), run.await.unwrap()));
    assert_eq!(got.await.unwrap(), (5, 6));
    assert_eq!(assert_clean(&b).reclaimed, 0);
}

/// Whoever passed its child on does not wait for it any more.
#[tokio::test(start_paused = true)]
async fn s8_who_gave_a_handle_away_stalls_like_anybody() {
    let Three {
        lanes: _lanes,
        a,
        b,
        inner,
    } = three();
    inner.pause();
    let mut child = inner.spawn(async |_| 5);
    let (give, given) = oneshot::channel();
    let began = now();
    let giver = a.spawn(async move |_| {
        assert!(poll_once(Pin::new(&mut child)).is_pending());
        give.send(child).unwrap();
        std::future::pending::<()>().await;
    });
    let taker = b.spawn(async move |_| given.await.unwrap().await);
    let_run().await;
    resume_after_an_hour(&inner);
    stalled_in(giver.await, "a");
    let took = now() - began;
    assert!(took >= CEILING && took <= CEILING + 2 * TICK, "{took:?}");
    assert_eq!(taker.await.unwrap().unwrap(), 5);
    assert!(now() - began >= HOUR);
    assert_eq!(assert_clean(&b).reclaimed, 0);
}

/// Silence that was granted to a child on purpose is its parent's, however
/// long it is, and no longer than that.
#[tokio::test(start_paused = true)]
async fn s9_a_child_whose_silence_was_extended_keeps_its_parent() {
    for hours in [1, 10, 100] {
        let lanes = Lanes::builder()
            .default_lane(LaneConfig::new(1).stall_ceiling(MINUTE))
            .build()
            .unwrap();
        let [outer, inner] = ["outer", "inner"].map(|name| lanes.lane(name).unwrap());
        let silence = HOUR * hours;
        let parent = outer.run(async |_| {
            let child = inner.run(async |cx| {
                lanes.extend(cx.id(), silence * 2).unwrap();
                sleep(silence).await;
                "extended"
            });
            child.await
        });
        assert_eq!(parent.await.unwrap().unwrap(), "extended");
        for lane in [&outer, &inner] {
            assert_eq!(assert_clean(lane).reclaimed, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s8_a_child_that_is_silent_beyond_its_extension_stalls_and_its_parent_goes_on() {
    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(1).stall_ceiling(MINUTE))
        .build()
        .unwrap();
    let [outer, inner] = ["outer", "inner"].map(|name| lanes.lane(name).unwrap());
    let began = now();
    let parent = outer.run(async |_| {
        let child = inner.run(async |cx| {
            lanes.extend(cx.id(), HOUR).unwrap();
            std::future::pending::<()>().await;
        });
        stalled_in(child.await, "inner");
        sleep(MINUTE - TICK).await;
        now()
    });
    let ended = parent.await.unwrap() - began;
    let exact = HOUR + MINUTE - TICK;
    assert!(ended >= exact && ended <= exact + 2 * TICK, "{ended:?}");
    assert_clean(&outer);
}

type Run = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send>>;
type Place = Arc<Mutex<Option<Run>>>;

fn poll_in(place: &Place, cx: &mut Context<'_>) {
    let run = place.lock().unwrap().take();
    if let Some(mut run) = run {
        let _ = run.as_mut().poll(cx);
        *place.lock().unwrap() = Some(run);
    }
}

/// First the second polls the first, then it is the other way round; and whoever is
/// looked at is the first task of all.
#[tokio::test(start_paused = true)]
async fn s13_two_tasks_that_take_turns_polling_each_other_lock_nobody_up() {
    let (lanes, [a, b]) = lanes_of(&LaneConfig::new(1), ["a", "b"]);
    let [a, b]: [&'static Lane; 2] = [a, b].map(|lane| &*Box::leak(Box::new(lane)));
    let (of_a, of_b): (Place, Place) = Default::default();
    let by_a = Arc::clone(&of_b);
    let mut first: Run = Box::pin(a.run(async move |cx| {
        let poll = |waker: &mut Context<'_>| {
            poll_in(&by_a, waker);
            if by_a.lock().unwrap().is_some() {
                lanes.cancel(cx.id(), Reason::User).unwrap();
            }
            Poll::Pending
        };
        poll_fn(poll).await
    }));
    let by_b = Arc::clone(&of_a);
    let mut second: Run = Box::pin(b.run(async move |_| {
        let poll = |waker: &mut Context<'_>| {
            poll_in(&by_b, waker);
            Poll::Pending
        };
        poll_fn(poll).await
    }));
    *of_a.lock().unwrap() = Some(first);
    assert!(poll_once(second.as_mut()).is_pending());
    first = of_a.lock().unwrap().take().unwrap();
    *of_b.lock().unwrap() = Some(second);
    // It hangs where each is found to be part of the other.
    let ended = poll_once(first.as_mut());
    assert!(matches!(
        ended,
        Poll::Ready(Err(TaskError::Cancelled { .. }))
    ));
}
