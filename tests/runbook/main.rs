//! The runbook, played: each situation of `docs/runbook.md` is staged, what the page
//! tells is done, and what is printed is what the page shows. `LANEWAY_BLESS=1` writes
//! it there.

#[path = "../beside/mod.rs"]
mod beside;
#[path = "../common/mod.rs"]
mod common;
mod held;
mod page;
#[path = "../quoted/mod.rs"]
mod quoted;

use std::error::Error;
use std::future::pending;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use common::{HOUR, MINUTE, SECOND, poll_once};
use laneway::{
    Drain, GroupConfig, Lane, LaneConfig, Lanes, OnDeadlock, QueuedWork, Reason, Remedy, TaskHandle,
};
use page::Session;
use tokio::time::sleep;

/// What is wrong, for a page, a signal or a console to show.
async fn report(lanes: &Lanes) -> String {
    lanes.probe().await;
    lanes.diagnose().to_string()
}

/// What an explanation says that helps, done.
fn enact(lanes: &Lanes, remedy: &Remedy) -> Result<(), Box<dyn Error>> {
    match remedy {
        Remedy::Cancel { id } => lanes.cancel(*id, Reason::User)?,
        Remedy::Extend { id } => lanes.extend(*id, Duration::from_secs(3600))?,
        Remedy::Resume { lane } => lanes.lane(lane)?.resume(),
        Remedy::ResumeWaitpoint { key } => lanes.resume_waitpoint(key, true)?,
        Remedy::CancelWaitpoint { key } => lanes.cancel_waitpoint(key)?,
        Remedy::ForgetOrphan { id } => lanes.forget_orphan(*id)?,
        Remedy::Clear { lane } => drop(lanes.lane(lane)?.clear()),
        Remedy::Reset { lane } => drop(lanes.lane(lane)?.reset()),
        Remedy::SetMaxConcurrent { lane, at_least } => {
            lanes.lane(lane)?.set_max_concurrent(*at_least)?;
        }
        other => return Err(format!("not from here: {other}").into()),
    }
    Ok(())
}

/// Neither a runtime nor a worker that is free: the door may be served from anywhere.
#[test]
fn to_ask_needs_no_runtime() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let turn = {
        let _entered = runtime.enter();
        let _holder = silent(&main, "turn 17", "asking the model");
        quick(&main, "turn 18")
    };
    // The runtime polls nobody, since nobody drives it.
    let why = lanes.explain(turn.id()).unwrap().to_string();
    assert!(why.contains("not claimed by its runner yet"), "{why}");
    assert!(lanes.diagnose().is_healthy(), "nobody has waited for long");
    assert_eq!(lanes.find(&turn.id().to_string()), Some(turn.id()));
    lanes.cancel(turn.id(), Reason::User).unwrap();
    assert!(main.snapshot().queued.is_empty());
}

/// One lane with this configuration, `main`.
fn one_lane(config: LaneConfig) -> (Lanes, Lane) {
    built(Lanes::builder().lane("main", config))
}

fn built(builder: laneway::LanesBuilder) -> (Lanes, Lane) {
    // Fences begin with the time of the day.
    let lanes = builder.fence_start(1).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

fn silent(lane: &Lane, name: &'static str, note: &'static str) -> TaskHandle<()> {
    lane.task().name(name).spawn(async move |cx| {
        cx.progress_note(note);
        pending().await
    })
}

fn quick(lane: &Lane, name: &'static str) -> TaskHandle<()> {
    lane.task().name(name).spawn(async |_| ())
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let mut seen = Session::begin(&lanes);
    let stuck = silent(&main, "turn 17", "asking the model");
    let next = quick(&main, "turn 18");
    sleep(MINUTE).await;
    seen.log("");
    let report = report(&lanes).await;
    assert_eq!(report, lanes.diagnose().to_string());
    let remedies = seen.diagnose();
    assert_eq!(lanes.find(&next.id().to_string()), Some(next.id()));
    seen.takes(&remedies, |remedy| matches!(remedy, Remedy::Cancel { .. }));
    seen.told("turn_17", stuck).await;
    seen.told("turn_18", next).await;
    seen.diagnose();
    seen.counters("main");
    seen.must_be_shown_as("silent-peer");
}

/// A futurelock: the `select!` has moved on, and waits for what it holds itself.
#[tokio::test(start_paused = true)]
async fn a_future_that_nobody_polls() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let mut seen = Session::begin(&lanes);
    let locked = tokio::spawn({
        let main = main.clone();
        async move {
            let mut turn = pin!(
                main.task()
                    .name("turn 17")
                    .run(async |_| pending::<()>().await)
            );
            tokio::select! {
                biased;
                _ = &mut turn => {}
                () = sleep(SECOND) => {}
            }
            main.task().name("turn 18").run(async |_| ()).await
        }
    });
    sleep(MINUTE).await;
    seen.log("");
    let remedies = seen.diagnose();
    seen.takes(&remedies, |remedy| matches!(remedy, Remedy::Cancel { .. }));
    seen.told("turn_18", async { locked.await.unwrap() }).await;
    seen.log("");
    seen.diagnose();
    seen.counters("main");
    seen.must_be_shown_as("futurelock");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_poll() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let mut seen = Session::begin(&lanes);
    let (release, gate) = mpsc::channel::<()>();
    let (opened, blocked) = mpsc::channel();
    let runtime = tokio::runtime::Handle::current();
    let log = tracing::dispatcher::get_default(Clone::clone);
    let thread = std::thread::spawn({
        let main = main.clone();
        move || {
            let _entered = runtime.enter();
            let index = main.task().name("index").run(async move |_| {
                opened.send(()).unwrap();
                let _ = gate.recv();
            });
            let _ = tracing::dispatcher::with_default(&log, || poll_once(pin!(index)));
        }
    });
    blocked.recv().unwrap();
    let next = quick(&main, "turn 18");
    sleep(MINUTE).await;
    seen.log("");
    let remedies = seen.diagnose();
    seen.takes(&remedies, |remedy| matches!(remedy, Remedy::Cancel { .. }));
    seen.told("turn_18", next).await;
    seen.log("");
    seen.diagnose();
    drop(release);
    thread.join().unwrap();
    seen.log("");
    seen.diagnose();
    seen.counters("main");
    seen.must_be_shown_as("blocked-poll");
}

