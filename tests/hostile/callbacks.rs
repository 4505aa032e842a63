//! Callbacks that use the scheduler that calls them: no lock of ours is held
//! (S13), and what they do is done (S7).

#![expect(
    clippy::disallowed_types,
    reason = "the lint protects the crate; these are a test's own"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use laneway::{Descendants, Drain, Lane, LaneConfig, Lanes, Reason, TaskContext};
use tokio::time::sleep;
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::common::{HOUR, MINUTE, SECOND, let_run, poll_once};
use crate::kinds::paused;
use crate::proof::{Dice, chosen_seed, prove};

/// Everything that a callback may do to a scheduler, and comes back from.
const VERBS: u64 = 12;

#[derive(Clone)]
struct Meddler {
    lanes: Lanes,
    main: Lane,
    calls: Arc<Calls>,
}

/// What became of the calls back. A callback that panics does so under a guard
/// of the crate's: without these, a test would pass that never meddled, or
/// that failed halfway.
#[derive(Default)]
struct Calls {
    entered: AtomicU64,
    left: AtomicU64,
}

impl Calls {
    /// How many there were; each of them came back.
    #[track_caller]
    fn count(&self) -> u64 {
        let (entered, left) = (self.entered.load(SeqCst), self.left.load(SeqCst));
        assert_eq!(entered, left, "a call back that did not come back");
        entered
    }
}

impl Meddler {
    fn new(config: LaneConfig) -> Self {
        let builder = Lanes::builder().default_lane(config.clone());
        let lanes = builder.lane("main", config).build().unwrap();
        let main = lanes.lane("main").unwrap();
        let calls = Arc::default();
        Self { lanes, main, calls }
    }

    /// The same, with its calls counted apart.
    fn counted(&self) -> Self {
        let calls = Arc::default();
        Self {
            calls,
            ..self.clone()
        }
    }

    fn meddle(&self, verb: u64) {
        self.calls.entered.fetch_add(1, SeqCst);
        self.do_verb(verb);
        self.calls.left.fetch_add(1, SeqCst);
    }

    fn do_verb(&self, verb: u64) {
        let Self { lanes, main, .. } = self;
        match verb {
            0 => drop(main.spawn(async |_| ())),
            1 => drop(main.cancel_all(Reason::User)),
            2 => main.set_max_concurrent(3).unwrap_or(()),
            3 => drop(main.clear()),
            4 => drop(main.reset()),
            5 => drop(lanes.snapshot()),
            6 => drop(main.try_acquire()),
            7 => main.pause_for(SECOND).unwrap(),
            8 => drop(
                lanes
                    .lane("made on the way")
                    .map(|lane| lane.spawn(async |_| ())),
            ),
            9 => {
                drop(lanes.drain(Drain::within(SECOND).descendants(Descendants::Admit)));
                lanes.resume();
            }
            10 => drop(lanes.cancel_key("some", Reason::Superseded)),
            _ => main.close(),
        }
    }

    /// Whatever was done: everybody is told, and nothing is left.
    async fn assert_over(&self) {
        let idle = tokio::time::timeout(MINUTE * 10, self.lanes.idle()).await;
        idle.unwrap_or_else(|_| panic!("{:#?}", self.lanes.snapshot()));
        let_run().await;
        let left = self.lanes.snapshot().lanes;
        assert!(left.iter().all(|lane| lane.orphans.is_empty()), "{left:#?}");
    }
}

fn config() -> LaneConfig {
    LaneConfig::new(1)
        .stall_ceiling(MINUTE)
        .warn_after(SECOND)
        .max_orphans(100)
}

/// A holder that is taken for stalled, waiters with callbacks, and one more
/// behind them. Each verb is done as often as `calls` says.
async fn around(calls: u64, mut callback: impl FnMut(Meddler, u64) -> Callback) {
    for verb in 0..VERBS {
        let meddler = Meddler::new(config().clone());
        let main = &meddler.main;
        let holder = main
            .task()
            .key("some")
            .spawn(async |_| std::future::pending::<()>().await);
        let tasks = callback(meddler.clone(), verb).0;
        let behind = main.task().key("some").spawn(async |_| ());
        meddler.assert_over().await;
        for mut task in [holder, behind].into_iter().chain(tasks) {
            let told = poll_once(std::pin::Pin::new(&mut task));
            assert!(told.is_ready(), "verb {verb}");
        }
        assert_eq!(meddler.calls.count(), calls, "verb {verb}");
    }
}

