//! Tasks that wait for more than one slot, for somebody, or for themselves.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_chain_that_gathers_its_slots() {
    let lanes = Lanes::builder()
        .lane("session", LaneConfig::new(1))
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let chain = lanes.chain(["session", "main"]).unwrap();
    let holder = silent(&main, "holder");
    let turn = chain
        .task()
        .name("turn")
        .spawn(async |_| pending::<()>().await);
    let next = chain.task().name("next").spawn(async |_| ());
    sleep(MINUTE).await;
    let why = explain(&lanes, next.id());
    assert_eq!(why.cause, Cause::Silent { task: holder.id() });
    let node = why.graph.task(turn.id()).unwrap();
    assert_eq!(node.stage, Stage::Gathering);
    assert_eq!(node.holds, ["session"]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "next" has waited in lane "session" for 1m: behind #2 "holder" in lane "main", silent for 1m (pending, polled when woken); slot reclaimed in 59m (stall ceiling)
  task #0 "next" in lane "session": queued for 1m
    lane "session": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "turn": active for 1m
        lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
          task #2 "holder": active for 1m, silent for 1m (pending, polled when woken), never reported progress
            slot reclaimed in 59m (stall ceiling)
what helps:
  lanes.cancel(#2, Reason::User): end it
  lanes.extend(#2, …): grant it more silence
  lanes.lane("main")?.set_max_concurrent(2): start one more
"#,
    );
    let why = explain(&lanes, turn.id());
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "turn" has its slot of lane "session", and waits in lane "main": behind #1 "holder" in lane "main", silent for 1m (pending, polled when woken); slot reclaimed in 59m (stall ceiling)"#,
    );
    // The first in line of the second lane is the task, and not its link.
    assert_eq!(main.explain().first, Some(turn.id()));
    holder.cancel(Reason::User);
    sleep(MINUTE).await;
    let why = explain(&lanes, next.id());
    let node = why.graph.task(turn.id()).unwrap();
    assert_eq!(
        (node.stage, &node.holds[..]),
        (Stage::Running, &["session".into(), "main".into()][..])
    );
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "next" has waited in lane "session" for 2m: behind #1 "turn", silent for 1m (pending, polled when woken); slot reclaimed in 59m (stall ceiling)
  task #0 "next" in lane "session": queued for 2m
    lane "session": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "turn": active for 1m, silent for 1m (pending, polled when woken), never reported progress, holds slots of ["session", "main"]
        slot reclaimed in 59m (stall ceiling)
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.extend(#1, …): grant it more silence
  lanes.lane("session")?.set_max_concurrent(2): start one more
"#,
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_an_approval_and_comes_back() {
    let lanes = Lanes::builder()
        .lane("session", LaneConfig::new(1))
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let chain = lanes.chain(["session", "main"]).unwrap();
    let approval = lanes.waitpoint::<bool>("approval #12").unwrap();
    let turn = chain.task().name("turn").spawn(async |cx| {
        let wait = cx.waiting("leave to book").release(["main"]);
        let leave = wait.limit(HOUR).on(approval).await;
        pending::<()>().await;
        drop(leave);
    });
    let next = chain.task().name("next").spawn(async |_| ());
    sleep(MINUTE).await;
    let why = explain(&lanes, next.id());
    let task = turn.id();
    assert_eq!(
        why.cause,
        Cause::Parked {
            task,
            what: "leave to book".into()
        }
    );
    let due = why.next.unwrap();
    assert_eq!(
        (due.bound, due.follows, due.after),
        (Bound::Parked, Follows::GoesOn, 59 * MINUTE)
    );
    let key = || "approval #12".to_owned();
    assert_eq!(
        why.remedies,
        [
            Remedy::ResumeWaitpoint { key: key() },
            Remedy::CancelWaitpoint { key: key() },
            Remedy::Cancel { id: task },
        ]
    );
    let node = why.graph.task(task).unwrap();
    assert_eq!(
        (node.stage, &node.holds[..]),
        (Stage::Parked, &["session".to_owned()][..])
    );
    assert_eq!(
        node.waits,
        [
            Wait::Somebody {
                what: "leave to book".into()
            },
            Wait::Waitpoint {
                key: key(),
                expects: "bool".into()
            },
        ]
    );
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "next" has waited in lane "session" for 1m: behind #1 "turn", parked for 1m, waiting for "leave to book"; goes on in 59m (limit of its wait)
  task #0 "next" in lane "session": queued for 1m
    lane "session": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "turn": active for 1m, parked for 1m, waiting for "leave to book", slots of ["main"] given back
        goes on in 59m (limit of its wait)
        waits for waitpoint "approval #12", a value of type bool
what helps:
  lanes.resume_waitpoint("approval #12", …): give it its value
  lanes.cancel_waitpoint("approval #12"): end it without one
  lanes.cancel(#1, Reason::User): end it
"#,
    );
    let why = explain(&lanes, task);
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "turn" waits for somebody in lane "session": parked for 1m, waiting for "leave to book"; goes on in 59m (limit of its wait)"#,
    );
    assert_eq!(lanes.snapshot().waitpoints[0].awaited_by, Some(task));

    let holder = silent(&main, "holder");
    let_run().await;
    lanes.resume_waitpoint("approval #12", true).unwrap();
    sleep(MINUTE).await;
    let why = explain(&lanes, next.id());
    assert_eq!(why.cause, Cause::Silent { task: holder.id() });
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "next" has waited in lane "session" for 2m: behind #2 "holder" in lane "main", silent for 1m (pending, polled when woken); slot reclaimed in 59m (stall ceiling)
  task #0 "next" in lane "session": queued for 2m
    lane "session": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "turn": active for 2m, slots of ["main"] given back
        lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
          task #2 "holder": active for 1m, silent for 1m (pending, polled when woken), never reported progress
            slot reclaimed in 59m (stall ceiling)
what helps:
  lanes.cancel(#2, Reason::User): end it
  lanes.extend(#2, …): grant it more silence
  lanes.lane("main")?.set_max_concurrent(2): start one more
"#,
    );
    let why = explain(&lanes, task);
    assert_head(
        &why,
        &why.graph,
        r#"task #0 "turn" is active in lane "session", and waits: behind #1 "holder" in lane "main", silent for 1m (pending, polled when woken); slot reclaimed in 59m (stall ceiling)"#,
    );
}

#[tokio::test(start_paused = true)]
async fn one_without_a_chain_that_gave_its_slot_back() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let turn = main.task().name("turn").spawn(async |cx| {
        let wait = cx.waiting("somebody").release(["main"]);
        wait.on(sleep(MINUTE)).await.unwrap();
    });
    let_run().await;
    let holder = silent(&main, "holder");
    sleep(SECOND).await;
    let why = explain(&lanes, turn.id());
    assert!(matches!(why.cause, Cause::Parked { .. }), "{why}");
    sleep(2 * MINUTE).await;
    let why = explain(&lanes, turn.id());
    let node = &why.graph.tasks[0];
    assert_eq!((node.stage, node.holds.len()), (Stage::ComingBack, 0));
    assert_eq!(why.cause, Cause::Silent { task: holder.id() });
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "turn" is back from its wait, and in line in lane "main": behind #1 "holder", silent for 2m1s (pending, polled when woken); slot reclaimed in 57m59s (stall ceiling)
  task #0 "turn" in lane "main": active for 2m1s, back from its wait, slots of ["main"] given back
    lane "main": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "holder": active for 2m1s, silent for 2m1s (pending, polled when woken), never reported progress
        slot reclaimed in 57m59s (stall ceiling)
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.extend(#1, …): grant it more silence
  lanes.lane("main")?.set_max_concurrent(2): start one more
"#,
    );
    assert_eq!(main.explain().first, Some(turn.id()));
}

#[tokio::test(start_paused = true)]
async fn tasks_that_wait_for_each_other() {
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(1))
        .lane("b", LaneConfig::new(1))
        .on_deadlock(OnDeadlock::Warn)
        .build()
        .unwrap();
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    let again = a.clone();
    let outer = a.task().name("outer").spawn(async move |_| {
        let _ = again.task().name("inner").run(async |_| ()).await;
    });
    sleep(MINUTE).await;
    let why = a.explain();
    let inner = why.first.unwrap();
    let tasks = vec![inner, outer.id()];
    assert_eq!(why.cause, Cause::Circle { tasks });
    assert_eq!((why.next, why.never), (None, Some(Never::Circle)));
    assert_text(
        &why,
        &why.graph,
        r#"
lane "a": next is task #0 "inner", queued for 1m: #1 "outer" waits for itself; by itself: never (they wait for each other)
  task #0 "inner" in lane "a": queued for 1m
    lane "a": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
      task #1 "outer": active for 1m
        waits for task #0 "inner": see above
what helps:
  lanes.cancel(#0, Reason::User): end it
  lanes.cancel(#1, Reason::User): end it
"#,
    );
    outer.cancel(Reason::User);
    let_run().await;

    let nested = |outer: &Lane, inner: &Lane, name: &'static str, budget: Duration| {
        let inner = inner.clone();
        let task = outer.task().name(name).timeout(Timeout::budget(budget));
        task.spawn(async move |_| {
            sleep(SECOND).await;
            let _ = inner.run(async |_| ()).await;
        })
    };
    let one = nested(&a, &b, "one", HOUR);
    let two = nested(&b, &a, "two", 2 * HOUR);
    sleep(MINUTE).await;
    let behind = quick(&a, "behind");
    let why = explain(&lanes, behind.id());
    let Cause::Circle { tasks } = &why.cause else {
        panic!("{why}");
    };
    assert_eq!(tasks.len(), 4);
    assert!(tasks.contains(&one.id()) && tasks.contains(&two.id()));
    let due = why.next.unwrap();
    assert_eq!(
        (due.task, due.bound, due.after),
        (Some(one.id()), Bound::Budget, 59 * MINUTE)
    );
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "behind" has waited in lane "a" for 0s: #1 "one" and #3 "two" wait for each other; #1 "one": slot reclaimed in 59m (budget)
  task #0 "behind" in lane "a": queued for 0s
    lane "a": 1 of 1 slots held, 2 queued, blocked by max_concurrent; ahead: 1 queued, 1 active
      task #1 "one": active for 1m
        slot reclaimed in 59m (budget)
        waits for task #2 in lane "b": queued for 59s
          lane "b": 1 of 1 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 1 active
            task #3 "two": active for 1m
              slot reclaimed in 1h59m (budget)
              waits for task #4 in lane "a": queued for 59s
                lane "a": see above; ahead: 0 queued, 1 active
what helps:
  lanes.cancel(#1, Reason::User): end it
  lanes.cancel(#2, Reason::User): end it
  lanes.cancel(#3, Reason::User): end it
  lanes.cancel(#4, Reason::User): end it
"#,
    );
}

#[tokio::test(start_paused = true)]
async fn those_who_are_not_in_line() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let quiet = main
        .task()
        .debounce(10 * SECOND, 1, |a, b| a + b, async |_, n: u32| n);
    sleep(SECOND).await;
    let why = explain(&lanes, quiet.id());
    assert_eq!(why.cause, Cause::QuietWindow { task: quiet.id() });
    let due = why.next.unwrap();
    assert_eq!(
        (due.bound, due.follows, due.after),
        (Bound::QuietWindow, Follows::Queued, 9 * SECOND)
    );
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 is not in line in lane "main" yet: its quiet window is not over; comes to the queue in 9s (quiet window)
  task #0 in lane "main": in its quiet window
    comes to the queue in 9s (quiet window)
"#,
    );
    assert_eq!(main.explain().first, Some(quiet.id()), "nobody else waits");
    quiet.cancel(Reason::User);

    let holder = main.acquire().await.unwrap();
    let mut waiter = Box::pin(
        main.task()
            .name("waiter")
            .run(async |_| pending::<()>().await),
    );
    assert!(poll_once(waiter.as_mut()).is_pending());
    let id = main.snapshot().queued[0].id;
    drop(holder);
    sleep(SECOND).await;
    let why = explain(&lanes, id);
    assert_eq!(why.cause, Cause::Unclaimed { task: id });
    let due = why.next.unwrap();
    assert_eq!(
        (due.bound, due.follows, due.after),
        (Bound::Claim, Follows::PassedOn, 4 * SECOND)
    );
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" was granted a slot of lane "main": not claimed by its runner yet; passed on in 4s (claim ceiling)
  task #0 "waiter" in lane "main": granted 1s ago, not claimed yet
    passed on in 4s (claim ceiling)
"#,
    );
    sleep(5 * SECOND).await;
    let why = explain(&lanes, id);
    assert_eq!(why.cause, Cause::Asleep { task: id });
    assert_eq!(why.never, Some(Never::NotPolled));
    assert_eq!(why.remedies, [Remedy::Poll { id }, Remedy::Cancel { id }]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" is out of line in lane "main": nobody polls it; by itself: never (nobody polls it)
  task #0 "waiter" in lane "main": asleep: granted a slot, and not polled for it
    by itself: never (nobody polls it)
what helps:
  poll the future of #0
  lanes.cancel(#0, Reason::User): end it
"#,
    );
    assert_eq!(main.explain().first, Some(id));
}
