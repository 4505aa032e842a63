//! The control verbs, and that they leave nobody without an answer (S7).

use std::time::Duration;

use super::sim::{DETACHED, Event, PRESENT, Sim, ceiling, millis, plain, secs};
use crate::engine::{End, Entry, Leftover, Mode, Reason, Refused, State, TICK};

const HOUR: Duration = secs(3_600);

/// One holder and three who wait, for so long.
fn busy() -> (Sim, Vec<u32>) {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(4, &plain());
    sim.run_for(secs(7));
    sim.events();
    (sim, tasks)
}

fn ends(sim: &Sim, tasks: &[u32]) -> Vec<Option<End>> {
    tasks
        .iter()
        .map(|task| sim.tasks[*task as usize].settled)
        .collect()
}

fn drain(sim: &mut Sim, within: Duration, descendants: bool, queued: Leftover) {
    sim.say(|lane, now, effects| {
        lane.start_draining(now + within, descendants, queued);
        lane.hold_for_drain();
        let waiting = lane.waiting();
        lane.settle_drain(now, &waiting, effects);
    });
}

const WAITED: Duration = secs(7);

#[test]
fn s7_clear_settles_who_waits_and_leaves_who_runs() {
    let (mut sim, tasks) = busy();
    assert_eq!(sim.clear(), 3);
    let cleared = Some(End::Cleared { waited: WAITED });
    assert_eq!(ends(&sim, &tasks), [None, cleared, cleared, cleared]);
    assert_eq!(sim.holders(), [tasks[0]]);
    let next = sim.submit(plain());
    sim.complete(tasks[0]);
    assert_eq!(sim.holders(), [next], "new tasks are accepted");
}

#[test]
fn s4_a_drain_is_over_from_its_time_on_and_until_it_is_taken_back() {
    let (mut sim, _) = busy();
    assert!(!sim.lane.drain_is_over());
    drain(&mut sim, secs(60), false, Leftover::Run);
    assert!(!sim.lane.drain_is_over());
    sim.run_for(secs(60));
    assert!(sim.lane.drain_is_over());
    sim.say(|lane, now, effects| lane.resume(now, effects));
    assert!(!sim.lane.drain_is_over());
}

#[test]
fn s7_clear_settles_in_the_order_of_the_queue_and_who_sleeps_too() {
    let mut sim = Sim::new(1);
    let absent = sim.enter(plain(), DETACHED).expect("open");
    let tasks = sim.submit_many(3, &plain());
    sim.run_for(secs(5));
    assert_eq!(sim.state(absent), Some(State::Asleep));
    sim.events();
    assert_eq!(sim.clear(), 3);
    let waited = secs(5);
    let expected = [tasks[1], tasks[2], absent];
    assert_eq!(
        sim.events(),
        expected.map(|task| Event::Settled(task, End::Cleared { waited }))
    );
    sim.poll(absent);
    assert_eq!(sim.lane.queued(), 0);
}

#[test]
fn s7_close_runs_who_was_there_and_refuses_who_comes() {
    let (mut sim, tasks) = busy();
    sim.say(|lane, _, _| lane.close());
    assert_eq!(sim.enter(plain(), PRESENT), Err(Refused::Closed));
    for task in &tasks {
        sim.complete(*task);
    }
    assert_eq!(ends(&sim, &tasks), [Some(End::Completed); 4]);
    assert!(sim.lane.is_idle());
    sim.say(|lane, now, effects| lane.resume(now, effects));
    assert_eq!(sim.lane.mode(), Mode::Closed);
}

#[test]
fn s7_shutdown_settles_who_waits_asks_who_runs_and_takes_in_the_end() {
    let (mut sim, tasks) = busy();
    sim.facts(tasks[0]).listens = true;
    sim.task(tasks[0]).comes = false;
    sim.say(|lane, now, effects| lane.shutdown(now, effects));
    assert_eq!(sim.enter(plain(), PRESENT), Err(Refused::Shutdown));
    let told = Some(End::Shutdown { waited: WAITED });
    assert_eq!(ends(&sim, &tasks), [None, told, told, told]);
    assert_eq!(
        sim.events().last(),
        Some(&Event::Asked(tasks[0], Reason::Shutdown))
    );
    sim.run_for(secs(5) + TICK);
    assert_eq!(
        sim.task(tasks[0]).settled,
        Some(End::Cancelled {
            reason: Reason::Shutdown,
            elapsed: WAITED
        })
    );
    assert_eq!(sim.lane.active(), 0);
    // Neither of these opens it again.
    sim.say(|lane, now, effects| lane.resume(now, effects));
    sim.say(|lane, _, _| lane.close());
    drain(&mut sim, HOUR, true, Leftover::Run);
    assert_eq!(sim.lane.mode(), Mode::Shutdown);
}

