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
mod recorded;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

fn config(cases: u32) -> ProptestConfig {
    let given = std::env::var("LANEWAY_NESTINGS").ok();
    let cases = given.and_then(|given| given.parse().ok()).unwrap_or(cases);
    let kept = FileFailurePersistence::WithSource("regressions");
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(kept)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn whoever_is_stuck_is_refused_and_nobody_else(case in case::cases()) {
        play::in_virtual_time(&case);
    }
}

proptest! {
    #![proptest_config(config(60))]

    /// Without a book: on threads, nobody can say what was so at which moment.
    #[test]
    fn everybody_is_answered_on_threads(case in case::cases()) {
        play::on_threads(&case);
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn of_chains_whoever_is_stuck_is_refused_and_the_rest_finishes(case in chains::cases()) {
        chains::play(&case, false);
    }

    #[test]
    fn of_chains_in_one_order_nobody_is_refused(case in chains::cases()) {
        assert_eq!(chains::play(&case, true).refused, 0);
    }
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
        refused > 50 && served > 500,
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
