//! Lane timeouts: wait, idle, budget, a deadline, and which of them is blamed.

use std::time::Duration;

use super::sim::{Event, Sim, ceiling, millis, plain, secs};
use crate::engine::{Ceiling, End, Limit, Notice, OnStall, Reason, Spec, State, TICK};

const MINUTE: Duration = secs(60);

/// How the only task of a lane ends, and when.
fn end_of(sim: &mut Sim, task: u32) -> (Duration, End) {
    sim.run_for(MINUTE * 600);
    let events = sim.timed().into_iter();
    events
        .filter_map(|(at, event)| match event {
            Event::Settled(settled, end) if settled == task => Some((at, end)),
            _ => None,
        })
        .next()
        .expect("it ends")
}

fn limit(end: End) -> Option<Limit> {
    match end {
        End::TimedOut { limit, .. } => Some(limit),
        _ => None,
    }
}

#[test]
fn a_wait_that_is_too_long_ends_in_the_queue() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    let waiter = sim.submit(Spec {
        wait: Some(MINUTE),
        ..plain()
    });
    let behind = sim.submit(plain());
    let (at, end) = end_of(&mut sim, waiter);
    assert_eq!(at, MINUTE);
    assert_eq!(
        end,
        End::TimedOut {
            limit: Limit::Wait,
            allowed: MINUTE,
            elapsed: MINUTE,
            idle: MINUTE,
        }
    );
    assert_eq!(sim.state(behind), Some(State::Queued));
    assert_eq!(sim.lane.queued(), 1);
}

#[test]
fn a_wait_that_ended_with_a_slot_is_no_limit_any_more() {
    let mut sim = Sim::new(1);
    let first = sim.submit(plain());
    let waiter = sim.submit(Spec {
        wait: Some(MINUTE),
        ..plain()
    });
    sim.run_for(MINUTE - millis(1));
    sim.complete(first);
    sim.run_for(MINUTE * 10);
    assert_eq!(sim.state(waiter), Some(State::Running));
}

#[test]
fn a_budget_counts_from_the_start_whatever_the_progress() {
    let mut sim = Sim::new(1);
    let first = sim.submit(plain());
    let task = sim.submit(Spec {
        budget: Some(MINUTE),
        ..ceiling(secs(30))
    });
    sim.run_for(MINUTE * 5);
    sim.complete(first);
    for _ in 0..3 {
        sim.run_for(secs(20) - millis(1));
        sim.progress(task);
    }
    let (at, end) = end_of(&mut sim, task);
    assert_eq!(at, MINUTE * 6);
    assert_eq!(
        end,
        End::TimedOut {
            limit: Limit::Budget,
            allowed: MINUTE,
            elapsed: MINUTE,
            idle: millis(3),
        }
    );
}

#[test]
fn a_budget_does_not_stand_still_while_its_task_waits() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        budget: Some(MINUTE),
        ..plain()
    });
    sim.facts(task).waiting = true;
    sim.facts(task).extended_until = Some(sim.now + MINUTE * 5);
    assert_eq!(end_of(&mut sim, task).0, MINUTE);
}

#[test]
fn a_deadline_holds_once_the_lane_is_told_to_look() {
    let mut sim = Sim::new(1);
    let task = sim.submit(plain());
    let at = sim.now + secs(90);
    sim.facts(task).deadline = Some(at);
    let key = sim.key(task);
    sim.say(|lane, _, _| lane.look_by(key, at));
    let (at, end) = end_of(&mut sim, task);
    assert_eq!(at, secs(90));
    assert_eq!(limit(end), Some(Limit::Deadline));
}

#[test]
fn the_tighter_of_ceiling_and_idle_timeout_is_the_one_that_is_blamed() {
    let cases = [
        (secs(30), secs(60), None),
        (secs(60), secs(30), Some(Limit::Idle)),
        // The lane timeout was asked for by name; the ceiling is a safety net.
        (secs(60), secs(60), Some(Limit::Idle)),
    ];
    for (ceiling_, idle, blamed) in cases {
        let mut sim = Sim::new(1);
        let task = sim.submit(Spec {
            idle: Some(idle),
            ..ceiling(ceiling_)
        });
        let (at, end) = end_of(&mut sim, task);
        assert_eq!(at, ceiling_.min(idle));
        assert_eq!(limit(end), blamed, "{ceiling_:?} {idle:?}");
    }
}

#[test]
fn an_idle_timeout_is_a_silence_like_a_stall() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        idle: Some(MINUTE),
        ..plain()
    });
    sim.run_for(secs(50));
    sim.progress(task);
    sim.facts(task).waiting = true;
    sim.run_for(MINUTE * 10);
    sim.facts(task).waiting = false;
    sim.facts(task).active_at = sim.now;
    let (at, end) = end_of(&mut sim, task);
    assert_eq!(at, secs(50) + MINUTE * 11);
    assert_eq!(limit(end), Some(Limit::Idle));
}