#[test]
fn s7_reset_keeps_the_queue_and_takes_at_once() {
    let (mut sim, tasks) = busy();
    sim.task(tasks[0]).comes = false;
    sim.reset();
    assert_eq!(sim.holders(), [tasks[1]]);
    assert_eq!(sim.lane.queued(), 2);
    assert_eq!(
        sim.task(tasks[0]).settled,
        Some(End::Cancelled {
            reason: Reason::Reset,
            elapsed: WAITED
        })
    );
}

#[test]
fn s7_reset_of_a_task_that_was_asked_already_leaves_it_its_reason() {
    let (mut sim, tasks) = busy();
    sim.facts(tasks[0]).listens = true;
    sim.cancel(tasks[0], Reason::Superseded);
    sim.reset();
    let end = sim.task(tasks[0]).settled.expect("told");
    assert_eq!(end.reason(), Reason::Superseded);
}

#[test]
fn s7_reset_settles_an_unclaimed_grant_without_an_orphan() {
    let mut sim = Sim::new(1);
    let absent = sim.enter(plain(), DETACHED).expect("open");
    let next = sim.submit(plain());
    sim.reset();
    assert_eq!(sim.holders(), [next]);
    assert_eq!(sim.lane.orphans(), 0);
    let end = sim.task(absent).settled.expect("told");
    assert_eq!(end.reason(), Reason::Reset);
}

#[test]
fn s7_cancel_finds_a_task_wherever_it_is() {
    let (mut sim, tasks) = busy();
    assert!(sim.cancel(tasks[2], Reason::Superseded));
    assert_eq!(
        sim.task(tasks[2]).settled,
        Some(End::CancelledQueued {
            reason: Reason::Superseded,
            waited: WAITED
        })
    );
    assert!(sim.cancel(tasks[0], Reason::User));
    assert_eq!(
        sim.task(tasks[0]).settled,
        Some(End::Cancelled {
            reason: Reason::User,
            elapsed: WAITED
        })
    );
    assert!(!sim.cancel(tasks[0], Reason::User), "it is gone");
    assert_eq!(sim.holders(), [tasks[1]]);
}

#[test]
fn drain_runs_who_waits_and_hands_back_who_had_no_time_to() {
    let (mut sim, tasks) = busy();
    drain(&mut sim, secs(10), false, Leftover::Run);
    assert_eq!(
        sim.enter(plain(), PRESENT),
        Err(Refused::Draining {
            admit_descendants: false
        })
    );
    sim.complete(tasks[0]);
    assert_eq!(sim.holders(), [tasks[1]]);
    sim.run_for(secs(10) - millis(1));
    assert_eq!(ends(&sim, &tasks[2..]), [None, None]);
    sim.run_for(millis(1));
    let waited = WAITED + secs(10);
    let returned = Some(End::Returned { waited });
    assert_eq!(ends(&sim, &tasks[2..]), [returned, returned]);
    assert_eq!(
        sim.task(tasks[1]).settled.map(|end| end.reason()),
        Some(Reason::Draining)
    );
    assert!(sim.lane.is_idle());
}

#[test]
fn drain_hands_back_or_cancels_who_waits_as_told() {
    let ways = [
        (Leftover::Return, End::Returned { waited: WAITED }),
        (
            Leftover::Cancel,
            End::CancelledQueued {
                reason: Reason::Draining,
                waited: WAITED,
            },
        ),
    ];
    for (way, end) in ways {
        let (mut sim, tasks) = busy();
        drain(&mut sim, HOUR, false, way);
        assert_eq!(ends(&sim, &tasks), [None, Some(end), Some(end), Some(end)]);
        assert_eq!(sim.holders(), [tasks[0]], "who runs, runs on");
        sim.run_for(HOUR - millis(1));
        assert_eq!(sim.holders(), [tasks[0]]);
        sim.run_for(millis(1));
        assert!(sim.lane.is_idle());
    }
}

