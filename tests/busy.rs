//! A lane with no free slot: who is refused, and who takes whose place.

mod common;

use std::future::pending;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, lanes_of_one, let_run, now, one_lane,
    poll_once,
};
use laneway::{
    AcquireError, GroupConfig, InvalidOption, Lane, LaneConfig, Lanes, OnBusy, OnFull, Priority,
    Reason, TaskError, TaskStatus, Timeout, TryAcquireError,
};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;

fn superseded<T: std::fmt::Debug>(told: Result<T, TaskError>, ran: bool) -> bool {
    match told {
        Err(TaskError::Cancelled { reason, .. }) => ran && reason == Reason::Superseded,
        Err(TaskError::CancelledQueued { reason, .. }) => !ran && reason == Reason::Superseded,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_lane_names_no_holder_where_something_else_is_in_the_way() {
    let group = GroupConfig::new(1).member("main");
    let lanes = Lanes::builder().lane("main", LaneConfig::new(2));
    let lanes = lanes.group("g", group).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let busy = async |main: &Lane| {
        let told = main.task().on_busy(OnBusy::Reject).acquire().await;
        let Err(AcquireError::Busy { holder, .. }) = told else {
            panic!("{told:?}");
        };
        holder
    };
    let slot = main.acquire().await.unwrap();
    assert_eq!(busy(&main).await, None);
    let (_lanes, main) = one_lane(LaneConfig::new(2));
    let _slots = [main.acquire().await.unwrap(), main.acquire().await.unwrap()];
    assert!(busy(&main).await.is_some());
    main.pause();
    assert_eq!(busy(&main).await, None);
    main.resume();
    main.set_max_concurrent(0).unwrap();
    assert_eq!(busy(&main).await, None);
    drop(slot);
}

#[tokio::test(start_paused = true)]
async fn s18_a_busy_lane_refuses_by_the_name_of_its_holder() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let task = || main.task().on_busy(OnBusy::Reject);
    assert_eq!(task().run(async |_| 1).await.unwrap(), 1);
    assert_eq!(task().spawn(async |_| 2).await.unwrap(), 2);
    let slot = task().acquire().await.unwrap();
    let told = [
        task().run(async |_| ()).await.unwrap_err(),
        task().spawn(async |_| ()).await.unwrap_err(),
        task().spawn_blocking(|_| ()).await.unwrap_err(),
    ];
    for told in told {
        let TaskError::Busy {
            ref lane, holder, ..
        } = told
        else {
            panic!("{told:?}");
        };
        assert_eq!((&**lane, holder), ("main", Some(slot.id())));
        let text = format!("lane \"main\" is busy: task {} holds a slot; ", slot.id());
        assert!(told.to_string().starts_with(&text), "{told}");
        assert!(told.is_retryable() && told.id().is_some());
    }
    let told = task().acquire().await.unwrap_err();
    let text = format!("lane \"main\" is busy: task {} holds a slot", slot.id());
    assert_eq!(told.to_string(), text);
    let tried = main.try_acquire().unwrap_err();
    let text = r#"lane "main" has no free slot, or is paused, or its group, if any, has no room"#;
    assert_eq!(tried.to_string(), text);
    let holder = Some(slot.id());
    assert_eq!(
        told,
        AcquireError::Busy {
            lane: "main".into(),
            holder
        }
    );
    drop(slot);
    // Who waits is in the way as much as who holds; and a pause is, too.
    main.pause();
    let told = task().run(async |_| ()).await.unwrap_err();
    assert!(
        matches!(told, TaskError::Busy { holder: None, .. }),
        "{told:?}"
    );
    main.resume();
    assert_eq!(assert_clean(&main).submitted, 3);
}

/// It is no slot of that one that it waits for.
#[tokio::test(start_paused = true)]
async fn s6_whoever_supersedes_one_that_is_parked_without_a_slot_has_its_place_in_line() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).queue_capacity(2));
    let (say, mut said) = unbounded_channel();
    let parked = main.task().key("a").spawn(async |cx| {
        let leave = cx.waiting("leave").release(["main"]);
        leave.on(pending::<()>()).await
    });
    let_run().await;
    let holder = main.spawn(async |_| sleep(SECOND).await);
    let_run().await;
    let task = |says: &'static str| {
        let say = say.clone();
        async move |_| say.send(says).unwrap()
    };
    let younger = main.spawn(task("younger"));
    let urgent = main.task().priority(Priority::Foreground);
    let urgent = urgent.spawn(task("urgent"));
    let newer = main.task().key("a").on_busy(OnBusy::Supersede);
    let newer = newer.spawn(task("newer"));
    assert!(superseded(parked.await, true));
    for task in [holder, younger, urgent, newer] {
        task.await.unwrap();
    }
    let order: Vec<_> = std::iter::from_fn(|| said.try_recv().ok()).collect();
    assert_eq!(order, ["urgent", "newer", "younger"]);
    assert_clean(&main);
}

