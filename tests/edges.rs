//! Who waits for whom, and whose signs of life count for whom (S9).

mod common;

use std::pin::Pin;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, ceilinged, let_run, now, poll_once,
    stalled_in,
};
use laneway::{Lane, LaneConfig, Lanes};
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