#[test]
fn an_idle_timeout_ends_its_task_even_where_stalls_are_only_reported() {
    for on_stall in [OnStall::WarnOnly, OnStall::Detach] {
        let mut sim = Sim::new(1);
        let task = sim.submit(Spec {
            idle: Some(MINUTE),
            on_stall,
            ..plain()
        });
        let (at, end) = end_of(&mut sim, task);
        assert_eq!((at, limit(end)), (MINUTE, Some(Limit::Idle)));
        assert_eq!(sim.lane.orphans(), 0);
    }
}

#[test]
fn the_earlier_of_budget_and_deadline_is_the_one_that_is_blamed() {
    let cases = [
        (secs(30), secs(60), Limit::Budget),
        (secs(60), secs(30), Limit::Deadline),
        (secs(60), secs(60), Limit::Budget),
    ];
    for (budget, deadline, blamed) in cases {
        let mut sim = Sim::new(1);
        let task = sim.submit(Spec {
            budget: Some(budget),
            ..plain()
        });
        let at = sim.now + deadline;
        sim.facts(task).deadline = Some(at);
        let key = sim.key(task);
        sim.say(|lane, _, _| lane.look_by(key, at));
        let (at, end) = end_of(&mut sim, task);
        assert_eq!((at, limit(end)), (budget.min(deadline), Some(blamed)));
    }
}

#[test]
fn a_limit_in_all_is_blamed_before_silence_where_both_are_over() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        budget: Some(MINUTE),
        ..ceiling(MINUTE)
    });
    let (at, end) = end_of(&mut sim, task);
    assert_eq!((at, limit(end)), (MINUTE, Some(Limit::Budget)));
}

#[test]
fn the_first_reason_stands() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        budget: Some(MINUTE),
        grace: secs(30),
        ..ceiling(MINUTE * 2)
    });
    sim.task(task).comes = false;
    sim.facts(task).listens = true;
    sim.run_for(MINUTE);
    sim.events();
    assert!(sim.cancel(task, Reason::User));
    let (key, spec, facts) = (sim.key(task), plain(), sim.facts(task).clone());
    let end = End::Cancelled {
        reason: Reason::Signal,
        elapsed: MINUTE,
    };
    sim.say(|lane, now, effects| lane.ask(now, key, end, &spec, &facts, effects));
    assert_eq!(sim.events(), [], "asked already, and in its grace");
    let (at, end) = end_of(&mut sim, task);
    assert_eq!((at, limit(end)), (secs(90) + TICK, Some(Limit::Budget)));
}

#[test]
fn a_cancel_stands_against_a_stall_that_comes_later() {
    let mut sim = Sim::new(1);
    let task = sim.submit(Spec {
        grace: MINUTE,
        ..ceiling(secs(31))
    });
    sim.facts(task).listens = true;
    sim.run_for(secs(30));
    sim.cancel(task, Reason::Superseded);
    let (at, end) = end_of(&mut sim, task);
    assert_eq!(at, secs(90));
    assert_eq!(
        end,
        End::Cancelled {
            reason: Reason::Superseded,
            elapsed: secs(30)
        }
    );
}

#[test]
fn a_long_wait_is_reported_once_and_the_caller_is_called_once() {
    let mut sim = Sim::new(1);
    let first = sim.submit(plain());
    let waiter = sim.submit(Spec {
        on_wait: Some(secs(2)),
        warn_wait: Some(secs(10)),
        wait: Some(MINUTE),
        ..plain()
    });
    sim.events();
    sim.run_for(secs(59));
    assert_eq!(
        sim.timed(),
        [
            (
                secs(2),
                Event::Notice(Notice::OnWait {
                    task: waiter,
                    waited: secs(2),
                    queued_ahead: 0,
                    active_ahead: 1,
                })
            ),
            (
                secs(10),
                Event::Notice(Notice::WaitExceeded {
                    task: waiter,
                    waited: secs(10),
                    queued_ahead: 0,
                    active_ahead: 1,
                })
            ),
        ]
    );
    sim.complete(first);
    sim.events();
    sim.run_for(MINUTE * 10);
    assert_eq!(sim.events(), []);
}

#[test]
fn nobody_is_called_for_a_wait_that_was_short() {
    let mut sim = Sim::new(1);
    let first = sim.submit(plain());
    sim.submit(Spec {
        on_wait: Some(secs(2)),
        warn_wait: Some(secs(2)),
        ..plain()
    });
    sim.run_for(secs(1));
    sim.complete(first);
    sim.events();
    sim.run_for(MINUTE);
    assert_eq!(sim.events(), []);
}

#[test]
fn the_longest_limits_are_never_reached_and_overflow_nothing() {
    use crate::engine::LONGEST;
    let mut sim = Sim::new(1);
    sim.submit(Spec {
        idle: Some(LONGEST),
        budget: Some(LONGEST),
        ceiling: Ceiling::Set(LONGEST),
        grace: LONGEST,
        teardown: LONGEST,
        ..plain()
    });
    let waiter = sim.submit(Spec {
        wait: Some(LONGEST),
        warn_wait: Some(LONGEST),
        on_wait: Some(LONGEST),
        ..plain()
    });
    let days = if cfg!(miri) { 1 } else { 365 };
    sim.run_for(MINUTE * 60 * 24 * days);
    assert_eq!(sim.state(waiter), Some(State::Queued));
    assert_eq!(sim.lane.active(), 1);
}