#[test]
fn drain_starts_nobody_until_it_has_settled_those_it_hands_back() {
    let (mut sim, tasks) = busy();
    sim.say(|lane, now, _| {
        lane.start_draining(now + HOUR, false, Leftover::Return);
        lane.hold_for_drain();
    });
    // It is heard of in the other lanes meanwhile.
    sim.holding = true;
    sim.complete(tasks[0]);
    assert_eq!(sim.lane.active(), 0);
    sim.holding = false;
    // One of them descends from a task that still runs, and is kept.
    let leaving = [sim.key(tasks[1]), sim.key(tasks[3])];
    sim.say(|lane, now, effects| lane.settle_drain(now, &leaving, effects));
    let returned = Some(End::Returned { waited: WAITED });
    assert_eq!(ends(&sim, &tasks[1..]), [returned, None, returned]);
    assert_eq!(sim.holders(), [tasks[2]]);
}

#[test]
fn drain_lets_descendants_in_where_told_so_and_until_its_deadline() {
    let descendant = Entry {
        descendant: true,
        ..PRESENT
    };
    let (mut sim, tasks) = busy();
    drain(&mut sim, HOUR, false, Leftover::Run);
    assert!(sim.enter(plain(), descendant).is_err());

    drain(&mut sim, HOUR, true, Leftover::Run);
    assert_eq!(
        sim.enter(plain(), PRESENT),
        Err(Refused::Draining {
            admit_descendants: true
        })
    );
    let nested = sim.enter(plain(), descendant).expect("let in");
    for task in tasks {
        sim.complete(task);
    }
    assert_eq!(sim.holders(), [nested]);
    sim.task(nested).comes = false;
    sim.run_for(HOUR);
    // Nobody would hand it back any more, nor ask it to end.
    assert!(sim.enter(plain(), descendant).is_err());
}

#[test]
fn a_drain_keeps_its_deadline_when_the_lane_is_closed_meanwhile_or_was_before() {
    for close_first in [false, true] {
        let (mut sim, tasks) = busy();
        if close_first {
            sim.say(|lane, _, _| lane.close());
        }
        drain(&mut sim, HOUR, true, Leftover::Run);
        if !close_first {
            sim.say(|lane, _, _| lane.close());
        }
        assert_eq!(sim.lane.mode(), Mode::Closed);
        let descendant = Entry {
            descendant: true,
            ..PRESENT
        };
        assert_eq!(sim.enter(plain(), descendant), Err(Refused::Closed));
        sim.run_for(HOUR);
        assert!(sim.lane.is_idle(), "closed first: {close_first}");
        assert!(ends(&sim, &tasks).iter().all(Option::is_some));
        // Neither the end of the drain nor a resume opens it again.
        sim.say(|lane, now, effects| lane.resume(now, effects));
        assert_eq!(sim.lane.mode(), Mode::Closed);
        assert_eq!(sim.enter(plain(), PRESENT), Err(Refused::Closed));
    }
}

#[test]
fn resume_takes_a_drain_back() {
    let (mut sim, tasks) = busy();
    drain(&mut sim, secs(10), false, Leftover::Run);
    sim.say(|lane, now, effects| lane.resume(now, effects));
    sim.submit(plain());
    sim.run_for(HOUR);
    assert_eq!((sim.holders(), sim.lane.queued()), (vec![tasks[0]], 4));
}

#[test]
fn pause_holds_the_queue_until_resume_or_its_own_end() {
    let (mut sim, tasks) = busy();
    sim.say(|lane, _, _| lane.pause(None));
    sim.complete(tasks[0]);
    sim.run_for(HOUR);
    assert_eq!((sim.lane.active(), sim.lane.queued()), (0, 3));
    sim.say(|lane, now, effects| lane.resume(now, effects));
    assert_eq!(sim.holders(), [tasks[1]]);
    sim.say(|lane, now, _| lane.pause(Some(now + secs(20))));
    sim.complete(tasks[1]);
    sim.run_for(secs(20) - millis(1));
    assert_eq!(sim.lane.active(), 0);
    sim.run_for(millis(1));
    assert_eq!(sim.holders(), [tasks[2]], "with nobody coming by");
    assert!(!sim.lane.is_paused());
}

