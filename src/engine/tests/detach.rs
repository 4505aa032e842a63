//! What a lane does about a stall instead of ending the task: it lets it run on
//! without its slot, or only says so.

use std::time::Duration;

use super::sim::{Event, Sim, Token, ceiling, millis, plain, secs, settings};
use crate::engine::{
    End, Key, Leftover, Limit, Notice, OnStall, Reason, Reclaim, Recovery, Settings, Spec, State,
    TICK, Verdict,
};

const CEILING: Duration = secs(60);

fn refusals(sim: &mut Sim) -> Vec<u32> {
    let events = sim.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Notice(Notice::TakeRefused { task, .. }) => Some(task),
            _ => None,
        })
        .collect()
}

fn bounded(max_orphans: usize) -> Settings {
    Settings {
        max_orphans: Some(max_orphans),
        ..settings(1)
    }
}

fn detaching() -> Spec {
    Spec {
        on_stall: OnStall::Detach,
        ..ceiling(CEILING)
    }
}

#[test]
fn one_on_its_way_back_has_no_slot_to_lose_and_is_not_detached() {
    let mut sim = Sim::new(1);
    let task = sim.submit(detaching());
    sim.lane.may_leave().expect("no bound");
    assert!(sim.park(task, sim.now + secs(1), true));
    sim.run_for(secs(1) + 2 * CEILING);
    assert_eq!(sim.state(task), Some(State::ComingBack));
    assert_eq!((sim.lane.orphans(), sim.lane.parked()), (0, 1));
    assert_eq!(sim.task(task).settled, None);
}

#[test]
fn a_detached_task_loses_its_slot_and_still_delivers() {
    let mut sim = Sim::new(1);
    let task = sim.submit(detaching());
    let next = sim.submit(plain());
    sim.events();
    sim.run_for(CEILING);
    let end = End::Stalled {
        elapsed: CEILING,
        idle: CEILING,
        ceiling: CEILING,
    };
    assert_eq!(
        sim.events(),
        [
            Event::Lost(task),
            Event::Granted(next),
            Event::Notice(Notice::Reclaimed {
                task,
                end,
                how: Reclaim::Detached,
                orphans: 1,
                recovery: Recovery::Dispatched(next),
            }),
        ],
        "it is neither asked nor is its caller told"
    );
    sim.run_for(secs(3_600));
    sim.complete(task);
    assert_eq!(sim.task(task).settled, Some(End::Completed));
    let tally = sim.lane.tally();
    assert_eq!((tally.completed, tally.late), (1, 0));
    assert_eq!((sim.lane.orphans(), sim.holders()), (0, vec![next]));
}

#[test]
fn a_detached_task_with_hooks_still_delivers_and_its_hooks_have_their_bound() {
    let mut sim = Sim::new(1);
    let task = sim.submit(detaching());
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    let (key, spec) = (sim.key(task), sim.task(task).spec.clone());
    sim.events();
    sim.say(|lane, now, _| assert!(!lane.begin_teardown(now, key, &spec)));
    sim.run_for(secs(5));
    assert_eq!(sim.events(), [Event::EndTeardown(task)]);
    sim.complete(task);
    assert_eq!(sim.task(task).settled, Some(End::Completed));
    let tally = sim.lane.tally();
    assert_eq!((tally.completed, tally.late), (1, 0));
}

#[test]
fn a_detached_task_is_ended_by_its_budget_and_its_caller_told_that_it_stalled() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        budget: Some(CEILING * 3),
        ..detaching()
    });
    sim.task(task).comes = false;
    sim.run_for(CEILING * 3 - millis(1));
    assert_eq!(sim.state(task), Some(State::Detached));
    sim.events();
    sim.run_for(millis(1));
    let events = sim.events();
    assert_eq!(events[0], Event::ToldToDrop(task, Reason::TimedOut));
    assert!(matches!(
        events[1..],
        [Event::Settled(_, End::Stalled { .. })]
    ));
    assert_eq!(sim.state(task), Some(State::Orphan));
    sim.complete(task);
    assert_eq!(sim.lane.tally().late, 1);
}

