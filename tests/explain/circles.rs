//! What leads back to whoever waits is a circle only where nothing leads elsewhere.

use super::*;

fn unlimited(slots: usize) -> LaneConfig {
    LaneConfig::new(slots).no_stall_ceiling()
}

/// After a second, it runs another in its own lane.
fn nested(lane: &Lane) -> TaskHandle<()> {
    let inner = lane.clone();
    lane.task().name("nested").spawn(async move |_| {
        sleep(SECOND).await;
        let _ = inner.task().name("inner").run(async |_| ()).await;
    })
}

#[tokio::test(start_paused = true)]
async fn a_nested_run_behind_a_holder_that_moves_is_no_circle() {
    let (lanes, main) = one_lane(LaneConfig::new(2));
    // It is the longest silent of the two.
    let _nested = nested(&main);
    let mover = moving(&main, "mover");
    sleep(MINUTE).await;
    let why = main.explain();
    assert_eq!(why.cause, Cause::Moves { task: mover.id() });
    let waiter = quick(&main, "waiter");
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.cause, Cause::Moves { task: mover.id() });
}

#[tokio::test(start_paused = true)]
async fn a_nested_run_behind_a_silent_holder_is_that_holders_fault() {
    for nested_first in [false, true] {
        let config = LaneConfig::new(2).stall_ceiling(5 * MINUTE);
        let (_lanes, main) = one_lane(config);
        let early = nested_first.then(|| nested(&main));
        sleep(SECOND / 2).await;
        let quiet = silent(&main, "quiet");
        sleep(SECOND / 2).await;
        let late = (!nested_first).then(|| nested(&main));
        sleep(MINUTE).await;
        let why = main.explain();
        assert_eq!(why.cause, Cause::Silent { task: quiet.id() });
        assert_eq!(
            why.next.unwrap().task,
            Some(quiet.id()),
            "it will be reclaimed"
        );
        drop((early, late));
    }
}

#[tokio::test(start_paused = true)]
async fn a_nested_run_does_not_hide_whom_another_holder_waits_for() {
    let lanes = Lanes::builder()
        .lane("main", unlimited(2))
        .lane("provider", unlimited(1))
        .build()
        .unwrap();
    let [main, provider] = ["main", "provider"].map(|name| lanes.lane(name).unwrap());
    let _nested = nested(&main);
    let call = silent(&provider, "call");
    let id = call.id();
    let _turn = main.spawn(async move |_| call.await);
    sleep(MINUTE).await;
    assert_eq!(main.explain().cause, Cause::Silent { task: id });
}

/// `back` awaits `again`, which waits in the lane where `back` has a slot, and where
/// another holder moves: both of them will go on. Whoever awaits them and somebody
/// silent waits for the latter.
#[tokio::test(start_paused = true)]
async fn what_waits_for_itself_and_for_a_holder_that_moves_does_not_stand_still() {
    let lanes = Lanes::builder()
        .lane("main", unlimited(2))
        .lane("session", unlimited(1))
        .lane("provider", unlimited(1))
        .build()
        .unwrap();
    let [main, session, provider] =
        ["main", "session", "provider"].map(|name| lanes.lane(name).unwrap());
    let (open, gate) = tokio::sync::oneshot::channel::<()>();
    let (send, again) = tokio::sync::oneshot::channel();
    let inner = main.clone();
    let back = main.spawn(async move |_| {
        let _ = gate.await;
        let merged = || inner.task().key("again");
        let again = || merged().coalesce(1, |a, b| a + b, async |_, n: u32| n);
        let (one, two) = (again(), again());
        let _ = send.send(two);
        let _ = one.await;
    });
    let _mover = moving(&main, "mover");
    let quiet = silent(&provider, "quiet");
    let id = quiet.id();
    let_run().await;
    open.send(()).unwrap();
    let again = again.await.unwrap();
    let _whole = session.spawn(async move |_| {
        futures::join!(again.map(drop), back.map(drop), quiet.map(drop));
    });
    let_run().await;
    let waiter = quick(&session, "waiter");
    sleep(MINUTE).await;
    let why = explain(&lanes, waiter.id());
    assert_eq!(why.cause, Cause::Silent { task: id });
}

/// It may be in a `select!`, and what it may be in is not for us to say.
#[tokio::test(start_paused = true)]
async fn one_that_waits_for_itself_and_for_another_is_no_circle() {
    let lanes = Lanes::builder()
        .lane("main", unlimited(1))
        .lane("provider", unlimited(1))
        .build()
        .unwrap();
    let [main, provider] = ["main", "provider"].map(|name| lanes.lane(name).unwrap());
    let call = moving(&provider, "call");
    let id = call.id();
    let inner = main.clone();
    let turn = main.spawn(async move |_| {
        tokio::select! {
            _ = inner.run(async |_| ()) => {}
            _ = call => {}
        }
    });
    sleep(MINUTE).await;
    assert_eq!(main.explain().cause, Cause::Moves { task: id });
    let why = explain(&lanes, turn.id());
    assert_eq!(why.cause, Cause::Moves { task: id });
    // The lane through which it leads back is not on the way.
    assert_eq!(why.remedies, []);
    lanes.cancel(id, Reason::User).unwrap();
    turn.await.unwrap();
}

