//! Any sequence of operations, judged by the oracle after each of them.
//!
//! `PROPTEST_CASES` says how many sequences; a few hundred without it. What
//! fails is written down under `proptest-regressions/`, and the same command
//! tries it again before anything new.

use std::cell::Cell;

use proptest::collection::SizeRange;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use crate::engine::oracle::ops::{Anew, Limits, Manners, Newcomer, Op, Parking, Scenario};
use crate::engine::oracle::trial::Trial;

thread_local! {
    static EMPHASIS: Cell<Emphasis> = const { Cell::new(Emphasis::Crowd) };
    static CASES: Cell<u64> = const { Cell::new(0) };
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// What a test has most of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emphasis {
    /// Many who wait, and a lane that moves: order, fairness, work.
    Crowd,
    /// Runners that do not come, tasks that do not end, machines that sleep.
    Hostile,
    /// An operator who uses every verb.
    Operated,
}

/// What its callers know of a lane; what it may do is the oracle's to say.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Callers {
    scenario: Scenario,
    submitted: u32,
}

impl ReferenceStateMachine for Callers {
    type State = Self;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Self> {
        scenario()
            .prop_map(|scenario| Self {
                scenario,
                submitted: 0,
            })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Op> {
        thread_local! {
            static OPS: [BoxedStrategy<Op>; 3] =
                [Emphasis::Crowd, Emphasis::Hostile, Emphasis::Operated].map(op);
        }
        OPS.with(|ops| ops[EMPHASIS.get() as usize].clone())
    }

    fn apply(mut state: Self, op: &Op) -> Self {
        state.submitted += u32::from(matches!(op, Op::Submit(_)));
        state
    }

    /// Nothing can be done to a task before there is any.
    fn preconditions(state: &Self, op: &Op) -> bool {
        state.submitted > 0 || !is_about_a_task(op)
    }
}

impl StateMachineTest for Trial {
    type SystemUnderTest = Self;
    type Reference = Callers;

    fn init_test(callers: &Callers) -> Self {
        Self::new(callers.scenario)
    }

    /// Every promise is checked by this, after every operation.
    fn apply(mut trial: Self, _: &Callers, op: Op) -> Self {
        trial.apply(op);
        trial
    }

