//! A task as spans: how long it waited, how long it ran, and how that ended.

mod beside;
mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::pending;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use common::{HOUR, SECOND, let_run, now, one_lane, poll_once};
use laneway::{Drain, Lane, LaneConfig, Lanes, OnBusy, QueuedWork, Reason, Timeout};
use tokio::time::{Instant, sleep};
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Instrument, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

type Values = BTreeMap<&'static str, String>;

/// One span of ours, closed.
#[derive(Debug)]
struct Seen {
    name: &'static str,
    parent: Option<&'static str>,
    follows: Vec<&'static str>,
    fields: Values,
    opened: Instant,
    lasted: Duration,
}

impl Seen {
    #[track_caller]
    fn assert_fields(&self, expected: &[(&str, &str)]) {
        for (field, value) in expected {
            let got = self.fields.get(field).map_or("", String::as_str);
            assert_eq!(got, *value, "{field} of {self:?}");
        }
    }

    #[track_caller]
    fn assert_is(&self, name: &str, lasted: Duration, outcome: &str) {
        assert_eq!((self.name, self.lasted), (name, lasted), "{self:?}");
        assert_eq!(self.parent, Some("request"), "{self:?}");
        self.assert_fields(&[("outcome", outcome)]);
    }
}

struct Fields<'a>(&'a mut Values);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

