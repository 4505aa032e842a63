//! How many slots may be taken from their runners (S10), and whether a reclaim
//! helped (S17).

use std::time::Duration;

use super::sim::{Event, Sim, ceiling, secs, settings};
use crate::engine::{
    BlockedBy, Effects, End, Notice, Reason, Reclaim, Recovery, Settings, State, TICK,
};

const CEILING: Duration = secs(60);

/// A lane of which every task stalls and no runner ever comes.
fn abandoned(settings: Settings, tasks: usize) -> (Sim, Vec<u32>) {
    let mut sim = Sim::with(settings);
    let tasks = sim.submit_many(tasks, &ceiling(CEILING));
    for task in &tasks {
        sim.task(*task).comes = false;
    }
    sim.events();
    (sim, tasks)
}

fn bounded(max_concurrent: usize, max_orphans: usize) -> Settings {
    Settings {
        max_orphans: Some(max_orphans),
        ..settings(max_concurrent)
    }
}

fn refusals(sim: &mut Sim) -> Vec<u32> {
    let events = sim.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Notice(Notice::TakeRefused { task, .. }) => Some(task),
            _ => None,
        })
        .collect()
}

fn recoveries(sim: &mut Sim) -> Vec<(u32, Reclaim, Recovery<u32>)> {
    let events = sim.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Notice(Notice::Reclaimed {
                task,
                how,
                recovery,
                ..
            }) => Some((task, how, recovery)),
            _ => None,
        })
        .collect()
}

#[test]
fn s10_by_default_a_lane_has_as_many_orphans_as_slots() {
    let (mut sim, tasks) = abandoned(settings(2), 6);
    sim.run_for(secs(600));
    assert_eq!((sim.lane.active(), sim.lane.orphans()), (2, 2));
    assert_eq!(refusals(&mut sim), [tasks[2], tasks[3]], "once each");
    assert_eq!(sim.lane.queued(), 2);
}

#[test]
fn s10_a_refused_take_goes_on_once_an_orphan_is_let_go() {
    let (mut sim, tasks) = abandoned(bounded(1, 1), 3);
    sim.run_for(secs(300));
    assert_eq!(sim.holders(), [tasks[1]]);
    sim.drop_it(tasks[0]);
    assert_eq!(sim.holders(), [tasks[1]], "its timer does that");
    sim.run_for(secs(1));
    assert_eq!(sim.holders(), [tasks[2]]);
    assert_eq!(sim.state(tasks[1]), Some(State::Orphan));
}

#[test]
fn s10_a_strict_lane_never_runs_two_where_one_is_allowed() {
    let (mut sim, tasks) = abandoned(bounded(1, 0), 2);
    sim.run_for(secs(if cfg!(miri) { 700 } else { 3_600 }));
    assert_eq!((sim.lane.active(), sim.lane.orphans()), (1, 0));
    assert_eq!(refusals(&mut sim), [tasks[0]]);
    // Its runner comes back: that is all it waits for.
    sim.drop_it(tasks[0]);
    assert_eq!(sim.holders(), [tasks[1]]);
    assert_eq!(
        sim.task(tasks[0]).settled.map(|end| end.reason()),
        Some(Reason::Stalled)
    );
}

/// S10: for whoever looks whether the bound was heeded.
#[test]
fn s10_a_take_within_the_bound_is_told_from_one_past_it() {
    for forced in [false, true] {
        let (mut sim, tasks) = abandoned(bounded(1, 1), 1);
        if forced {
            sim.reset();
        } else {
            sim.run_for(2 * CEILING);
        }
        let key = sim.key(tasks[0]);
        let record = sim.lane.record(key).expect("its runner has not come");
        assert_eq!(record.state, State::Orphan);
        assert_eq!(record.said().by_itself, !forced);
    }
}

#[test]
fn s10_a_reset_takes_past_the_bound() {
    let (mut sim, tasks) = abandoned(bounded(1, 0), 3);
    sim.reset();
    assert_eq!((sim.holders(), sim.lane.orphans()), (vec![tasks[1]], 1));
    assert!(matches!(
        sim.task(tasks[0]).settled,
        Some(End::Cancelled {
            reason: Reason::Reset,
            ..
        })
    ));
    sim.reset();
    assert_eq!((sim.holders(), sim.lane.orphans()), (vec![tasks[2]], 2));
}

#[test]
fn s10_a_forgotten_orphan_makes_room_and_its_late_release_changes_nothing() {
    let (mut sim, tasks) = abandoned(bounded(1, 1), 3);
    sim.run_for(secs(300));
    let key = sim.key(tasks[0]);
    assert_eq!(sim.lane.forget_orphan(sim.key(tasks[1])), None, "no orphan");
    assert_eq!(sim.lane.forget_orphan(key), Some(tasks[0]));
    assert_eq!(sim.lane.forget_orphan(key), None);
    sim.run_for(secs(1));
    assert_eq!((sim.holders(), sim.lane.orphans()), (vec![tasks[2]], 1));
    let tally = sim.lane.tally();
    sim.complete(tasks[0]);
    assert_eq!((sim.lane.orphans(), sim.lane.tally()), (1, tally));
}

