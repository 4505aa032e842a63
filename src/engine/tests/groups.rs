//! Lanes that share a budget: any sequence of deeds, judged after each.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

use super::sim::{PRESENT, plain, settings};
use crate::engine::Priority::{Background, Foreground, Normal};
use crate::engine::oracle::hall::{Comer, Deed, Hall, Place, Plan};
use crate::engine::{
    Accepted, Effects, Entry, Group, IfFull, Lane, Released, Settings, Spec, Time,
};

fn plan() -> BoxedStrategy<Plan> {
    let capacity = prop::option::weighted(0.4, 0u8..4);
    let place =
        (0u8..4, 0u8..3, capacity).prop_map(|(max_concurrent, share, queue_capacity)| Place {
            max_concurrent,
            share,
            queue_capacity,
        });
    (0u8..7, prop::array::uniform3(0u8..3), vec(place, 1..6))
        .prop_map(|(budget, reserved, lanes)| Plan {
            budget,
            reserved,
            lanes,
        })
        .boxed()
}

fn comer() -> BoxedStrategy<Comer> {
    let waited = prop_oneof![4 => Just(0u8), 1 => 0u8..8];
    let (often, seldom) = (prop::bool::weighted(0.7), prop::bool::weighted(0.1));
    (0u8..3, waited, often, seldom)
        .prop_map(|(priority, waited, waits, at_once)| Comer {
            priority,
            waited,
            waits,
            at_once,
        })
        .boxed()
}

fn deed() -> BoxedStrategy<Deed> {
    let which = any::<u8>;
    let comes = prop_oneof![
        10 => (which(), comer()).prop_map(|(lane, comer)| Deed::Submit(lane, comer)),
        2 => (which(), comer()).prop_map(|(lane, comer)| Deed::Reserve(lane, comer)),
        1 => (which(), comer()).prop_map(|(kept, comer)| Deed::Spend(kept, comer)),
        2 => (which(), comer()).prop_map(|(older, comer)| Deed::Supersede(older, comer)),
        2 => (which(), comer(), 0u8..20).prop_map(|(lane, c, window)| Deed::Quiet(lane, c, window)),
        1 => (which(), 0u8..20).prop_map(|(task, window)| Deed::Prolong(task, window)),
    ];
    let goes = prop_oneof![
        8 => which().prop_map(Deed::Complete),
        2 => which().prop_map(Deed::Leave),
        1 => which().prop_map(Deed::Cancel),
        1 => (which(), 0u8..2).prop_map(|(waiter, priority)| Deed::Raise(waiter, priority)),
        1 => which().prop_map(Deed::Unclaim),
        1 => which().prop_map(Deed::Rejoin),
        2 => which().prop_map(Deed::Take),
        2 => (which(), any::<bool>(), 0u8..40)
            .prop_map(|(holder, leaves, limit)| Deed::Park(holder, leaves, limit)),
        2 => which().prop_map(Deed::ComeBack),
        2 => which().prop_map(Deed::TakeOver),
        1 => which().prop_map(Deed::Forsake),
    ];
    let operated = prop_oneof![
        1 => which().prop_map(Deed::Clear),
        1 => (which(), 0u8..3).prop_map(|(lane, queued)| Deed::Drain(lane, queued)),
        1 => which().prop_map(Deed::SettleDrain),
        1 => which().prop_map(Deed::Pause),
        2 => which().prop_map(Deed::Resume),
        2 => (which(), 0u8..5).prop_map(|(lane, most)| Deed::Resize(lane, most)),
        1 => (which(), prop::option::of(0u8..4)).prop_map(|(lane, c)| Deed::Capacity(lane, c)),
        2 => (0u8..7).prop_map(Deed::Budget),
        3 => (0u8..40).prop_map(Deed::Pass),
        1 => which().prop_map(Deed::Part),
        1 => (which(), 0u8..3).prop_map(|(lane, share)| Deed::Join(lane, share)),
    ];
    prop_oneof![5 => comes, 4 => goes, 3 => operated].boxed()
}

#[test]
fn s1_s5_s6_lanes_of_one_group() {
    thread_local! {
        static CASES: Cell<u64> = const { Cell::new(0) };
        static OPERATIONS: Cell<u64> = const { Cell::new(0) };
    }
    let test = "s1_s5_s6_lanes_of_one_group";
    let regressions = FileFailurePersistence::SourceParallel("proptest-regressions");
    let config = ProptestConfig {
        test_name: Some(test),
        source_file: Some(file!()),
        failure_persistence: (!cfg!(miri)).then(|| Box::new(regressions) as _),
        ..ProptestConfig::default()
    };
    let cases = match std::env::var("PROPTEST_CASES") {
        Ok(_) => config.cases,
        Err(_) if cfg!(miri) => 4,
        Err(_) => 1_000,
    };
    let mut runner = TestRunner::new(ProptestConfig { cases, ..config });
    let outcome = runner.run(&(plan(), vec(deed(), 5..80)), |(plan, deeds)| {
        let mut hall = Hall::new(&plan);
        for deed in deeds {
            hall.apply(deed);
        }
        CASES.set(CASES.get() + 1);
        OPERATIONS.set(OPERATIONS.get() + hall.operations);
        hall.wind_up();
        Ok(())
    });
    let (cases, operations) = (CASES.get(), OPERATIONS.get());
    println!("proof: layer=engine test={test} cases={cases} operations={operations}");
    if let Err(failure) = outcome {
        panic!("{failure}\nreplay: cargo test --lib engine::tests::groups::{test}");
    }
}

