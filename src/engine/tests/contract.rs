//! What the shell relies on beside the promises: what it reads, and when it is
//! told to come.

use std::collections::HashSet;
use std::time::Duration;

use super::sim::{DETACHED, PRESENT, Sim, ceiling, millis, plain, secs, settings};
use crate::engine::task::Facts;
use crate::engine::{
    BlockedBy, Effect, Effects, End, Entry, Group, Lane, Leftover, Limit, Priority, Reason,
    Refused, Released, Spec, State, TICK,
};

const MINUTE: Duration = secs(60);

fn release(sim: &mut Sim, task: u32) -> Released<u32> {
    let key = sim.key(task);
    let released = sim.lane.release(key, true);
    let told = End::Completed.into();
    sim.lane.note_release(sim.now, key, &released, told, true);
    released
}

#[test]
fn a_release_that_nothing_follows_reads_no_clock() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(2, &plain());
    let first = release(&mut sim, tasks[0]);
    assert!(sim.lane.has_sequel(&first), "somebody waits");
    sim.say(|lane, now, effects| lane.settle_release(now, &first, effects));
    let last = release(&mut sim, tasks[1]);
    assert!(!sim.lane.has_sequel(&last));
    sim.lane.want_idle();
    assert!(sim.lane.has_sequel(&last), "somebody wants to know");
}

#[test]
fn a_release_of_somebody_who_was_asked_to_end_is_followed_by_a_report() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    sim.task(task).comes = false;
    sim.run_for(MINUTE);
    let released = release(&mut sim, task);
    assert!(sim.lane.has_sequel(&released));
}

#[test]
fn the_driver_is_told_of_a_moment_once() {
    let mut sim = Sim::new(2);
    sim.submit(ceiling(MINUTE));
    assert_eq!(sim.lane.rearm(), None, "it knows of that one");
    let (mut effects, now) = (Effects::new(), sim.now);
    sim.lane.tick(now, &mut effects);
    assert_eq!(sim.lane.rearm(), Some(now + MINUTE), "it has been there");
    assert_eq!(sim.lane.rearm(), None);
}

#[test]
fn a_waiter_is_looked_at_when_its_first_limit_comes_and_without_any_never() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    let moment = |sim: &Sim, task: u32| sim.lane.moment(sim.key(task));
    let waiter = sim.submit(plain());
    assert_eq!(moment(&sim, waiter), None);
    let waiter = sim.submit(Spec {
        wait: Some(MINUTE),
        warn_wait: Some(secs(20)),
        on_wait: Some(secs(30)),
        ..plain()
    });
    assert_eq!(moment(&sim, waiter), Some(sim.now + secs(20)));
}

#[test]
fn s20_a_grant_that_nobody_has_come_for_is_looked_at_when_it_must_be_claimed() {
    let mut sim = Sim::new(1);
    let moment = |sim: &Sim, task: u32| sim.lane.moment(sim.key(task));
    let first = sim.enter(plain(), DETACHED).expect("it is open");
    assert_eq!(moment(&sim, first), Some(sim.now + secs(5)));
    let second = sim.enter(ceiling(secs(3)), DETACHED).expect("it is open");
    sim.complete(first);
    assert_eq!(moment(&sim, second), Some(sim.now + secs(3)));
}

#[test]
fn a_refused_task_has_a_number_of_its_own() {
    let mut sim = Sim::new(3);
    let before = sim.submit(plain());
    let burnt = sim.lane.burn_seq();
    let after = sim.submit(plain());
    let seqs = [sim.key(before).seq, burnt, sim.key(after).seq];
    assert_eq!(seqs, [burnt - 1, burnt, burnt + 1]);
}