struct Recorder(mpsc::Sender<Seen>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let span = cx.span(id).expect("it is there");
        if span.metadata().target() != "laneway" {
            return;
        }
        let mut fields = Values::new();
        attributes.record(&mut Fields(&mut fields));
        span.extensions_mut().insert(Seen {
            name: span.name(),
            parent: span.parent().map(|parent| parent.name()),
            follows: Vec::new(),
            fields,
            opened: now(),
            lasted: Duration::ZERO,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let span = cx.span(id).expect("it is there");
        if let Some(seen) = span.extensions_mut().get_mut::<Seen>() {
            values.record(&mut Fields(&mut seen.fields));
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, cx: Context<'_, S>) {
        let follows = cx.span(follows).expect("it is there").name();
        let span = cx.span(id).expect("it is there");
        if let Some(seen) = span.extensions_mut().get_mut::<Seen>() {
            seen.follows.push(follows);
        }
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        let span = cx.span(&id).expect("it is there");
        let seen = span.extensions_mut().remove::<Seen>();
        if let Some(seen) = seen {
            let lasted = now() - seen.opened;
            let _ = self.0.send(Seen { lasted, ..seen });
        }
    }
}

/// The spans of all that a test does, in the order in which they are closed.
fn recorder() -> (Dispatch, mpsc::Receiver<Seen>) {
    beside::others_listen();
    let (send, seen) = mpsc::channel();
    (
        Dispatch::new(Registry::default().with(Recorder(send))),
        seen,
    )
}

/// Runs a scenario whose caller is in a span `request`, and takes the spans of
/// what it did.
fn seen(scenario: impl Future<Output = ()>) -> Vec<Seen> {
    let (dispatch, seen) = recorder();
    let threads = dispatch.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_start(move || {
            let default = tracing::dispatcher::set_default(&threads);
            // For as long as the thread lives.
            std::mem::forget(default);
        })
        .build()
        .unwrap();
    let _default = tracing::dispatcher::set_default(&dispatch);
    runtime.block_on(scenario.instrument(info_span!("request")));
    drop(runtime);
    seen.try_iter().collect()
}

/// A lane of one whose slot is held for so long, by nobody of interest.
async fn busy_for(time: Duration) -> (Lanes, Lane) {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().with_subscriber(Dispatch::none());
    let slot = slot.await.unwrap();
    tokio::spawn(async move {
        sleep(time).await;
        drop(slot);
    });
    (lanes, main)
}

#[test]
fn a_task_is_two_spans_of_its_submitters_one_after_the_other() {
    async fn by(way: &str, main: &Lane) {
        let task = main.task().name("turn 17").key("ticket-42");
        match way {
            "run" => task.run(async |_| sleep(SECOND * 2).await).await.unwrap(),
            "spawn" => {
                let handle = task.spawn(async |_| sleep(SECOND * 2).await);
                async { handle.await.unwrap() }
                    .instrument(info_span!("elsewhere"))
                    .await;
            }
            "spawn_blocking" => task.spawn_blocking(|_| ()).await.unwrap(),
            "acquire" => {
                let slot = task.acquire().await.unwrap();
                sleep(SECOND * 2).await;
                drop(slot);
            }
            _ => unreachable!(),
        }
    }
    for (way, name) in [
        ("run", "run"),
        ("spawn", "run"),
        ("spawn_blocking", "run"),
        ("acquire", "held"),
    ] {
        let spans = seen(async {
            let (_lanes, main) = busy_for(SECOND * 3).await;
            by(way, &main).await;
        });
        let [queue, run] = &*spans else {
            panic!("{way}: {spans:#?}");
        };
        queue.assert_is("queue", SECOND * 3, "dispatched");
        let ran = if way == "spawn_blocking" {
            Duration::ZERO
        } else {
            SECOND * 2
        };
        run.assert_is(name, ran, "completed");
        assert_eq!(run.opened, queue.opened + SECOND * 3);
        assert_eq!(run.follows, ["queue"], "{way}");
        for span in [queue, run] {
            span.assert_fields(&[
                ("lane", "main"),
                ("task", &run.fields["task"]),
                ("name", "turn 17"),
                ("key", "ticket-42"),
                ("priority", "normal"),
                ("waited_ms", "3000"),
            ]);
        }

        // There is no wait where a slot is free.
        let spans = seen(async {
            let (_lanes, main) = one_lane(LaneConfig::new(1));
            by(way, &main).await;
        });
        let [run] = &*spans else {
            panic!("{way}: {spans:#?}");
        };
        run.assert_is(name, ran, "completed");
        run.assert_fields(&[("name", "turn 17"), ("waited_ms", "")]);
        assert!(run.follows.is_empty());
    }
}

#[test]
fn a_span_says_how_its_task_ended() {
    let spans = seen(async {
        let config = LaneConfig::new(1).stall_ceiling(SECOND * 10);
        let (_lanes, main) = one_lane(config);
        let panics = main.spawn(async |_| std::panic::resume_unwind(Box::new("boom")));
        let _: Result<(), _> = panics.await;
        let stalls = main.spawn(async |_| pending::<()>().await);
        stalls.await.unwrap_err();
        let budget = main.task().timeout(Timeout::budget(SECOND));
        budget.spawn(async |_| sleep(HOUR).await).await.unwrap_err();
        let cancelled = main.spawn(async |_| sleep(HOUR).await);
        sleep(SECOND).await;
        cancelled.cancel(Reason::Superseded);
        cancelled.await.unwrap_err();
        // Nobody polls it any more, and so nobody comes when it is asked.
        let mut dropped = Box::pin(main.run(async |_| pending::<()>().await));
        assert!(poll_once(dropped.as_mut()).is_pending());
        sleep(SECOND * 20).await;
        drop(dropped);
        let mut slot = Some(main.acquire().await.unwrap());
        sleep(SECOND * 20).await;
        drop(slot.take());
        let mut given_up = Box::pin(main.run(async |_| pending::<()>().await));
        assert!(poll_once(given_up.as_mut()).is_pending());
    });
    let outcomes = [
        ("run", "panicked", "", "ERROR"),
        ("run", "stalled", "", "ERROR"),
        ("run", "timed_out", "", "ERROR"),
        ("run", "cancelled", "superseded", ""),
        ("run", "stalled", "", "ERROR"),
        ("held", "stalled", "", "ERROR"),
        ("run", "cancelled", "dropped", ""),
    ];
    assert_eq!(spans.len(), outcomes.len(), "{spans:#?}");
    for (span, (name, outcome, reason, status)) in spans.iter().zip(outcomes) {
        assert_eq!(span.name, name, "{span:?}");
        span.assert_fields(&[
            ("outcome", outcome),
            ("reason", reason),
            ("otel.status_code", status),
        ]);
    }
}

#[test]
fn a_wait_says_how_it_ended() {
    let spans = seen(async {
        let (lanes, main) = busy_for(HOUR).await;
        let wait = main.task().timeout(Timeout::wait(SECOND));
        wait.spawn(async |_| ()).await.unwrap_err();
        let cleared = main.spawn(async |_| ());
        sleep(SECOND).await;
        main.clear();
        cleared.await.unwrap_err();
        let older = main.task().key("k").spawn(async |_| ());
        let newer = main.task().key("k").on_busy(OnBusy::Supersede);
        let newer = newer.spawn(async |_| ());
        older.await.unwrap_err();
        newer.cancel(Reason::User);
        let mut dropped = Box::pin(main.run(async |_| ()));
        assert!(poll_once(dropped.as_mut()).is_pending());
        drop(dropped);
        let mut acquires = Box::pin(main.acquire());
        assert!(poll_once(acquires.as_mut()).is_pending());
        drop(acquires);
        let returned = main.spawn(async |_| ());
        let drain = Drain::within(SECOND).queued(QueuedWork::Return);
        main.drain(drain).await;
        returned.await.unwrap_err();
        // Nothing is left to wait, so nothing is seen of it.
        main.run(async |_| ()).await.unwrap_err();
        lanes.shutdown().await;
    });
    let outcomes = [
        ("timed_out", "", 1_000),
        ("cleared", "", 1_000),
        ("cancelled", "superseded", 0),
        ("cancelled", "cancelled by the user", 0),
        ("cancelled", "dropped", 0),
        ("cancelled", "dropped", 0),
        ("returned", "", 0),
    ];
    assert_eq!(spans.len(), outcomes.len(), "{spans:#?}");
    for (span, (outcome, reason, waited)) in spans.iter().zip(outcomes) {
        span.assert_is("queue", Duration::from_millis(waited), outcome);
        let waited = waited.to_string();
        span.assert_fields(&[("reason", reason), ("waited_ms", &waited)]);
    }
}

#[test]
fn a_chain_waits_until_it_has_its_last_slot() {
    for detached in [false, true] {
        let spans = seen(async {
            let lanes = Lanes::builder().default_lane(LaneConfig::new(1));
            let lanes = lanes.build().unwrap();
            let main = lanes.lane("main").unwrap();
            let slot = main.acquire().with_subscriber(Dispatch::none());
            let slot = slot.await.unwrap();
            let chain = lanes.chain(["session", "main"]).unwrap();
            let frees = async {
                sleep(SECOND * 5).await;
                drop(slot);
            };
            let work = async |_| sleep(SECOND).await;
            if detached {
                let task = chain.spawn(work);
                frees.await;
                task.await.unwrap();
                chain.spawn(work).await.unwrap();
            } else {
                tokio::join!(frees, async { chain.run(work).await.unwrap() });
                chain.run(work).await.unwrap();
            }
        });
        let [queue, run, free] = &*spans else {
            panic!("{detached}: {spans:#?}");
        };
        queue.assert_is("queue", SECOND * 5, "dispatched");
        queue.assert_fields(&[("lane", "session")]);
        run.assert_is("run", SECOND, "completed");
        free.assert_is("run", SECOND, "completed");
    }
}

#[test]
fn a_wait_for_somebody_is_a_span_of_its_task() {
    let spans = seen(async {
        let (_lanes, main) = one_lane(LaneConfig::new(1));
        let run = main.run(async |cx| {
            let wait = cx.waiting("approval").release(["main"]);
            wait.on(sleep(SECOND * 7)).await.unwrap();
            sleep(SECOND).await;
            // Given up in the middle.
            let wait = cx.waiting("second thoughts");
            assert!(poll_once(pin!(wait.on(sleep(SECOND)))).is_pending());
        });
        run.await.unwrap();
    });
    let [parked, given_up, run] = &*spans else {
        panic!("{spans:#?}");
    };
    run.assert_is("run", SECOND * 8, "completed");
    assert_eq!((parked.name, parked.lasted), ("parked", SECOND * 7));
    assert_eq!(parked.parent, Some("run"));
    let task = &*run.fields["task"];
    parked.assert_fields(&[("lane", "main"), ("task", task), ("what", "approval")]);
    assert_eq!(given_up.lasted, Duration::ZERO);
    given_up.assert_fields(&[("what", "second thoughts")]);
}

/// S20: it is still waiting, whatever was passed on meanwhile.
#[test]
fn s20_a_grant_that_nobody_came_for_is_no_end_of_the_wait() {
    let spans = seen(async {
        let (_lanes, main) = busy_for(SECOND).await;
        let mut late = pin!(main.run(async |_| ()));
        assert!(poll_once(late.as_mut()).is_pending());
        sleep(SECOND * 10).await;
        // Wherever it is polled by then, it is its submitter's.
        late.instrument(info_span!("elsewhere")).await.unwrap();
    });
    let [queue, run] = &*spans else {
        panic!("{spans:#?}");
    };
    queue.assert_is("queue", SECOND * 10, "dispatched");
    run.assert_is("run", Duration::ZERO, "completed");
    run.assert_fields(&[("waited_ms", "10000")]);
}

/// A subscriber that does something else whenever it is told of something.
struct Meddler<F>(F);

impl<F: Fn(&'static str) + Send + Sync + 'static, S: Subscriber> Layer<S> for Meddler<F> {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.0(attributes.metadata().name());
    }

    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {
        self.0("a record");
    }

    fn on_follows_from(&self, _: &Id, _: &Id, _: Context<'_, S>) {
        self.0("a link");
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.0("an end");
    }
}

#[tokio::test(start_paused = true)]
async fn s13_a_subscriber_may_call_back_into_the_lanes() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SECOND));
    let curious = Meddler(move |_: &str| assert_eq!(lanes.snapshot().lanes.len(), 1));
    let curious = Registry::default().with(curious);
    let _default = tracing::subscriber::set_default(curious);
    let slot = main.acquire().await.unwrap();
    let stuck = main.spawn(async |_| pending::<()>().await);
    let parks = main.spawn(async |cx| {
        let wait = cx.waiting("somebody").release(["main"]);
        wait.on(sleep(SECOND * 7)).await
    });
    let cleared = main.spawn(async |_| ());
    let ran = main.run(async |_| ());
    let mut ran = pin!(ran);
    assert!(poll_once(ran.as_mut()).is_pending());
    cleared.cancel(Reason::User);
    let_run().await;
    drop(slot);
    stuck.await.unwrap_err();
    parks.await.unwrap().unwrap();
    ran.await.unwrap();
}

