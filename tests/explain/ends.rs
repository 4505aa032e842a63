//! What time does to a task, and what it does not.

use super::*;

#[tokio::test(start_paused = true)]
async fn at_the_orphan_bound_nothing_is_taken() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING).max_orphans(1);
    let (lanes, main) = one_lane(config);
    let mut first = Box::pin(
        main.task()
            .name("first")
            .run(async |_| pending::<()>().await),
    );
    assert!(poll_once(first.as_mut()).is_pending());
    sleep(CEILING + MINUTE).await;
    let mut second = Box::pin(
        main.task()
            .name("second")
            .run(async |_| pending::<()>().await),
    );
    assert!(poll_once(second.as_mut()).is_pending());
    let waiter = quick(&main, "waiter");
    let snapshot = main.snapshot();
    let (orphan, holder) = (snapshot.orphans[0].id, snapshot.active[0].id);
    // It is not due yet, and will not be taken.
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert!(why.next.is_some_and(|due| due.needs_runner), "{why}");
    sleep(CEILING + MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.cause, Cause::Ending { task: holder });
    assert_eq!((why.next, why.never), (None, Some(Never::OrphanBound)));
    assert_eq!(
        why.remedies,
        [
            Remedy::ForgetOrphan { id: orphan },
            Remedy::Reset {
                lane: lane_of("main")
            }
        ]
    );
    assert_eq!(why.graph.lanes[0].orphans, [orphan]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "main" for 12m: behind #1 "second", told to end (stalled), and not gone yet (woken but not polled); by itself: never (its slot is not taken: the orphan bound is reached)
  task #0 "waiter" in lane "main": queued for 12m
    lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "second": active for 12m, told to end (stalled), and not gone yet (woken but not polled)
        by itself: never (its slot is not taken: the orphan bound is reached)
      orphan #2 "first": its slot was taken (stalled) and its runner has not let go of it
what helps:
  lanes.forget_orphan(#2): vouch for it, and count it no more
  lanes.lane("main")?.reset(): take every slot of it at once
"#,
    );
    let why = explain(&lanes, orphan);
    assert_eq!(why.cause, Cause::Orphan { task: orphan });
    assert_eq!(why.never, Some(Never::RunnerGone));
    assert_eq!(why.remedies, [Remedy::ForgetOrphan { id: orphan }]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "first" is an orphan of lane "main": its slot was taken (stalled) and its runner has not let go of it; by itself: never (only its runner lets go of it)
  task #0 "first" in lane "main": active for 23m, its slot was taken (stalled) and its runner has not let go of it
    by itself: never (only its runner lets go of it)
what helps:
  lanes.forget_orphan(#0): vouch for it, and count it no more
"#,
    );
    // It helps.
    lanes.forget_orphan(orphan).unwrap();
    waiter.await.unwrap();
}

/// Three are told of; the rest are counted, in line with them.
#[tokio::test(start_paused = true)]
async fn many_orphans_are_counted() {
    let config = LaneConfig::new(5).stall_ceiling(CEILING).max_orphans(5);
    let (lanes, main) = one_lane(config);
    let mut forgotten = Vec::new();
    for _ in 0..2 {
        for _ in 0..5 {
            let mut task = Box::pin(main.run(async |_| pending::<()>().await));
            assert!(poll_once(task.as_mut()).is_pending());
            forgotten.push(task);
        }
        sleep(CEILING + MINUTE).await;
    }
    let waiter = quick(&main, "waiter");
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.graph.lanes[0].orphans.len(), 5);
    let text = why.to_string();
    assert_eq!(text.matches("\n      orphan ").count(), 3, "{text}");
    assert!(text.contains("\n      and 2 more orphans\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn those_who_are_being_ended() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let polite = main.task().name("polite").spawn(async |cx| {
        cx.defer(async |_| pending().await);
        let _signal = cx.cancelled().await;
        pending::<()>().await
    });
    let waiter = quick(&main, "waiter");
    sleep(MINUTE).await;
    let task = polite.id();
    // The grace and the hooks come after the ask.
    let due = explain(&lanes, waiter.id()).next.unwrap();
    assert_eq!(
        (due.after, due.grace, due.teardown),
        (9 * MINUTE, Some(5 * SECOND), Some(5 * SECOND))
    );
    let why = explain(&lanes, waiter.id());
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "waiter" has waited in lane "main" for 1m: behind #1 "polite", silent for 1m (pending, polled when woken); slot reclaimed in 9m (stall ceiling), after at most 5s of grace and 5s of teardown"#,
    );
    polite.cancel(Reason::User);
    sleep(SECOND).await;
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.cause, Cause::Ending { task });
    let dues: Vec<_> = why
        .graph
        .task(task)
        .unwrap()
        .dues
        .iter()
        .map(|due| (due.bound, due.after))
        .collect();
    assert_eq!(
        dues,
        [(Bound::Grace, 4 * SECOND), (Bound::Take, 9 * SECOND + TICK)]
    );
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "main" for 1m1s: behind #1 "polite", asked to end (cancelled by the user), and in its grace; dropped in 4s (grace)
  task #0 "waiter" in lane "main": queued for 1m1s
    lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "polite": active for 1m1s, asked to end (cancelled by the user), and in its grace
        dropped in 4s (grace)
        slot taken in 9s (its runner has not come)