#[test]
fn s8_by_when_a_slot_is_taken_is_known_from_the_ask_on() {
    let spec = Spec {
        grace: secs(3),
        teardown: secs(2),
        ..plain()
    };
    let mut sim = Sim::new(1);
    let task = sim.submit(spec.clone());
    let by = |sim: &Sim| sim.lane.take_at(sim.key(task), &spec);
    assert_eq!(by(&sim), None, "nobody asked");
    sim.task(task).comes = false;
    sim.facts(task).listens = true;
    sim.facts(task).hooks = true;
    let asked = sim.now;
    sim.cancel(task, Reason::User);
    let last = asked + secs(5) + TICK;
    assert_eq!(by(&sim), Some(last));
    sim.run_for(secs(3));
    assert!(matches!(sim.state(task), Some(State::Dropping { .. })));
    assert_eq!(by(&sim), Some(last));
    sim.run_for(secs(1));
    sim.runner_comes(task);
    assert!(matches!(sim.state(task), Some(State::Teardown { .. })));
    assert_eq!(by(&sim), Some(last), "a late runner has what is left");
    sim.run_for(secs(1) + TICK);
    assert_eq!((sim.state(task), by(&sim)), (Some(State::Orphan), None));
}

#[test]
fn facts_that_are_read_again_take_back_no_sign_of_life_and_keep_what_children_said() {
    let mut sim = Sim::new(1);
    let task = sim.submit(plain());
    let facts = sim.known(task).1;
    let (early, late) = (sim.now, sim.now + secs(1));
    let first = Facts {
        active_at: late,
        reported: true,
        waiting: true,
        hold_until: Some(late),
        listens: true,
        ..facts
    };
    let second = Facts {
        active_at: early,
        done: true,
        hooks: true,
        deadline: Some(late),
        ..facts
    };
    let known = Facts {
        done: true,
        hooks: true,
        deadline: Some(late),
        ..first
    };
    assert_eq!(first.refreshed(&second), known);
    let later = Facts {
        active_at: late,
        reported: true,
        listens: true,
        ..second
    };
    assert_eq!(second.refreshed(&later), later);
}

#[test]
fn s16_an_empty_queue_is_no_reason_to_look_at_the_holders() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    let waiter = sim.submit(plain());
    sim.cancel(waiter, Reason::User);
    let mut effects = Effects::new();
    sim.lane.tick(sim.now + MINUTE * 5, &mut effects);
    assert!(
        !effects
            .iter()
            .any(|effect| *effect == Effect::InspectHolders)
    );
}

#[test]
fn s16_an_arrival_after_a_dispatch_does_not_reset_the_clock_of_who_still_waits() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(3, &plain());
    sim.run_for(secs(10));
    sim.complete(tasks[0]);
    sim.run_for(secs(10));
    sim.submit(plain());
    sim.run_for(secs(20) - millis(1));
    assert_eq!(sim.looks, []);
    sim.run_for(millis(1));
    assert_eq!(sim.looks[0].1.blocked_for, secs(30));
}

#[test]
fn s15_the_memory_of_a_lane_is_that_of_all_its_tables() {
    let mut sim = Sim::new(50);
    sim.submit_many(30, &ceiling(MINUTE));
    // Earlier moments than the last, and older places.
    sim.submit_many(20, &ceiling(secs(30)));
    sim.submit_many(30, &plain());
    let waited = Entry {
        waited: secs(1),
        ..PRESENT
    };
    for _ in 0..20 {
        sim.enter(plain(), waited).expect("it is open");
    }
    let lane = &sim.lane;
    let (tasks, queue, timers) = (&lane.tasks, &lane.queue, &lane.timers);
    let tables = [tasks.footprint(), queue.footprint(), timers.footprint()];
    let entries = [100, 20, 20];
    assert!(tables.iter().zip(entries).all(|(has, needs)| *has >= needs));
    let all = tables.iter().sum::<usize>() + lane.holders.capacity();
    assert_eq!(lane.footprint(), all);
}

#[test]
fn what_blocks_a_lane_has_a_name() {
    assert_eq!(BlockedBy::MaxConcurrent.to_string(), "max_concurrent");
    assert_eq!(BlockedBy::Paused.to_string(), "paused");
}

