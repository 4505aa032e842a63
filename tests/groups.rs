//! Lanes that share a budget.

mod common;
mod tap;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{CEILING, MINUTE, SECOND, TICK, let_run, stalled_in};
use laneway::{
    BlockedBy, ConfigError, GroupConfig, Lane, LaneConfig, Lanes, MemberProblem, Priority, Reason,
    TaskError, TaskHandle,
};
use tap::Log;
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
    lanes.iter().map(|lane| lane.snapshot().active.len()).collect()
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
    let group = GroupConfig::new(2).member("plugin:*").member("main").reserve("plugin:*", 1);
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
    let tasks = [(0, Background), (1, Normal), (0, Foreground), (1, Foreground)];
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
        drop(lane.task().priority(priority).spawn(async move |_| say.send(word).unwrap()));
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
        |_, task| assert!(task.cancel()),
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
        tokio::time::timeout(SECOND * 20, waiter).await.unwrap().unwrap();
        holder.await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn s8_s17_a_phantom_in_one_lane_is_reclaimed_for_a_waiter_in_another() {
    let log = Log::tap();
    let (_lanes, [a, b, c]) = three(1, 2);
    let phantom = forever(&a);
    let healthy = c.spawn(async |cx| {
        for _ in 0..30 {
            tokio::time::sleep(MINUTE).await;
            cx.progress();
        }
    });
    let_run().await;
    let waiter = b.spawn(async |_| ());
    let id = waiter.id().to_string();
    tokio::time::timeout(CEILING + TICK * 3, waiter).await.unwrap().unwrap();
    stalled_in(phantom.await, "a");
    // S4: its sibling in the budget went on as it was.
    healthy.await.unwrap();
    let mut lines = log.warnings();
    lines.retain(|line| line.message() == "lane slot reclaimed");
    assert_eq!(lines.len(), 1);
    lines[0].assert_fields(&[("lane", "a"), ("dispatched", &id)]);
}

#[tokio::test(start_paused = true)]
async fn s16_many_lanes_behind_one_budget_are_one_warning_that_names_it() {
    let log = Log::tap();
    let lanes = Lanes::builder()
        .pattern("plugin:*", LaneConfig::new(1).no_stall_ceiling())
        .group("background", GroupConfig::new(1).member("plugin:*"))
        .build()
        .unwrap();
    let lane = |n: usize| lanes.lane(&format!("plugin:{n}")).unwrap();
    let _holder = lane(0).task().name("the culprit").spawn(async |_| {
        std::future::pending::<()>().await;
    });
    let waiters: Vec<_> = (1..20).map(|n| forever(&lane(n))).collect();
    tokio::time::sleep(SECOND * 31).await;
    log.one_warning("lane dispatch blocked").assert_fields(&[
        ("lane", "plugin:1"),
        ("group", "background"),
        ("blocked_by", "group budget"),
        ("holder_name", "the culprit"),
    ]);
    drop(waiters);
}

#[tokio::test(start_paused = true)]
async fn s16_waiters_behind_a_budget_in_healthy_hands_are_no_warning() {
    let log = Log::tap();
    let (_lanes, [a, b, _]) = three(1, 1);
    let holder = a.spawn(async |cx| {
        for _ in 0..20 {
            tokio::time::sleep(SECOND * 10).await;
            cx.progress();
        }
    });
    let_run().await;
    b.run(async |_| ()).await.unwrap();
    holder.await.unwrap();
    assert!(log.warnings().is_empty());
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
    assert!(matches!(queued.await, Err(TaskError::SchedulerDropped { .. })));
    drop(held);
    drop((last, other));
}

/// Real threads: nobody ever counts more at once than the budget allows, and
/// everybody is served.
#[test]
fn s1_s5_s7_a_budget_on_many_threads() {
    const BUDGET: usize = 3;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (_lanes, lanes) = with_group(2, members(BUDGET).reserve("a", 1));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..3_000)
            .map(|n: usize| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                let lane = lanes[n % 3].clone();
                tokio::spawn(async move {
                    let work = lane.run(async |_| {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
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
        MemberProblem::OverLane { reserved: 2, max_concurrent: 1 }
    ));
    let both = GroupConfig::new(1).member("a").member("p:*");
    assert!(matches!(
        refused(both.reserve("a", 1).reserve("p:*", 1)),
        MemberProblem::OverBudget { total: 2, budget: 1 }
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
