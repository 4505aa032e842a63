//! How the log of events is read: at a reader's own pace, and at nobody's expense.

#![expect(clippy::disallowed_types, reason = "counters of the tests themselves")]

mod common;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use common::{HOUR, MINUTE, SECOND, let_run, poll_once};
use futures::{Stream, StreamExt};
use laneway::{
    ConfigError, Event, EventKind, EventStream, EventsOff, Lane, LaneConfig, Lanes, Outcome,
    Reason, TaskError,
};
use tokio::time::{sleep, timeout};

fn with(capacity: usize) -> (Lanes, Lane) {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1).no_stall_ceiling())
        .events(capacity)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

/// Two events each.
async fn run(main: &Lane, times: usize) {
    for _ in 0..times {
        main.run(async |_| ()).await.unwrap();
    }
}

fn seqs(events: &mut EventStream) -> Vec<u64> {
    std::iter::from_fn(|| events.try_next())
        .map(|event| event.expect("nothing is missed").seq)
        .collect()
}

/// Also where nothing else happens for a while.
#[tokio::test(start_paused = true)]
async fn a_lane_that_is_added_is_told_to_whoever_waits() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .events(64)
        .build()
        .unwrap();
    let mut events = lanes.events().unwrap();
    let waits = tokio::spawn(async move { events.next().await });
    common::let_run().await;
    lanes
        .reconfigure(|change| change.add_lane("night", LaneConfig::new(1)))
        .unwrap();
    let event = waits.await.unwrap().unwrap().unwrap();
    assert_eq!(&*event.lane, "night");
}

#[tokio::test]
async fn they_are_to_be_turned_on() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    assert!(matches!(lanes.events(), Err(EventsOff { .. })));
    assert!(lanes.subscribe_from(0).is_err());
    assert!(lanes.snapshot().events.is_none());
    let main = lanes.lane("main").unwrap();
    let task = main.spawn(async |_| ());
    assert!(task.events().is_err());
    assert!(lanes.task_events(task.id()).is_err());
    task.await.unwrap();
    main.close();
    assert!(main.spawn(async |_| ()).events().is_err());
}

#[test]
fn s18_none_or_far_too_many_cannot_be_kept() {
    for given in [0, (1 << 24) + 1, usize::MAX] {
        let refused = Lanes::builder()
            .lane("main", LaneConfig::new(1))
            .events(given)
            .build();
        let max = 1 << 24;
        assert_eq!(refused.err(), Some(ConfigError::Events { given, max }));
    }
}

#[tokio::test]
async fn from_now_on_or_from_a_number_that_is_yet_to_come() {
    let (lanes, main) = with(100);
    run(&main, 2).await;
    let mut now = lanes.events().unwrap();
    let mut all = lanes.subscribe_from(0).unwrap();
    let mut later = lanes.subscribe_from(7).unwrap();
    assert!(now.try_next().is_none() && later.try_next().is_none());
    run(&main, 2).await;
    assert_eq!(seqs(&mut now), [5, 6, 7, 8]);
    assert_eq!(seqs(&mut all), (0..9).collect::<Vec<_>>());
    assert_eq!(seqs(&mut later), [7, 8]);
    let far = lanes.subscribe_from(u64::MAX).unwrap();
    let far = timeout(SECOND / 100, far.into_future()).await;
    assert!(far.is_err(), "it waits");
}

#[tokio::test]
async fn who_fell_behind_is_told_once_and_goes_on() {
    let (lanes, main) = with(6);
    let mut slow = lanes.subscribe_from(0).unwrap();
    assert_eq!(slow.next().await.unwrap().unwrap().seq, 0);
    // One batch at the most is fetched ahead.
    assert!(slow.try_next().is_none());
    run(&main, 10).await;
    let overflow = slow.next().await.unwrap().unwrap_err();
    assert_eq!((overflow.missed, overflow.available_from), (14, 15));
    assert_eq!(seqs(&mut slow), [15, 16, 17, 18, 19, 20]);
    run(&main, 1).await;
    assert_eq!(seqs(&mut slow), [21, 22]);
    let counters = lanes.snapshot().events.unwrap();
    assert_eq!((counters.published, counters.available_from), (23, 17));
    assert_eq!((counters.dropped, counters.streamed), (14, 9));
    // Who asks for what was gone before it came has missed it, and dropped nothing.
    let mut late = lanes.subscribe_from(0).unwrap();
    assert_eq!(late.try_next().unwrap().unwrap_err().missed, 17);
    let counters = lanes.snapshot().events.unwrap();
    assert_eq!((counters.dropped, counters.readers), (14, 2));
    drop((slow, late));
    assert_eq!(lanes.snapshot().events.unwrap().readers, 0);
}