#[test]
fn a_detached_task_is_ended_by_a_deadline_that_it_sets_later() {
    let mut sim = Sim::new(1);
    let task = sim.submit(detaching());
    sim.task(task).comes = false;
    sim.run_for(CEILING * 2);
    let (key, at) = (sim.key(task), sim.now + secs(5));
    sim.facts(task).deadline = Some(at);
    sim.say(|lane, _, _| lane.look_by(key, at));
    sim.run_for(secs(5));
    assert_eq!(sim.state(task), Some(State::Orphan));
}

#[test]
fn a_cancel_ends_a_detached_task_once() {
    let mut sim = Sim::new(1);
    let task = sim.submit(detaching());
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    assert!(sim.cancel(task, Reason::User));
    assert!(matches!(sim.task(task).settled, Some(End::Stalled { .. })));
    assert!(!sim.cancel(task, Reason::User), "past ending");
}

#[test]
fn a_detached_task_is_not_forgotten_while_its_caller_waits_for_it() {
    let mut sim = Sim::new(1);
    let task = sim.submit(detaching());
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    let key = sim.key(task);
    assert_eq!(sim.lane.forget_orphan(key), None);
    sim.cancel(task, Reason::User);
    assert_eq!(sim.lane.forget_orphan(key), Some(task));
}

#[test]
fn s7_a_shutdown_ends_a_detached_task() {
    let mut sim = Sim::new(1);
    let task = sim.submit(detaching());
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    sim.say(|lane, now, effects| lane.shutdown(now, effects));
    assert!(matches!(sim.task(task).settled, Some(End::Stalled { .. })));
}

#[test]
fn s3_a_detached_task_with_its_value_in_hand_delivers_it_when_cancelled() {
    let mut sim = Sim::new(1);
    let task = sim.submit(detaching());
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    sim.facts(task).done = true;
    sim.cancel(task, Reason::User);
    assert_eq!(sim.task(task).settled, Some(End::Completed));
}

#[test]
fn s10_detached_tasks_count_as_orphans_and_respect_the_bound() {
    let mut sim = Sim::with(bounded(1));
    let first = sim.submit(detaching());
    let second = sim.submit(Spec {
        budget: Some(CEILING + millis(200)),
        ..detaching()
    });
    sim.task(second).comes = false;
    sim.run_for(CEILING * 2);
    assert_eq!((sim.lane.orphans(), sim.holders()), (1, vec![second]));
    assert_eq!(refusals(&mut sim), [second]);
    assert_eq!(sim.state(second), Some(State::Running), "it only runs on");
    // Its harder limit holds to the moment, between two tries.
    sim.run_for(millis(200));
    assert!(matches!(
        sim.lane.record(sim.key(second)).and_then(|r| r.end()),
        Some(End::TimedOut {
            limit: Limit::Budget,
            elapsed,
            ..
        }) if elapsed == CEILING + millis(200)
    ));
    sim.complete(first);
    sim.run_for(secs(2));
    assert_eq!(sim.state(second), Some(State::Orphan));
}

#[test]
fn a_refusal_is_said_again_when_the_task_has_moved_and_stalled_anew() {
    let mut sim = Sim::with(bounded(0));
    let task = sim.submit(detaching());
    sim.run_for(CEILING * 2);
    assert_eq!(refusals(&mut sim), [task]);
    sim.progress(task);
    sim.run_for(CEILING * 2);
    assert_eq!(refusals(&mut sim), [task]);
}

/// It is looked at late because it was refused, and not because we slept.
#[test]
fn s8_who_was_refused_is_detached_at_the_next_try_and_has_no_grace_tick() {
    let mut sim = Sim::with(bounded(1));
    let first = sim.submit(detaching());
    let second = sim.submit(detaching());
    sim.run_for(CEILING * 2);
    assert_eq!(refusals(&mut sim), [second]);
    sim.complete(first);
    sim.run_for(secs(1));
    assert_eq!(sim.state(second), Some(State::Detached));
}

