//! Named stretches of a task, with ceilings of their own (S9).

mod common;

use std::future::pending;
use std::time::Duration;

use common::{
    CEILING, HOUR, MINUTE, SECOND, SHORT, TICK, assert_clean, ceilinged, let_run, one_lane,
    orphans_gone, until,
};
use laneway::{ControlError, InvalidDuration, LaneConfig, Reason, TaskError};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// A little less than the ceiling.
const NEARLY: Duration = CEILING.checked_sub(Duration::from_millis(1)).unwrap();

/// How long after its start the task was reclaimed as stalled.
#[track_caller]
fn stalled_after<T: std::fmt::Debug>(result: Result<T, TaskError>) -> Duration {
    match result {
        Err(TaskError::Stalled { elapsed, .. }) => elapsed,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_about(took: Duration, expected: Duration) {
    assert!(took >= expected && took <= expected + TICK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn s9_a_phase_replaces_the_ceiling_while_it_is_held() {
    let (_lanes, main) = ceilinged(1);
    // Longer; and its end is progress.
    let long = main.run(async |cx| {
        let phase = cx.phase("bash: cargo test").silence(HOUR)?;
        sleep(HOUR - SECOND).await;
        drop(phase);
        sleep(NEARLY).await;
        Ok::<_, InvalidDuration>("survived")
    });
    assert_eq!(long.await.unwrap().unwrap(), "survived");

    // Longer, and silent for longer than that.
    let silent = main.run(async |cx| {
        let _phase = cx.phase("bash").silence(HOUR);
        pending::<()>().await;
    });
    assert_about(stalled_after(silent.await), HOUR);

    // Shorter; entered when the timer was set for the ceiling.
    let short = main.run(async |cx| {
        sleep(MINUTE).await;
        let _phase = cx.phase("ping").silence(SECOND);
        pending::<()>().await;
    });
    assert_about(stalled_after(short.await), MINUTE + SECOND);

    // Its end restores what was.
    let after = main.run(async |cx| {
        drop(cx.phase("bash").silence(HOUR));
        pending::<()>().await;
    });
    assert_about(stalled_after(after.await), CEILING);

    // Without a ceiling of its own it is a name.
    let named = main.run(async |cx| {
        let _phase = cx.phase("thinking");
        pending::<()>().await;
    });
    assert_about(stalled_after(named.await), CEILING);
}

#[tokio::test(start_paused = true)]
async fn s9_of_nested_phases_the_innermost_with_a_ceiling_counts() {
    let (_lanes, main) = ceilinged(1);
    let innermost = main.run(async |cx| {
        let _outer = cx.phase("outer").silence(HOUR);
        let _inner = cx.phase("inner").silence(2 * HOUR);
        let _named = cx.phase("named");
        pending::<()>().await;
    });
    assert_about(stalled_after(innermost.await), 2 * HOUR);

    let outer_again = main.run(async |cx| {
        let _outer = cx.phase("outer").silence(HOUR);
        let inner = cx.phase("inner").silence(2 * HOUR);
        sleep(90 * MINUTE).await;
        drop(inner);
        pending::<()>().await;
    });
    assert_about(stalled_after(outer_again.await), 150 * MINUTE);

    // Ended out of order, and in a task that has no other ceiling.
    let free = main.task().no_stall_ceiling();
    let out_of_order = free.run(async |cx| {
        let outer = cx.phase("outer").silence(2 * HOUR);
        let _inner = cx.phase("inner").silence(HOUR);
        drop(outer);
        pending::<()>().await;
    });
    assert_about(stalled_after(out_of_order.await), HOUR);
    let free = main.task().no_stall_ceiling();
    let restored = free.run(async |cx| {
        let outer = cx.phase("outer").silence(HOUR);
        drop(cx.phase("inner").silence(SECOND));
        sleep(59 * MINUTE).await;
        drop(outer);
        sleep(24 * HOUR).await;
    });
    restored.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_phase_is_what_the_snapshot_shows_until_it_ends() {
    let (_lanes, main) = ceilinged(1);
    let shown = || {
        let task = main.snapshot().active.remove(0);
        (task.note, task.phase)
    };
    let text = |note: &str, phase: Option<&str>| (Some(note.to_owned()), phase.map(str::to_owned));
    let task = main.run(async |cx| {
        cx.progress_note("planning");
        let outer = cx.phase("bash");
        assert_eq!(shown(), text("bash", Some("bash")));
        let inner = cx.phase("cargo test");
        assert_eq!(shown(), text("cargo test", Some("cargo test")));
        drop(inner);
        assert_eq!(shown(), text("bash", Some("bash")));
        cx.progress_note("17 of 20");
        assert_eq!(shown(), text("17 of 20", Some("bash")));
        drop(outer);
        assert_eq!(shown(), text("17 of 20", None));
        assert!(cx.phase("zero").silence(Duration::ZERO).is_err());
        assert_eq!(shown(), text("17 of 20", None));
    });
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s9_extend_grants_a_running_task_more_silence() {
    let (lanes, main) = ceilinged(1);
    let task = main.spawn(async |_| pending::<()>().await);
    let queued = main.spawn(async |_| ());
    let_run().await;
    sleep(5 * MINUTE).await;
    lanes.extend(task.id(), HOUR).unwrap();
    // A shorter one takes nothing away.
    lanes.extend(task.id(), SECOND).unwrap();
    assert_eq!(
        lanes.extend(queued.id(), HOUR),
        Err(ControlError::NotRunning { id: queued.id() })
    );
    assert!(matches!(
        lanes.extend(task.id(), Duration::ZERO),
        Err(ControlError::Duration(_))
    ));
    let id = task.id();
    assert_about(stalled_after(task.await), 65 * MINUTE);
    assert_eq!(
        lanes.extend(id, HOUR),
        Err(ControlError::UnknownTask { id })
    );
    queued.await.unwrap();

    // Progress meanwhile, and the ceiling holds from there if that is later.
    let task = main.spawn(async |cx| {
        sleep(NEARLY).await;
        cx.progress();
        pending::<()>().await;
    });
    let_run().await;
    lanes.extend(task.id(), CEILING).unwrap();
    assert_about(stalled_after(task.await), NEARLY + CEILING);
}

/// On real time and many threads: a phase with time enough keeps a task that
/// its ceiling would have ended, and the others of its kind lose their slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s9_a_phase_keeps_its_task_and_no_other_on_many_threads() {
    let (lanes, main) = one_lane(LaneConfig::new(4).stall_ceiling(SHORT));
    let (finish, finished) = oneshot::channel::<()>();
    let (entered, has_entered) = oneshot::channel();
    // It has all the time to enter its phase, and no more after that.
    let patient = main.task().stall_ceiling(HOUR).spawn(async move |cx| {
        let _phase = cx.phase("patient").silence(2 * HOUR).unwrap();
        entered.send(()).unwrap();
        finished.await.unwrap();
        cx.is_current()
    });
    has_entered.await.unwrap();
    let silent: Vec<_> = (0..12)
        .map(|_| main.spawn(async |cx| cx.scope(pending::<()>()).await))
        .collect();
    for silent in silent {
        stalled_after(silent.await);
    }
    until(|| main.snapshot().active.len() == 1).await;
    finish.send(()).unwrap();
    assert!(patient.await.unwrap());
    orphans_gone(&main).await;
    assert_clean(&main);
    assert_eq!(lanes.cancel_all(Reason::User), 0);
}

/// As `let` would end them in two scopes that overlap.
#[tokio::test(start_paused = true)]
async fn no_phase_that_is_over_is_shown_whichever_ends_first() {
    let (_lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let shown = || main.snapshot().active.remove(0).note;
    slot.context().progress_note("planning");
    let [a, b, c] = ["a", "b", "c"].map(|name| slot.context().phase(name));
    drop(b);
    assert_eq!(shown().as_deref(), Some("c"));
    drop(a);
    assert_eq!(shown().as_deref(), Some("c"));
    drop(c);
    assert_eq!(shown().as_deref(), Some("planning"));
}
