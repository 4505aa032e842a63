//! What the handles of a scheduler promise by themselves.

mod common;

use std::fmt::{self, Write};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use common::{assert_clean, one_lane};
use laneway::{ControlError, Lane, LaneConfig, Lanes, Reason, TaskId, TaskStatus};

/// A text that asks the scheduler for something at every piece of it.
struct Asking {
    lanes: Lanes,
    main: Lane,
    pieces: usize,
}

impl Write for Asking {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        self.pieces += 1;
        assert_eq!(self.lanes.lane("main").unwrap().name(), "main");
        self.lanes.lane("made on first use").unwrap();
        assert_eq!(self.main.snapshot().active.len(), 1);
        Ok(())
    }
}

#[tokio::test]
async fn s13_a_formatter_may_call_back_into_the_scheduler() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let slot = main.acquire().await.unwrap();
    let task = main.spawn(async |_| ());
    let mut text = Asking {
        lanes: lanes.clone(),
        main: main.clone(),
        pieces: 0,
    };
    write!(text, "{lanes:?} {lanes:#?} {main:?} {main:#?}").unwrap();
    write!(text, "{slot:?} {slot:#?} {task:?} {task:#?}").unwrap();
    assert!(text.pieces > 0);
    drop(slot);
    main.run(async |cx| write!(text, "{cx:?} {cx:#?}").unwrap())
        .await
        .unwrap();
    task.await.unwrap();
    assert_clean(&main);
}

/// A hook that comes too late never runs. It may hold the very task that it
/// was to be a hook of, and so it is not kept.
#[tokio::test]
async fn s15_a_hook_that_is_registered_after_the_end_is_not_kept() {
    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let over = {
        let lane = lanes.lane("session").unwrap();
        lane.run(async |cx| cx).await.unwrap()
    };
    let alive = Arc::new(());
    let (cx, held) = (over.clone(), Arc::clone(&alive));
    over.defer(async move |_| {
        cx.progress();
        drop(held);
    });
    assert_eq!(Arc::strong_count(&alive), 1);
    drop(over);
    assert_eq!(lanes.snapshot().lanes.len(), 0);
}

/// Nor where the slot was taken first, and the runner let go of it since.
#[tokio::test]
async fn s15_a_hook_that_is_registered_after_an_orphan_is_gone_is_not_kept() {
    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let alive = Arc::new(());
    let (cx, held) = {
        let lane = lanes.lane("session").unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        let task = lane.spawn(async move |cx| {
            tell.send(cx).unwrap();
            std::future::pending::<()>().await;
        });
        let cx = told.await.unwrap();
        assert_eq!(lane.reset(), 1);
        assert!(task.await.is_err());
        common::orphans_gone(&lane).await;
        (cx, Arc::clone(&alive))
    };
    let of_hook = cx.clone();
    cx.defer(async move |_| {
        of_hook.progress();
        drop(held);
    });
    assert_eq!(Arc::strong_count(&alive), 1);
    drop(cx);
    assert_eq!(lanes.snapshot().lanes.len(), 0);
}

/// An id says which scheduler it is of.
#[tokio::test]
async fn s18_an_id_of_another_scheduler_is_unknown() {
    let (ours, main) = one_lane(LaneConfig::new(1));
    let (theirs, other) = one_lane(LaneConfig::new(1));
    main.pause();
    other.pause();
    // Made alike, to the last detail.
    let task = main.spawn(async |_| 1);
    let foreign = other.spawn(async |_| 2);
    let (id, foreign_id) = (task.id(), foreign.id());
    assert_ne!(id, foreign_id);
    assert_ne!(id.to_string(), foreign_id.to_string());
    for (lanes, id) in [(&ours, foreign_id), (&theirs, id)] {
        let unknown = Err(ControlError::UnknownTask { id });
        assert_eq!(lanes.cancel(id, Reason::User), unknown);
        assert_eq!(lanes.extend(id, common::HOUR), unknown);
        assert_eq!(lanes.forget_orphan(id), unknown);
    }
    assert_eq!(task.status(), TaskStatus::Queued);
    assert_eq!(foreign.status(), TaskStatus::Queued);
    main.resume();
    other.resume();
    assert_eq!((task.await.unwrap(), foreign.await.unwrap()), (1, 2));
}