#[tokio::test(start_paused = true)]
async fn a_paused_lane() {
    let (lanes, main) = one_lane(LaneConfig::new(2));
    let mut seen = Session::begin(&lanes);
    main.pause();
    let next = quick(&main, "turn 18");
    sleep(MINUTE).await;
    seen.log("");
    let remedies = seen.diagnose();
    seen.takes(&remedies, |remedy| matches!(remedy, Remedy::Resume { .. }));
    seen.told("turn_18", next).await;
    seen.diagnose();
    seen.counters("main");
    seen.must_be_shown_as("paused");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_used_up() {
    let group = |budget| GroupConfig::new(budget).member("main").member("plugin:*");
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(4))
        .pattern("plugin:*", LaneConfig::new(1))
        .group("models", group(1));
    let (lanes, main) = built(lanes);
    let plugin = lanes.lane("plugin:lint").unwrap();
    let mut seen = Session::begin(&lanes);
    let lint = silent(&plugin, "lint", "reading the tree");
    let next = quick(&main, "turn 18");
    sleep(MINUTE).await;
    seen.log("");
    seen.diagnose();
    seen.call(
        r#"lanes.reconfigure(|change| change.group("models", GroupConfig::new(2) …))"#,
        "",
    );
    lanes
        .reconfigure(|change| change.group("models", group(2)))
        .unwrap();
    seen.told("turn_18", next).await;
    seen.diagnose();
    drop(lint);
    seen.must_be_shown_as("group");
}

#[tokio::test(start_paused = true)]
async fn parked_on_a_waitpoint_that_nobody_resumes() {
    let lanes = Lanes::builder().pattern("session:*", LaneConfig::new(1));
    let (lanes, _main) = built(lanes.lane("main", LaneConfig::new(1)));
    let mut seen = Session::begin(&lanes);
    let session = lanes.chain(["session:42", "main"]).unwrap();
    let approval = lanes.waitpoint::<bool>("approval #12").unwrap();
    let turn = session.task().name("turn 17").spawn(async |cx| {
        let wait = cx.waiting("leave to book").release(["main"]);
        wait.on(approval).await
    });
    let next = session.task().name("turn 18").spawn(async |_| ());
    sleep(HOUR).await;
    assert_eq!(seen.log(""), 0);
    let remedies = seen.diagnose();
    let resumes = |remedy: &Remedy| matches!(remedy, Remedy::ResumeWaitpoint { .. });
    seen.takes(&remedies, resumes);
    seen.told("turn_17", turn).await;
    seen.told("turn_18", next).await;
    seen.diagnose();
    assert!(lanes.snapshot().waitpoints.is_empty());
    seen.must_be_shown_as("waitpoint");
}

#[tokio::test(start_paused = true)]
async fn tasks_that_wait_for_each_other() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .lane("session:42", LaneConfig::new(1))
        .on_deadlock(OnDeadlock::Warn);
    let (lanes, main) = built(lanes);
    let session = lanes.lane("session:42").unwrap();
    let mut seen = Session::begin(&lanes);
    let again = session.clone();
    let turn = session.task().name("turn 17").spawn(async move |_| {
        let summary = main.task().name("summary");
        let summary = summary.run(async |_| again.task().name("note").run(async |_| ()).await);
        summary.await.unwrap().unwrap_err()
    });
    sleep(MINUTE).await;
    seen.log("deadlock");
    let remedies = seen.diagnose();
    seen.takes(&remedies, |remedy| matches!(remedy, Remedy::Cancel { .. }));
    let note = async { Err::<(), _>(turn.await.unwrap()) };
    seen.told("note", note).await;
    seen.diagnose();
    seen.counters("session:42");
    seen.must_be_shown_as("circle");
}

