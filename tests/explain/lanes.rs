//! What a lane itself, its group or its queue has to do with it.

use super::*;

#[tokio::test(start_paused = true)]
async fn pauses_and_lanes_without_slots() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    main.pause();
    let task = quick(&main, "next");
    sleep(SECOND).await;
    let why = explain(&lanes, task.id());
    let lane = lane_of("main");
    assert_eq!(why.cause, Cause::Paused { lane: lane.clone() });
    assert_eq!((why.next, why.never), (None, Some(Never::PausedByHand)));
    assert_eq!(why.remedies, [Remedy::Resume { lane: lane.clone() }]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "next" has waited in lane "main" for 1s: lane "main" is paused; by itself: never (paused by hand)
  task #0 "next" in lane "main": queued for 1s
    lane "main": 0 of 1 slots held, 1 queued, paused by hand; ahead: 0 queued, 0 active
what helps:
  lanes.lane("main")?.resume(): end the pause
"#,
    );

    main.pause_for(90 * SECOND).unwrap();
    sleep(SECOND).await;
    let why = explain(&lanes, task.id());
    assert_eq!(why.cause, Cause::Paused { lane: lane.clone() });
    let due = why.next.unwrap();
    assert_eq!(
        (due.bound, due.follows),
        (Bound::Pause, Follows::LaneResumes)
    );
    assert_eq!((due.after, due.task), (89 * SECOND, None));
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "next" has waited in lane "main" for 2s: lane "main" is paused; lane resumes in 1m29s (end of the pause)"#,
    );
    sleep(89 * SECOND).await;
    task.await.unwrap();

    main.set_max_concurrent(0).unwrap();
    let _task = quick(&main, "next");
    let why = main.explain();
    assert_eq!(why.cause, Cause::NoSlots { lane: lane.clone() });
    assert_eq!(why.never, Some(Never::NoSlots));
    let remedy = Remedy::SetMaxConcurrent { lane, at_least: 1 };
    assert_eq!(why.remedies, [remedy]);
    assert_head(
        &why,
        &why.graph,
        r#"lane "main": next is task #0 "next", queued for 0s: lane "main" has no slots; by itself: never (max_concurrent is zero)"#,
    );
}

