//! Slots: how many, whose, and that none is lost, lent twice or left empty.

use super::sim::{DETACHED, Event, PRESENT, Sim, ceiling, millis, plain, secs, settings};
use crate::engine::Refused;
use crate::engine::{Entry, Mode, Priority, Reason, Released, Settings, Spec, State};

fn granted(sim: &mut Sim) -> Vec<u32> {
    let events = sim.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Granted(task) => Some(task),
            _ => None,
        })
        .collect()
}

#[test]
fn s1_no_more_than_max_concurrent_hold_a_slot() {
    let mut sim = Sim::new(2);
    let tasks = sim.submit_many(5, &plain());
    assert_eq!(granted(&mut sim), tasks[..2]);
    assert_eq!((sim.lane.active(), sim.lane.queued()), (2, 3));
    sim.complete(tasks[0]);
    assert_eq!(granted(&mut sim), [tasks[2]]);
}

#[test]
fn s1_a_task_in_teardown_still_holds_its_slot() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(2, &plain());
    sim.facts(tasks[0]).hooks = true;
    sim.facts(tasks[0]).listens = true;
    sim.cancel(tasks[0], Reason::User);
    assert_eq!(granted(&mut sim), [tasks[0]]);
    sim.run_for(secs(5));
    assert!(matches!(sim.state(tasks[0]), Some(State::Teardown { .. })));
    assert_eq!((sim.lane.active(), sim.lane.queued()), (1, 1));
    sim.drop_it(tasks[0]);
    assert_eq!(sim.holders(), [tasks[1]]);
}

#[test]
fn s1_lowering_the_limit_evicts_nobody_and_grants_nothing_until_under_it() {
    let mut sim = Sim::new(3);
    let tasks = sim.submit_many(5, &plain());
    sim.events();
    sim.say(|lane, now, effects| lane.set_max_concurrent(now, 1, effects));
    assert_eq!(sim.events(), []);
    assert_eq!(sim.lane.active(), 3);
    sim.complete(tasks[0]);
    sim.complete(tasks[1]);
    assert_eq!(sim.lane.queued(), 2);
    sim.complete(tasks[2]);
    assert_eq!(sim.holders(), [tasks[3]]);
    sim.events();
    sim.say(|lane, now, effects| lane.set_max_concurrent(now, 2, effects));
    assert_eq!(
        granted(&mut sim),
        [tasks[4]],
        "raising it dispatches at once"
    );
}

#[test]
fn s1_a_lane_of_zero_queues_and_starts_nothing() {
    let mut sim = Sim::new(0);
    let tasks = sim.submit_many(2, &plain());
    assert_eq!((sim.lane.active(), sim.lane.queued()), (0, 2));
    sim.say(|lane, now, effects| lane.set_max_concurrent(now, 1, effects));
    assert_eq!(sim.holders(), [tasks[0]]);
}

#[test]
fn s2_a_second_release_changes_nothing() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(3, &plain());
    sim.complete(tasks[0]);
    let tally = sim.lane.tally();
    let key = sim.key(tasks[0]);
    // The index is in use again, by somebody else.
    let stranger = sim.submit(plain());
    assert_eq!(sim.key(stranger).index, key.index);
    sim.events();
    for completed in [true, false] {
        assert!(matches!(
            sim.lane.release(key, completed),
            Released::Unknown
        ));
    }
    assert_eq!(sim.holders(), [tasks[1]]);
    assert_eq!(sim.lane.queued(), 2);
    assert_eq!(sim.lane.tally().completed, tally.completed);
    assert_eq!(sim.events(), []);
}

#[test]
fn s2_a_release_after_a_take_frees_nothing_and_counts_as_late() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(3, &ceiling(secs(60)));
    sim.task(tasks[0]).comes = false;
    sim.run_for(secs(61));
    assert_eq!(sim.holders(), [tasks[1]]);
    assert_eq!(sim.lane.orphans(), 1);
    sim.events();
    sim.complete(tasks[0]);
    assert_eq!(sim.events(), [], "no grant, no second settlement");
    assert_eq!(sim.holders(), [tasks[1]]);
    assert_eq!((sim.lane.orphans(), sim.lane.queued()), (0, 1));
    assert_eq!((sim.lane.tally().late, sim.lane.tally().completed), (1, 0));
}

#[test]
fn s4_a_reclaim_touches_no_sibling() {
    let mut sim = Sim::new(3);
    let tasks = sim.submit_many(3, &ceiling(secs(60)));
    sim.run_for(secs(59));
    sim.progress(tasks[0]);
    sim.progress(tasks[2]);
    let times = |sim: &Sim, task| {
        let record = sim.lane.record(sim.key(task)).expect("it is there");
        (record.started, record.state, sim.tasks[task as usize].fence)
    };
    let before = (times(&sim, tasks[0]), times(&sim, tasks[2]));
    sim.task(tasks[1]).comes = false;
    sim.run_for(secs(2));
    assert_eq!(sim.state(tasks[1]), Some(State::Orphan));
    assert_eq!((times(&sim, tasks[0]), times(&sim, tasks[2])), before);
    // Their completions count like any other.
    sim.complete(tasks[0]);
    sim.complete(tasks[2]);
    assert_eq!(sim.lane.tally().completed, 2);
    assert!(sim.lane.is_idle());
}