#[test]
fn s10_a_shutdown_takes_past_the_bound() {
    let (mut sim, tasks) = abandoned(bounded(2, 0), 3);
    sim.say(|lane, now, effects| lane.shutdown(now, effects));
    sim.run_for(TICK);
    assert_eq!((sim.lane.active(), sim.lane.orphans()), (0, 2));
    for task in tasks {
        let end = sim.task(task).settled.expect("everybody is told (S7)");
        assert_eq!(end.reason(), Reason::Shutdown);
    }
}

#[test]
fn s10_the_bound_over_all_lanes_refuses_like_the_lane_s_own() {
    let (mut sim, tasks) = abandoned(settings(1), 2);
    sim.no_more_orphans = true;
    sim.run_for(secs(120));
    assert_eq!(sim.holders(), [tasks[0]]);
    assert_eq!(refusals(&mut sim), [tasks[0]]);
    sim.no_more_orphans = false;
    sim.run_for(secs(1));
    assert_eq!(sim.holders(), [tasks[1]]);
}

#[test]
fn s17_a_reclaim_says_who_was_dispatched_or_why_nobody_was() {
    let (mut sim, tasks) = abandoned(settings(1), 2);
    let next = tasks[1];
    sim.run_for(CEILING + TICK);
    assert_eq!(
        recoveries(&mut sim),
        [(tasks[0], Reclaim::Taken, Recovery::Dispatched(next))]
    );

    let (mut sim, tasks) = abandoned(settings(1), 1);
    sim.run_for(CEILING + TICK);
    assert_eq!(
        recoveries(&mut sim),
        [(tasks[0], Reclaim::Taken, Recovery::NobodyWaiting)]
    );

    let (mut sim, tasks) = abandoned(settings(1), 2);
    sim.task(tasks[0]).comes = true;
    sim.say(|lane, _, _| lane.pause(None));
    sim.run_for(CEILING + TICK);
    let blocked = Recovery::StillBlocked(BlockedBy::Paused);
    assert_eq!(
        recoveries(&mut sim),
        [(tasks[0], Reclaim::Dropped, blocked)]
    );

    let (mut sim, tasks) = abandoned(settings(2), 3);
    sim.task(tasks[0]).comes = true;
    sim.progress(tasks[1]);
    sim.facts(tasks[1]).extended_until = Some(sim.now + secs(600));
    sim.say(|lane, now, effects| lane.set_max_concurrent(now, 1, effects));
    sim.run_for(CEILING + TICK);
    let blocked = Recovery::StillBlocked(BlockedBy::MaxConcurrent);
    assert_eq!(
        recoveries(&mut sim),
        [(tasks[0], Reclaim::Dropped, blocked)]
    );
}

#[test]
fn verdicts_that_come_too_late_take_nothing_from_anybody() {
    // The shell decides under the lock; these hold even if it did not.
    let (mut sim, tasks) = abandoned(settings(2), 3);
    let first = sim.key(tasks[0]);
    let (spec, facts) = (sim.task(tasks[0]).spec.clone(), sim.facts(tasks[0]).clone());
    sim.run_for(CEILING + TICK);
    let orphaned = sim.key(tasks[1]);
    assert_eq!(sim.lane.orphans(), 2);
    let holders = sim.holders();
    let tally = sim.lane.tally();
    let mut effects = Effects::new();
    for key in [first, orphaned] {
        sim.lane.unclaim(sim.now, key, &mut effects);
        sim.lane.claimed(sim.now, key);
        sim.lane.take(sim.now, key, &facts, &mut effects);
        sim.lane.detach(sim.now, key, &spec, &facts, &mut effects);
        assert!(!sim.lane.reset_one(sim.now, key, true, &facts, &mut effects));
        assert!(!sim.lane.begin_teardown(sim.now, key, &spec));
    }
    assert_eq!((sim.holders(), sim.lane.tally()), (holders, tally));
    assert_eq!(sim.lane.orphans(), 2);
}

#[test]
fn s8_a_lane_that_is_paused_by_zero_slots_loses_its_phantoms_all_the_same() {
    let (mut sim, phantoms) = abandoned(settings(1), 1);
    sim.say(|lane, now, effects| lane.set_max_concurrent(now, 0, effects));
    sim.run_for(CEILING + TICK);
    assert_eq!(sim.state(phantoms[0]), Some(State::Orphan));
}
