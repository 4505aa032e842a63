//! Lanes that share a budget.

#![expect(clippy::disallowed_types, reason = "counters of the tests themselves")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{CEILING, SECOND, let_run};
use laneway::{
    BlockedBy, ConfigError, GroupConfig, Lane, LaneConfig, Lanes, MemberProblem, OnBusy, OnFull,
    Priority, Reason, TaskError, TaskHandle, TaskStatus, Timeout,
};
use tokio::sync::mpsc;

/// Lanes `a`, `b`, `c` with as many slots each, and a budget over all.
fn three(slots: usize, budget: usize) -> (Lanes, [Lane; 3]) {
    with_group(slots, members(budget))
}

fn members(budget: usize) -> GroupConfig {
    GroupConfig::new(budget).member("a").member("b").member("c")
}

fn with_group(slots: usize, group: GroupConfig) -> (Lanes, [Lane; 3]) {
    let config = LaneConfig::new(slots).stall_ceiling(CEILING);
    let lanes = Lanes::builder()
        .lane("a", config.clone())
        .lane("b", config.clone())
        .lane("c", config)
        .group("shared", group)
        .build()
        .unwrap();
    let named = ["a", "b", "c"].map(|name| lanes.lane(name).unwrap());
    (lanes, named)
}

fn active(lanes: &[Lane]) -> Vec<usize> {
    lanes
        .iter()
        .map(|lane| lane.snapshot().active.len())
        .collect()
}

fn four_threads() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(4).enable_time().build().unwrap()
}

fn forever(lane: &Lane) -> TaskHandle<()> {
    lane.spawn(async |_| std::future::pending().await)
}

