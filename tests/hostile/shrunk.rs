//! Any list of kinds, shrunk to the shortest that fails, from which later runs begin.

use laneway::testing::{Hostile, Trial};
use proptest::prelude::*;

use crate::common::SECOND;
use crate::kinds::{config, paused};
use crate::mixtures::{bounded, judge};
use crate::random;

#[test]
fn s7_any_list_of_kinds_is_answered() {
    // Threads that are blocked keep a paused clock where it is.
    let kind = prop::sample::select(Hostile::ALL);
    let kind = kind.prop_filter("blocks", |kind| !kind.blocks_a_thread());
    let cases = (prop::collection::vec(kind, 0..8), 1_usize..4);
    let test = "hostile::shrunk::s7_any_list_of_kinds_is_answered";
    random::prove(test, file!(), 16, &cases, |(kinds, slots)| {
        paused().block_on(async {
            let lanes = laneway::Lanes::builder()
                .lane("main", config(slots))
                .build()
                .unwrap();
            let main = lanes.lane("main").unwrap();
            let mut trials: Vec<Trial> = kinds
                .iter()
                .map(|kind| kind.submit(bounded(main.task(), *kind)))
                .collect();
            for _ in 0..kinds.len() + 1 {
                crate::kinds::pass(SECOND, &trials).await;
            }
            judge(&mut trials, Vec::new()).await;
            drop(trials);
            assert_eq!(main.run(async |_| 8).await.unwrap(), 8);
        });
    });
}