/// What is told of a wait that is over by then.
#[test]
fn a_wait_that_ends_while_its_span_begins_is_told_of_all_the_same() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let (send, seen) = mpsc::channel();
    let (frees, slot) = mpsc::channel();
    let (came, comes) = mpsc::channel();
    let lane = main.clone();
    // A `Receiver` is for one thread.
    let slot = tokio::sync::Mutex::new((slot, comes));
    let meddler = Meddler(move |told: &str| {
        if told != "queue" {
            return;
        }
        let meddler = slot.try_lock().expect("one at a time");
        match meddler.0.try_recv() {
            Ok(slot) => {
                drop::<laneway::Slot>(slot);
                meddler.1.recv().expect("it runs, on the other thread");
            }
            Err(_) => assert_eq!(lane.clear(), 1),
        }
    });
    let subscriber = Registry::default().with(Recorder(send)).with(meddler);
    let dispatch = Dispatch::new(subscriber);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let slot = main.acquire().await.unwrap();
        frees.send(slot).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            main.spawn(async move |_| came.send(()).unwrap())
        })
        .await
        .unwrap();
        lanes.idle().await;
        let _slot = main.acquire().await.unwrap();
        tracing::dispatcher::with_default(&dispatch, || main.spawn(async |_| ()))
            .await
            .unwrap_err();
    });
    let outcomes = seen.try_iter().map(|seen| {
        assert_eq!(seen.name, "queue");
        seen.fields["outcome"].clone()
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), ["dispatched", "cleared"]);
}

/// A thread may have another subscriber than the submitter, or none.
#[tokio::test(start_paused = true)]
async fn a_task_is_told_of_to_whom_its_submitter_is() {
    let (dispatch, seen) = recorder();
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let task = tracing::dispatcher::with_default(&dispatch, || {
        info_span!("request").in_scope(|| main.spawn(async |_| sleep(SECOND).await))
    });
    task.await.unwrap();
    let spans: Vec<_> = seen.try_iter().collect();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans[0].assert_is("run", SECOND, "completed");
}
