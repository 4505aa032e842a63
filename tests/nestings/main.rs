//! Random nestings over random lanes and groups: what the book of waits says is
//! stuck is refused, and everything else finishes.
//!
//! `LANEWAY_NESTINGS` is how many cases are tried.

#![expect(clippy::disallowed_types, reason = "the book of the tests themselves")]

#[path = "../beside/mod.rs"]
mod beside;
mod book;
mod case;
mod chains;
mod judge;
mod play;
#[path = "../random/mod.rs"]
mod random;
mod recorded;

use proptest::strategy::Strategy;

/// What failed is kept beside this file.
fn prove<S>(test: &'static str, cases: u32, strategy: &S, body: impl Fn(S::Value))
where
    S: Strategy,
    S::Value: std::fmt::Debug,
{
    let cases = random::given("LANEWAY_NESTINGS").map_or(cases, |given| {
        given.try_into().expect("a number of cases that is less")
    });
    random::prove(test, file!(), cases, strategy, body);
}

#[test]
fn whoever_is_stuck_is_refused_and_nobody_else() {
    let test = "nestings::whoever_is_stuck_is_refused_and_nobody_else";
    prove(test, 400, &case::cases(), |case| {
        play::in_virtual_time(&case);
    });
}

/// Without a book: on threads, nobody can say what was so at which moment.
#[test]
fn everybody_is_answered_on_threads() {
    let test = "nestings::everybody_is_answered_on_threads";
    prove(test, 60, &case::cases(), |case| play::on_threads(&case));
}

#[test]
fn of_chains_whoever_is_stuck_is_refused_and_the_rest_finishes() {
    let test = "nestings::of_chains_whoever_is_stuck_is_refused_and_the_rest_finishes";
    prove(test, 400, &chains::cases(), |case| {
        chains::play(&case, false);
    });
}

#[test]
fn of_chains_in_one_order_nobody_is_refused() {
    let test = "nestings::of_chains_in_one_order_nobody_is_refused";
    prove(test, 400, &chains::cases(), |case| {
        assert_eq!(chains::play(&case, true).refused, 0);
    });
}

/// A test that never saw a refusal would prove nothing.
#[test]
fn many_cases_have_circles() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut refused, mut served) = (0, 0);
    for _ in 0..100 {
        let case = case::cases().new_tree(&mut runner).unwrap().current();
        let told = play::in_virtual_time(&case);
        refused += told.refused;
        served += told.served;
    }
    assert!(
        refused > 50 && served > 400,
        "{refused} refused, {served} served"
    );
    let (mut refused, mut served) = (0, 0);
    for _ in 0..100 {
        let case = chains::cases().new_tree(&mut runner).unwrap().current();
        let told = chains::play(&case, false);
        refused += told.refused;
        served += told.served;
    }
    assert!(
        refused > 50 && served > 500,
        "{refused} refused, {served} served, of chains"
    );
}
