//! Who holds what is waited for, and who is told first.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_waiter_behind_a_silent_holder() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let holder = main.task().name("turn 17").key("ticket-42");
    let holder = holder.spawn(async |cx| {
        sleep(8 * MINUTE).await;
        cx.progress_note("reading the ticket");
        pending::<()>().await
    });
    let second = quick(&main, "turn 18");
    let third = quick(&main, "turn 19");
    sleep(12 * MINUTE + 12 * SECOND).await;
    let why = explain(&lanes, third.id());
    let holder = holder.id();
    assert_eq!(why.id, third.id());
    assert_eq!(why.cause, Cause::Silent { task: holder });
    let due = why.next.unwrap();
    assert_eq!(due.task, Some(holder));
    assert_eq!(
        (due.bound, due.follows),
        (Bound::StallCeiling, Follows::SlotReclaimed)
    );
    assert_eq!(due.after, 5 * MINUTE + 48 * SECOND);
    assert_eq!(
        (due.grace, due.teardown, due.needs_runner),
        (None, None, false)
    );
    assert_eq!(why.never, None);
    assert_eq!(
        why.remedies,
        [
            Remedy::Cancel { id: holder },
            Remedy::Extend { id: holder },
            Remedy::SetMaxConcurrent {
                lane: lane_of("main"),
                at_least: 2
            },
        ]
    );
    let [asked, held] = &why.graph.tasks[..] else {
        panic!("{why:#?}");
    };
    assert_eq!((asked.task.id, asked.stage), (third.id(), Stage::Queued));
    assert_eq!(
        asked.waits,
        [Wait::Slot {
            lane: lane_of("main"),
            queued_ahead: 1,
            active_ahead: 1,
            expected: None,
        }]
    );
    assert_eq!(
        (held.task.id, held.stage, held.moves),
        (holder, Stage::Running, false)
    );
    assert_eq!(held.task.idle, Some(4 * MINUTE + 12 * SECOND));
    assert_eq!(held.task.note.as_deref(), Some("reading the ticket"));
    assert_eq!(held.holds, ["main"]);
    assert_eq!(held.dues, [due]);
    let [lane] = &why.graph.lanes[..] else {
        panic!("{why:#?}");
    };
    assert_eq!((lane.active, lane.queued, lane.max_concurrent), (1, 2, 1));
    assert_eq!(lane.blocked_by, Some(BlockedBy::MaxConcurrent));
    assert_eq!(lane.holders, [holder]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "turn 19" has waited in lane "main" for 12m12s: behind #1 "turn 17", silent for 4m12s (pending, polled when woken): "reading the ticket"; slot reclaimed in 5m48s (stall ceiling)
  task #0 "turn 19" in lane "main": queued for 12m12s
    lane "main": 1 of 1 slots held, 2 queued, blocked by max_concurrent; ahead: 1 queued, 1 active
      task #1 "turn 17": active for 12m12s, silent for 4m12s (pending, polled when woken), note "reading the ticket", key "ticket-42"
        slot reclaimed in 5m48s (stall ceiling)
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.extend(#1, …): grant it more silence
  lanes.lane("main")?.set_max_concurrent(2): start one more
"#,
    );
    let why = main.explain();
    assert_eq!(
        (why.first, why.cause),
        (Some(second.id()), Cause::Silent { task: holder })
    );
    let why = main.explain();
    assert_text(
        &why,
        &why.graph,
        r#"
lane "main": next is task #0 "turn 18", queued for 12m12s: behind #1 "turn 17", silent for 4m12s (pending, polled when woken): "reading the ticket"; slot reclaimed in 5m48s (stall ceiling)
  task #0 "turn 18" in lane "main": queued for 12m12s
    lane "main": 1 of 1 slots held, 2 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "turn 17": active for 12m12s, silent for 4m12s (pending, polled when woken), note "reading the ticket", key "ticket-42"
        slot reclaimed in 5m48s (stall ceiling)
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.extend(#1, …): grant it more silence
  lanes.lane("main")?.set_max_concurrent(2): start one more
"#,
    );
    // Of the holder itself.
    let why = explain(&lanes, holder);
    assert_eq!(why.cause, Cause::Silent { task: holder });
    assert_eq!(why.next, Some(due));
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "turn 17" is active in lane "main": silent for 4m12s (pending, polled when woken): "reading the ticket"; slot reclaimed in 5m48s (stall ceiling)"#,
    );
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_three_lanes_down_to_its_root() {
    let nest = Nest::ceilinged();
    let call = silent(&nest.provider, "call");
    let provider = nest.provider.clone();
    let _turn = nest.main.task().name("turn").spawn(async move |_| {
        let inner = provider.task().name("model");
        inner.run(async |_| ()).await
    });
    let main = nest.main.clone();
    let session = nest.session.task().name("session");
    let _session = session.spawn(async move |_| main.task().name("inner").run(async |_| ()).await);
    let next = quick(&nest.session, "next");
    sleep(MINUTE).await;
    let why = explain(&nest.lanes, next.id());
    assert_eq!(why.cause, Cause::Silent { task: call.id() });
    let lanes: Vec<_> = why.graph.lanes.iter().map(|lane| &*lane.name).collect();
    assert_eq!(lanes, ["session", "main", "provider"]);
    let names = why
        .graph
        .tasks
        .iter()
        .map(|node| node.task.name.as_deref().unwrap());
    let names: Vec<_> = names.collect();
    assert_eq!(names, ["next", "session", "inner", "turn", "model", "call"]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "next" has waited in lane "session" for 1m: behind #5 "call" in lane "provider", silent for 1m (pending, polled when woken); slot reclaimed in 9m (stall ceiling)
  task #0 "next" in lane "session": queued for 1m
    lane "session": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "session": active for 1m
        waits for task #2 "inner" in lane "main": queued for 1m
          lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
            task #3 "turn": active for 1m
              waits for task #4 "model" in lane "provider": queued for 1m
                lane "provider": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
                  task #5 "call": active for 1m, silent for 1m (pending, polled when woken), never reported progress
                    slot reclaimed in 9m (stall ceiling)
what helps:
  lanes.cancel(#5, Reason::User): end it
  lanes.extend(#5, …): grant it more silence
  lanes.lane("provider")?.set_max_concurrent(2): start one more
"#,
    );
}

#[tokio::test(start_paused = true)]
async fn behind_holders_that_move() {
    let (lanes, main) = one_lane(LaneConfig::new(6));
    let holders: Vec<_> = (0..6).map(|_| moving(&main, "worker")).collect();
    let waiter = main.task().name("next").timeout(Timeout::wait(2 * MINUTE));
    let waiter = waiter.spawn(async |_| ());
    sleep(90 * SECOND).await;
    let why = explain(&lanes, waiter.id());
    assert!(matches!(why.cause, Cause::Moves { .. }), "{why}");
    assert_eq!((why.next, why.never), (None, None));
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "next" has waited in lane "main" for 1m30s: behind #1 "worker", which moves (last sign of life 1s ago); else it gives up in 30s (wait timeout)
  task #0 "next" in lane "main": queued for 1m30s
    gives up in 30s (wait timeout)
    lane "main": 6 of 6 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 6 active
      task #1 "worker": active for 1m30s, last sign of life 1s ago
      task #2 "worker": active for 1m30s, last sign of life 1s ago
      task #3 "worker": active for 1m30s, last sign of life 1s ago
      and 3 more, all moving
what helps:
  lanes.lane("main")?.set_max_concurrent(7): start one more
"#,
    );
    // One that does not is told first, and is no culprit while others move.
    holders[3].cancel(Reason::User);
    let quiet = silent(&main, "quiet");
    waiter.cancel(Reason::User);
    let_run().await;
    let waiter = quick(&main, "later");
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert!(matches!(why.cause, Cause::Moves { .. }), "{why}");
    assert_eq!(why.graph.lanes[0].holders[0], quiet.id());
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "later" has waited in lane "main" for 1m: behind #1 "worker", which moves (last sign of life 1s ago)
  task #0 "later" in lane "main": queued for 1m
    lane "main": 6 of 6 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 6 active
      task #6 "quiet": active for 1m, silent for 1m, never reported progress
        slot reclaimed in 59m (stall ceiling)
      task #1 "worker": active for 2m30s, last sign of life 1s ago
      task #2 "worker": active for 2m30s, last sign of life 1s ago
      and 3 more, all moving
what helps:
  lanes.lane("main")?.set_max_concurrent(7): start one more
"#,
    );
}

#[tokio::test(start_paused = true)]
async fn of_those_who_wait_the_order_is_that_of_their_dispatch() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let _holder = silent(&main, "holder");
    let at = |priority| main.task().priority(priority).spawn(async |_| ());
    let background = at(Priority::Background);
    let normal = at(Priority::Normal);
    let foreground = at(Priority::Foreground);
    let ahead = |task: &TaskHandle<()>| match explain(&lanes, task.id()).graph.tasks[0].waits[..] {
        [Wait::Slot { queued_ahead, .. }] => queued_ahead,
        ref waits => panic!("{waits:?}"),
    };
    assert_eq!([&background, &normal, &foreground].map(ahead), [2, 1, 0]);
    assert_eq!(main.explain().first, Some(foreground.id()));
    // It has aged, and came first.
    sleep(30 * SECOND).await;
    assert_eq!([&background, &normal, &foreground].map(ahead), [1, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_is_referred_to_and_unknown_ids_are_unknown() {
    let nest = Nest::new(&LaneConfig::new(2));
    let _calls = [silent(&nest.provider, "one"), silent(&nest.provider, "two")];
    let _turns = ["left", "right"].map(|name| {
        let provider = nest.provider.clone();
        nest.main
            .task()
            .name(name)
            .spawn(async move |_| provider.run(async |_| ()).await)
    });
    let waiter = quick(&nest.main, "waiter");
    sleep(MINUTE).await;
    let why = explain(&nest.lanes, waiter.id());
    assert_eq!(why.graph.lanes.len(), 2);
    assert_eq!(why.graph.tasks.len(), 1 + 2 + 2 + 2);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "main" for 1m: behind #5 "one" in lane "provider", silent for 1m (pending, polled when woken); slot reclaimed in 59m (stall ceiling)
  task #0 "waiter" in lane "main": queued for 1m
    lane "main": 2 of 2 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 2 active
      task #1 "left": active for 1m
        waits for task #3 in lane "provider": queued for 1m
          lane "provider": 2 of 2 slots held, 2 queued, blocked by max_concurrent; ahead: 0 queued, 2 active
            task #5 "one": active for 1m, silent for 1m (pending, polled when woken), never reported progress
              slot reclaimed in 59m (stall ceiling)
            task #6 "two": active for 1m, silent for 1m (pending, polled when woken), never reported progress
              slot reclaimed in 59m (stall ceiling)
      task #2 "right": active for 1m
        waits for task #4 in lane "provider": queued for 1m
          lane "provider": see above; ahead: 1 queued, 2 active
what helps:
  lanes.cancel(#5, Reason::User): end it
  lanes.extend(#5, …): grant it more silence
  lanes.lane("provider")?.set_max_concurrent(3): start one more
"#,
    );
    let id = waiter.id();
    waiter.cancel(Reason::User);
    let_run().await;
    assert_eq!(
        nest.lanes.explain(id).unwrap_err(),
        ControlError::UnknownTask { id }
    );
    let other = Nest::new(&LaneConfig::new(1));
    let id = silent(&other.main, "elsewhere").id();
    assert_eq!(
        nest.lanes.explain(id).unwrap_err(),
        ControlError::UnknownTask { id }
    );
}

#[tokio::test(start_paused = true)]
async fn a_chain_without_end_is_cut_off() {
    let (lanes, main) = one_lane(LaneConfig::new(200).no_stall_ceiling());
    let mut below = silent(&main, "root");
    for _ in 0..100 {
        let awaited = below;
        below = main.spawn(async move |_| drop(awaited.await));
        let_run().await;
    }
    let why = explain(&lanes, below.id());
    assert_eq!((why.graph.tasks.len(), why.graph.omitted), (65, 1));
    assert_eq!(why.cause, Cause::Unknown);
    let text = why.to_string();
    assert!(text.contains("(1 more tasks were not read)"), "{text}");
}

/// The worst is told first, and what comes first is told as what comes next.
#[tokio::test(start_paused = true)]
async fn another_holder_may_be_the_first_to_lose_its_slot() {
    let (lanes, main) = one_lane(LaneConfig::new(2));
    let worst = silent(&main, "worst");
    sleep(MINUTE).await;
    let bounded = main.task().name("bounded");
    let bounded = bounded.timeout(Timeout::budget(5 * MINUTE));
    let bounded = bounded.spawn(async |_| pending::<()>().await);
    let waiter = quick(&main, "waiter");
    sleep(2 * MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.cause, Cause::Silent { task: worst.id() });
    let next = why.next.unwrap();
    assert_eq!((next.task, next.after), (Some(bounded.id()), 3 * MINUTE));
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "waiter" has waited in lane "main" for 2m: behind #1 "worst", silent for 3m (pending, polled when woken); #2 "bounded": slot reclaimed in 3m (budget)"#,
    );
    // To extend the worst would not change that.
    let extend = |remedy: &Remedy| matches!(remedy, Remedy::Extend { .. });
    assert!(!why.remedies.iter().any(extend), "{why}");
}

/// A futurelock: the `select!` around the holder has moved on.
#[tokio::test(start_paused = true)]
async fn a_holder_that_nobody_polls_is_to_be_polled() {
    let (lanes, main) = one_lane(LaneConfig::new(1).strict());
    let mut locked = Box::pin(
        main.task()
            .name("locked")
            .run(async |_| pending::<()>().await),
    );
    assert!(poll_once(locked.as_mut()).is_pending());
    let waiter = quick(&main, "waiter");
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    let id = why.graph.lanes[0].holders[0];
    assert_eq!(why.cause, Cause::Silent { task: id });
    assert_eq!(why.remedies[0], Remedy::Poll { id });
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "main" for 1m: behind #1 "locked", silent for 1m (woken but not polled); slot reclaimed in 59m (stall ceiling), if it is polled: at the orphan bound no slot is taken
  task #0 "waiter" in lane "main": queued for 1m
    lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "locked": active for 1m, silent for 1m (woken but not polled), never reported progress
        slot reclaimed in 59m (stall ceiling), if it is polled: at the orphan bound no slot is taken
what helps:
  poll the future of #1
  lanes.cancel(#1, Reason::User): end it
  lanes.lane("main")?.reset(): take every slot of it at once
  lanes.extend(#1, …): grant it more silence
  lanes.lane("main")?.set_max_concurrent(2): start one more
"#,
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_may_wait_for_many_and_need_not_wait_for_all() {
    let (lanes, main) = one_lane(LaneConfig::new(9));
    let tasks: Vec<_> = (0..5).map(|_| silent(&main, "part")).collect();
    let ids: Vec<_> = tasks.iter().map(TaskHandle::id).collect();
    let whole = main.task().name("whole").spawn(async move |_| {
        let mut tasks = tasks;
        let last = tasks.pop().unwrap().may_abandon();
        futures::join!(futures::future::join_all(tasks), last)
    });
    sleep(MINUTE).await;
    let why = explain(&lanes, whole.id());
    let waits = why.graph.tasks[0].waits.iter().map(|wait| match wait {
        Wait::Task { id, may_abandon } => (*id, *may_abandon),
        wait => panic!("{wait:?}"),
    });
    let waits: Vec<_> = waits.collect();
    let expected = ids.iter().map(|id| (*id, *id == ids[4]));
    assert_eq!(waits, expected.collect::<Vec<_>>());
    assert_eq!(why.cause, Cause::Silent { task: ids[0] });
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "whole" is active in lane "main", and waits: behind #1 "part", silent for 1m; slot reclaimed in 59m (stall ceiling)
  task #0 "whole" in lane "main": active for 1m
    slot reclaimed in 59m (stall ceiling)
    waits for task #1 "part" in lane "main": active for 1m, silent for 1m, never reported progress
      slot reclaimed in 59m (stall ceiling)
    waits for task #2 "part" in lane "main": active for 1m, silent for 1m, never reported progress
      slot reclaimed in 59m (stall ceiling)
    waits for task #3 "part" in lane "main": active for 1m, silent for 1m, never reported progress
      slot reclaimed in 59m (stall ceiling)
    and for 2 more
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.extend(#1, …): grant it more silence
"#,
    );
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn it_serializes_with_durations_in_milliseconds() {
    use serde_json::json;
    let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
    let lanes = lanes.fence_start(7).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let holder = silent(&main, "holder");
    let waiter = quick(&main, "waiter");
    sleep(10 * SECOND).await;
    main.pause_for(MINUTE).unwrap();
    let (holder, waiter) = (holder.id().to_string(), waiter.id().to_string());
    let value = serde_json::to_value(main.explain()).unwrap();
    assert_eq!(value["lane"], "main");
    assert_eq!(value["first"], *waiter);
    assert_eq!(value["cause"], json!({"paused": {"lane": "main"}}));
    assert_eq!(
        value["next"],
        json!({
            "bound": "pause", "after": 60_000, "follows": "lane_resumes", "task": null,
            "grace": null, "teardown": null, "needs_runner": false,
        })
    );
    assert_eq!(value["never"], json!(null));
    assert_eq!(value["remedies"], json!([{"resume": {"lane": "main"}}]));
    assert_eq!(value["graph"]["omitted"], 0);
    let limits = json!({
        "stall_ceiling": 3_600_000, "idle": null, "budget": null, "wait": null,
        "grace": 5_000, "teardown": 5_000,
    });
    assert_eq!(
        value["graph"]["lanes"],
        json!([{
            "name": "main", "max_concurrent": 1, "active": 1, "queued": 1, "at_door": 0,
            "queue_capacity": null, "blocked_by": "paused", "paused": true,
            "resumes_after": 60_000, "state": "open", "drains_for": null, "group": null,
            "holders": [holder], "orphans": [], "max_orphans": 1, "limits": limits,
            "warn_after": 30_000,
        }])
    );
    let task = &value["graph"]["tasks"][1];
    // As in a snapshot, and more.
    assert_eq!(
        (&task["id"], &task["idle"]),
        (&json!(holder), &json!(10_000))
    );
    assert_eq!(
        (&task["lane"], &task["stage"]),
        (&json!("main"), &json!("running"))
    );
    assert_eq!(task["dues"][0]["after"], 3_590_000);
    let waits =
        json!([{"slot": {"lane": "main", "queued_ahead": 0, "expected": null, "active_ahead": 1}}]);
    assert_eq!(value["graph"]["tasks"][0]["waits"], waits);
}

/// Of what is waited for, what stands still is told, and of holders one that moves,
/// or waits for one that does.
#[tokio::test(start_paused = true)]
async fn what_moves_is_found_behind_what_waits() {
    let nest = Nest::new(&LaneConfig::new(2));
    let (call, stuck) = (moving(&nest.provider, "call"), silent(&nest.main, "stuck"));
    let id = call.id();
    let both = [call, silent(&nest.session, "other")];
    let other = both[1].id();
    let whole = nest.session.task().name("whole");
    let whole = whole.spawn(async move |_| futures::future::join_all(both).await);
    let waiter = quick(&nest.session, "waiter");
    sleep(MINUTE).await;
    let why = explain(&nest.lanes, whole.id());
    assert_eq!(why.cause, Cause::Silent { task: other });
    let why = explain(&nest.lanes, waiter.id());
    assert_eq!(why.cause, Cause::Silent { task: other });

    // One of the two of main waits for what moves.
    let another = moving(&nest.provider, "another");
    let provider = nest.provider.clone();
    let turn = nest.main.task().name("turn");
    let turn = turn.spawn(async move |_| provider.run(async |_| ()).await);
    let waiter = quick(&nest.main, "waiter");
    sleep(MINUTE).await;
    let why = explain(&nest.lanes, waiter.id());
    assert_eq!(why.graph.lanes[0].holders, [stuck.id(), turn.id()]);
    let moves = |task| why.cause == Cause::Moves { task };
    assert!(moves(id) || moves(another.id()), "{why}");
}

/// What it awaited is over, and nobody has polled it since.
#[tokio::test(start_paused = true)]
async fn what_is_over_is_not_waited_for() {
    let nest = Nest::ceilinged();
    let child = nest.provider.spawn(async |_| sleep(SECOND).await);
    let mut parent = Box::pin(nest.main.run(async move |_| child.await));
    assert!(poll_once(parent.as_mut()).is_pending());
    let id = nest.main.snapshot().active[0].id;
    let waits = || explain(&nest.lanes, id).graph.tasks[0].waits.len();
    assert_eq!(waits(), 1);
    sleep(MINUTE).await;
    assert_eq!(waits(), 0);
}
