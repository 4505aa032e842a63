//! A recorder is user code.

use std::cell::RefCell;
use std::future::pending;
use std::sync::Arc;

use laneway::{Lane, LaneConfig, Lanes, LanesBuilder};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit, set_default_local_recorder,
};

use crate::common::{CEILING, assert_clean};

/// Does so whenever it is called, with anything.
#[derive(Clone, Copy)]
struct Does(fn());

impl Recorder for Does {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        (self.0)();
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        (self.0)();
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        (self.0)();
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == "laneway_slots_taken_total" {
            (self.0)();
        }
        Counter::from_arc(Arc::new(*self))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(*self))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(*self))
    }
}

impl CounterFn for Does {
    fn increment(&self, _: u64) {
        (self.0)();
    }

    fn absolute(&self, _: u64) {
        (self.0)();
    }
}

impl GaugeFn for Does {
    fn increment(&self, _: f64) {
        (self.0)();
    }

    fn decrement(&self, _: f64) {
        (self.0)();
    }

    fn set(&self, _: f64) {
        (self.0)();
    }
}

impl HistogramFn for Does {
    fn record(&self, _: f64) {
        (self.0)();
    }
}

fn panics() {
    std::panic::resume_unwind(Box::new("on purpose"));
}

thread_local! {
    static LANES: RefCell<Option<Lanes>> = const { RefCell::new(None) };
    static CALLS: RefCell<usize> = const { RefCell::new(0) };
}

/// Any lock of ours that is held here is asked for again, and that hangs.
fn calls_back() {
    // What it does is counted, too, and so it is called for that.
    let Some(lanes) = LANES.take() else { return };
    CALLS.with_borrow_mut(|calls| *calls += 1);
    drop(lanes.snapshot());
    drop(lanes.lane("others"));
    let main = lanes.lane("main").unwrap();
    drop(main.try_acquire());
    lanes
        .reconfigure(|change| {
            change.lane("main").stall_ceiling(CEILING);
        })
        .unwrap();
    LANES.set(Some(lanes));
}

async fn everything(lanes: &Lanes) -> Lane {
    let main = lanes.lane("main").unwrap();
    assert_eq!(main.run(async |_| 7).await.unwrap(), 7);
    let stalls = main.spawn(async |_| pending::<()>().await);
    let next = main.spawn(async |_| 8);
    stalls.await.unwrap_err();
    assert_eq!(next.await.unwrap(), 8);
    let slot = lanes.lane("other").unwrap().acquire().await.unwrap();
    drop(slot);
    if let Ok(mut events) = lanes.subscribe_from(0) {
        for _ in 0..20 {
            drop(events.try_next());
        }
    }
    lanes
        .reconfigure(|change| change.add_lane("other", LaneConfig::new(1)))
        .unwrap();
    main
}

fn builder() -> LanesBuilder {
    Lanes::builder()
        .lane("main", LaneConfig::new(1).stall_ceiling(CEILING))
        .pattern("o*", LaneConfig::new(1))
        .metrics()
}

#[tokio::test(start_paused = true)]
async fn s14_a_recorder_that_panics_costs_nothing() {
    let recorder = Does(panics);
    let _guard = set_default_local_recorder(&recorder);
    let lanes = builder().events(100).build().unwrap();
    let main = everything(&lanes).await;
    let counted = assert_clean(&main);
    assert_eq!((counted.completed, counted.reclaimed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn s13_a_recorder_may_call_back() {
    let recorder = Does(calls_back);
    let _guard = set_default_local_recorder(&recorder);
    // Where there are no events, it is first called for a lane.
    for builder in [builder(), builder().events(100)] {
        let lanes = builder.build().unwrap();
        LANES.set(Some(lanes.clone()));
        everything(&lanes).await;
        LANES.set(None);
        let calls = CALLS.take();
        assert!(calls > 10, "{calls}");
    }
}

#[tokio::test]
async fn none_is_fine_too() {
    let lanes = builder().build().unwrap();
    let main = lanes.lane("main").unwrap();
    assert_eq!(main.run(async |_| 7).await.unwrap(), 7);
}