#[tokio::test(start_paused = true)]
async fn s1_members_share_a_budget_whatever_they_have_alone() {
    let (_lanes, [a, b, c]) = three(2, 3);
    let held = [a.try_acquire(), a.try_acquire(), b.try_acquire()].map(Result::unwrap);
    assert!(b.try_acquire().is_err() && c.try_acquire().is_err());
    let waiter = c.spawn(async |_| ());
    let_run().await;
    assert_eq!(c.snapshot().blocked_by, Some(BlockedBy::GroupBudget));
    let [one, two, three] = held;
    drop(one);
    waiter.await.unwrap();
    drop((two, three));
    assert_eq!(active(&[a, b, c]), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn s1_a_lane_may_not_pass_its_own_limit_within_the_budget() {
    let (_lanes, [a, b, _]) = three(1, 3);
    let _held = a.try_acquire().unwrap();
    let waiter = a.spawn(async |_| ());
    let_run().await;
    assert_eq!(a.snapshot().blocked_by, Some(BlockedBy::MaxConcurrent));
    // A lane that is full by itself holds nobody else up.
    b.run(async |_| ()).await.unwrap();
    drop(waiter);
}

#[tokio::test(start_paused = true)]
async fn s1_what_is_reserved_is_lent_to_nobody() {
    let (_lanes, [a, b, c]) = with_group(4, members(3).reserve("a", 1));
    let _held = [b.try_acquire().unwrap(), c.try_acquire().unwrap()];
    let waits = b.spawn(async |_| ());
    let_run().await;
    assert_eq!(b.snapshot().blocked_by, Some(BlockedBy::Reservation));
    // It is there for whom it was kept, who may not have more than is left.
    let own = a.try_acquire().unwrap();
    assert!(a.try_acquire().is_err());
    assert_eq!(b.snapshot().blocked_by, Some(BlockedBy::GroupBudget));
    drop(own);
    let_run().await;
    assert_eq!(b.snapshot().blocked_by, Some(BlockedBy::Reservation));
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn s1_beyond_its_reservation_a_member_has_what_is_left() {
    let (_lanes, [a, b, _]) = with_group(4, members(3).reserve("a", 1));
    let held = [a.try_acquire(), a.try_acquire(), a.try_acquire()].map(Result::unwrap);
    assert!(b.try_acquire().is_err());
    // What it had beyond its reservation is anybody's, the last is kept for it.
    drop(held);
    let _two = [b.try_acquire(), b.try_acquire()].map(Result::unwrap);
    assert!(b.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn s1_the_lanes_of_a_pattern_have_its_reservation_together() {
    let group = GroupConfig::new(2)
        .member("plugin:*")
        .member("main")
        .reserve("plugin:*", 1);
    let lanes = Lanes::builder()
        .pattern("plugin:*", LaneConfig::new(2))
        .lane("main", LaneConfig::new(2))
        .group("shared", group)
        .build()
        .unwrap();
    let lane = |name: &str| lanes.lane(name).unwrap();
    let _main = lane("main").try_acquire().unwrap();
    assert!(lane("main").try_acquire().is_err());
    let lint = lane("plugin:lint").try_acquire().unwrap();
    assert!(lane("plugin:docs").try_acquire().is_err());
    drop(lint);
    assert!(lane("plugin:docs").try_acquire().is_ok());
}

/// Who runs, in order, once the only slot of the budget is free.
async fn served(tasks: &[(usize, Priority)]) -> Vec<usize> {
    let (_lanes, lanes) = three(1, 1);
    let held = lanes[2].try_acquire().unwrap();
    let (say, mut said) = mpsc::unbounded_channel();
    for (number, (lane, priority)) in tasks.iter().enumerate() {
        let say = say.clone();
        let task = lanes[*lane].task().priority(*priority);
        drop(task.spawn(async move |_| say.send(number).unwrap()));
    }
    drop((say, held));
    let mut order = Vec::new();
    while let Some(number) = said.recv().await {
        order.push(number);
    }
    order
}

#[tokio::test(start_paused = true)]
async fn s6_who_came_first_to_any_member_goes_first_though_all_came_at_one_moment() {
    let normal = [0, 1, 1, 0, 1, 0].map(|lane| (lane, Priority::Normal));
    assert_eq!(served(&normal).await, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn s6_the_more_urgent_goes_first_whatever_its_lane() {
    use Priority::{Background, Foreground, Normal};
    let tasks = [
        (0, Background),
        (1, Normal),
        (0, Foreground),
        (1, Foreground),
    ];
    assert_eq!(served(&tasks).await, [2, 3, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn s6_nobody_starves_beside_a_sibling_that_is_always_urgent() {
    let mut tasks = vec![(0, Priority::Background)];
    tasks.extend([(1, Priority::Foreground); 20]);
    let order = served(&tasks).await;
    assert_eq!(order.iter().position(|task| *task == 0), Some(7));
}

#[tokio::test(start_paused = true)]
async fn s6_a_background_waiter_that_has_aged_competes_as_normal_among_lanes() {
    let (_lanes, [a, b, c]) = three(1, 1);
    let held = c.try_acquire().unwrap();
    let (say, mut said) = mpsc::unbounded_channel();
    let task = |lane: &Lane, priority, word: &'static str| {
        let say = say.clone();
        drop(
            lane.task()
                .priority(priority)
                .spawn(async move |_| say.send(word).unwrap()),
        );
    };
    task(&a, Priority::Background, "old");
    tokio::time::sleep(SECOND * 20).await;
    task(&b, Priority::Normal, "normal");
    task(&b, Priority::Foreground, "urgent");
    // Nothing is told to any lane between here and the moment at which it ages.
    tokio::time::sleep(SECOND * 11).await;
    drop(held);
    let order = [said.recv().await, said.recv().await, said.recv().await];
    assert_eq!(order.map(Option::unwrap), ["urgent", "old", "normal"]);
}

#[tokio::test(start_paused = true)]
async fn s5_a_lane_that_is_paused_keeps_nobody_else_waiting() {
    let (_lanes, [a, b, c]) = three(1, 1);
    let held = c.try_acquire().unwrap();
    let first = a.spawn(async |_| "a");
    let second = b.spawn(async |_| "b");
    a.pause();
    drop(held);
    assert_eq!(second.await.unwrap(), "b");
    assert_eq!(a.snapshot().blocked_by, Some(BlockedBy::Paused));
    a.resume();
    assert_eq!(first.await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn s5_every_way_in_which_a_slot_comes_back_serves_the_siblings() {
    let (_lanes, [a, b, _]) = three(1, 1);
    type End = fn(&Lane, &TaskHandle<()>);
    let ends: [End; 4] = [
        |_, task| task.cancel(Reason::User),
        |lane, _| assert_eq!(lane.reset(), 1),
        |lane, _| assert_eq!(lane.cancel_all(Reason::User), 1),
        |lane, _| drop(lane.shutdown()),
    ];
    for end in ends {
        let holder = forever(&a);
        let_run().await;
        let waiter = b.spawn(async |_| ());
        let_run().await;
        assert_eq!(b.snapshot().queued.len(), 1);
        end(&a, &holder);
        tokio::time::timeout(SECOND * 20, waiter)
            .await
            .unwrap()
            .unwrap();
        holder.await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn s12_a_waiter_that_leaves_costs_its_siblings_nothing() {
    let (_lanes, [a, b, c]) = three(1, 1);
    let held = c.try_acquire().unwrap();
    let mut leaves = Box::pin(a.acquire());
    assert!(common::poll_once(leaves.as_mut()).is_pending());
    let stays = b.spawn(async |_| ());
    let_run().await;
    drop(held);
    // It was given the slot and is gone before it came for it (S20).
    drop(leaves);
    stays.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s7_s15_a_group_outlives_its_lanes_and_its_scheduler() {
    let lanes = Lanes::builder()
        .pattern("plugin:*", LaneConfig::new(1))
        .group("shared", GroupConfig::new(1).member("plugin:*"))
        .build()
        .unwrap();
    for n in 0..1_000 {
        let lane = lanes.lane(&format!("plugin:{n}")).unwrap();
        lane.run(async |_| ()).await.unwrap();
    }
    let last = lanes.lane("plugin:last").unwrap();
    let other = lanes.lane("plugin:other").unwrap();
    let held = last.try_acquire().unwrap();
    let queued = other.spawn(async |_| ());
    drop(lanes);
    assert!(matches!(
        queued.await,
        Err(TaskError::SchedulerDropped { .. })
    ));
    drop(held);
    drop((last, other));
}

/// Real threads: nobody ever counts more at once than the budget allows, and
/// everybody is served.
#[test]
fn s1_s5_s7_a_budget_on_many_threads() {
    const BUDGET: usize = 3;
    let runtime = four_threads();
    runtime.block_on(async {
        let (_lanes, lanes) = with_group(2, members(BUDGET).reserve("a", 1));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..3_000)
            .map(|n: usize| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                let lane = lanes[n % 3].clone();
                tokio::spawn(async move {
                    let work = lane.run(async |_| {
                        most.fetch_max(
                            running.fetch_add(1, Ordering::SeqCst) + 1,
                            Ordering::SeqCst,
                        );
                        if n.is_multiple_of(5) {
                            tokio::task::yield_now().await;
                        }
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                    work.await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= BUDGET);
        for lane in &lanes {
            common::assert_clean(lane);
        }
    });
}

#[test]
fn s18_a_group_that_cannot_work_is_refused_and_both_sides_are_named() {
    let build = |groups: &[(&str, GroupConfig)]| {
        let mut builder = Lanes::builder()
            .lane("a", LaneConfig::new(1))
            .pattern("p:*", LaneConfig::new(1));
        for (name, group) in groups {
            builder = builder.group(*name, group.clone());
        }
        builder.build().map(drop)
    };
    let one = |group: GroupConfig| build(&[("g", group)]);
    let problem = |built: Result<(), ConfigError>| match built {
        Err(ConfigError::Member {
            group,
            member,
            problem,
        }) => (group, member, problem),
        other => panic!("{other:?}"),
    };
    let refused = |group| problem(one(group)).2;

    assert!(matches!(
        refused(GroupConfig::new(1).member("b")),
        MemberProblem::Unknown
    ));
    assert!(matches!(
        refused(GroupConfig::new(1).member("q:*")),
        MemberProblem::Unknown
    ));
    assert!(matches!(
        refused(GroupConfig::new(1).member("")),
        MemberProblem::Name(_)
    ));
    assert!(matches!(
        refused(GroupConfig::new(1).member("p:**")),
        MemberProblem::Pattern(_)
    ));
    assert!(matches!(
        refused(GroupConfig::new(1).member("a").reserve("b", 1)),
        MemberProblem::ReservedForStranger
    ));
    assert!(matches!(
        refused(GroupConfig::new(3).member("a").reserve("a", 2)),
        MemberProblem::OverLane {
            reserved: 2,
            max_concurrent: 1
        }
    ));
    let both = GroupConfig::new(1).member("a").member("p:*");
    assert!(matches!(
        refused(both.reserve("a", 1).reserve("p:*", 1)),
        MemberProblem::OverBudget {
            total: 2,
            budget: 1
        }
    ));
    assert!(matches!(
        refused(GroupConfig::new(1).member("a").member("a")),
        MemberProblem::Overlaps { .. }
    ));
    let (group, member, claimed) = problem(build(&[
        ("g", GroupConfig::new(1).member("p:*")),
        ("h", GroupConfig::new(1).member("p:1")),
    ]));
    assert_eq!((group.as_str(), member.as_str()), ("h", "p:1"));
    let expected = MemberProblem::ClaimedTwice {
        group: "g".into(),
        member: "p:*".into(),
    };
    assert_eq!(claimed, expected);
    assert!(matches!(
        build(&[("", GroupConfig::new(1))]),
        Err(ConfigError::GroupName { .. })
    ));
    assert!(matches!(
        build(&[("g", GroupConfig::new(1)), ("g", GroupConfig::new(1))]),
        Err(ConfigError::DuplicateGroup { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn s1_s5_a_budget_that_changes_serves_and_evicts_nobody() {
    let (lanes, [a, b, c]) = three(2, 1);
    let first = forever(&a);
    let_run().await;
    let waiters = [forever(&b), forever(&c), forever(&b)];
    let_run().await;
    let set = |budget| lanes.reconfigure(|change| change.group("shared", members(budget)));
    set(3).unwrap();
    let_run().await;
    assert_eq!(active(&[a.clone(), b.clone(), c.clone()]), [1, 1, 1]);
    set(1).unwrap();
    first.cancel(Reason::User);
    waiters[0].cancel(Reason::User);
    let_run().await;
    assert_eq!(active(&[a.clone(), b.clone(), c.clone()]), [0, 0, 1]);
    waiters[1].cancel(Reason::User);
    let_run().await;
    assert_eq!(active(&[a, b, c]), [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn s1_a_lane_that_changes_its_group_takes_its_tasks_with_it() {
    let (lanes, [a, b, c]) = with_group(2, GroupConfig::new(2).member("a").member("b"));
    let held = [a.try_acquire().unwrap(), a.try_acquire().unwrap()];
    let waits = b.spawn(async |_| ());
    lanes
        .reconfigure(|change| {
            change.group("shared", GroupConfig::new(1).member("b"));
            change.group("other", GroupConfig::new(2).member("a").member("c"));
        })
        .unwrap();
    waits.await.unwrap();
    assert!(
        c.try_acquire().is_err(),
        "what a holds counts in its new group"
    );
    let groups = lanes.snapshot().groups;
    let seen = groups
        .iter()
        .map(|group| (group.name.as_str(), group.active, group.max_concurrent));
    assert!(seen.eq([("other", 2, 2), ("shared", 0, 1)]));
    assert_eq!(a.snapshot().group.as_deref(), Some("other"));
    drop(held);
    assert!(c.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn s5_the_lanes_of_a_group_that_is_removed_go_on_each_by_itself() {
    let (lanes, [a, b, _]) = three(1, 1);
    let _held = a.try_acquire().unwrap();
    let waits = b.spawn(async |_| ());
    let_run().await;
    lanes
        .reconfigure(|change| change.remove_group("shared"))
        .unwrap();
    waits.await.unwrap();
    assert_eq!(b.snapshot().counters.repaired, 0, "it was not overlooked");
    assert!(lanes.snapshot().groups.is_empty());
    let twice = lanes.reconfigure(|change| change.remove_group("shared"));
    assert!(matches!(twice, Err(ConfigError::UnknownGroup { .. })));
}

/// As much as numbers hold, of which all is reserved.
#[tokio::test(start_paused = true)]
async fn s18_a_budget_without_end_is_one() {
    let shared = GroupConfig::new(usize::MAX).member("a").member("b");
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(usize::MAX))
        .lane("b", LaneConfig::new(1))
        .group("shared", shared.reserve("a", usize::MAX))
        .build()
        .unwrap();
    let [a, b] = ["a", "b"].map(|name| lanes.lane(name).unwrap());
    let waits = Timeout::wait(SECOND);
    let turn = a.run(async |_| {
        // Nor is it known who could make room for it.
        b.task().timeout(waits).run(async |_| ()).await
    });
    let told = turn.await.unwrap();
    assert!(matches!(told, Err(TaskError::TimedOut { .. })), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn s18_a_refused_change_of_a_group_changes_nothing() {
    let (lanes, [a, b, _]) = three(2, 2);
    let refused = lanes.reconfigure(|change| {
        change.group("shared", members(1).reserve("a", 1).reserve("b", 1));
        change.lane("a").max_concurrent(1);
    });
    assert!(matches!(refused, Err(ConfigError::Member { .. })));
    let _held = [a.try_acquire().unwrap(), a.try_acquire().unwrap()];
    assert!(b.try_acquire().is_err());
    // What is reserved for a lane binds its own limit, too.
    lanes
        .reconfigure(|change| change.group("shared", members(2).reserve("a", 2)))
        .unwrap();
    let refused = lanes.reconfigure(|change| {
        change.lane("a").max_concurrent(1);
    });
    assert!(matches!(
        refused,
        Err(ConfigError::Member {
            problem: MemberProblem::OverLane {
                reserved: 2,
                max_concurrent: 1
            },
            ..
        })
    ));
}

/// Real threads: while lanes move from one version of a group to the next, a
/// grant fits the old budget and the new, and nobody is forgotten.
#[test]
fn s1_s5_s7_a_group_that_changes_under_load() {
    const MOST: usize = 3;
    let runtime = four_threads();
    runtime.block_on(async {
        let (lanes, named) = with_group(2, members(MOST));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..3_000)
            .map(|n: usize| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                named[n % 3].spawn(async move |_| {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        let busy = |lane: &Lane| {
            let lane = lane.snapshot();
            lane.queued.len() + lane.active.len() > 0
        };
        for turn in 0.. {
            // Divided anew each time, and so with every lane in a new place.
            let reserved = ["a", "b", "c"][turn % 3];
            let group = members(MOST - turn % 2).reserve(reserved, 1);
            lanes
                .reconfigure(|change| change.group("shared", group))
                .unwrap();
            tokio::task::yield_now().await;
            if !named.iter().any(busy) {
                break;
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= MOST, "{most:?}");
        for lane in &named {
            common::assert_clean(lane);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn s1_a_lane_that_is_widened_does_not_outrun_a_budget_that_shrinks_with_it() {
    let (lanes, [a, ..]) = three(1, 2);
    let held = a.try_acquire().unwrap();
    let waits = a.spawn(async |_| ());
    lanes
        .reconfigure(|change| {
            change.lane("a").max_concurrent(2);
            change.group("shared", members(1));
        })
        .unwrap();
    let_run().await;
    assert_eq!(a.snapshot().blocked_by, Some(BlockedBy::GroupBudget));
    drop(held);
    waits.await.unwrap();
}

/// Whichever of the lanes has the slots, be it the first or the last to move.
#[tokio::test(start_paused = true)]
async fn s1_nobody_starts_in_a_group_before_all_have_moved_to_it() {
    for holder in 0..3 {
        let (lanes, named) = three(2, 2);
        let holds = &named[holder];
        let held = [holds.try_acquire().unwrap(), holds.try_acquire().unwrap()];
        let others = [1, 2].map(|next| &named[(holder + next) % 3]);
        let waits = others.map(|lane| lane.spawn(async |_| ()));
        let reserves = members(2).reserve(holds.name(), 1);
        lanes
            .reconfigure(|change| {
                for lane in others {
                    change.lane(lane.name()).max_concurrent(3);
                }
                change.group("shared", reserves);
            })
            .unwrap();
        let_run().await;
        let queued = others.map(|lane| lane.snapshot().queued.len());
        assert_eq!(queued, [1, 1]);
        drop(held);
        for task in waits {
            task.await.unwrap();
        }
    }
}

/// Groups may have names and patterns side by side, and a group a name that one
/// of its own patterns matches, in any order.
#[test]
fn members_that_do_not_meet_stand_side_by_side() {
    let group = GroupConfig::new(4);
    let [names_first, patterns_first] = [["p:1", "p:*"], ["q:*", "q:1"]]
        .map(|[one, other]| group.clone().member(one).member(other));
    let lane = LaneConfig::new(1);
    let lanes = Lanes::builder()
        .lane("p:1", lane.clone())
        .lane("q:1", lane.clone())
        .pattern("p:*", lane.clone())
        .pattern("q:*", lane)
        .group("g", names_first)
        .group("h", patterns_first)
        .build()
        .unwrap();
    for (name, group) in [("p:1", "g"), ("p:2", "g"), ("q:1", "h"), ("q:2", "h")] {
        let lane = lanes.lane(name).unwrap();
        assert_eq!(lane.snapshot().group.as_deref(), Some(group));
    }
}

/// The grant that the group makes frees a place in the queue of that lane.
#[tokio::test(start_paused = true)]
async fn s5_whoever_is_at_the_door_has_the_place_that_a_grant_of_the_group_frees() {
    let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let lanes = Lanes::builder()
        .lane("a", config)
        .lane("b", LaneConfig::new(1))
        .group("shared", GroupConfig::new(1).member("a").member("b"))
        .build()
        .unwrap();
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    let held = b.try_acquire().unwrap();
    let _queued = forever(&a);
    let mut place = Box::pin(a.reserve());
    assert!(common::poll_once(place.as_mut()).is_pending());
    drop(held);
    let_run().await;
    assert!(common::poll_once(place.as_mut()).is_ready());
}

/// What a task supersedes in its own lane gives it no right over others.
#[tokio::test(start_paused = true)]
async fn s6_whoever_supersedes_in_one_lane_does_not_overtake_another() {
    let (_lanes, [a, b, _]) = three(1, 1);
    let supersede = || {
        let task = a.task().key("turn").on_busy(OnBusy::Supersede);
        task.spawn(async |_| std::future::pending::<()>().await)
    };
    let mut turns = vec![supersede()];
    let_run().await;
    let waiter = b.spawn(async |_| ());
    for _ in 0..3 {
        tokio::time::sleep(SECOND).await;
        turns.push(supersede());
        let_run().await;
    }
    assert_eq!(waiter.status(), TaskStatus::Settled);
}

/// Where the lanes stay where they are, a budget that grows or shrinks is one of
/// the two at every moment.
#[test]
fn s18_a_budget_that_changes_is_never_seen_half_changed() {
    let (lanes, [a, ..]) = three(8, 5);
    let looks = std::thread::spawn({
        let lanes = lanes.clone();
        move || {
            for _ in 0..2_000 {
                let budget = lanes.snapshot().groups[0].max_concurrent;
                assert!(matches!(budget, 5 | 6), "{budget}");
            }
        }
    });
    for n in 0.. {
        if looks.is_finished() {
            break;
        }
        lanes
            .reconfigure(|change| change.group("shared", members(5 + n % 2)))
            .unwrap();
    }
    looks.join().unwrap();
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn s4_a_reset_of_all_lanes_ends_nobody_who_waits() {
    let group = GroupConfig::new(1).member("a").member("b");
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(1))
        .lane("b", LaneConfig::new(1))
        .group("g", group)
        .build()
        .unwrap();
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    let _old = a.acquire().await.unwrap();
    let queued = b.spawn(async |_| "ran");
    assert_eq!(queued.status(), TaskStatus::Queued);
    assert_eq!(lanes.reset(), 1);
    assert_eq!(queued.await.unwrap(), "ran");
}

#[tokio::test(start_paused = true)]
async fn s6_nobody_starves_where_all_of_the_budget_is_reserved() {
    let group = GroupConfig::new(1).member("p:*").reserve("p:*", 1);
    let lanes = Lanes::builder()
        .pattern("p:*", LaneConfig::new(1))
        .group("g", group);
    let lanes = lanes.build().unwrap();
    let (a, b) = (lanes.lane("p:a").unwrap(), lanes.lane("p:b").unwrap());
    let slot = a.acquire().await.unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let old = b.task().priority(Priority::Background);
    let old = old.spawn(async move |_| count.load(Ordering::SeqCst));
    let urgent = || {
        let served = Arc::clone(&served);
        let urgent = a.task().priority(Priority::Foreground);
        urgent.spawn(async move |_| {
            served.fetch_add(1, Ordering::SeqCst);
        })
    };
    let _urgent: Vec<_> = (0..40).map(|_| urgent()).collect();
    drop(slot);
    let before = old.await.unwrap();
    assert!(before < 8, "S6: behind {before}");
}