#[tokio::test(start_paused = true)]
async fn groups_and_reservations() {
    let group = GroupConfig::new(2).member("a").member("b").reserve("b", 1);
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(2))
        .lane("b", LaneConfig::new(3))
        .group("shared", group)
        .build()
        .unwrap();
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    let holder = silent(&a, "holder");
    let waiter = quick(&a, "waiter");
    sleep(MINUTE).await;
    // The rest is kept for b, so that it waits for the one of its own share.
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.cause, Cause::Silent { task: holder.id() });
    assert_eq!(why.graph.lanes[0].blocked_by, Some(BlockedBy::Reservation));
    let more = Remedy::Group {
        group: "shared".into(),
    };
    assert_eq!(why.remedies.last(), Some(&more));
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "a" for 1m: behind #1 "holder", silent for 1m (pending, polled when woken); slot reclaimed in 59m (stall ceiling)
  task #0 "waiter" in lane "a": queued for 1m
    lane "a": 1 of 2 slots held, 1 queued, blocked by sibling reservation in group "shared"; ahead: 0 queued, 1 active
      group "shared": 1 of 2 slots held, 1 reserved for "b" (0 held)
      task #1 "holder": active for 1m, silent for 1m (pending, polled when woken), never reported progress
        slot reclaimed in 59m (stall ceiling)
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.extend(#1, …): grant it more silence
  lanes.reconfigure(|change| change.group("shared", …)): a larger budget, or less reserved
"#,
    );

    // b has its own, which is nobody's fault.
    let kept = silent(&b, "kept");
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.graph.lanes[0].blocked_by, Some(BlockedBy::GroupBudget));
    assert_eq!(why.graph.lanes[0].holders, [holder.id()]);

    // a has nothing to give, and b uses what is its own.
    holder.cancel(Reason::User);
    waiter.cancel(Reason::User);
    let_run().await;
    let more = silent(&b, "more");
    let waiter = quick(&a, "waiter");
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.cause, Cause::Silent { task: kept.id() });
    assert_eq!(why.graph.lanes[0].holders, [kept.id(), more.id()]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "a" for 1m: behind #1 "kept" in lane "b", silent for 2m (pending, polled when woken); slot reclaimed in 58m (stall ceiling)
  task #0 "waiter" in lane "a": queued for 1m
    lane "a": 0 of 2 slots held, 1 queued, blocked by group budget in group "shared"; ahead: 0 queued, 0 active
      group "shared": 2 of 2 slots held, 1 reserved for "b" (2 held)
      task #1 "kept" in lane "b": active for 2m, silent for 2m (pending, polled when woken), never reported progress
        slot reclaimed in 58m (stall ceiling)
      task #2 "more" in lane "b": active for 1m, silent for 1m (pending, polled when woken), never reported progress
        slot reclaimed in 59m (stall ceiling)
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.extend(#1, …): grant it more silence
  lanes.reconfigure(|change| change.group("shared", …)): a larger budget, or less reserved
"#,
    );

    // What is reserved leaves nothing, whoever goes.
    more.cancel(Reason::User);
    kept.cancel(Reason::User);
    waiter.await.unwrap();
    let all = |budget| {
        let group = GroupConfig::new(budget).member("a").member("b");
        group.reserve("b", 1)
    };
    lanes
        .reconfigure(|change| change.group("shared", all(1)))
        .unwrap();
    let waiter = quick(&a, "waiter");
    sleep(SECOND).await;
    let why = explain(&lanes, waiter.id());
    let (lane, group) = ("a".to_owned(), "shared".to_owned());
    assert_eq!(why.cause, Cause::GroupBudget { lane, group });
    assert_eq!(why.never, Some(Never::GroupBudget));
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "a" for 1s: group "shared" keeps the rest of its budget for others; by itself: never (the group has no slot for it)
  task #0 "waiter" in lane "a": queued for 1s
    lane "a": 0 of 2 slots held, 1 queued, blocked by sibling reservation in group "shared"; ahead: 0 queued, 0 active
      group "shared": 0 of 1 slots held, 1 reserved for "b" (0 held)
what helps:
  lanes.reconfigure(|change| change.group("shared", …)): a larger budget, or less reserved
"#,
    );
    lanes
        .reconfigure(|change| change.group("shared", all(2)))
        .unwrap();
    waiter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn before_a_full_queue() {
    let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let (lanes, main) = one_lane(config);
    let holder = silent(&main, "holder");
    let _queued = quick(&main, "queued");
    let mut earlier = Box::pin(main.task().name("earlier").run(async |_| ()));
    let mut comer = Box::pin(main.task().name("comer").run(async |_| ()));
    assert!(poll_once(earlier.as_mut()).is_pending());
    assert!(poll_once(comer.as_mut()).is_pending());
    sleep(MINUTE).await;
    let id = main.snapshot().at_door[1].id;
    let why = explain(&lanes, id);
    assert_eq!(why.cause, Cause::Silent { task: holder.id() });
    let place = Wait::Place {
        lane: lane_of("main"),
        queued_ahead: 2,
        active_ahead: 1,
        expected: None,
    };
    assert_eq!(why.graph.tasks[0].waits, [place]);
    let more = Remedy::QueueCapacity {
        lane: lane_of("main"),
        at_least: 3,
    };
    assert_eq!(why.remedies.last(), Some(&more));
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "comer" has waited at the door of lane "main" for 1m: behind #1 "holder", silent for 1m (pending, polled when woken); slot reclaimed in 59m (stall ceiling)
  task #0 "comer" in lane "main": at the door for 1m
    lane "main": 1 of 1 slots held, 1 queued of 1, 2 at the door, blocked by max_concurrent; ahead: 2 waiting, 1 active
      task #1 "holder": active for 1m, silent for 1m (pending, polled when woken), never reported progress
        slot reclaimed in 59m (stall ceiling)
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.extend(#1, …): grant it more silence
  lanes.lane("main")?.set_max_concurrent(2): start one more
  lanes.reconfigure(|change| { change.lane("main").queue_capacity(3); }): let it in
"#,
    );
    lanes
        .reconfigure(|change| {
            change.lane("main").queue_capacity(3);
        })
        .unwrap();
    let stage = |id| explain(&lanes, id).graph.tasks[0].stage;
    assert_eq!(stage(id), Stage::Queued);
}