/// A lane all of whose holders run another in it: each waits for all of them.
#[tokio::test(start_paused = true)]
async fn a_circle_with_many_ways_is_told_as_one_of_them() {
    let lanes = Lanes::builder().lane("main", unlimited(3));
    let lanes = lanes.on_deadlock(OnDeadlock::Warn).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let holders = [nested(&main), nested(&main), nested(&main)];
    sleep(MINUTE).await;
    let why = main.explain();
    let first = why.first.unwrap();
    let Cause::Circle { tasks } = why.cause else {
        panic!("{why}");
    };
    let [inner, holder] = tasks[..] else {
        panic!("{tasks:?}");
    };
    assert_eq!((inner, holder), (first, holders[0].id()));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_may_be_abandoned_closes_no_circle() {
    for works in [true, false] {
        let (lanes, main) = one_lane(unlimited(1));
        let inner = main.clone();
        let outer = main.spawn(async move |cx| {
            let another = inner.run(async |_| ()).may_abandon();
            let work = async {
                loop {
                    sleep(SECOND).await;
                    if works {
                        cx.progress();
                    }
                }
            };
            tokio::select! {
                _ = another => {}
                () = work => {}
            }
        });
        sleep(MINUTE).await;
        let task = outer.id();
        let (moves, silent) = (Cause::Moves { task }, Cause::Silent { task });
        let expected = if works { moves } else { silent };
        assert_eq!(main.explain().cause, expected);
        let why = explain(&lanes, task);
        assert_eq!(why.cause, expected);
        let sign = if works {
            "last sign of life"
        } else {
            "silent for"
        };
        let text = why.to_string();
        assert!(
            text.lines().take(2).all(|line| line.contains(sign)),
            "{text}"
        );
    }
}

/// It is silent, and nothing else explains that.
#[tokio::test(start_paused = true)]
async fn a_wait_that_may_be_abandoned_may_explain_a_silence() {
    let nest = Nest::new(&unlimited(1));
    let call = silent(&nest.provider, "call");
    let id = call.id();
    let turn = nest.main.spawn(async move |_| call.may_abandon().await);
    let waiter = quick(&nest.main, "waiter");
    sleep(MINUTE).await;
    let why = explain(&nest.lanes, waiter.id());
    assert_eq!(why.cause, Cause::Silent { task: id });
    drop(turn);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_may_be_abandoned_hides_no_other() {
    let nest = Nest::new(&unlimited(2));
    let turn = |firm: TaskHandle<()>| {
        let loose = silent(&nest.provider, "loose");
        nest.main.spawn(async move |_| {
            futures::join!(loose.may_abandon().map(drop), firm.map(drop));
        })
    };
    let firm = silent(&nest.session, "firm");
    let id = firm.id();
    let first = turn(firm);
    sleep(MINUTE).await;
    let why = explain(&nest.lanes, first.id());
    assert_eq!(why.cause, Cause::Silent { task: id });
    // What waits for one that moves goes on, whatever else it may abandon.
    let firm = moving(&nest.session, "firm");
    let id = firm.id();
    let _second = turn(firm);
    let waiter = quick(&nest.main, "waiter");
    sleep(MINUTE).await;
    let why = explain(&nest.lanes, waiter.id());
    assert_eq!(why.cause, Cause::Moves { task: id });
}

/// One part of what a holder waits for moves, and the other does not: it will not go
/// on, and is not told before a holder that has been silent for longer.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_several_goes_on_with_all_of_them() {
    let nest = Nest::new(&unlimited(2));
    let parts = [
        moving(&nest.provider, "call"),
        silent(&nest.provider, "other"),
    ];
    let whole = nest.main.task().name("whole");
    let _whole = whole.spawn(async move |_| futures::future::join_all(parts).await);
    let quiet = silent(&nest.main, "quiet");
    let waiter = quick(&nest.main, "waiter");
    sleep(MINUTE).await;
    let why = explain(&nest.lanes, waiter.id());
    assert_eq!(why.cause, Cause::Silent { task: quiet.id() });
}

/// A task of one may await one of the other.
#[tokio::test(start_paused = true)]
async fn lanes_of_two_schedulers_with_one_name_are_two_lanes() {
    let (ours, here) = one_lane(unlimited(2));
    let (_theirs, there) = one_lane(unlimited(1));
    assert_eq!(here.name(), there.name());
    there.pause();
    let paused = quick(&there, "paused");
    let _turn = here.task().name("turn").spawn(async move |_| paused.await);
    let mover = moving(&here, "mover");
    let waiter = quick(&here, "waiter");
    sleep(MINUTE).await;
    let why = explain(&ours, waiter.id());
    assert_eq!(why.cause, Cause::Moves { task: mover.id() });
    let paused = why.graph.lanes.iter().map(|lane| lane.paused);
    assert_eq!(paused.collect::<Vec<_>>(), [false, true]);
    assert_text(
        &why,
        &why.graph,
        r#"
task #0 "waiter" has waited in lane "main" for 1m: behind #2 "mover", which moves (last sign of life 1s ago)
  task #0 "waiter" in lane "main": queued for 1m
    lane "main": 2 of 2 slots held, 1 queued, blocked by max_concurrent; ahead: 0 queued, 2 active
      task #1 "turn": active for 1m
        waits for task #3 "paused" in lane "main": queued for 1m
          lane "main": 0 of 1 slots held, 1 queued, paused by hand; ahead: 0 queued, 0 active
      task #2 "mover": active for 1m, last sign of life 1s ago
        by itself: never (it has no limit)
what helps:
  lanes.lane("main")?.set_max_concurrent(3): start one more
"#,
    );
}