#[tokio::test]
async fn more_than_a_batch_comes_in_its_order() {
    let (lanes, main) = with(1_000);
    run(&main, 400).await;
    let mut all = lanes.subscribe_from(0).unwrap();
    assert_eq!(seqs(&mut all), (0..801).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn s7_whoever_waits_is_woken() {
    let (lanes, main) = with(100);
    let mut events = lanes.events().unwrap();
    let reader = tokio::spawn(async move { events.next().await });
    let_run().await;
    run(&main, 1).await;
    let event = timeout(HOUR, reader).await.expect("it was woken");
    let event = event.unwrap().unwrap().unwrap();
    assert!(matches!(event.kind, EventKind::Dispatched { .. }));
}

#[tokio::test]
async fn it_is_a_stream_like_any_other() {
    let (lanes, main) = with(100);
    run(&main, 3).await;
    drop(main);
    let events = lanes.subscribe_from(0).unwrap();
    drop(lanes);
    let all: Vec<Event> = events.map(|event| event.unwrap()).collect().await;
    // The lane was made, three tasks had a slot and ended, the lane was closed.
    assert_eq!(all.len(), 8);
}

/// Whoever waits for one task is woken for that one alone.
#[tokio::test]
async fn who_reads_of_one_task_is_woken_for_no_other() {
    let (lanes, main) = with(100);
    let task = main.spawn(async |_| pending::<()>().await);
    let_run().await;
    let mut events = task.events().unwrap();
    let counts = Arc::new(Counts::default());
    let waker = Waker::from(Arc::clone(&counts));
    let mut poll = || {
        let mut next = Box::pin(events.next());
        match next.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(event) => event.map(|event| event.unwrap().kind),
            Poll::Pending => None,
        }
    };
    assert!(matches!(poll(), Some(EventKind::Dispatched { .. })));
    assert!(poll().is_none());
    let others: Vec<_> = (0..5).map(|_| main.spawn(async |_| ())).collect();
    assert_eq!(counts.count(), 0, "what others do is nothing to it");
    task.cancel(Reason::User);
    assert_eq!(counts.count(), 1);
    assert!(matches!(poll(), Some(EventKind::Asked { .. })));
    drop((others, lanes));
}

/// How often it was woken.
#[derive(Default)]
struct Counts(AtomicUsize);

impl Counts {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn s7_the_stream_of_a_task_ends_with_it_whenever_it_is_read() {
    let (lanes, main) = with(100);
    let task = main.spawn(async |_| sleep(SECOND).await);
    let (mut early, id) = (task.events().unwrap(), task.id());
    task.await.unwrap();
    let mut late = lanes.task_events(id).unwrap();
    for events in [&mut early, &mut late] {
        assert!(matches!(
            events.next().await.unwrap().unwrap().kind,
            EventKind::Dispatched { .. }
        ));
        assert!(matches!(
            events.next().await.unwrap().unwrap().kind,
            EventKind::Settled { .. }
        ));
        assert!(events.next().await.is_none());
        assert!(events.next().await.is_none(), "for good");
    }
}

/// Its last word was overwritten before anybody read it, and nothing comes any more.
#[tokio::test(start_paused = true)]
async fn s7_the_stream_of_a_task_ends_where_its_end_was_missed() {
    let (lanes, main) = with(4);
    let task = main.spawn(async |_| sleep(SECOND).await);
    let (mut early, id) = (task.events().unwrap(), task.id());
    task.await.unwrap();
    run(&main, 10).await;
    let mut late = lanes.task_events(id).unwrap();
    assert!(late.next().await.is_none());
    assert!(early.next().await.unwrap().is_err(), "something was missed");
    assert!(early.next().await.is_none());
}

#[tokio::test]
async fn s7_nothing_is_told_of_a_task_that_is_not_known() {
    let (lanes, main) = with(100);
    main.close();
    let refused = main.spawn(async |_| ());
    let mut events = refused.events().unwrap();
    assert!(events.next().await.is_none());
    let mut events = lanes.task_events(refused.id()).unwrap();
    assert!(events.next().await.is_none());
    assert!(matches!(refused.await, Err(TaskError::Closed { .. })));
    let (other, theirs) = with(100);
    let foreign = theirs.spawn(async |_| ());
    let mut events = lanes.task_events(foreign.id()).unwrap();
    assert!(events.next().await.is_none());
    foreign.await.unwrap();
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_gave_its_result_still_tells_its_story() {
    let (_lanes, main) = with(100);
    let mut task = main.spawn(async |_| 7);
    assert_eq!((&mut task).await.unwrap(), 7);
    let mut events = task.events().unwrap();
    assert!(matches!(
        events.next().await.unwrap().unwrap().kind,
        EventKind::Dispatched { .. }
    ));
    assert!(matches!(
        events.next().await.unwrap().unwrap().kind,
        EventKind::Settled { .. }
    ));
    assert!(events.next().await.is_none());
}

/// S7: after a shutdown, or without any `Lanes`, what is there is told, and the ends of
/// those who are still there; then it is over.
#[tokio::test(start_paused = true)]
async fn s7_streams_end_when_nothing_comes_any_more() {
    for shut_down in [false, true] {
        let (lanes, main) = with(100);
        let events = lanes.subscribe_from(0).unwrap();
        let waiting = tokio::spawn(events.map(|event| event.unwrap().kind).collect::<Vec<_>>());
        let task = main.spawn(async |cx| {
            tokio::select! {
                _ = cx.cancelled() => {}
                () = sleep(HOUR) => {}
            }
        });
        let queued = main.spawn(async |_| ());
        let_run().await;
        let late = lanes.subscribe_from(0).unwrap();
        if shut_down {
            lanes.shutdown().await;
        }
        drop(lanes);
        let_run().await;
        assert_eq!(
            waiting.is_finished(),
            shut_down,
            "its last task has not ended"
        );
        task.await.unwrap();
        assert!(queued.await.is_err());
        let all = waiting.await.unwrap();
        let settled = |kind: &&EventKind| matches!(kind, EventKind::Settled { .. });
        assert_eq!(all.iter().filter(settled).count(), 2);
        let late = late.map(|event| event.unwrap().kind);
        let late: Vec<_> = late.collect().await;
        assert!(late.starts_with(&all), "who comes later reads the same");
    }
}

/// S13, S14: what a reader's waker does is its own business.
#[tokio::test]
async fn s13_a_waker_that_uses_the_lane_and_panics_costs_nobody_anything() {
    struct Meddles(Lanes, Lane);
    impl Wake for Meddles {
        fn wake(self: Arc<Self>) {
            drop(self.1.snapshot());
            drop(self.0.events());
            drop(self.1.try_acquire());
            panic!("on purpose");
        }
    }
    let (lanes, main) = with(100);
    let mut events = lanes.events().unwrap();
    let waker = Waker::from(Arc::new(Meddles(lanes.clone(), main.clone())));
    let mut next = Box::pin(events.next());
    assert!(
        next.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    run(&main, 2).await;
    let first = poll_once(next.as_mut());
    assert!(matches!(first, Poll::Ready(Some(Ok(_)))), "{first:?}");
    drop(next);
    run(&main, 2).await;
    assert!(main.snapshot().active.is_empty());
}

/// S15: the names of lanes that are gone are forgotten with what is told of them.
#[tokio::test]
async fn what_is_told_of_a_lane_that_is_gone_has_its_name() {
    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .events(10)
        .build()
        .unwrap();
    for n in 0..100 {
        let session = lanes.lane(&format!("session:{n}")).unwrap();
        session.run(async |_| ()).await.unwrap();
    }
    let mut events = lanes.subscribe_from(390).unwrap();
    let names: Vec<String> = std::iter::from_fn(|| events.try_next())
        .map(|event| event.unwrap().lane.to_string())
        .collect();
    let of = |n: usize| format!("session:{n}");
    assert_eq!(names.len(), 10);
    assert_eq!((&names[0], &names[9]), (&of(97), &of(99)));
}

#[test]
fn readers_go_where_they_are_wanted() {
    fn is<T: Send + Sync + Unpin + 'static>() {}
    is::<EventStream>();
    is::<Event>();
    is::<Outcome>();
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn they_are_data() {
    let (lanes, main) = with(100);
    let task = main.task().name("turn 17").key("k");
    let task = task.spawn(async |_| sleep(SECOND).await);
    let id = task.id().to_string();
    let_run().await;
    task.cancel(Reason::User);
    assert!(task.await.is_err());
    let mut events = lanes.subscribe_from(1).unwrap();
    let mut lines = std::iter::from_fn(|| events.try_next())
        .map(|event| serde_json::to_value(event.unwrap()).unwrap());
    let dispatched = lines.next().unwrap();
    assert_eq!(dispatched["seq"], 1);
    assert_eq!(dispatched["event"], "dispatched");
    assert_eq!(dispatched["lane"], "main");
    assert_eq!(dispatched["task"], serde_json::json!(id));
    assert_eq!(dispatched["name"], "turn 17");
    assert_eq!(dispatched["waited"], 0);
    assert!(dispatched["time"].as_u64().unwrap() > 1_600_000_000_000);
    let asked = lines.next().unwrap();
    assert_eq!(
        (&asked["event"], &asked["reason"]),
        (&"asked".into(), &"user".into())
    );
    let settled = lines.next().unwrap();
    assert_eq!(settled["event"], "settled");
    assert_eq!(settled["outcome"], "cancelled");
    assert_eq!(settled["reason"], "user");
    assert!(lines.next().is_none());
}

/// S7: after a shutdown no task comes, and readers need not wait for one,
/// whatever tasks there were.
#[tokio::test(start_paused = true)]
async fn s7_a_stream_ends_with_a_shutdown_though_the_scheduler_lives_on() {
    let config = LaneConfig::new(1);
    let lanes = Lanes::builder().lane("a", config.clone()).lane("b", config);
    let lanes = lanes.events(100).build().unwrap();
    let mut events = lanes.events().unwrap();
    let chain = lanes.chain(["a", "b"]).unwrap();
    let busy = lanes.lane("b").unwrap().try_acquire().unwrap();
    let task = chain.spawn(async |_| ());
    let_run().await;
    drop(busy);
    task.await.unwrap();
    lanes.shutdown().await;
    let all = async { while events.next().await.is_some() {} };
    timeout(HOUR, all).await.expect("it ends");
    drop((chain, lanes));
}

#[tokio::test(start_paused = true)]
async fn s7_two_readers_of_one_task_both_come_to_the_end() {
    let (lanes, main) = with(100);
    let slot = main.acquire().await.unwrap();
    let read = |mut events: EventStream, slow: bool| {
        tokio::spawn(async move {
            let mut n = 0;
            while let Some(event) = events.next().await {
                event.unwrap();
                n += 1;
                if slow && n == 2 {
                    tokio::task::yield_now().await;
                }
            }
            n
        })
    };
    let a = read(lanes.task_events(slot.id()).unwrap(), true);
    let b = read(lanes.task_events(slot.id()).unwrap(), false);
    let_run().await;
    slot.context().progress_note("one");
    let_run().await;
    drop(slot);
    let both = timeout(MINUTE, async { (a.await.unwrap(), b.await.unwrap()) }).await;
    assert_eq!(both.expect("S7: a reader is never woken"), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn s7_a_stream_that_goes_takes_nobody_elses_waker() {
    let (lanes, main) = with(100);
    let slot = main.acquire().await.unwrap();
    // Until there is nothing for it to read, and its waker is kept.
    let reader = |waker: &Waker| {
        let mut events = Box::pin(lanes.task_events(slot.id()).unwrap());
        while events
            .as_mut()
            .poll_next(&mut Context::from_waker(waker))
            .is_ready()
        {}
        events
    };
    let goes = reader(Waker::noop());
    slot.context().progress_note("one");
    let counts = Arc::new(Counts::default());
    let _stays = reader(&Waker::from(Arc::clone(&counts)));
    drop(goes);
    slot.context().progress_note("two");
    assert_eq!(counts.count(), 1);
}
