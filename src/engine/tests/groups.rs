//! Lanes that share a budget: any sequence of deeds, judged after each.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

use super::sim::{PRESENT, plain, settings};
use crate::engine::Priority::{Background, Foreground, Normal};
use crate::engine::oracle::hall::{Deed, Hall, Plan};
use crate::engine::{
    Accepted, Effects, Entry, Group, IfFull, Lane, Released, Settings, Spec, Time,
};

fn plan() -> BoxedStrategy<Plan> {
    let lane = (0u8..4, 0u8..3);
    (0u8..7, prop::array::uniform3(0u8..3), vec(lane, 1..6))
        .prop_map(|(budget, reserved, lanes)| Plan {
            budget,
            reserved,
            lanes,
        })
        .boxed()
}

fn deed() -> BoxedStrategy<Deed> {
    let which = any::<u8>;
    prop_oneof![
        12 => (which(), 0u8..3, prop_oneof![4 => Just(0u8), 1 => 0u8..8])
            .prop_map(|(lane, priority, waited)| Deed::Submit(lane, priority, waited)),
        1 => which().prop_map(Deed::Try),
        8 => which().prop_map(Deed::Complete),
        2 => which().prop_map(Deed::Leave),
        1 => which().prop_map(Deed::Clear),
        1 => which().prop_map(Deed::Pause),
        2 => which().prop_map(Deed::Resume),
        2 => (which(), 0u8..5).prop_map(|(lane, most)| Deed::Resize(lane, most)),
        2 => (0u8..7).prop_map(Deed::Budget),
        3 => (0u8..40).prop_map(Deed::Pass),
        1 => which().prop_map(Deed::Part),
        1 => (which(), 0u8..3).prop_map(|(lane, share)| Deed::Join(lane, share)),
        2 => which().prop_map(Deed::Take),
    ]
    .boxed()
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
    let (normal, background) = (0, 2);
    let mut hall = Hall::new(&Plan {
        budget: 1,
        reserved: [0; 3],
        lanes: vec![(1, 0); 3],
    });
    for deed in [
        Deed::Submit(0, normal, 0),
        Deed::Submit(1, background, 0),
        Deed::Pass(10),
        Deed::Submit(2, normal, 0),
        Deed::Pass(10),
        Deed::Submit(1, normal, 0),
        Deed::Pass(15),
        Deed::Complete(0),
    ] {
        hall.apply(deed);
    }
    hall.wind_up();
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
