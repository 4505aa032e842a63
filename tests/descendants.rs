//! What a drain does with tasks that the tasks it waits for submit.

mod common;

use std::future::pending;
use std::time::Duration;

use common::{HOUR, SECOND, lanes_of_one, let_run};
use laneway::{
    Descendants, Drain, Lane, LaneConfig, Lanes, QueuedWork, TaskContext, TaskError, TaskHandle,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);

fn gated(lane: &Lane) -> (TaskHandle<&'static str>, Gate) {
    let (open, gate) = oneshot::channel();
    let task = lane.spawn(async move |_| {
        let _ = gate.await;
        "done"
    });
    (task, open)
}

fn forever(lane: &Lane) -> TaskHandle<()> {
    lane.spawn(async |_| pending().await)
}

async fn quiet() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// A lane for sessions and one for what runs in them.
fn nest() -> (Lanes, Lane, Lane) {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let [session, main] = ["session:1", "main"].map(|name| lanes.lane(name).unwrap());
    (lanes, session, main)
}

/// A session that runs its turn in `main` once the gate is opened, and there
/// calls a lane that nobody has used before.
fn session(lanes: &Lanes, session: &Lane, main: &Lane) -> (TaskHandle<Outcome>, Gate) {
    let (open, gate) = oneshot::channel();
    let (lanes, main) = (lanes.clone(), main.clone());
    let task = session.spawn(async move |_| {
        let _ = gate.await;
        main.run(async |_| {
            let provider = lanes.lane("provider").unwrap();
            provider.spawn(async |_| "answer").await
        })
        .await?
    });
    (task, open)
}

type Outcome = Result<&'static str, TaskError>;
type Gate = oneshot::Sender<()>;