"#,
    );
    sleep(5 * SECOND).await;
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.graph.task(task).unwrap().stage, Stage::Teardown);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "main" for 1m6s: behind #1 "polite", told to end (cancelled by the user), and its hooks run; hooks dropped in 4s (teardown)
  task #0 "waiter" in lane "main": queued for 1m6s
    lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "polite": active for 1m6s, told to end (cancelled by the user), and its hooks run
        hooks dropped in 4s (teardown)
        slot taken in 4s (its runner has not come)
"#,
    );

    waiter.await.unwrap();
    let mut stuck = Box::pin(
        main.task()
            .name("stuck")
            .run(async |_| pending::<()>().await),
    );
    assert!(poll_once(stuck.as_mut()).is_pending());
    let task = main.snapshot().active[0].id;
    let waiter = quick(&main, "waiter");
    lanes.cancel(task, Reason::User).unwrap();
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.graph.task(task).unwrap().stage, Stage::Dropping);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "main" for 0s: behind #1 "stuck", told to end (cancelled by the user), and not gone yet; slot taken in 10ms (its runner has not come)
  task #0 "waiter" in lane "main": queued for 0s
    lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "stuck": active for 0s, told to end (cancelled by the user), and not gone yet
        slot taken in 10ms (its runner has not come)
"#,
    );
}

/// The bound of a holder that runs out first, in how long, and what follows.
fn due_of(lanes: &Lanes, id: TaskId) -> Option<(Bound, Duration, Follows)> {
    let why = explain(lanes, id);
    let due: Option<Due> = why.graph.tasks[0].dues.first().copied();
    due.map(|due| (due.bound, due.after, due.follows))
}

#[tokio::test(start_paused = true)]
async fn every_bound_is_told_with_what_follows() {
    let config = LaneConfig::new(20).stall_ceiling(CEILING);
    let lanes = Lanes::builder()
        .lane("main", config.clone())
        .lane("warned", config.clone().on_stall(OnStall::WarnOnly))
        .lane("detached", config.on_stall(OnStall::Detach))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let reclaimed = |bound, after| Some((bound, after, Follows::SlotReclaimed));
    let limited = |limit| {
        main.task()
            .timeout(limit)
            .spawn(async |_| pending::<()>().await)
    };
    let budget = limited(Timeout::budget(3 * MINUTE));
    let idle = limited(Timeout::idle(4 * MINUTE));
    let deadline = main.spawn(async |cx| {
        cx.set_deadline(common::now() + 5 * MINUTE);
        pending::<()>().await
    });
    let phase = main.task().name("phase").spawn(async |cx| {
        let _phase = cx.phase("long").silence(HOUR).unwrap();
        pending::<()>().await
    });
    let extended = silent(&main, "extended");
    let warned = silent(&lanes.lane("warned").unwrap(), "warned");
    let detached = silent(&lanes.lane("detached").unwrap(), "detached");
    let endless = main
        .task()
        .no_stall_ceiling()
        .spawn(async |_| pending::<()>().await);
    let_run().await;
    lanes.extend(extended.id(), 2 * HOUR).unwrap();
    sleep(MINUTE).await;
    let due = |id| due_of(&lanes, id);
    assert_eq!(due(budget.id()), reclaimed(Bound::Budget, 2 * MINUTE));
    assert_eq!(due(idle.id()), reclaimed(Bound::Idle, 3 * MINUTE));
    assert_eq!(due(deadline.id()), reclaimed(Bound::Deadline, 4 * MINUTE));
    assert_eq!(due(phase.id()), reclaimed(Bound::Phase, 59 * MINUTE));
    assert_eq!(
        due(extended.id()),
        reclaimed(Bound::Extension, 119 * MINUTE)
    );
    let stall = |follows| Some((Bound::StallCeiling, 9 * MINUTE, follows));
    assert_eq!(due(warned.id()), stall(Follows::Reported));
    assert_eq!(
        explain(&lanes, warned.id()).never,
        Some(Never::OnlyReported)
    );
    assert_eq!(due(detached.id()), stall(Follows::RunsOnWithoutSlot));
    assert_eq!(due(endless.id()), None);
    assert_eq!(explain(&lanes, endless.id()).never, Some(Never::NoLimit));
    let why = explain(&lanes, warned.id());
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "warned" is active in lane "warned": silent for 1m; by itself: never (a stall is only reported)"#,
    );
    let why = explain(&lanes, endless.id());
    assert_head(
        &why,
        &why.graph,
        r#"task #0 is active in lane "main": silent for 1m; by itself: never (it has no limit)"#,
    );
    let why = explain(&lanes, phase.id());
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "phase" is active in lane "main": silent for 1m: "long"; slot reclaimed in 59m (silence of its phase)"#,
    );
    sleep(10 * MINUTE).await;
    let why = explain(&lanes, detached.id());
    assert_eq!(why.graph.tasks[0].stage, Stage::Detached);
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "detached" runs on without its slot of lane "detached": silent for 11m; by itself: never (it has no limit)"#,
    );
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_ever_reclaimed() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .observe_only();
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let _holder = silent(&main, "holder");
    let waiter = main.task().name("waiter").timeout(Timeout::wait(HOUR));
    let waiter = waiter.spawn(async |_| ());
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.never, Some(Never::OnlyReported));
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "waiter" has waited in lane "main" for 1m: behind #1 "holder", silent for 1m (pending, polled when woken); by itself: never (a stall is only reported); else it gives up in 59m (wait timeout)"#,
    );
}