/// What a test has submitted.
struct Callback(Vec<laneway::TaskHandle<()>>);

#[test]
fn s13_a_waiter_that_is_called_back_does_what_it_likes() {
    paused().block_on(around(1, |meddler, verb| {
        let main = meddler.main.clone();
        let task = main.task().key("some");
        let task = task.on_wait(SECOND, move |_| meddler.meddle(verb));
        Callback(vec![task.spawn(async |_| ())])
    }));
}

#[test]
fn s13_a_hook_does_what_it_likes() {
    paused().block_on(around(1, |meddler, verb| {
        let main = meddler.main.clone();
        let hooked = main.task().key("some").spawn(async move |cx: TaskContext| {
            cx.defer(async move |_| meddler.meddle(verb));
        });
        Callback(vec![hooked])
    }));
}

/// And so does a destructor of what a task holds.
#[test]
fn s13_a_destructor_does_what_it_likes() {
    struct OnDrop(Meddler, u64);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.meddle(self.1);
        }
    }
    // One of its future, and one of its metadata.
    paused().block_on(around(2, |meddler, verb| {
        let main = meddler.main.clone();
        let held = OnDrop(meddler.clone(), verb);
        let meta = OnDrop(meddler, verb);
        let silent = main.task().meta(meta).spawn(async move |_| {
            let _held = held;
            std::future::pending::<()>().await;
        });
        Callback(vec![silent])
    }));
}

/// Meddles on every event of ours, but for those that it causes itself.
struct Meddling(Meddler, u64);

thread_local! {
    static BUSY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl<S: Subscriber> Layer<S> for Meddling {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "laneway" && !BUSY.replace(true) {
            self.0.meddle(self.1);
            BUSY.set(false);
        }
    }
}

#[test]
fn s13_a_subscriber_does_what_it_likes() {
    for verb in 0..VERBS {
        paused().block_on(async {
            let meddler = Meddler::new(config());
            let layer = Meddling(meddler.clone(), verb);
            let subscriber = tracing_subscriber::registry().with(layer);
            let _heard = tracing::subscriber::set_default(subscriber);
            let main = &meddler.main;
            let key = || main.task().key("some");
            let mut tasks = vec![
                key().spawn(async |_| std::future::pending::<()>().await),
                key()
                    .warn_after(Duration::from_millis(10))
                    .spawn(async |_| ()),
                key().spawn(async |_| std::panic::resume_unwind(Box::new("on purpose"))),
                key().spawn(async |_| ()),
            ];
            meddler.assert_over().await;
            for task in &mut tasks {
                let told = poll_once(std::pin::Pin::new(task));
                assert!(told.is_ready(), "verb {verb}");
            }
            assert!(meddler.calls.count() >= 1, "verb {verb}");
        });
    }
}

/// All of it at once, in any order.
#[test]
fn s7_s13_callbacks_of_every_kind_at_once() {
    let (mut waited, mut hooked) = (0, 0);
    prove("s7_s13_callbacks_of_every_kind_at_once", 20, |seed| {
        let mut dice = Dice::new(seed);
        let tasks = 5 + dice.index(30);
        paused().block_on(async {
            let meddler = Meddler::new(config());
            let (waits_all, hooks_all) = (meddler.counted(), meddler.counted());
            let mut told = Vec::new();
            for _ in 0..tasks {
                // Not the last one: nobody would do anything after it.
                let (first, second) = (dice.below(VERBS - 1), dice.below(VERBS - 1));
                let (waits, hooks) = (waits_all.clone(), hooks_all.clone());
                let ends = dice.below(2) == 0;
                let task = meddler.main.task().key("some");
                let task = task.on_wait(SECOND, move |_| waits.meddle(first));
                told.push(task.spawn(async move |cx: TaskContext| {
                    cx.defer(async move |_| hooks.meddle(second));
                    if !ends {
                        std::future::pending::<()>().await;
                    }
                }));
            }
            let idle = tokio::time::timeout(MINUTE * 200, meddler.lanes.idle()).await;
            idle.unwrap_or_else(|_| panic!("{:#?}", meddler.lanes.snapshot()));
            for mut task in told {
                assert!(poll_once(std::pin::Pin::new(&mut task)).is_ready());
            }
            meddler.assert_over().await;
            waited += waits_all.calls.count();
            hooked += hooks_all.calls.count();
        });
        tasks
    });
    if chosen_seed().is_none() {
        assert!(
            waited >= 1 && hooked >= 1,
            "{waited} waited, {hooked} hooked"
        );
    }
}