#[test]
fn s4_a_slot_freed_in_the_middle_leaves_the_others_theirs() {
    let mut sim = Sim::new(4);
    let tasks = sim.submit_many(4, &plain());
    for (freed, left) in [(1, vec![0, 3, 2]), (0, vec![2, 3]), (2, vec![3])] {
        sim.complete(tasks[freed]);
        assert_eq!(sim.holders(), left);
    }
}

#[test]
fn s5_every_way_in_which_a_slot_comes_free_serves_the_next() {
    type Way = fn(&mut Sim, u32);
    let ways: [(&str, Way); 7] = [
        ("completed", |sim, task| sim.complete(task)),
        ("dropped", |sim, task| sim.drop_it(task)),
        ("cancelled", |sim, task| {
            sim.cancel(task, Reason::User);
        }),
        ("reset", |sim, _| sim.reset()),
        ("stalled", |sim, _| sim.run_for(secs(60))),
        ("taken", |sim, task| {
            sim.task(task).comes = false;
            sim.run_for(millis(60_010));
        }),
        ("widened", |sim, _| {
            sim.say(|lane, now, effects| lane.set_max_concurrent(now, 2, effects));
        }),
    ];
    for (name, way) in ways {
        let mut sim = Sim::new(1);
        let tasks = sim.submit_many(2, &ceiling(secs(60)));
        way(&mut sim, tasks[0]);
        assert!(sim.holders().contains(&tasks[1]), "{name}");
    }
}

#[test]
fn s5_a_cancelled_grant_that_nobody_came_for_serves_the_next() {
    let mut sim = Sim::new(1);
    let first = sim.enter(plain(), DETACHED).expect("open");
    let second = sim.submit(plain());
    sim.cancel(first, Reason::Superseded);
    assert_eq!(sim.holders(), [second]);
    assert_eq!(sim.lane.record(sim.key(first)).map(|r| r.state), None);
}

#[test]
fn s11_fences_grow_over_every_kind_of_grant() {
    // That each is greater than the last is checked at every grant.
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(4, &ceiling(secs(60)));
    sim.task(tasks[0]).comes = false;
    sim.run_for(secs(61));
    sim.reset();
    sim.complete(tasks[2]);
    let fences: Vec<u64> = tasks.iter().map(|t| sim.tasks[*t as usize].fence).collect();
    assert_eq!(fences, [1_000, 1_001, 1_002, 1_003]);
    assert_eq!(sim.lane.next_fence(), 1_004);
}

#[test]
fn s11_the_old_holder_is_told_before_the_next_one_starts() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(3, &ceiling(secs(60)));
    sim.task(tasks[0]).comes = false;
    sim.run_for(secs(61));
    sim.reset();
    let events = sim.events();
    let at = |event: &Event| events.iter().position(|e| e == event).expect("it happened");
    assert!(at(&Event::Lost(tasks[0])) < at(&Event::Granted(tasks[1])));
    assert!(at(&Event::Lost(tasks[1])) < at(&Event::Granted(tasks[2])));
}

#[test]
fn s12_a_waiter_that_is_dropped_was_never_there() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(4, &plain());
    sim.drop_it(tasks[2]);
    assert_eq!(sim.lane.queued(), 2);
    sim.complete(tasks[0]);
    sim.complete(tasks[1]);
    assert_eq!(sim.holders(), [tasks[3]]);
    assert_eq!(sim.lane.tally().cut_short, 0);
}

#[test]
fn at_once_takes_a_free_slot_or_leaves_no_trace() {
    let at_once = Entry {
        at_once: true,
        ..PRESENT
    };
    let mut sim = Sim::new(1);
    sim.enter(plain(), at_once).expect("a free slot");
    let tally = sim.lane.tally();
    let holder = Some(sim.key(0));
    assert_eq!(sim.enter(plain(), at_once), Err(Refused::NoSlot { holder }));
    assert_eq!(sim.lane.tally(), tally);
    assert_eq!(sim.lane.queued(), 0);
}

#[test]
fn a_newcomer_is_told_who_is_ahead_of_it() {
    let mut sim = Sim::new(2);
    sim.submit_many(3, &plain());
    let background = sim.submit(Spec {
        priority: Priority::Background,
        ..plain()
    });
    let foreground = sim.submit(Spec {
        priority: Priority::Foreground,
        ..plain()
    });
    let ahead = |task| {
        let record = sim.lane.record(sim.key(task)).expect("queued");
        (record.queued_ahead, record.active_ahead)
    };
    assert_eq!((ahead(background), ahead(foreground)), ((1, 2), (0, 2)));
    assert_eq!(sim.lane.mode(), Mode::Open);
}

#[test]
fn s4_set_anew_a_lane_serves_more_or_evicts_nobody() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(4, &plain());
    let began = sim.now;
    sim.events();
    sim.run_for(secs(1));
    let set = |max_concurrent, max_orphans| Settings {
        max_orphans,
        ..settings(max_concurrent)
    };
    sim.say(|lane, now, effects| lane.set_anew(now, set(3, Some(0)), effects));
    assert_eq!(granted(&mut sim), tasks[1..3]);
    assert_eq!(sim.lane.max_orphans(), 0);
    sim.say(|lane, now, effects| lane.set_anew(now, set(1, None), effects));
    assert_eq!(sim.holders(), tasks[..3]);
    let record = sim.lane.record(sim.key(tasks[0])).expect("it is active");
    assert_eq!(record.started, began, "its clocks are its own");
    sim.complete(tasks[0]);
    sim.complete(tasks[1]);
    assert_eq!(sim.holders(), [tasks[2]]);
}