#[test]
fn a_refusal_to_detach_does_not_silence_the_refusal_to_take() {
    let mut sim = Sim::with(bounded(0));
    let task = sim.submit(detaching());
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    assert_eq!(refusals(&mut sim), [task]);
    sim.cancel(task, Reason::User);
    sim.run_for(secs(1));
    assert_eq!(refusals(&mut sim), [task]);
}

#[test]
fn s19_an_idle_timeout_beside_a_stall_that_is_only_reported_has_its_grace_tick() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        idle: Some(CEILING),
        ..plain()
    });
    sim.oversleep(CEILING + TICK * 2);
    assert_eq!(
        sim.state(task),
        Some(State::Running),
        "it may be asleep, too"
    );
    sim.run_for(TICK);
    assert_eq!(sim.state(task), None, "it was not");
}

#[test]
fn s9_an_idle_timeout_behind_a_reported_stall_stands_still_where_every_other_does() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        idle: Some(CEILING * 2),
        ..ceiling(CEILING)
    });
    sim.facts(task).waiting = true;
    sim.run_for(CEILING * 10);
    assert_eq!(sim.state(task), Some(State::Running), "it waits for a lane");
    sim.facts(task).waiting = false;
    sim.facts(task).phase = Some(CEILING * 20);
    sim.progress(task);
    sim.run_for(CEILING * 10);
    assert_eq!(sim.state(task), Some(State::Running), "it is in a phase");
}

#[test]
fn s19_an_idle_timeout_within_a_tick_is_not_late() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        idle: Some(CEILING),
        ..plain()
    });
    sim.oversleep(CEILING + TICK);
    assert_eq!(sim.state(task), None);
}

#[test]
fn an_orphan_that_is_looked_at_for_an_old_reason_keeps_its_hooks() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        budget: Some(CEILING * 2),
        ..detaching()
    });
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    sim.say(|lane, now, _| lane.start_draining(now + CEILING, false, Leftover::Run));
    sim.events();
    sim.run_for(CEILING);
    let events = sim.events();
    assert!(events.contains(&Event::ToldToDrop(task, Reason::Draining)));
    assert!(
        !events.contains(&Event::EndTeardown(task)),
        "its hooks have not begun: {events:?}"
    );
}

#[test]
fn warn_only_and_observe_only_report_and_reclaim_nothing() {
    let observing = Settings {
        observe_only: true,
        ..settings(1)
    };
    let warning = |on_stall| Spec {
        on_stall,
        ..ceiling(CEILING)
    };
    let cases = [
        (settings(1), warning(OnStall::WarnOnly)),
        (observing.clone(), warning(OnStall::Reclaim)),
        (observing, warning(OnStall::Detach)),
    ];
    for (settings, spec) in cases {
        let mut sim = Sim::with(settings);
        let task = sim.submit(spec);
        sim.events();
        sim.run_for(CEILING);
        let end = End::Stalled {
            elapsed: CEILING,
            idle: CEILING,
            ceiling: CEILING,
        };
        let said = Event::Notice(Notice::Stalled { task, end });
        assert_eq!(sim.timed(), [(CEILING, said)]);
        sim.run_for(CEILING * 10 - millis(1));
        let again = sim.events().len();
        assert_eq!(again, 3, "repeated, and backing off");
        assert_eq!(sim.state(task), Some(State::Running));
        sim.complete(task);
        assert_eq!(sim.task(task).settled, Some(End::Completed));
    }
}

#[test]
fn what_is_under_observation_is_looked_at_after_it_moved() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        ..ceiling(CEILING)
    });
    sim.run_for(CEILING + secs(10));
    sim.progress(task);
    sim.events();
    sim.run_for(CEILING - millis(1));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    assert_eq!(sim.events().len(), 1);
}