/// Everything of its key goes, nothing else does, and it is next.
#[tokio::test(start_paused = true)]
async fn s4_s6_whoever_supersedes_ends_its_own_key_and_goes_first() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let (say, mut said) = unbounded_channel();
    let task = |key: &'static str, says: &'static str| {
        let say = say.clone();
        let body = async move |_| say.send(says).unwrap();
        (main.task().key(key), body)
    };
    let holder = main.task().key("a").spawn(async |_| pending::<()>().await);
    let_run().await;
    let (other, body) = task("b", "other");
    let other = other.priority(Priority::Foreground).spawn(body);
    let (queued, body) = task("a", "queued");
    let queued = queued.priority(Priority::Foreground).spawn(body);
    let (newer, body) = task("a", "newer");
    let began = now();
    let newer = newer
        .priority(Priority::Background)
        .on_busy(OnBusy::Supersede)
        .spawn(body);
    let snapshot = main.snapshot();
    let names: Vec<_> = snapshot.queued.iter().map(|task| task.id).collect();
    assert_eq!(
        names,
        [newer.id(), other.id()],
        "in the order in which they go"
    );
    assert!(superseded(queued.await, false));
    newer.await.unwrap();
    assert!(superseded(holder.await, true));
    other.await.unwrap();
    assert_eq!(
        began.elapsed(),
        std::time::Duration::ZERO,
        "no grace for who does not listen"
    );
    assert_eq!(
        (said.recv().await, said.recv().await),
        (Some("newer"), Some("other"))
    );
    assert_clean(&main);
}

/// One who listens has its grace, and the newest of many is who runs.
#[tokio::test(start_paused = true)]
async fn s7_of_many_that_supersede_each_other_the_last_runs() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let holder = main.task().key("a").spawn(async |cx| {
        let reason = cx.cancelled().await;
        sleep(2 * SECOND).await;
        reason
    });
    let_run().await;
    let newer = |n: u32| {
        let task = main.task().key("a").on_busy(OnBusy::Supersede);
        task.spawn(async move |_| n)
    };
    let began = now();
    let mut all: Vec<_> = (0..10).map(newer).collect();
    let last = all.pop().unwrap();
    for older in all {
        assert!(superseded(older.await, false));
    }
    assert_eq!(last.await.unwrap(), 9);
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(
        holder.await.unwrap(),
        Reason::Superseded,
        "S3: it ended in its grace"
    );
    assert_clean(&main);
}

/// One that ignores its signal, and whose runner never comes, is taken.
#[tokio::test(start_paused = true)]
async fn s8_a_holder_that_ignores_it_loses_its_slot_as_ever() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).timeout(Timeout::grace(3 * SECOND)));
    // A slot by hand, which nobody gives back, and which listens.
    let slot = main.task().key("a").acquire().await.unwrap();
    let mut lost = Box::pin(slot.lost());
    assert!(poll_once(lost.as_mut()).is_pending());
    let began = now();
    let newer = main.task().key("a").on_busy(OnBusy::Supersede);
    let newer = newer.run(async |cx| cx.is_current()).await.unwrap();
    assert!(newer && !slot.is_current());
    let waited = began.elapsed();
    assert!(
        waited >= 3 * SECOND && waited <= 3 * SECOND + 3 * TICK,
        "{waited:?}"
    );
    assert_eq!(lost.await, Reason::Superseded);
    assert_eq!(main.snapshot().counters.taken, 1);
    drop(slot);
    assert_clean(&main);
}

