//! To end a task is to ask the children that are part of it: one that listens
//! has its grace, and its parent the time for it (S3).

mod common;

use std::future::Future;

use common::{CEILING, HOUR, MINUTE, SECOND, assert_clean, let_run, now};
use laneway::{Drain, Lane, LaneConfig, Lanes, Reason, TaskError, TaskHandle, Timeout};
use tokio::time::{sleep, timeout};

/// What the child came to, and what its parent heard of it.
type Told = TaskHandle<Result<(Reason, &'static str), TaskError>>;

struct Pair {
    lanes: Lanes,
    outer: Lane,
    inner: Lane,
    task: Told,
}

impl Pair {
    /// A parent that does not listen, and awaits a child that does.
    async fn under_way() -> Self {
        let config = LaneConfig::new(1).stall_ceiling(CEILING);
        let lanes = Lanes::builder()
            .lane("outer", config.clone())
            .lane("inner", config)
            .build()
            .unwrap();
        let [outer, inner] = ["outer", "inner"].map(|name| lanes.lane(name).unwrap());
        let within = inner.clone();
        let task = outer.spawn(async move |_| within.run(polite).await);
        let_run().await;
        assert_eq!(inner.snapshot().active.len(), 1);
        Self {
            lanes,
            outer,
            inner,
            task,
        }
    }

    /// Asked just now: the child ends politely, and its parent with its value.
    async fn assert_polite(self, reason: Reason) {
        let asked = now();
        let task = timeout(HOUR, self.task).await.expect("it ends");
        assert_eq!(task.unwrap().unwrap(), (reason, "said goodbye"));
        assert_eq!(now() - asked, SECOND);
        for lane in [&self.outer, &self.inner] {
            let counters = assert_clean(lane);
            assert_eq!((counters.taken, counters.completed), (0, 1));
        }
    }
}

async fn polite(cx: laneway::TaskContext) -> (Reason, &'static str) {
    let reason = cx.cancelled().await;
    sleep(SECOND).await;
    (reason, "said goodbye")
}

#[tokio::test(start_paused = true)]
async fn s3_a_child_that_listens_ends_politely_when_its_parent_is_cancelled() {
    let pair = Pair::under_way().await;
    pair.task.cancel(Reason::User);
    pair.assert_polite(Reason::User).await;

    let pair = Pair::under_way().await;
    let id = pair.task.id();
    pair.lanes.cancel(id, Reason::Superseded).unwrap();
    pair.assert_polite(Reason::Superseded).await;
}

#[tokio::test(start_paused = true)]
async fn s3_a_child_that_listens_ends_politely_when_everything_is_cancelled() {
    let pair = Pair::under_way().await;
    assert_eq!(pair.lanes.cancel_all(Reason::User), 2);
    pair.assert_polite(Reason::User).await;

    let pair = Pair::under_way().await;
    assert_eq!(pair.outer.cancel_all(Reason::User), 1);
    pair.assert_polite(Reason::User).await;
}

#[tokio::test(start_paused = true)]
async fn s3_a_child_that_listens_ends_politely_at_a_shutdown() {
    let pair = Pair::under_way().await;
    let over = pair.lanes.shutdown();
    pair.assert_polite(Reason::Shutdown).await;
    over.await;

    let pair = Pair::under_way().await;
    let over = pair.outer.shutdown();
    pair.assert_polite(Reason::Shutdown).await;
    over.await;
}

/// The deadline of the drain, then the same as above.
async fn drained(pair: Pair, drain: impl Future<Output = laneway::DrainReport>, tasks: usize) {
    let Pair {
        lanes: _lanes,
        outer,
        inner,
        task,
    } = pair;
    let report = timeout(HOUR, drain).await.expect("it is drained");
    let value = timeout(HOUR, task).await.expect("it ends");
    assert_eq!(value.unwrap().unwrap(), (Reason::Draining, "said goodbye"));
    assert_eq!((report.finished, report.interrupted), (tasks, 0));
    assert_eq!((report.orphans, report.still_active), (0, 0));
    for lane in [&outer, &inner] {
        assert_eq!(assert_clean(lane).taken, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn s3_a_child_that_listens_ends_politely_at_the_deadline_of_a_drain() {
    let pair = Pair::under_way().await;
    let drain = pair.lanes.drain(Drain::within(MINUTE));
    drained(pair, drain, 2).await;

    let pair = Pair::under_way().await;
    let drain = pair.outer.drain(Drain::within(MINUTE));
    drained(pair, drain, 1).await;
}

/// The parent's own limit is no different.
#[tokio::test(start_paused = true)]
async fn s3_a_child_that_listens_ends_politely_at_its_parents_budget() {
    let Pair {
        lanes: _lanes,
        outer,
        inner,
        task,
    } = Pair::under_way().await;
    task.cancel(Reason::User);
    task.await.unwrap().unwrap();
    let bounded = outer.task().timeout(Timeout::budget(MINUTE));
    let task = bounded.run(async |_| inner.run(polite).await);
    let value = timeout(HOUR, task).await.expect("it ends");
    assert_eq!(value.unwrap().unwrap(), (Reason::TimedOut, "said goodbye"));
}

/// However far down the one that listens is.
#[tokio::test(start_paused = true)]
async fn s3_a_grandchild_that_listens_ends_politely_too() {
    let nest = common::Nest::ceilinged();
    let (main, provider) = (nest.main.clone(), nest.provider.clone());
    let turn = nest.session.spawn(async move |_| {
        let call = main.run(async |_| provider.run(polite).await);
        call.await
    });
    let_run().await;
    turn.cancel(Reason::User);
    let value = timeout(HOUR, turn).await.expect("it ends");
    let value = value.unwrap().unwrap().unwrap();
    assert_eq!(value, (Reason::User, "said goodbye"));
    nest.assert_nothing_reclaimed();
}

/// A child that does not listen has no grace to wait for.
#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_listen_is_dropped_with_its_parent_at_once() {
    let nest = common::Nest::ceilinged();
    let main = nest.main.clone();
    let turn = nest.session.spawn(async move |_| {
        let deaf = main.run(async |_| std::future::pending::<()>().await);
        deaf.await
    });
    let_run().await;
    let asked = now();
    turn.cancel(Reason::User);
    let cancelled = timeout(HOUR, turn).await.expect("it ends");
    assert!(matches!(
        cancelled,
        Err(TaskError::Cancelled {
            reason: Reason::User,
            ..
        })
    ));
    assert_eq!(now(), asked);
    assert_clean(&nest.session);
    assert_clean(&nest.main);
}