#[test]
fn s16_a_stall_that_is_new_is_reported_at_its_ceiling_however_rarely_the_last_one_was() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        ..ceiling(CEILING)
    });
    // Right after a report, when the next is furthest away.
    sim.run_for(CEILING * 8);
    sim.progress(task);
    sim.events();
    sim.run_for(CEILING - millis(1));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    assert_eq!(sim.events().len(), 1);
    sim.run_for(CEILING);
    assert_eq!(sim.events().len(), 1, "its repeats begin anew, too");
}

#[test]
fn s19_a_report_that_is_repeated_does_not_use_up_the_grace_tick() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        idle: Some(CEILING * 5),
        ..ceiling(CEILING)
    });
    sim.run_for(CEILING * 4);
    sim.oversleep(CEILING + TICK * 2);
    assert_eq!(
        sim.state(task),
        Some(State::Running),
        "it may be asleep, too"
    );
    sim.run_for(TICK);
    assert_eq!(sim.state(task), None);
}

#[test]
fn s19_who_was_refused_and_has_moved_since_has_its_grace_tick() {
    let mut sim = Sim::with(bounded(1));
    let first = sim.submit(detaching());
    let second = sim.submit(detaching());
    sim.run_for(CEILING * 2);
    assert_eq!(refusals(&mut sim), [second]);
    sim.run_for(millis(500));
    sim.progress(second);
    sim.complete(first);
    sim.oversleep(secs(3_600));
    assert_eq!(
        sim.state(second),
        Some(State::Running),
        "it may be asleep, too"
    );
    sim.run_for(TICK);
    assert_eq!(sim.state(second), Some(State::Detached), "it was not");
}

#[test]
fn s19_who_was_refused_and_runs_its_hooks_has_its_grace_tick_at_the_take() {
    let mut sim = Sim::with(bounded(1));
    let first = sim.submit(detaching());
    let second = sim.submit(detaching());
    sim.task(second).comes = false;
    sim.run_for(CEILING * 2);
    assert_eq!(refusals(&mut sim), [second]);
    sim.complete(first);
    let (key, spec) = (sim.key(second), detaching());
    sim.say(|lane, now, _| assert!(lane.begin_teardown(now, key, &spec)));
    sim.run_for(secs(5));
    assert!(matches!(sim.state(second), Some(State::Dropping { .. })));
    sim.oversleep(secs(3_600));
    let holds = sim.state(second).is_some_and(State::holds_slot);
    assert!(holds, "its runner may be asleep, too");
    sim.run_for(TICK);
    assert_eq!(sim.state(second), Some(State::Orphan));
}

#[test]
fn s10_whose_take_was_refused_and_runs_its_hooks_then_is_told_of_once() {
    let mut sim = Sim::with(bounded(1));
    let first = sim.submit(detaching());
    sim.run_for(CEILING);
    assert_eq!(sim.state(first), Some(State::Detached));
    let second = sim.submit(plain());
    sim.task(second).comes = false;
    sim.cancel(second, Reason::User);
    sim.run_for(TICK);
    assert_eq!(refusals(&mut sim), [second]);
    let key = sim.key(second);
    sim.say(|lane, now, _| assert!(lane.begin_teardown(now, key, &plain())));
    sim.run_for(secs(10));
    assert!(sim.state(second).is_some_and(State::holds_slot));
    assert!(refusals(&mut sim).is_empty());
}

#[test]
fn s19_whose_stall_was_reported_has_its_grace_tick_at_the_take() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        ..ceiling(CEILING)
    });
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    sim.cancel(task, Reason::User);
    sim.oversleep(TICK * 3);
    assert!(
        sim.state(task).is_some_and(State::holds_slot),
        "asleep, too"
    );
    sim.run_for(TICK);
    assert_eq!(sim.state(task), Some(State::Orphan));
}