/// Without a key: whoever holds the slot of a lane of one, and nobody who
/// waits.
#[tokio::test(start_paused = true)]
async fn s18_without_a_key_it_must_be_clear_who_is_meant() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let task = || main.task().on_busy(OnBusy::Supersede);
    assert_eq!(
        task().run(async |_| 0).await.unwrap(),
        0,
        "nobody is in its way"
    );
    let holder = main.task().key("a").spawn(async |_| pending::<()>().await);
    let queued = main.spawn(async |_| 1);
    let_run().await;
    assert_eq!(task().run(async |_| 2).await.unwrap(), 2);
    assert!(superseded(holder.await, true));
    assert_eq!(queued.await.unwrap(), 1);

    main.set_max_concurrent(2).unwrap();
    let slot = main.acquire().await.unwrap();
    let unclear = task().run(async |_| ()).await.unwrap_err();
    assert!(
        matches!(unclear, TaskError::Invalid(InvalidOption::NoKey)),
        "{unclear:?}"
    );
    let unclear = task().acquire().await.unwrap_err();
    assert_eq!(unclear, AcquireError::Invalid(InvalidOption::NoKey));
    let unclear = task().try_acquire().unwrap_err();
    assert_eq!(unclear, TryAcquireError::Invalid(InvalidOption::NoKey));
    assert_eq!(slot.context().cancel_reason(), None);
    drop(slot);
    assert_clean(&main);
}

/// If there is a slot, it starts; its elders end all the same, and strangers in
/// other lanes do not.
#[tokio::test(start_paused = true)]
async fn s4_a_free_slot_saves_nobody_of_its_key_and_no_other_lane_is_touched() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2))
        .lane("other", LaneConfig::new(1))
        .build()
        .unwrap();
    let (main, other) = (lanes.lane("main").unwrap(), lanes.lane("other").unwrap());
    let elder = main.task().key("a").spawn(async |_| pending::<()>().await);
    let_run().await;
    let stranger = other.task().key("a").spawn(async |_| "well");
    let slot = main.task().key("b").acquire().await;
    drop(slot.unwrap());
    let newer = main.task().key("a").on_busy(OnBusy::Supersede);
    let newer = newer.spawn(async |_| "newer");
    assert_eq!(newer.status(), TaskStatus::Active, "at once");
    assert_eq!(newer.await.unwrap(), "newer");
    assert!(superseded(elder.await, true));
    assert_eq!(stranger.await.unwrap(), "well");
    assert_clean(&main);
}

/// Superseding only who waits earns the place in line of those, and no better.
#[tokio::test(start_paused = true)]
async fn s6_the_place_of_who_only_waited_is_kept() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    let (say, mut said) = unbounded_channel();
    let task = |key: &'static str, n: u32| {
        let say = say.clone();
        let task = main.task().key(key).on_busy(OnBusy::Supersede);
        task.spawn(async move |_| say.send(n).unwrap())
    };
    let mut tasks = vec![task("a", 0), task("b", 1), task("c", 2)];
    // Superseded again and again, it is never at the end.
    for n in 3..6 {
        sleep(MINUTE).await;
        tasks.push(task("b", n));
    }
    drop(slot);
    for n in [0, 5, 2] {
        assert_eq!(said.recv().await, Some(n));
    }
    for (n, told) in futures::future::join_all(tasks)
        .await
        .into_iter()
        .enumerate()
    {
        if matches!(n, 1 | 3 | 4) {
            assert!(superseded(told, false));
        } else {
            told.unwrap();
        }
    }
    assert_clean(&main);
}

/// A refusal ends nobody: closed, or all that it could supersede is outside.
#[tokio::test(start_paused = true)]
async fn s18_whoever_is_refused_supersedes_nobody() {
    let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let (_lanes, main) = one_lane(config);
    let slot = main.task().key("a").acquire().await.unwrap();
    let mut queued = Box::pin(main.task().key("b").run(async |_| "b"));
    let mut at_door = Box::pin(main.task().key("c").run(async |_| "c"));
    assert!(poll_once(queued.as_mut()).is_pending());
    assert!(poll_once(at_door.as_mut()).is_pending());
    let task = |key: &'static str| main.task().key(key).on_busy(OnBusy::Supersede);
    // It cannot wait at the door, where the one is that it would supersede.
    let told = task("c").spawn(async |_| ()).await.unwrap_err();
    assert!(matches!(told, TaskError::QueueFull { .. }), "{told:?}");
    // One that can takes its place there, and one in the queue is no trouble.
    let mut newer = Box::pin(task("c").run(async |_| "newer c"));
    assert!(poll_once(newer.as_mut()).is_pending());
    assert!(superseded(at_door.await, false));
    let spawned = task("b").spawn(async |_| "newer b");
    assert_eq!(spawned.status(), TaskStatus::Queued);
    assert!(superseded(queued.await, false));
    // A full queue is no obstacle to who takes a holder's place.
    let first = task("a").spawn(async |_| "newer a");
    assert_eq!(slot.context().cancel_reason(), Some(Reason::Superseded));
    main.close();
    let told = task("b").run(async |_| ()).await.unwrap_err();
    assert!(matches!(told, TaskError::Closed { .. }));
    drop(slot);
    let all = (
        first.await.unwrap(),
        spawned.await.unwrap(),
        newer.await.unwrap(),
    );
    assert_eq!(all, ("newer a", "newer b", "newer c"));
    assert_clean(&main);
}