/// Between two lanes, too, and though nobody says anything to its lane then.
#[test]
fn s6_whoever_ages_behind_a_normal_one_goes_before_the_younger_of_other_lanes() {
    let (normal, background) = (of(0), of(2));
    let mut hall = lanes_of_one(1);
    for deed in [
        Deed::Submit(0, normal),
        Deed::Submit(1, background),
        Deed::Pass(10),
        Deed::Submit(2, normal),
        Deed::Pass(10),
        Deed::Submit(1, normal),
        Deed::Pass(15),
        Deed::Complete(0),
    ] {
        hall.apply(deed);
    }
    hall.wind_up();
}

/// It stands before everybody in its own lane, and ages all the same.
#[test]
fn s6_whoever_superseded_a_holder_ages_among_the_lanes_of_its_group() {
    let (normal, background) = (of(0), of(2));
    let mut hall = lanes_of_one(1);
    for deed in [
        Deed::Submit(0, normal),
        Deed::Budget(0),
        Deed::Submit(0, normal),
        // So that it does not age when the lane is looked at anyway.
        Deed::Pass(10),
        Deed::Supersede(1, background),
        Deed::Submit(1, normal),
        Deed::Pass(30),
        Deed::Budget(1),
    ] {
        hall.apply(deed);
    }
    hall.wind_up();
}

const fn of(priority: u8) -> Comer {
    Comer {
        priority,
        waited: 0,
        waits: false,
        at_once: false,
    }
}

/// Three of them, each of one slot.
fn lanes_of_one(budget: u8) -> Hall {
    let place = Place {
        max_concurrent: 1,
        share: 0,
        queue_capacity: None,
    };
    Hall::new(&Plan {
        budget,
        reserved: [0; 3],
        lanes: vec![place; 3],
    })
}

#[test]
fn s5_the_budget_serves_whoever_waits_at_the_door_of_a_lane_without_a_queue() {
    let (mut group, mut effects) = (Group::new(1, &[0]), Effects::new());
    let mut holder = Lane::new(settings(1), 1);
    let mut other = Lane::new(
        Settings {
            queue_capacity: 0,
            ..settings(1)
        },
        1,
    );
    let (first, second) = (group.join(0, 0, &mut holder), group.join(1, 0, &mut other));
    let (now, comes) = (Time::START, PRESENT);
    let if_full = IfFull::Wait;
    let waits = Entry { if_full, ..comes };
    group.enter(first, &mut holder);
    let Ok(Accepted::Started { key, .. }) = holder.submit(now, 7, &plain(), comes) else {
        panic!("it has no slot");
    };
    group.leave(first, &holder);
    group.enter(second, &mut other);
    let came = other.submit(now, 8, &plain(), waits);
    assert!(matches!(came, Ok(Accepted::Queued { .. })));
    assert_eq!(other.at_door(), 1);
    group.leave(second, &other);
    assert_eq!(group.next(now), None);
    group.enter(first, &mut holder);
    let released = holder.release(key, true);
    assert!(matches!(released, Released::Held(_)));
    group.leave(first, &holder);
    assert_eq!(group.next(now), Some((second, 1)));
    let served = group.visit(now, second, &mut other, &mut effects);
    let served = served.and_then(|key| other.record(key));
    assert_eq!(served.map(|record| record.payload), Some(8));
}

/// Also where one of the lanes has had more tasks than the other.
#[test]
fn s6_those_who_came_at_one_moment_go_in_the_order_in_which_they_came() {
    let (mut group, now) = (Group::new(0, &[0]), Time::START);
    let mut lanes = [0, 1].map(|_| Lane::new(settings(4), 1));
    let members = [0, 1].map(|at| group.join(at, 0, &mut lanes[at]));
    for (token, at) in [(0, 0), (1, 0), (2, 1), (3, 0)] {
        group.enter(members[at], &mut lanes[at]);
        let came = lanes[at].submit(now, token, &plain(), PRESENT);
        assert!(matches!(came, Ok(Accepted::Queued { .. })));
        group.leave(members[at], &lanes[at]);
    }
    group.set_budget(4);
    let (mut served, mut effects) = (Vec::new(), Effects::new());
    while let Some((member, at)) = group.next(now) {
        let granted = group.visit(now, member, &mut lanes[at], &mut effects);
        let record = granted.and_then(|key| lanes[at].record(key));
        served.extend(record.map(|record| record.payload));
    }
    assert_eq!(served, [0, 1, 2, 3]);
}

#[test]
fn s6_time_alone_changes_nothing_behind_a_foreground_waiter() {
    let (mut group, now) = (Group::new(0, &[0]), Time::START);
    let mut lane = Lane::new(settings(1), 1);
    let member = group.join(0, 0, &mut lane);
    let ages = Some(now + settings(1).aging);
    for (priority, turns) in [(Background, ages), (Normal, ages), (Foreground, None)] {
        let spec = Spec {
            priority,
            ..plain()
        };
        group.enter(member, &mut lane);
        let came = lane.submit(now, 7, &spec, PRESENT);
        assert!(matches!(came, Ok(Accepted::Queued { .. })));
        group.leave(member, &lane);
        let first = lane.first(Some(now)).expect("somebody waits");
        assert_eq!((first.tier, first.turns), (priority, turns));
    }
}

/// What the fuzzer found worth keeping is tried without a fuzzer, too.
#[test]
#[cfg_attr(miri, ignore = "it reads files")]
fn the_corpus_of_the_fuzzer() {
    let operations = super::corpus("group", crate::engine::oracle::bytes::run_group);
    assert!(operations > 1_000, "hardly anything is kept");
}