/// Panics at every event and span of ours.
#[derive(Default)]
struct Panicking {
    events: Arc<AtomicU64>,
    spans: Arc<AtomicU64>,
    enters: Arc<AtomicU64>,
}

fn panic_of(calls: &AtomicU64, target: &str) {
    if target == "laneway" && !std::thread::panicking() {
        calls.fetch_add(1, SeqCst);
        std::panic::resume_unwind(Box::new("hostile: a subscriber"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Panicking {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        panic_of(&self.events, event.metadata().target());
    }

    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        panic_of(&self.spans, span.metadata().target());
    }

    fn on_enter(&self, span: &Id, cx: Context<'_, S>) {
        if let Some(span) = cx.metadata(span) {
            panic_of(&self.enters, span.target());
        }
    }
}

/// A subscriber that panics costs its events, and nobody a slot or an answer.
async fn under(subscriber: impl Subscriber + Send + Sync) {
    let _heard = tracing::subscriber::set_default(subscriber);
    let meddler = Meddler::new(config());
    let main = &meddler.main;
    for round in 0..20 {
        let healthy = async |_| sleep(Duration::from_millis(1)).await;
        let mut told = [
            main.spawn(healthy),
            main.spawn(async |_| std::future::pending::<()>().await),
            main.task()
                .warn_after(Duration::from_millis(10))
                .on_wait(SECOND, |_| ())
                .spawn(healthy),
            main.spawn(async |cx: TaskContext| {
                cx.defer(async |_| ());
                cx.cancelled().await;
            }),
            main.spawn(async |_| std::panic::resume_unwind(Box::new("on purpose"))),
            main.spawn_blocking(|_| ()),
            main.spawn(healthy),
        ];
        let here = main.run(healthy);
        let here = tokio::time::timeout(HOUR, here).await;
        assert!(matches!(here, Ok(Ok(()))), "{round}: {here:?}");
        meddler.assert_over().await;
        let well = [true, false, true, true, false, true, true];
        for (at, (task, well)) in told.iter_mut().zip(well).enumerate() {
            let answer = poll_once(std::pin::Pin::new(task));
            let as_it_was = match &answer {
                std::task::Poll::Ready(answer) => at == 3 || answer.is_ok() == well,
                std::task::Poll::Pending => false,
            };
            assert!(as_it_was, "{round}, {at}: {answer:?}");
        }
        assert_eq!(main.run(async |_| 7).await.unwrap(), 7, "{round}");
        assert_eq!(main.reset() + meddler.lanes.reset(), 0);
        let applied = meddler.lanes.reconfigure(|change| {
            change.lane("main").warn_after(MINUTE);
        });
        applied.unwrap();
    }
}

#[test]
fn s14_a_subscriber_that_panics_costs_nobody_an_answer() {
    let layer = Panicking::default();
    let calls = [&layer.events, &layer.spans].map(Arc::clone);
    let subscriber = tracing_subscriber::registry().with(layer);
    paused().block_on(under(subscriber));
    let calls = calls.map(|calls| calls.load(SeqCst));
    assert!(calls.iter().all(|calls| *calls >= 20), "{calls:?}");
}

/// Of a span that could be made: it panics when it is entered.
#[test]
fn s14_a_subscriber_that_panics_when_a_span_is_entered_costs_nobody_an_answer() {
    struct Enters(Panicking);
    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Enters {
        fn on_enter(&self, span: &Id, cx: Context<'_, S>) {
            self.0.on_enter(span, cx);
        }
    }
    let layer = Panicking::default();
    let enters = Arc::clone(&layer.enters);
    let subscriber = tracing_subscriber::registry().with(Enters(layer));
    paused().block_on(under(subscriber));
    let enters = enters.load(SeqCst);
    assert!(enters >= 20, "{enters}");
}
