//! Random cases, shrunk to the shortest that fails, from which later runs begin; and
//! what the environment says of them.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner, contextualize_config};

/// Beside the source of the test is kept what failed. The test goes by its path.
pub(crate) fn prove<S>(
    test: &'static str,
    source: &'static str,
    cases: u32,
    strategy: &S,
    body: impl Fn(S::Value),
) where
    S: Strategy,
    S::Value: Debug,
{
    let kept = FileFailurePersistence::WithSource("regressions");
    let config = contextualize_config(ProptestConfig {
        cases,
        test_name: Some(test),
        source_file: Some(source),
        failure_persistence: Some(Box::new(kept)),
        ..ProptestConfig::default()
    });
    assert!(config.cases > 0, "no cases try nothing");
    let outcome = TestRunner::new(config).run(strategy, |case| {
        body(case);
        Ok(())
    });
    if let Err(failure) = outcome {
        let (target, name) = test.split_once("::").expect("a test of a crate");
        panic!("{failure}\nreplay: cargo test --all-features --test {target} -- --exact {name}");
    }
}

/// A number that the environment gives. One that cannot be read is not ignored: the
/// test would pass without what was asked for.
pub(crate) fn given(name: &str) -> Option<u64> {
    let given = std::env::var_os(name)?;
    let number = given
        .to_str()
        .and_then(|given| match given.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => given.parse().ok(),
        });
    Some(number.unwrap_or_else(|| panic!("{name} is no number: {given:?}")))
}
