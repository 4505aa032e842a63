//! A newer task in the place of older ones.

use super::sim::{PRESENT, Sim, plain};
use crate::engine::{Older, Refused};

#[test]
fn s6_whoever_supersedes_a_holder_has_nobody_ahead_of_it() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(3, &plain());
    sim.facts(tasks[0]).listens = true;
    let newer = sim.supersede(&tasks[..1], plain(), PRESENT);
    let newer = newer.expect("the lane is open");
    let record = sim.lane.record(sim.key(newer)).expect("it is queued");
    assert_eq!((record.queued_ahead, record.active_ahead), (0, 1));
    sim.drop_it(tasks[0]);
    assert_eq!(sim.holders(), [newer]);
}

#[test]
fn s18_without_a_key_only_the_holder_of_a_single_slot_is_superseded() {
    let mut sim = Sim::new(2);
    let tasks = sim.submit_many(2, &plain());
    let refused = sim.come_instead(Older::Holders, plain(), PRESENT);
    assert_eq!(refused, Err(Refused::NoKey));
    assert_eq!(sim.holders(), tasks);
    let mut sim = Sim::new(1);
    sim.submit(plain());
    let newer = sim.come_instead(Older::Holders, plain(), PRESENT);
    assert_eq!(sim.holders(), [newer.expect("one slot")]);
}