#[tokio::test(start_paused = true)]
async fn descendants_of_draining_tasks_are_admitted_when_told_so() {
    let (lanes, one, main) = nest();
    let (task, open) = session(&lanes, &one, &main);
    quiet().await;
    let admit = Drain::within(MINUTE).descendants(Descendants::Admit);
    let drain = lanes.drain(admit);
    for lane in [&one, &main, &lanes.lane("other").unwrap()] {
        let stranger = lane.run(async |_| ()).await.unwrap_err();
        assert!(matches!(stranger, TaskError::Draining { .. }));
    }
    open.send(()).unwrap();
    assert_eq!(task.await.unwrap().unwrap(), "answer");
    let report = drain.await;
    assert_eq!((report.finished, report.interrupted), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn descendants_are_refused_unless_told_otherwise() {
    let (lanes, one, main) = nest();
    let (task, open) = session(&lanes, &one, &main);
    quiet().await;
    let drain = lanes.drain(Drain::within(MINUTE));
    open.send(()).unwrap();
    let inner = task.await.unwrap().unwrap_err();
    assert!(matches!(&inner, TaskError::Draining { lane, .. } if &**lane == "main"));
    assert_eq!(drain.await.finished, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lane_drains_for_its_own_descendants_only() {
    let (lanes, one, main) = nest();
    let (task, open) = session(&lanes, &one, &main);
    quiet().await;
    // The session itself does not drain, so its turn is a stranger here.
    let drain = main.drain(Drain::within(MINUTE).descendants(Descendants::Admit));
    open.send(()).unwrap();
    let inner = task.await.unwrap().unwrap_err();
    assert!(matches!(inner, TaskError::Draining { .. }));
    drain.await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_turn_of_a_draining_session_is_not_handed_back() {
    let (lanes, one, main) = nest();
    let (busy, open_busy) = gated(&main);
    let (task, open) = session(&lanes, &one, &main);
    open.send(()).unwrap();
    quiet().await;
    let stranger = forever(&main);
    assert_eq!(main.snapshot().queued.len(), 2);
    let admit = Drain::within(MINUTE).descendants(Descendants::Admit);
    let drain = lanes.drain(admit.queued(QueuedWork::Return));
    assert!(stranger.await.unwrap_err().is_retryable());
    open_busy.send(()).unwrap();
    assert_eq!(busy.await.unwrap(), "done");
    assert_eq!(task.await.unwrap().unwrap(), "answer");
    let report = drain.await;
    assert_eq!((report.finished, report.returned.len()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_not_even_descendants_pass() {
    let (lanes, one, main) = nest();
    let task = one.spawn(async move |cx| {
        cx.cancelled().await;
        main.run(async |_| ()).await
    });
    quiet().await;
    let admit = Drain::within(MINUTE).descendants(Descendants::Admit);
    let report = lanes.drain(admit).await;
    assert_eq!((report.finished, report.interrupted), (1, 0));
    assert!(task.await.unwrap().unwrap_err().is_retryable());
}

/// Nobody waits for a task that is over, and so for none of its descendants.
#[tokio::test(start_paused = true)]
async fn descendants_of_a_task_that_is_over_are_strangers() {
    let (_lanes, session, main) = nest();
    let (open, gate) = oneshot::channel::<()>();
    let (inner, nested) = (main.clone(), session);
    let child = main.run(async move |_| {
        let child = nested.spawn(async move |_| {
            let _ = gate.await;
            inner.run(async |_| ()).await
        });
        (child,)
    });
    let (child,) = child.await.unwrap();
    quiet().await;
    let held = forever(&main);
    quiet().await;
    let admit = Drain::within(MINUTE).descendants(Descendants::Admit);
    let drain = tokio::spawn(main.drain(admit));
    open.send(()).unwrap();
    let told = tokio::time::timeout(MINUTE / 2, child).await;
    let told = told.expect("it is refused at once").unwrap();
    assert!(matches!(told, Err(TaskError::Draining { .. })), "{told:?}");
    drop((held, drain));
}

/// A task is active in every lane of its chain.
#[tokio::test(start_paused = true)]
async fn descendants_of_a_task_that_holds_a_slot_beside_its_own_are_admitted() {
    let (lanes, ..) = nest();
    let provider = lanes.lane("provider").unwrap();
    provider.set_max_concurrent(2).unwrap();
    let chain = lanes.chain(["main", "provider"]).unwrap();
    let (open, gate) = oneshot::channel::<()>();
    let inner = provider.clone();
    let turn = chain.spawn(async move |_| {
        let _ = gate.await;
        inner.run(async |_| "answer").await
    });
    quiet().await;
    let admit = Drain::within(MINUTE).descendants(Descendants::Admit);
    let drain = tokio::spawn(provider.drain(admit));
    open.send(()).unwrap();
    assert_eq!(turn.await.unwrap().unwrap(), "answer");
    drain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_no_descendant_is_admitted_to_a_lane_made_then() {
    let main = LaneConfig::new(1);
    let lanes = Lanes::builder()
        .lane("main", main)
        .pattern("tool:*", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let tools = lanes.clone();
    let task = main.spawn(async move |cx: TaskContext| {
        let wait = cx.waiting("approval").release(["main"]);
        wait.on(sleep(2 * MINUTE)).await.unwrap();
        tools
            .lane("tool:x")
            .unwrap()
            .run(async |_| sleep(SECOND).await)
            .await
    });
    let_run().await;
    let drain = Drain::within(MINUTE).descendants(Descendants::Admit);
    assert_eq!(lanes.drain(drain).await.parked, 1);
    let told = task.await.unwrap();
    assert!(matches!(told, Err(TaskError::Draining { .. })), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_descends_from_nobody_who_drains_is_not_admitted() {
    let (lanes, [a, b]) = lanes_of_one(["a", "b"]);
    let _drain = lanes.drain(Drain::within(HOUR).descendants(Descendants::Admit));
    a.resume();
    let told = a
        .run(async move |_| b.run(async |_| ()).await)
        .await
        .unwrap();
    assert!(matches!(told, Err(TaskError::Draining { .. })), "{told:?}");
}