/// One whose stall was reported, and that was put off then and ran out between two
/// looks, when nobody could learn of it.
fn held_between_two_looks() -> (Sim, u32) {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        ..ceiling(CEILING)
    });
    sim.run_for(CEILING + secs(10));
    sim.facts(task).hold_until = Some(sim.now + secs(10));
    sim.run_for(secs(20));
    sim.events();
    (sim, task)
}

#[test]
fn s19_a_look_that_is_as_late_as_it_was_to_be_is_no_sleep() {
    for late in [millis(0), TICK] {
        let (mut sim, _) = held_between_two_looks();
        sim.oversleep(CEILING - secs(30) + late);
        assert_eq!(sim.events().len(), 1, "it stalls anew: {late:?} late");
    }
}

#[test]
fn s19_a_look_that_comes_later_than_it_was_to_be_has_its_grace_tick() {
    let (mut sim, _) = held_between_two_looks();
    sim.oversleep(CEILING - secs(30) + TICK * 2);
    assert_eq!(sim.events(), [], "it may be asleep, too");
    sim.run_for(TICK);
    assert_eq!(sim.events().len(), 1, "it was not");
}

#[test]
fn s19_who_enters_a_phase_after_a_report_has_its_grace_tick_in_that() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        on_stall: OnStall::WarnOnly,
        ..ceiling(CEILING)
    });
    sim.run_for(CEILING);
    sim.events();
    sim.progress(task);
    sim.facts(task).phase = Some(secs(10));
    let (key, at) = (sim.key(task), sim.now + secs(10));
    sim.say(|lane, _, _| lane.look_by(key, at));
    sim.oversleep(secs(20));
    assert_eq!(sim.events(), [], "it may be asleep, too");
    sim.run_for(TICK);
    assert_eq!(sim.events().len(), 1, "it was not");
}

/// Detached, and through; its hooks run, and its runner is not seen again.
fn hangs_in_its_hooks() -> (Sim, Token, Key) {
    let mut sim = Sim::new(1);
    let spec = detaching();
    let task = sim.submit(spec.clone());
    sim.task(task).comes = false;
    sim.run_for(CEILING);
    let key = sim.key(task);
    sim.say(|lane, now, _| assert!(!lane.begin_teardown(now, key, &spec)));
    (sim, task, key)
}

/// S7: its hooks have their time, its runner a tick more, and then its caller is told.
#[test]
fn s7_who_was_detached_and_hangs_in_its_hooks_is_told_after_their_time() {
    for done in [false, true] {
        let (mut sim, task, key) = hangs_in_its_hooks();
        sim.facts(task).done = done;
        let teardown = detaching().teardown;
        sim.run_for(teardown);
        assert_eq!(sim.task(task).settled, None);
        assert_eq!(sim.lane.forget_orphan(key), None, "its caller waits for it");
        sim.run_for(TICK);
        let told = sim.task(task).settled;
        match told {
            Some(End::Completed) => assert!(done),
            Some(End::Stalled { .. }) => assert!(!done),
            _ => panic!("{told:?}"),
        }
        sim.say(|lane, _, _| assert_eq!(lane.forget_orphan(key), Some(task)));
        sim.ledger.check_all_told(|_| false);
    }
}

/// It was due for another reason when its hooks began, and is looked at for that.
#[test]
fn s7_hooks_without_a_slot_are_not_ended_by_a_look_that_comes_early() {
    let (mut sim, task, key) = hangs_in_its_hooks();
    let (spec, facts) = (detaching(), sim.facts(task).clone());
    let mut told = 0;
    for _ in 0..3 {
        sim.say(|lane, now, effects| {
            let verdict = lane.judge(now, key, &spec, &facts, effects);
            assert_eq!(verdict, Verdict::Nothing);
            told += effects.iter().count();
        });
    }
    assert_eq!(told, 0, "they have their time");
    assert_eq!(sim.task(task).settled, None);
    let until = sim.now + spec.teardown;
    assert_eq!(sim.lane.moment(key), Some(until), "and are looked at then");
}