#[test]
fn every_reason_and_every_limit_has_a_name_of_its_own() {
    let reasons = (0..).map_while(Reason::from_code);
    let limits = [Limit::Idle, Limit::Budget, Limit::Wait, Limit::Deadline];
    let names = reasons.map(|reason| reason.to_string());
    let names: Vec<String> = names.chain(limits.map(|limit| limit.to_string())).collect();
    let distinct: HashSet<&String> = names.iter().filter(|name| !name.is_empty()).collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
    assert!(names.len() > 12, "{names:?}");
}

#[test]
fn whether_somebody_of_a_priority_waits_is_known() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    let all = [Priority::Foreground, Priority::Normal, Priority::Background];
    let waiting = |sim: &Sim| all.map(|priority| sim.lane.has_waiting(priority));
    assert_eq!(waiting(&sim), [false; 3]);
    for (n, priority) in (0..).zip(all) {
        let spec = Spec {
            priority,
            ..plain()
        };
        let waiter = sim.submit(spec);
        let expected = [0, 1, 2].map(|other| other == n);
        assert_eq!(waiting(&sim), expected);
        sim.cancel(waiter, Reason::User);
    }
    assert_eq!(waiting(&sim), [false; 3]);
}

#[test]
fn when_a_pause_ends_is_known_if_it_ends_by_itself() {
    let mut sim = Sim::new(1);
    assert_eq!(sim.lane.resumes_at(), None);
    let until = sim.now + MINUTE;
    sim.say(|lane, _, _| lane.pause(Some(until)));
    assert_eq!(sim.lane.resumes_at(), Some(until));
    assert!(sim.lane.resumes_by_itself());
    sim.run_for(MINUTE);
    assert_eq!(sim.lane.resumes_at(), None);
}

/// At the bound no slot is taken, but for a shutdown, which leaves nobody (S10).
#[test]
fn whether_a_slot_could_be_taken_is_known() {
    let mut sim = Sim::new(1);
    let task = sim.submit(plain());
    sim.task(task).comes = false;
    assert!(!sim.lane.is_at_orphan_bound());
    sim.reset();
    assert_eq!(sim.lane.orphans(), 1);
    assert!(sim.lane.is_at_orphan_bound());
    sim.say(|lane, now, effects| lane.shutdown(now, effects));
    assert!(!sim.lane.is_at_orphan_bound());
}

#[test]
fn the_lanes_of_a_group_are_told_with_their_shares() {
    let mut group = Group::new(2, &[0, 1]);
    let mut lanes = [0, 1].map(|_| Lane::<u32>::new(settings(1), 1));
    let keys = [0, 1].map(|n| group.join(n, n, &mut lanes[n as usize]));
    let told: Vec<_> = group.lanes().into_iter().collect();
    assert_eq!(told, [(keys[0], 0), (keys[1], 1)]);
    assert_eq!(group.budget(), 2);
    group.set_budget(3);
    assert_eq!(group.budget(), 3);
}

/// What a task needs beside its own slot comes through a drain that its task passed,
/// and through nothing once the lane is shut down.
#[test]
fn s7_a_part_of_a_task_comes_into_a_lane_that_drains() {
    let part = Entry {
        part: true,
        ..PRESENT
    };
    let mut sim = Sim::new(2);
    let until = sim.now + MINUTE;
    sim.say(|lane, _, _| lane.start_draining(until, false, Leftover::Run));
    let admit_descendants = false;
    assert_eq!(
        sim.enter(plain(), PRESENT),
        Err(Refused::Draining { admit_descendants })
    );
    assert!(sim.enter(plain(), part).is_ok());
    sim.say(|lane, now, effects| lane.shutdown(now, effects));
    assert_eq!(sim.enter(plain(), part), Err(Refused::Shutdown));
}

/// How fast it serves is counted from when there was somebody to serve.
#[test]
fn a_rest_is_no_part_of_a_lanes_pace() {
    let (mut sim, mut wait) = (Sim::new(1), None);
    for _ in 0..6 {
        let holder = sim.submit(plain());
        let waiter = sim.submit(plain());
        sim.run_for(secs(4));
        sim.complete(holder);
        sim.complete(waiter);
        wait = sim.lane.pace().expected_wait(0, sim.now);
        sim.run_for(MINUTE);
    }
    assert_eq!(wait, Some(secs(4)));
}