/// A body and its value are in one place, which its handle keeps.
#[tokio::test]
async fn s7_the_body_of_a_task_that_never_runs_goes_with_its_place_in_line() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    let captured = Arc::new(());
    let (future, thread) = (Arc::clone(&captured), Arc::clone(&captured));
    let future = main.spawn(async move |_| drop(future));
    let thread = main.spawn_blocking(move |_| drop(thread));
    assert_eq!(Arc::strong_count(&captured), 3);
    future.cancel(Reason::User);
    thread.cancel(Reason::User);
    assert_eq!(
        Arc::strong_count(&captured),
        1,
        "the handles are still there"
    );
    drop((future, thread, slot));
    assert_clean(&main);
}

#[tokio::test]
async fn a_task_knows_what_its_submitter_said_of_it() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let task = main.task().name("turn 17").key("ticket-42").meta(17_u32);
    task.run(async |cx| {
        assert_eq!(cx.name(), Some("turn 17"));
        assert_eq!(cx.key(), Some("ticket-42"));
        assert_eq!(cx.meta::<u32>().as_deref(), Some(&17));
        assert_eq!(cx.meta::<u64>(), None, "of another type");
    })
    .await
    .unwrap();
    main.run(async |cx| assert_eq!((cx.name(), cx.key(), cx.meta::<u32>()), (None, None, None)))
        .await
        .unwrap();
}

/// So that a map of them is as fast as any other.
#[tokio::test]
async fn the_hash_of_an_id_tells_tasks_apart() {
    let (_lanes, main) = one_lane(LaneConfig::new(2));
    let one = main.acquire().await.unwrap();
    let other = main.acquire().await.unwrap();
    let hash = |id: TaskId| BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
    assert_eq!(hash(one.id()), hash(one.context().id()));
    assert_ne!(hash(one.id()), hash(other.id()));
}

/// So that a line of a log says whose it is.
#[tokio::test]
async fn what_is_printed_names_its_lane_or_its_task() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    assert!(format!("{lanes:?}").starts_with("Lanes"));
    let of_lane = [
        format!("{main:?}"),
        format!("{:?}", main.task()),
        format!("{:?}", main.reserve().await.unwrap()),
        format!("{:?}", main.run(async |_| ())),
    ];
    for text in of_lane {
        assert!(text.contains("\"main\""), "{text}");
    }
    let slot = main.acquire().await.unwrap();
    let (cx, handle) = (slot.context(), main.spawn(async |_| ()));
    let shared = main.task().key("key");
    let shared = shared.coalesce(1, |old, new| old + new, async |_, n| n);
    let offer = main.task().offer(1, async |_, n| n);
    let of_task = [
        (slot.id(), format!("{slot:?}")),
        (slot.id(), format!("{cx:?}")),
        (slot.id(), format!("{:?}", cx.inbox::<u8>())),
        (handle.id(), format!("{handle:?}")),
        (shared.id(), format!("{shared:?}")),
        (offer.id(), format!("{offer:?}")),
    ];
    for (id, text) in of_task {
        assert!(text.contains(&format!("{id:?}")), "{text}");
        assert!(format!("{id:?}").contains(&id.to_string()));
    }
    let record = lanes.reconfigure(|change| {
        let of_lane = format!("{:?}", change.lane("main").aging(common::SECOND));
        assert_eq!(of_lane, "LaneChange { changes: 1, .. }");
        assert_eq!(format!("{change:?}"), "Reconfigure { changes: 1, .. }");
    });
    record.unwrap();
}
