//! A trial from bytes: what the fuzzer feeds, and its corpus holds.

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};

use super::hall::{Deed, Hall, Plan};
use super::ops::{Op, Scenario};
use super::trial::Trial;

/// More than that finds nothing that less does not.
const LONGEST: usize = 400;

/// Tries the operations that the bytes stand for, and says how many they were.
/// Panics with the promise that was broken.
pub(crate) fn run(bytes: &[u8]) -> u64 {
    let mut bytes = Unstructured::new(bytes);
    let Ok(scenario) = Scenario::arbitrary(&mut bytes) else {
        return 0;
    };
    let mut trial = Trial::new(scenario);
    let mut told = Told(scenario, Vec::new());
    for _ in 0..LONGEST {
        // A lane that is left alone for ever would be told to do nothing.
        if bytes.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut bytes) else {
            break;
        };
        told.1.push(op);
        trial.apply(op);
    }
    let operations = trial.operations;
    trial.wind_up();
    operations
}

/// The same for lanes that share a budget.
pub(crate) fn run_group(bytes: &[u8]) -> u64 {
    let mut bytes = Unstructured::new(bytes);
    let Ok(plan) = Plan::arbitrary(&mut bytes) else {
        return 0;
    };
    let mut hall = Hall::new(&plan);
    let mut told = Told(plan, Vec::new());
    for _ in 0..LONGEST {
        if bytes.is_empty() {
            break;
        }
        let Ok(deed) = Deed::arbitrary(&mut bytes) else {
            break;
        };
        told.1.push(deed);
        hall.apply(deed);
    }
    let operations = hall.operations;
    hall.wind_up();
    operations
}

/// Says what the bytes stood for, where that has failed.
struct Told<S: Debug, O: Debug>(S, Vec<O>);

impl<S: Debug, O: Debug> Drop for Told<S, O> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}\n{:#?}", self.0, self.1);
        }
    }
}