    fn teardown(trial: Self, _: Callers) {
        CASES.set(CASES.get() + 1);
        OPERATIONS.set(OPERATIONS.get() + trial.operations);
        trial.wind_up();
    }
}

const fn is_about_a_task(op: &Op) -> bool {
    matches!(
        op,
        Op::Complete(_)
            | Op::Drop(_)
            | Op::Cancel(_)
            | Op::Progress(_)
            | Op::Poll(_)
            | Op::Done(_)
            | Op::Gathered(_)
            | Op::Sleeps(_)
            | Op::Park(..)
            | Op::ComeBack(..)
            | Op::RunnerComes(_)
            | Op::Wait(..)
            | Op::Phase(..)
            | Op::Deadline(..)
            | Op::Extend(..)
            | Op::Hold(..)
            | Op::Listen(..)
            | Op::Hooks(..)
            | Op::Comes(..)
            | Op::Stale(..)
            | Op::Forget(_)
            | Op::Withdraw(_)
            | Op::Spend(..)
            | Op::Supersede(..)
            | Op::Prolong(..)
    )
}

fn scenario() -> BoxedStrategy<Scenario> {
    let seldom = prop::bool::weighted(0.08);
    let bound = prop::option::weighted(0.5, 0u8..3);
    let slots = (0u8..4, bound);
    let queue = (prop::option::weighted(0.3, 0u8..5), 0u8..12, 0u8..12);
    let max_parked = prop::option::weighted(0.3, 0u8..3);
    (slots, queue, seldom, seldom, max_parked)
        .prop_map(|(slots, queue, observe_only, slow, max_parked)| {
            let (max_concurrent, max_orphans) = slots;
            let (queue_capacity, aging, warn_after) = queue;
            Scenario {
                max_concurrent,
                max_orphans,
                aging,
                warn_after,
                observe_only,
                slow,
                queue_capacity,
                max_parked,
            }
        })
        .boxed()
}

fn newcomer(emphasis: Emphasis) -> BoxedStrategy<Newcomer> {
    let limited = if emphasis == Emphasis::Crowd {
        0.1
    } else {
        0.3
    };
    let limit = |most: u8| prop::option::weighted(limited, 0..most);
    let ceiling = prop_oneof![2 => Just(0u8), 5 => 1u8..15, 1 => Just(15)];
    let limits = (
        (ceiling, prop_oneof![3 => Just(0u8), 1 => 1u8..4]),
        (limit(12), limit(24), limit(20)),
        (limit(12), limit(12)),
        (0u8..4, 0u8..4),
    );
    let limits = limits.prop_map(
        |((ceiling, on_stall), (idle, budget, wait), (warn_wait, on_wait), (grace, teardown))| {
            Limits {
                ceiling,
                on_stall,
                idle,
                budget,
                wait,
                warn_wait,
                on_wait,
                grace,
                teardown,
            }
        },
    );
    let often = prop::bool::weighted(0.8);
    let seldom = prop::bool::weighted(0.1);
    let half = prop::bool::weighted(0.4);
    let manners = (often, seldom, half, half, half, half, seldom, half, seldom).prop_map(
        |(present, at_once, descendant, comes, listens, hooks, just_in_time, waits, gathers)| {
            Manners {
                present,
                at_once,
                descendant,
                comes,
                listens,
                hooks,
                just_in_time,
                waits,
                gathers,
            }
        },
    );
    let waited = prop_oneof![4 => Just(0u8), 1 => 0u8..12];
    (0u8..3, waited, limits, manners)
        .prop_map(|(priority, waited, limits, manners)| Newcomer {
            priority,
            waited,
            limits,
            manners,
        })
        .boxed()
}

fn parking() -> BoxedStrategy<Parking> {
    (
        0u8..24,
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(limit, leaves, asked)| Parking {
            limit,
            leaves,
            asked,
        })
        .boxed()
}

fn op(emphasis: Emphasis) -> BoxedStrategy<Op> {
    let which = any::<u8>;
    let (crowd, hostile, operated) = match emphasis {
        Emphasis::Crowd => (4, 1, 1),
        Emphasis::Hostile => (1, 4, 1),
        Emphasis::Operated => (1, 1, 4),
    };
    let lives = prop_oneof![
        10 => newcomer(emphasis).prop_map(Op::Submit),
        6 => which().prop_map(Op::Complete),
        1 => newcomer(emphasis).prop_map(Op::Reserve),
        1 => (which(), newcomer(emphasis)).prop_map(|(w, n)| Op::Spend(w, n)),
        1 => (which(), newcomer(emphasis)).prop_map(|(w, n)| Op::Supersede(w, n)),
        1 => (newcomer(emphasis), 0u8..12).prop_map(|(n, w)| Op::Quiet(n, w)),
        1 => (which(), 0u8..12).prop_map(|(w, d)| Op::Prolong(w, d)),
        2 => which().prop_map(Op::Gathered),
        2 => (which(), parking()).prop_map(|(w, p)| Op::Park(w, p)),
        4 => (which(), prop::bool::weighted(0.8)).prop_map(|(w, p)| Op::ComeBack(w, p)),
        1 => which().prop_map(Op::Drop),
        1 => which().prop_map(Op::Cancel),
        2 => which().prop_map(Op::Poll),
        2 => which().prop_map(Op::Progress),
        1 => (which(), any::<bool>()).prop_map(|(w, c)| Op::Stale(w, c)),
        2 => (0u16..200).prop_map(Op::Run),
    ];
    let wild = prop_oneof![
        2 => which().prop_map(Op::Done),
        2 => which().prop_map(Op::RunnerComes),
        1 => which().prop_map(Op::Sleeps),
        2 => (which(), parking()).prop_map(|(w, p)| Op::Park(w, p)),
        2 => (which(), any::<bool>()).prop_map(|(w, p)| Op::ComeBack(w, p)),
        2 => (which(), any::<bool>()).prop_map(|(w, on)| Op::Wait(w, on)),
        2 => (which(), prop::option::of(0u8..24)).prop_map(|(w, c)| Op::Phase(w, c)),
        1 => (which(), 0u8..24).prop_map(|(w, d)| Op::Deadline(w, d)),
        1 => (which(), 0u8..24).prop_map(|(w, d)| Op::Extend(w, d)),
        1 => (which(), 0u8..24).prop_map(|(w, d)| Op::Hold(w, d)),
        1 => (which(), any::<bool>()).prop_map(|(w, on)| Op::Listen(w, on)),
        1 => (which(), any::<bool>()).prop_map(|(w, on)| Op::Hooks(w, on)),
        1 => (which(), any::<bool>()).prop_map(|(w, on)| Op::Comes(w, on)),
        3 => (0u16..600).prop_map(Op::Run),
        4 => (0u8..16).prop_map(Op::RunUnits),
        1 => (16u8..64).prop_map(Op::RunUnits),
        2 => (0u16..600).prop_map(Op::Oversleep),
        1 => (0u16..600).prop_map(Op::Late),
        1 => any::<bool>().prop_map(Op::NoMoreOrphans),
        1 => which().prop_map(Op::Forget),
    ];
    let verbs = prop_oneof![
        4 => (0u8..5).prop_map(Op::Resize),
        3 => (0u8..5, prop::option::of(0u8..4), 0u8..16, 0u8..16).prop_map(
            |(max_concurrent, max_orphans, aging, warn_after)| Op::SetAnew(Anew {
                max_concurrent,
                max_orphans,
                aging,
                warn_after,
            })
        ),
        2 => prop::option::of(0u8..24).prop_map(Op::Pause),
        4 => Just(Op::Resume),
        1 => Just(Op::Clear),
        1 => Just(Op::CancelAll),
        2 => Just(Op::Reset),
        2 => which().prop_map(Op::Forget),
        3 => (0u8..24, any::<bool>(), 0u8..3, any::<bool>()).prop_map(
            |(deadline, admit_descendants, queued, holds)| Op::Drain {
                deadline,
                admit_descendants,
                queued,
                holds,
            }
        ),
        2 => Just(Op::SettleDrain),
        1 => prop::bool::weighted(0.5).prop_map(|close| if close { Op::Close } else { Op::Resume }),
        1 => prop::bool::weighted(0.3).prop_map(|end| if end { Op::Shutdown } else { Op::Resume }),
        1 => which().prop_map(Op::Withdraw),
        1 => any::<bool>().prop_map(Op::RootSpeaks),
        2 => Just(Op::WantIdle),
        3 => (0u8..24).prop_map(Op::RunUnits),
    ];
    prop_oneof![crowd + 1 => lives, hostile => wild, operated => verbs].boxed()
}

/// A test that is longer is tried with a `share` of the cases.
fn prove(test: &'static str, emphasis: Emphasis, share: u32, size: impl Into<SizeRange>) {
    let regressions = FileFailurePersistence::SourceParallel("proptest-regressions");
    let config = ProptestConfig {
        test_name: Some(test),
        source_file: Some(file!()),
        // Miri has no file system to write to.
        failure_persistence: (!cfg!(miri)).then(|| Box::new(regressions) as _),
        max_shrink_iters: 20_000,
        max_local_rejects: u32::MAX,
        ..ProptestConfig::default()
    };
    let cases = match std::env::var("PROPTEST_CASES") {
        Ok(_) => config.cases,
        Err(_) if cfg!(miri) => 4,
        Err(_) => 300,
    };
    let cases = (cases / share).max(1);
    let config = ProptestConfig { cases, ..config };
    EMPHASIS.set(emphasis);
    let mut runner = TestRunner::new(config.clone());
    let outcome = runner.run(
        &Callers::sequential_strategy(size),
        |(callers, ops, seen)| {
            Trial::test_sequential(config.clone(), callers, ops, seen);
            Ok(())
        },
    );
    let (cases, operations) = (CASES.get(), OPERATIONS.get());
    println!("proof: layer=engine test={test} cases={cases} operations={operations}");
    if let Err(failure) = outcome {
        panic!("{failure}\nreplay: cargo test --lib engine::tests::machine::{test}");
    }
}

#[test]
fn a_crowd() {
    prove("a_crowd", Emphasis::Crowd, 1, 10..60);
}

#[test]
fn hostile_tasks() {
    prove("hostile_tasks", Emphasis::Hostile, 1, 5..50);
}

#[test]
fn an_operated_lane() {
    prove("an_operated_lane", Emphasis::Operated, 1, 5..50);
}

/// Few of them, and each as long as a bad day.
#[test]
fn long_lives() {
    prove("long_lives", Emphasis::Hostile, 50, 200..400);
}

/// What the fuzzer found worth keeping is tried without a fuzzer, too.
#[test]
#[cfg_attr(miri, ignore = "it reads files")]
fn the_corpus_of_the_fuzzer() {
    let operations = super::corpus("engine", crate::engine::oracle::bytes::run);
    assert!(operations > 1_000, "hardly anything is kept");
}