#[test]
fn a_pause_without_end_replaces_one_with() {
    let (mut sim, _) = busy();
    sim.say(|lane, now, _| lane.pause(Some(now + secs(30))));
    sim.say(|lane, _, _| lane.pause(None));
    sim.run_for(HOUR);
    assert!(sim.lane.is_paused());
}

#[test]
fn idle_is_said_once_to_who_wants_to_know_however_the_lane_came_to_it() {
    type Way = fn(&mut Sim, u32);
    let ways: [(&str, Way); 8] = [
        ("completed", |sim, task| sim.complete(task)),
        ("cancelled", |sim, task| {
            sim.cancel(task, Reason::User);
        }),
        ("reset", |sim, task| {
            sim.task(task).comes = false;
            sim.reset();
        }),
        ("taken", |sim, task| {
            sim.task(task).comes = false;
            sim.run_for(secs(61));
        }),
        ("shut down", |sim, _| {
            sim.say(|lane, now, effects| lane.shutdown(now, effects));
        }),
        ("drained", |sim, _| {
            drain(sim, secs(1), false, Leftover::Run);
            sim.run_for(secs(1));
        }),
        ("cleared", |sim, task| {
            sim.say(|lane, _, _| lane.pause(None));
            let next = sim.submit(plain());
            sim.complete(task);
            assert_eq!(sim.state(next), Some(State::Queued));
            sim.clear();
        }),
        ("waited too long", |sim, task| {
            sim.say(|lane, _, _| lane.pause(None));
            sim.submit(crate::engine::Spec {
                wait: Some(secs(1)),
                ..plain()
            });
            sim.complete(task);
            sim.run_for(secs(1));
        }),
    ];
    for (name, way) in ways {
        let mut sim = Sim::new(1);
        let task = sim.submit(ceiling(secs(60)));
        sim.say(|lane, _, _| lane.want_idle());
        way(&mut sim, task);
        let events = sim.events();
        let said = events.iter().filter(|event| **event == Event::Idle);
        assert_eq!(said.count(), 1, "{name}: {events:?}");
    }
}

#[test]
fn idle_does_not_wait_for_orphans_nor_for_who_does_not_ask() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(secs(60)));
    sim.task(task).comes = false;
    sim.run_for(secs(61));
    assert!(sim.lane.is_idle());
    assert_eq!(sim.lane.orphans(), 1);
    assert!(!sim.events().contains(&Event::Idle));
}

/// What waits for a pause to end says nothing of how fast a lane serves.
#[test]
fn a_pause_is_no_part_of_a_lanes_pace() {
    for pause in 0..4 {
        let mut sim = Sim::new(1);
        let mut tasks = sim.submit_many(9, &plain()).into_iter();
        let mut next = |sim: &mut Sim| {
            sim.run_for(secs(4));
            sim.complete(tasks.next().expect("there are enough"));
        };
        for _ in 0..6 {
            next(&mut sim);
        }
        let wait = |sim: &Sim| sim.lane.pace().expected_wait(0, sim.now);
        assert_eq!(wait(&sim), Some(secs(4)));
        let slots = |sim: &mut Sim, slots| {
            sim.say(|lane, now, effects| lane.set_max_concurrent(now, slots, effects));
        };
        match pause {
            0 => sim.say(|lane, _, _| lane.pause(None)),
            1 => sim.say(|lane, now, _| lane.pause(Some(now + HOUR))),
            _ => slots(&mut sim, 0),
        }
        next(&mut sim);
        sim.run_for(HOUR);
        match pause {
            0 => sim.say(|lane, now, effects| lane.resume(now, effects)),
            1 => {}
            2 => slots(&mut sim, 1),
            _ => sim.say(|lane, now, effects| {
                let settings = super::sim::settings(1);
                lane.set_anew(now, settings, effects);
            }),
        }
        next(&mut sim);
        let wait = wait(&sim);
        assert!(wait < Some(secs(5)), "{pause}: {wait:?}");
    }
}