#[tokio::test(start_paused = true)]
async fn a_drain_says_how_long_it_lasts() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let holder = silent(&main, "holder");
    let waiter = quick(&main, "waiter");
    let_run().await;
    let drain = main.drain(Drain::within(2 * MINUTE).queued(QueuedWork::Run));
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    let dues = |id| explain(&lanes, id).graph.tasks[0].dues[0];
    assert_eq!(
        (dues(waiter.id()).bound, dues(waiter.id()).follows),
        (Bound::Drain, Follows::HandedBack)
    );
    assert_eq!(
        (dues(holder.id()).after, dues(holder.id()).follows),
        (MINUTE, Follows::SlotReclaimed)
    );
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "main" for 1m: behind #1 "holder", silent for 1m (pending, polled when woken); slot reclaimed in 1m (drain)
  task #0 "waiter" in lane "main": queued for 1m
    handed back in 1m (drain)
    lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent, draining for 1m; ahead: 0 queued, 1 active
      task #1 "holder": active for 1m, silent for 1m (pending, polled when woken), never reported progress
        slot reclaimed in 1m (drain)
        slot reclaimed in 59m (stall ceiling)
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.lane("main")?.set_max_concurrent(2): start one more
"#,
    );
    drop(drain);
}

#[tokio::test(start_paused = true)]
async fn a_lane_in_which_nobody_waits() {
    let (_lanes, main) = one_lane(LaneConfig::new(2));
    let why = main.explain();
    assert_text(
        &why,
        &why.graph,
        r#"
lane "main": nobody waits
  lane "main": 0 of 2 slots held, 0 queued
"#,
    );
    let _holder = moving(&main, "holder");
    sleep(10 * SECOND).await;
    let why = main.explain();
    assert_eq!((why.first, why.cause.clone()), (None, Cause::NobodyWaits));
    assert_text(
        &why,
        &why.graph,
        r#"
lane "main": nobody waits
  lane "main": 1 of 2 slots held, 0 queued
    task #0 "holder": active for 10s, last sign of life 1s ago
"#,
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_may_come_before_a_slot_does() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let _holder = moving(&main, "holder");
    let waiter = quick(&main, "waiter");
    let_run().await;
    let drain = main.drain(Drain::within(2 * MINUTE).queued(QueuedWork::Run));
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "waiter" has waited in lane "main" for 1m: behind #1 "holder", which moves (last sign of life 1s ago); else it is handed back in 1m (drain)"#,
    );
    drop(drain);
}

#[tokio::test(start_paused = true)]
async fn behind_a_place_that_is_kept_and_who_waits_for_one() {
    let at_least = |why: &TaskExplanation| match why.remedies.last() {
        Some(Remedy::QueueCapacity { at_least, .. }) => *at_least,
        other => panic!("{other:?}"),
    };
    let config = || LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let (lanes, main) = one_lane(config());
    let _slot = main.acquire().await.unwrap();
    let queued = quick(&main, "queued");
    let mut place = Box::pin(main.reserve());
    assert!(poll_once(place.as_mut()).is_pending());
    let keeper = main.snapshot().at_door[0].id;
    let why = explain(&lanes, keeper);
    assert_eq!((at_least(&why), why.graph.lanes[0].at_door), (2, 1));
    queued.cancel(Reason::User);
    let _place = place.await.unwrap();
    let mut run = Box::pin(main.run(async |_| ()));
    assert!(poll_once(run.as_mut()).is_pending());
    let why = explain(&lanes, main.snapshot().at_door[0].id);
    assert_eq!((at_least(&why), why.graph.lanes[0].at_door), (2, 1));
    lanes
        .reconfigure(|change| {
            change.lane("main").queue_capacity(2);
        })
        .unwrap();
    assert_eq!(main.snapshot().at_door.len(), 0);
}
