//! What the tests of the public surface have in common.

#![allow(dead_code, reason = "every test crate uses a part of it")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use laneway::{Counters, Lane, LaneConfig, Lanes, TaskContext, TaskError, TaskId};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

pub(crate) const TICK: Duration = Duration::from_millis(10);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The stall ceiling of the scenarios.
pub(crate) const CEILING: Duration = Duration::from_secs(600);
/// The one for tests on real time: long enough that nothing healthy in them
/// can be mistaken, since nothing healthy in them has a ceiling at all.
pub(crate) const SHORT: Duration = Duration::from_millis(50);

/// A scheduler with one lane, `main`.
pub(crate) fn one_lane(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

/// A scheduler with lanes of one slot each.
pub(crate) fn lanes_of_one<const N: usize>(names: [&str; N]) -> (Lanes, [Lane; N]) {
    lanes_of(&LaneConfig::new(1), names)
}

/// A scheduler with lanes that are all set alike.
pub(crate) fn lanes_of<const N: usize>(
    config: &LaneConfig,
    names: [&str; N],
) -> (Lanes, [Lane; N]) {
    let lanes = names.iter().fold(Lanes::builder(), |lanes, name| {
        lanes.lane(*name, config.clone())
    });
    let lanes = lanes.build().unwrap();
    let each = names.map(|name| lanes.lane(name).unwrap());
    (lanes, each)
}

/// A lane with this many slots and the ceiling of the scenarios.
pub(crate) fn ceilinged(slots: usize) -> (Lanes, Lane) {
    one_lane(LaneConfig::new(slots).stall_ceiling(CEILING))
}

/// The clock that tests pause.
#[expect(clippy::disallowed_methods, reason = "tests read tokio's paused clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Polls once, by hand: nobody will poll it again because of a wake-up.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(futures::task::noop_waker_ref()))
}

/// Everybody who can run now does, on a runtime with one thread; time stands
/// still.
pub(crate) async fn let_run() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Until no runner of a taken task is left.
pub(crate) async fn orphans_gone(lane: &Lane) {
    until(|| lane.snapshot().orphans.is_empty()).await;
}

/// Until it is so; hangs, and fails by that, if it never is.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        // Real time: a paused clock must not run away from a blocked thread.
        tokio::task::spawn_blocking(std::thread::yield_now)
            .await
            .unwrap();
    }
}

/// Nothing is left in the lane, and what was granted was accounted for once.
#[track_caller]
pub(crate) fn assert_clean(lane: &Lane) -> Counters {
    let snapshot = lane.snapshot();
    assert!(snapshot.queued.is_empty(), "{snapshot:#?}");
    assert!(snapshot.active.is_empty(), "{snapshot:#?}");
    assert!(snapshot.orphans.is_empty(), "{snapshot:#?}");
    snapshot.counters
}

/// The task was reclaimed as stalled, in this lane; which one it was.
#[track_caller]
pub(crate) fn stalled_in<T: std::fmt::Debug>(
    result: Result<T, TaskError>,
    expected: &str,
) -> TaskId {
    match result {
        Err(TaskError::Stalled { lane, id, .. }) => {
            assert_eq!(&*lane, expected);
            id
        }
        other => panic!("{other:?}"),
    }
}

/// Lanes that stand behind each other: session, main, provider.
pub(crate) struct Nest {
    pub(crate) lanes: Lanes,
    pub(crate) session: Lane,
    pub(crate) main: Lane,
    pub(crate) provider: Lane,
}

impl Nest {
    pub(crate) fn new(config: &LaneConfig) -> Self {
        let lanes = Lanes::builder()
            .lane("session", config.clone())
            .lane("main", config.clone())
            .lane("provider", config.clone())
            .build()
            .unwrap();
        Self {
            session: lanes.lane("session").unwrap(),
            main: lanes.lane("main").unwrap(),
            provider: lanes.lane("provider").unwrap(),
            lanes,
        }
    }

    pub(crate) fn ceilinged() -> Self {
        Self::new(&LaneConfig::new(1).stall_ceiling(CEILING))
    }

    /// Somebody healthy holds the innermost lane for so long.
    pub(crate) fn occupy_provider(&self, time: Duration) {
        let holder = self.provider.task().no_stall_ceiling();
        drop(holder.spawn(async move |_| sleep(time).await));
    }

    #[track_caller]
    pub(crate) fn assert_nothing_reclaimed(&self) {
        for lane in [&self.session, &self.main, &self.provider] {
            let counters = assert_clean(lane);
            assert_eq!(
                (counters.reclaimed, counters.taken, counters.ended),
                (0, 0, 0)
            );
        }
    }
}

/// A stream of tokens that is never silent for its ceiling.
pub(crate) async fn stream(cx: TaskContext) -> &'static str {
    for _ in 0..20 {
        sleep(CEILING - TICK).await;
        cx.progress();
    }
    "streamed"
}

/// A runtime with one thread, which a task can block.
pub(crate) fn one_worker() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// Until it is true, with no runtime: what never comes to be is a test that hangs.
pub(crate) fn until_now(what: impl Fn() -> bool) {
    while !what() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