#[tokio::test(start_paused = true)]
async fn at_the_orphan_bound() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(MINUTE).max_orphans(1));
    let forgotten = |name: &'static str| {
        let mut run = Box::pin(main.task().name(name).run(async |_| pending::<()>().await));
        assert!(poll_once(run.as_mut()).is_pending());
        run
    };
    let _first = forgotten("turn 16");
    sleep(MINUTE + SECOND).await;
    let _second = forgotten("turn 17");
    let mut seen = Session::begin(&lanes);
    let next = quick(&main, "turn 18");
    sleep(MINUTE + SECOND).await;
    seen.log("lane slot not taken");
    let remedies = seen.diagnose();
    let forgets = |remedy: &Remedy| matches!(remedy, Remedy::ForgetOrphan { .. });
    seen.takes(&remedies, forgets);
    seen.told("turn_18", next).await;
    seen.log("lane slot reclaimed");
    seen.must_be_shown_as("orphan-bound");
}

#[tokio::test(start_paused = true)]
async fn busy_and_healthy() {
    let (lanes, main) = one_lane(LaneConfig::new(2));
    let mut seen = Session::begin(&lanes);
    let _busy = ["turn 16", "turn 17"].map(|name| {
        main.task().name(name).spawn(async |cx| {
            loop {
                sleep(SECOND).await;
                cx.progress();
            }
        })
    });
    let next = quick(&main, "turn 18");
    sleep(MINUTE).await;
    assert_eq!(seen.log(""), 0);
    let remedies = seen.diagnose();
    let more = |remedy: &Remedy| matches!(remedy, Remedy::SetMaxConcurrent { .. });
    seen.takes(&remedies, more);
    seen.told("turn_18", next).await;
    seen.diagnose();
    seen.must_be_shown_as("busy");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_stalls_in_a_nested_wait() {
    let lanes = Lanes::builder()
        .lane("session:42", LaneConfig::new(1))
        .lane("main", LaneConfig::new(4))
        .lane("provider", LaneConfig::new(1));
    let (lanes, main) = built(lanes);
    let [session, provider] = ["session:42", "provider"].map(|name| lanes.lane(name).unwrap());
    let mut seen = Session::begin(&lanes);
    let _turn = session.task().name("turn 17").spawn(async move |_| {
        let agent = main.task().name("agent").run(async |_| {
            let call = silent(&provider, "call", "waiting for the first token").await;
            call.map_or("the model is away", |()| "done")
        });
        agent.await.unwrap()
    });
    let next = quick(&session, "turn 18");
    sleep(MINUTE).await;
    seen.log("");
    seen.call("lanes.probe().await", "");
    lanes.probe().await;
    seen.explain(next.id());
    seen.later(9 * MINUTE).await;
    seen.log("lane slot reclaimed");
    seen.told("turn_18", next).await;
    seen.diagnose();
    seen.counters("session:42");
    seen.counters("provider");
    seen.must_be_shown_as("child");
}

#[tokio::test(start_paused = true)]
async fn silent_and_right() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(5 * MINUTE));
    let mut seen = Session::begin(&lanes);
    let _build = silent(&main, "build", "cargo test");
    let _next = quick(&main, "turn 18");
    sleep(4 * MINUTE).await;
    let remedies = seen.diagnose();
    seen.takes(&remedies, |remedy| matches!(remedy, Remedy::Extend { .. }));
    seen.diagnose();
    seen.must_be_shown_as("extend");
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_loses_nothing() {
    let (lanes, main) = one_lane(LaneConfig::new(2));
    let mut seen = Session::begin(&lanes);
    let busy = main.task().name("turn 16");
    let busy = busy.spawn(async |_| sleep(20 * SECOND).await);
    let stuck = silent(&main, "turn 17", "asking the model");
    let queued = quick(&main, "turn 18");
    sleep(SECOND).await;
    let drain = Drain::within(MINUTE).queued(QueuedWork::Return);
    let report = lanes.drain(drain).await;
    seen.call(
        "lanes.drain(Drain::within(minute).queued(QueuedWork::Return)).await",
        format_args!(
            "finished {}, interrupted {}, returned {}, orphans {}",
            report.finished,
            report.interrupted,
            report.returned.len(),
            report.orphans,
        ),
    );
    seen.told("turn_16", busy).await;
    seen.told("turn_17", stuck).await;
    seen.told("turn_18", queued).await;
    seen.must_be_shown_as("drain");
}
