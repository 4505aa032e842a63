//! What the scheduler says through `tracing`, read as fields.

mod tap;

use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use laneway::{
    GroupConfig, Lane, LaneConfig, Lanes, Priority, Reason, TaskError, TaskHandle, Timeout,
};
use tap::Log;
use tracing::Level;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const BLOCKED: &str = "lane dispatch blocked";

/// A lane whose holders may be silent for ever.
fn patient(slots: usize) -> (Lanes, Lane) {
    lane_with(LaneConfig::new(slots).no_stall_ceiling())
}

fn lane_with(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

fn forever(lane: &Lane) -> TaskHandle<()> {
    lane.spawn(async |_| pending().await)
}

#[tokio::test(start_paused = true)]
async fn s16_a_blocked_lane_says_so_from_a_timer_with_all_it_knows() {
    let log = Log::tap();
    let (_lanes, main) = patient(2);
    let _moved = main.task().name("younger").spawn(async |cx| {
        tokio::time::sleep(SECOND * 2).await;
        cx.progress();
        pending::<()>().await
    });
    let stillest = main.task().name("turn 17").spawn(async |cx| {
        tokio::time::sleep(SECOND).await;
        cx.progress_note("reading the ticket");
        pending::<()>().await
    });
    tokio::time::sleep(SECOND * 5).await;
    let _queued = [forever(&main), forever(&main), forever(&main)];
    tokio::time::sleep(SECOND * 29).await;
    assert!(log.warnings().is_empty());
    tokio::time::sleep(SECOND + SECOND / 2).await;
    let line = log.one_warning(BLOCKED);
    assert_eq!(line.level, Level::WARN);
    let id = stillest.id().to_string();
    line.assert_fields(&[
        ("lane", "main"),
        ("active", "2"),
        ("max_concurrent", "2"),
        ("queued", "3"),
        ("blocked_by", "max_concurrent"),
        ("holder", &id),
        ("holder_name", "turn 17"),
        ("note", "reading the ticket"),
        ("suppressed", "0"),
    ]);
    assert_eq!(line.number("oldest_active_age_ms") / 100, 350);
    assert_eq!(line.number("oldest_idle_ms") / 100, 340);
    assert_eq!(line.number("blocked_ms") / 100, 300);
}

#[tokio::test(start_paused = true)]
async fn s16_repeats_back_off_to_ten_minutes_and_count_what_they_suppressed() {
    let log = Log::tap();
    let (_lanes, main) = patient(1);
    let _holder = forever(&main);
    let _queued = forever(&main);
    let (mut said, mut suppressed) = (Vec::new(), Vec::new());
    for second in 0..3600 {
        for line in log.warnings() {
            assert_eq!(line.message(), BLOCKED);
            said.push(second);
            suppressed.push(line.number("suppressed"));
        }
        // An arrival every ten seconds.
        if second % 10 == 5 {
            drop(forever(&main));
        }
        tokio::time::sleep(SECOND).await;
    }
    let gaps: Vec<_> = said.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(said[0], 31);
    assert_eq!(gaps, [30, 60, 120, 240, 480, 600, 600, 600, 600]);
    assert_eq!(suppressed, [0, 3, 6, 12, 24, 48, 60, 60, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn s16_new_arrivals_do_not_reset_the_clock_even_if_each_gives_up() {
    let log = Log::tap();
    let (_lanes, main) = patient(1);
    let _holder = forever(&main);
    for _ in 0..29 {
        let waiter = forever(&main).abort_on_drop();
        tokio::time::sleep(SECOND).await;
        drop(waiter);
    }
    assert!(log.warnings().is_empty());
    let _waiter = forever(&main);
    tokio::time::sleep(SECOND + SECOND / 2).await;
    assert_eq!(log.one_warning(BLOCKED).get("queued"), "1");
}

#[tokio::test(start_paused = true)]
async fn s16_a_new_arrival_behind_an_old_holder_is_not_blocked_yet() {
    let log = Log::tap();
    let (_lanes, main) = patient(1);
    let first = main.acquire().await.unwrap();
    // Dispatched from the queue, which was empty ever since.
    let _holder = forever(&main);
    drop(first);
    tokio::time::sleep(MINUTE * 60).await;
    let _waiter = forever(&main);
    tokio::time::sleep(SECOND * 29).await;
    assert!(log.warnings().is_empty());
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(log.one_warning(BLOCKED).number("blocked_ms") / 100, 300);
}

#[tokio::test(start_paused = true)]
async fn s16_waiters_behind_a_healthy_long_holder_are_a_debug_event() {
    let log = Log::tap();
    let (_lanes, main) = patient(1);
    let _holder = main.spawn(async |cx| {
        for _ in 0..60 {
            tokio::time::sleep(SECOND * 10).await;
            cx.progress();
        }
        pending::<()>().await
    });
    let _waiter = forever(&main);
    tokio::time::sleep(MINUTE * 10).await;
    let (loud, quiet): (Vec<_>, Vec<_>) = log
        .take()
        .into_iter()
        .partition(|line| line.level <= Level::WARN);
    assert!(loud.is_empty(), "{loud:#?}");
    assert!(quiet.iter().any(|line| line.message() == BLOCKED));
    // Silent from here on: now it is worth a warning, in half a minute.
    tokio::time::sleep(SECOND * 31).await;
    let line = log.one_warning(BLOCKED);
    assert_eq!(line.number("oldest_idle_ms") / 100, 300);
}

#[tokio::test(start_paused = true)]
async fn s16_a_lane_that_dispatches_or_has_no_waiters_is_silent() {
    let log = Log::tap();
    let (_lanes, main) = patient(1);
    let tasks: Vec<_> = (0..20)
        .map(|_| main.spawn(async |_| tokio::time::sleep(SECOND * 20).await))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let _holder = forever(&main);
    tokio::time::sleep(MINUTE * 60).await;
    assert!(log.warnings().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s16_a_paused_lane_with_waiters_says_so() {
    let log = Log::tap();
    let (_lanes, main) = patient(1);
    main.pause();
    let waiter = forever(&main);
    tokio::time::sleep(SECOND * 31).await;
    log.one_warning(BLOCKED).assert_fields(&[
        ("blocked_by", "paused"),
        ("active", "0"),
        ("queued", "1"),
        ("holder", ""),
        ("holder_name", ""),
    ]);
    waiter.cancel(Reason::User);
    tokio::time::sleep(MINUTE * 30).await;
    assert!(log.warnings().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s16_many_lanes_blocked_by_one_are_one_warning_that_names_the_root() {
    let log = Log::tap();
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(4).no_stall_ceiling())
        .lane("provider", LaneConfig::new(1).no_stall_ceiling())
        .default_lane(LaneConfig::new(1).no_stall_ceiling())
        .build()
        .unwrap();
    let [main, provider] = ["main", "provider"].map(|name| lanes.lane(name).unwrap());
    for session in 0..20 {
        let session = lanes.lane(&format!("session:{session}")).unwrap();
        for _turn in 0..2 {
            let (main, provider) = (main.clone(), provider.clone());
            drop(session.spawn(async move |_| {
                let call = async |_| provider.run(async |_| pending::<()>().await).await;
                main.run(call).await
            }));
        }
    }
    tokio::time::sleep(MINUTE * 30).await;
    let lines = log.warnings();
    assert!(lines.len() >= 5, "{lines:#?}");
    for line in &lines {
        line.assert_fields(&[("message", BLOCKED), ("lane", "provider"), ("queued", "3")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_past_its_limit_is_said_once_with_what_was_ahead() {
    let log = Log::tap();
    let (_lanes, main) = lane_with(
        LaneConfig::new(2)
            .no_stall_ceiling()
            .warn_after(MINUTE * 600),
    );
    let _active = [forever(&main), forever(&main)];
    let background = main.task().priority(Priority::Background);
    let _behind = background.spawn(async |_| pending::<()>().await);
    let ahead = [forever(&main), forever(&main), forever(&main)];
    let waiter = main
        .task()
        .name("turn 18")
        .warn_after(SECOND * 10)
        .spawn(async |_| pending::<()>().await);
    tokio::time::sleep(SECOND * 5).await;
    ahead[0].cancel(Reason::User);
    tokio::time::sleep(MINUTE * 5).await;
    let line = log.one_warning("lane wait exceeded");
    let id = waiter.id().to_string();
    line.assert_fields(&[
        ("lane", "main"),
        ("task", &id),
        ("name", "turn 18"),
        ("queued_ahead", "3"),
        ("active_ahead", "2"),
    ]);
    assert_eq!(line.number("waited_ms") / 100, 100);
}

#[tokio::test(start_paused = true)]
async fn s17_a_reclaim_says_whether_it_helped() {
    let log = Log::tap();
    let (_lanes, main) = lane_with(LaneConfig::new(1).stall_ceiling(MINUTE));
    let stalls = || {
        let task = main.task().name("deaf");
        task.spawn(async |cx| {
            cx.progress_note("waiting for a reply");
            pending::<()>().await
        })
    };
    // It helped: the next waiter was dispatched.
    let (stalled, next) = (stalls(), main.task().name("next").spawn(async |_| ()));
    let id = stalled.id().to_string();
    let next_id = next.id().to_string();
    stalled.await.unwrap_err();
    next.await.unwrap();
    let lines = log.warnings();
    let line = lines.iter().find(|line| line.message() != BLOCKED);
    let line = line.expect("a warning");
    line.assert_fields(&[
        ("message", "lane slot reclaimed"),
        ("lane", "main"),
        ("task", &id),
        ("name", "deaf"),
        ("reason", "stalled"),
        ("how", "dropped"),
        ("note", "waiting for a reply"),
        ("recovery", "recovered"),
        ("dispatched", &next_id),
        ("dispatched_name", "next"),
        ("ineffective", ""),
        ("orphans", "0"),
    ]);
    assert_eq!(line.number("idle_ms") / 100, 600);
    // There was nobody to help.
    stalls().await.unwrap_err();
    let line = log.one_warning("lane slot reclaimed");
    line.assert_fields(&[("recovery", "nobody waiting"), ("dispatched", "")]);
    let verified = || {
        let counters = main.snapshot().counters;
        (counters.recovered, counters.ineffective)
    };
    assert_eq!(verified(), (1, 0));
    // It did not help: the lane is paused.
    let slot = main.acquire().await.unwrap();
    let _waiter = forever(&main);
    main.pause_for(MINUTE * 10).unwrap();
    tokio::time::sleep(MINUTE * 2).await;
    let line = log.one_warning("lane slot reclaimed");
    let (how, orphans) = (("how", "taken"), ("orphans", "1"));
    let recovery = ("recovery", "ineffective");
    line.assert_fields(&[how, orphans, recovery, ("ineffective", "paused")]);
    assert_eq!(verified(), (1, 1));
    // And the holder whose slot was taken comes after all.
    let fence = slot.fence().to_string();
    drop(slot);
    let line = log.one_warning("late completion of a reclaimed task");
    line.assert_fields(&[("lane", "main"), ("fence", &fence)]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_reclaims_with_its_own_reason() {
    let log = Log::tap();
    let (_lanes, main) = lane_with(LaneConfig::new(1).timeout(Timeout::budget(SECOND)));
    forever(&main).await.unwrap_err();
    let line = log.one_warning("lane slot reclaimed");
    line.assert_fields(&[("reason", "timed out"), ("how", "dropped")]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_reports_is_said_once_at_ten_minutes() {
    let log = Log::tap();
    let (_lanes, main) = lane_with(LaneConfig::new(3));
    let silent = main.task().name("mute");
    let silent = silent.spawn(async |_| pending::<()>().await);
    let reports = main.spawn(async |cx| {
        for _ in 0..100 {
            tokio::time::sleep(MINUTE).await;
            cx.progress();
        }
    });
    let bounded = main.task().stall_ceiling(MINUTE * 59);
    let bounded = bounded.spawn(async |_| pending::<()>().await);
    tokio::time::sleep(MINUTE * 10 + SECOND).await;
    let line = log.one_warning("task never reports progress");
    let id = silent.id().to_string();
    line.assert_fields(&[("lane", "main"), ("task", &id), ("name", "mute")]);
    assert_eq!(line.number("elapsed_ms") / 100, 6000);
    tokio::time::sleep(MINUTE * 40).await;
    assert!(log.warnings().is_empty());
    silent.await.unwrap_err();
    bounded.await.unwrap_err();
    reports.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_in_a_span_under_its_submitters() {
    let log = Log::tap();
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let submitter = tracing::info_span!("request");
    let (now, later) = submitter.in_scope(|| {
        let now = main.spawn(async |_| tracing::info!("spawned"));
        (now, main.spawn(async |_| tracing::info!("dispatched")))
    });
    now.await.unwrap();
    later.await.unwrap();
    let ran = tracing::Instrument::instrument(
        main.run(async |_| {
            tracing::info!("run");
            tokio::time::sleep(SECOND).await;
            tracing::info!("run on");
        }),
        submitter,
    );
    ran.await.unwrap();
    tracing::info!("outside");
    let lines = log.take();
    let spans = |message| {
        let line = lines.iter().find(|line| line.message() == message);
        line.expect(message).spans.clone()
    };
    for message in ["spawned", "dispatched", "run", "run on"] {
        assert_eq!(spans(message), ["request", "run"], "{message}");
    }
    assert!(spans("outside").is_empty());
}

/// Three lanes of one slot each, and a budget over all.
fn sharing(budget: usize) -> (Lanes, [Lane; 3]) {
    let lanes = Lanes::builder()
        .pattern("*", LaneConfig::new(1).stall_ceiling(MINUTE * 10))
        .group("shared", GroupConfig::new(budget).member("*"))
        .build()
        .unwrap();
    let named = ["a", "b", "c"].map(|name| lanes.lane(name).unwrap());
    (lanes, named)
}

#[tokio::test(start_paused = true)]
async fn s8_s17_a_phantom_in_one_lane_is_reclaimed_for_a_waiter_in_another() {
    let log = Log::tap();
    let (_lanes, [a, b, c]) = sharing(2);
    let phantom = forever(&a);
    let healthy = c.spawn(async |cx| {
        for _ in 0..30 {
            tokio::time::sleep(MINUTE).await;
            cx.progress();
        }
    });
    tokio::task::yield_now().await;
    let waiter = b.spawn(async |_| ());
    let id = waiter.id().to_string();
    tokio::time::timeout(MINUTE * 10 + SECOND / 10, waiter)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(phantom.await, Err(TaskError::Stalled { .. })));
    // S4: its sibling in the budget went on as it was.
    healthy.await.unwrap();
    let mut lines = log.warnings();
    lines.retain(|line| line.message() == "lane slot reclaimed");
    assert_eq!(lines.len(), 1);
    lines[0].assert_fields(&[("lane", "a"), ("dispatched", &id)]);
    let counters = a.snapshot().counters;
    assert_eq!((counters.recovered, counters.ineffective), (1, 0));
    assert_eq!(b.snapshot().counters.recovered, 0);
}

#[tokio::test(start_paused = true)]
async fn s16_many_lanes_behind_one_budget_are_one_warning_that_names_it() {
    let log = Log::tap();
    let lanes = Lanes::builder()
        .pattern("plugin:*", LaneConfig::new(1).no_stall_ceiling())
        .group("background", GroupConfig::new(1).member("plugin:*"))
        .build()
        .unwrap();
    let lane = |n: usize| lanes.lane(&format!("plugin:{n}")).unwrap();
    let _holder = lane(0).task().name("the culprit").spawn(async |_| {
        std::future::pending::<()>().await;
    });
    let waiters: Vec<_> = (1..20).map(|n| forever(&lane(n))).collect();
    tokio::time::sleep(SECOND * 31).await;
    log.one_warning("lane dispatch blocked").assert_fields(&[
        ("lane", "plugin:1"),
        ("group", "background"),
        ("blocked_by", "group budget"),
        ("holder_name", "the culprit"),
    ]);
    drop(waiters);
}

#[tokio::test(start_paused = true)]
async fn s16_waiters_behind_a_budget_in_healthy_hands_are_no_warning() {
    let log = Log::tap();
    let (_lanes, [a, b, _]) = sharing(1);
    let holder = a.spawn(async |cx| {
        for _ in 0..20 {
            tokio::time::sleep(SECOND * 10).await;
            cx.progress();
        }
    });
    tokio::task::yield_now().await;
    b.run(async |_| ()).await.unwrap();
    holder.await.unwrap();
    assert!(log.warnings().is_empty());
}

/// The driver sleeps until the moment that it knows of: it is told of the
/// earlier one by the change itself, with no traffic on the lane.
#[tokio::test(start_paused = true)]
async fn s16_a_lane_that_is_to_warn_sooner_does() {
    let log = Log::tap();
    let (lanes, main) = lane_with(
        LaneConfig::new(1)
            .no_stall_ceiling()
            .warn_after(MINUTE * 60),
    );
    let holder = forever(&main);
    let queued = main.spawn(async |_| ());
    tokio::time::sleep(SECOND * 10).await;
    lanes
        .reconfigure(|change| {
            change.lane("main").warn_after(SECOND * 15);
        })
        .unwrap();
    let told = log.take();
    let told: Vec<_> = told
        .iter()
        .filter(|line| line.level == Level::INFO)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    told[0].assert_fields(&[("message", "lanes reconfigured"), ("lanes", "1")]);
    tokio::time::sleep(SECOND * 4).await;
    assert!(log.warnings().is_empty());
    tokio::time::sleep(SECOND * 2).await;
    // A tick later, since where its holder stands is found out first.
    log.one_warning(BLOCKED).assert_fields(&[
        ("blocked_ms", "15010"),
        ("standing", "pending, polled when woken"),
    ]);
    // And what is a long wait is measured by what holds now.
    holder.cancel(Reason::User);
    queued.await.unwrap();
    let lines = log.take();
    let long = |line: &&tap::Line| line.message() == "dispatched after a long wait";
    assert_eq!(lines.iter().filter(long).count(), 1, "{lines:#?}");
}

/// Let go of without a result: there is nothing that comes late.
#[tokio::test(start_paused = true)]
async fn an_orphan_that_is_dropped_is_no_late_completion() {
    let log = Log::tap();
    let (_lanes, main) = lane_with(LaneConfig::new(1).stall_ceiling(MINUTE));
    let mut parked = Box::pin(main.run(async |_| pending::<()>().await));
    assert!((&mut parked).now_or_never().is_none());
    tokio::time::sleep(MINUTE * 2).await;
    log.one_warning("lane slot reclaimed");
    assert_eq!(main.snapshot().orphans.len(), 1);
    drop(parked);
    assert!(main.snapshot().orphans.is_empty());
    assert_eq!(log.take().len(), 0);
}

#[tokio::test]
async fn a_reconfiguration_says_how_many_lanes_it_changed() {
    let log = Log::tap();
    let (one, other) = (LaneConfig::new(1), LaneConfig::new(1));
    let lanes = Lanes::builder().lane("one", one).lane("other", other);
    let lanes = lanes.build().unwrap();
    let told = || {
        let mut lines = log.take();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let line = lines.remove(0);
        assert_eq!(line.message(), "lanes reconfigured");
        line.number("lanes")
    };
    let more = lanes.reconfigure(|change| {
        change.lane("one").max_concurrent(2);
    });
    more.unwrap();
    assert_eq!(told(), 1);
    lanes.reconfigure(|_| ()).unwrap();
    assert_eq!(told(), 0);
}

/// The lane whose waiter is the oldest speaks for all, but for those that would
/// have spoken sooner.
#[tokio::test(start_paused = true)]
async fn s16_a_patient_lane_does_not_silence_its_siblings() {
    let log = Log::tap();
    let lanes = Lanes::builder()
        .lane("patient", LaneConfig::new(1).warn_after(MINUTE * 600))
        .pattern("*", LaneConfig::new(1).no_stall_ceiling())
        .group("shared", GroupConfig::new(1).member("*"))
        .build()
        .unwrap();
    let [patient, other, holds] = ["patient", "b", "c"].map(|name| lanes.lane(name).unwrap());
    let _held = forever(&holds);
    tokio::task::yield_now().await;
    let _waits = (forever(&patient), forever(&other));
    tokio::time::sleep(SECOND * 31).await;
    log.one_warning(BLOCKED)
        .assert_fields(&[("lane", "b"), ("group", "shared")]);
}

#[tokio::test]
async fn s14_a_signal_that_panics_is_told_and_is_no_signal() {
    let log = Log::tap();
    let (_lanes, main) = patient(1);
    let signal = async { panic!("it panicked") };
    let task = main.task().cancel_on(signal).spawn(async |_| {
        tokio::task::yield_now().await;
        7
    });
    assert_eq!(task.await.unwrap(), 7);
    let lines = log.take();
    let told = lines
        .iter()
        .find(|line| line.message() == "a cancel_on future panicked");
    assert_eq!(told.map(|line| line.level), Some(Level::ERROR));
}

#[tokio::test]
async fn a_reset_that_takes_nothing_is_not_worth_a_word() {
    let log = Log::tap();
    let (_lanes, main) = patient(1);
    assert_eq!(main.reset(), 0);
    assert_eq!(log.take().len(), 0);
    let _slot = main.acquire().await.unwrap();
    assert_eq!(main.reset(), 1);
    log.one_warning("lanes reset");
}