/// A grant that nobody has come for yet goes to the newer one at once, and an
/// orphan and a task that runs on without its slot are dealt with too.
#[tokio::test(start_paused = true)]
async fn s20_whatever_an_elder_is_in() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let task = || main.task().key("a").on_busy(OnBusy::Supersede);
    // Granted, and not claimed.
    let slot = main.acquire().await.unwrap();
    let mut elder = Box::pin(main.task().key("a").run(async |_| ()));
    assert!(poll_once(elder.as_mut()).is_pending());
    drop(slot);
    assert_eq!(main.snapshot().active.len(), 1);
    let began = now();
    assert_eq!(task().run(async |_| 1).await.unwrap(), 1);
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    assert!(superseded(elder.await, false));
    // Detached: it is asked to end, and told what became of it.
    let detaching = LaneConfig::new(1).stall_ceiling(SECOND);
    let (_lanes, main) = one_lane(detaching.on_stall(laneway::OnStall::Detach));
    let detached = main.task().key("a").spawn(async |_| sleep(HOUR).await);
    sleep(2 * SECOND).await;
    assert_eq!(detached.status(), TaskStatus::Detached);
    let task = main.task().key("a").on_busy(OnBusy::Supersede);
    task.run(async |_| ()).await.unwrap();
    assert!(matches!(detached.await, Err(TaskError::Stalled { .. })));
    let_run().await;
    assert_clean(&main);
}

/// On threads, all at once: one runs at a time, everybody is answered, and the
/// last of them is the last that runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_s2_s7_a_crowd_that_supersedes_itself() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
    for _ in 0..50 {
        let mut crowd = Vec::new();
        for n in 0..16_u32 {
            let main = main.clone();
            crowd.push(tokio::spawn(async move {
                let task = main.task().key("a").on_busy(OnBusy::Supersede);
                let body = async move |_| {
                    tokio::task::yield_now().await;
                    n
                };
                if n % 2 == 0 {
                    task.run(body).await
                } else {
                    task.spawn(body).await
                }
            }));
        }
        let mut ran = 0;
        for told in crowd {
            match told.await.unwrap() {
                Ok(_) => ran += 1,
                Err(
                    TaskError::Cancelled { reason, .. } | TaskError::CancelledQueued { reason, .. },
                ) => assert_eq!(reason, Reason::Superseded),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(ran >= 1, "S7: nobody superseded the last");
        common::orphans_gone(&main).await;
    }
    let counters = assert_clean(&main);
    assert_eq!(counters.submitted, 50 * 16);
    assert_eq!(
        counters.completed + counters.ended + counters.taken,
        50 * 16
    );
}

/// S4: a task of another lane that has its key may be there by the number that
/// a stranger has here.
#[tokio::test(start_paused = true)]
async fn s4_whoever_supersedes_by_a_key_ends_nobody_for_a_task_of_another_lane() {
    let (_lanes, [a, b]) = lanes_of_one(["a", "b"]);
    let of_key = a.task().key("k").acquire().await.unwrap();
    let stranger = b.acquire().await.unwrap();
    let newer = b.task().key("k").on_busy(OnBusy::Supersede);
    let newer = newer.spawn(async |_| ());
    let_run().await;
    for slot in [&of_key, &stranger] {
        assert_eq!(slot.context().cancel_reason(), None);
    }
    drop(stranger);
    newer.await.unwrap();
}
