//! Tasks that gather slots of other lanes, or wait for somebody: what the trial
//! found, each as small as it gets.

use super::sim::{DETACHED, Event, Sim, ceiling, plain, secs};
use crate::engine::{End, Leftover, Limit, Reason, Spec, State, TICK};

/// A lane of one whose task was parked without its slot, which another has.
fn parked_behind_another() -> (Sim, u32, u32) {
    let mut sim = Sim::new(1);
    let task = sim.submit(plain());
    sim.lane.may_leave().expect("no bound");
    assert!(sim.park(task, sim.now + secs(3600), true));
    let other = sim.submit(plain());
    (sim, task, other)
}

#[test]
fn s7_the_time_to_wait_of_a_task_that_gathers_is_over_when_it_is() {
    let spec = Spec {
        wait: Some(secs(1)),
        ..plain()
    };
    let mut sim = Sim::new(1);
    let task = sim.enter(spec, DETACHED).expect("a slot is free");
    sim.task(task).gathers = true;
    sim.gathers(task);
    sim.run_for(secs(1));
    let elapsed = secs(1);
    let end = End::TimedOut {
        limit: Limit::Wait,
        allowed: elapsed,
        elapsed,
        idle: elapsed,
    };
    assert_eq!(sim.task(task).settled, Some(end));
    assert_eq!(sim.lane.active(), 0);
}

#[test]
fn s9_the_time_that_it_was_parked_is_no_silence_of_its_own() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(secs(60)));
    sim.run_for(secs(10));
    sim.progress(task);
    let limit = secs(3600);
    assert!(sim.park(task, sim.now + limit, false));
    sim.run_for(limit);
    assert_eq!(
        sim.state(task),
        Some(State::Running),
        "its limit has passed"
    );
    // Nobody has polled it yet.
    sim.run_for(secs(60) - TICK);
    assert_eq!(sim.state(task), Some(State::Running));
    sim.run_for(TICK);
    assert_eq!(sim.state(task), None, "S8: and then it stalls");
}

#[test]
fn who_stands_in_for_a_task_is_counted_nowhere() {
    for how in 0..3 {
        let (mut sim, task, other) = parked_behind_another();
        let stand_in = sim.send_back(task).expect("an open lane");
        match how {
            0 => assert!(sim.cancel(stand_in, Reason::User)),
            1 => sim.drop_it(stand_in),
            _ => {
                sim.complete(other);
                sim.reset();
                sim.drop_it(stand_in);
            }
        }
        if how < 2 {
            sim.complete(other);
        }
        sim.drop_it(task);
        let tally = sim.lane.tally();
        let counted = (
            tally.submitted,
            tally.completed,
            tally.ended,
            tally.cut_short,
        );
        assert_eq!(counted, (2, 1, 1, 1), "{how}");
        assert_eq!((sim.lane.records().count(), sim.lane.parked()), (0, 0));
    }
}

#[test]
fn a_task_that_has_begun_is_not_cleared() {
    let (mut sim, task, other) = parked_behind_another();
    let stand_in = sim.send_back(task).expect("an open lane");
    sim.submit(plain());
    assert_eq!(sim.clear(), 1);
    sim.complete(other);
    assert!(sim.hand_over(task, stand_in));
}

#[test]
fn who_stands_in_for_a_task_is_not_handed_back() {
    let (mut sim, task, _) = parked_behind_another();
    let stand_in = sim.send_back(task).expect("an open lane");
    let deadline = sim.now + secs(1);
    sim.say(|lane, _, _| lane.start_draining(deadline, false, Leftover::Return));
    sim.run_for(secs(1));
    let told = sim.task(stand_in).settled.expect("the drain is over");
    let reason = Reason::Draining;
    assert!(matches!(told, End::CancelledQueued { reason: r, .. } if r == reason));
}

#[test]
fn s20_after_a_drain_who_stands_in_sleeps_and_comes_again() {
    let (mut sim, task, other) = parked_behind_another();
    let deadline = sim.now;
    sim.say(|lane, _, _| lane.start_draining(deadline, false, Leftover::Run));
    sim.task(other).comes = false;
    sim.run_for(secs(0));
    let stand_in = sim.send_back(task).expect("a drain refuses it not");
    sim.task(stand_in).claims = false;
    sim.drop_it(other);
    sim.run_for(secs(5));
    assert_eq!(sim.state(stand_in), Some(State::Asleep));
    sim.poll(stand_in);
    assert!(sim.hand_over(task, stand_in));
}

#[test]
fn s1_only_a_stand_in_with_a_slot_hands_it_over_and_only_to_who_waits_for_it() {
    // Whoever has a slot of its own keeps it.
    let (mut sim, task, other) = parked_behind_another();
    let [to, from] = [task, other].map(|token| sim.key(token));
    assert_eq!(sim.lane.come_back(to, from), None);
    // One that has none yet.
    let stand_in = sim.send_back(task).expect("it is open");
    assert_eq!(sim.state(stand_in), Some(State::Queued));
    let from = sim.key(stand_in);
    assert_eq!(sim.lane.come_back(to, from), None);
    assert_eq!(sim.lane.active(), 1);
    // To somebody who has its slot still, parked or not.
    for parks in [false, true] {
        let mut sim = Sim::new(2);
        let keeps = sim.submit(plain());
        let away = sim.submit(plain());
        sim.lane.may_leave().expect("no bound");
        assert!(sim.park(away, sim.now + secs(60), true));
        let stand_in = sim.send_back(away).expect("it is open");
        if parks {
            assert!(sim.park(keeps, sim.now + secs(60), false));
        }
        let [to, from] = [keeps, stand_in].map(|token| sim.key(token));
        assert_eq!(sim.lane.come_back(to, from), None);
        // To somebody who is asked to end meanwhile.
        let to = sim.key(away);
        sim.facts(away).listens = true;
        sim.cancel(away, Reason::User);
        let from = sim.key(stand_in);
        assert_eq!(sim.lane.come_back(to, from), None);
    }
}

/// Its slot was taken as it was about to give that back.
#[test]
fn s7_who_gives_nothing_back_after_all_leaves_a_lane_idle_that_is_shut_down() {
    let mut sim = Sim::new(1);
    let task = sim.submit(plain());
    sim.say(|lane, _, _| lane.want_idle());
    sim.lane.may_leave().expect("no bound");
    sim.say(|lane, now, effects| lane.shutdown(now, effects));
    sim.complete(task);
    assert!(!sim.events().contains(&Event::Idle), "it may be away yet");
    sim.say(|lane, _, effects| lane.keep_slot(effects));
    assert!(sim.events().contains(&Event::Idle), "S7");
}

#[test]
fn s2_who_was_asked_to_end_while_it_waited_is_not_active_again() {
    let mut sim = Sim::new(1);
    let task = sim.submit(plain());
    sim.facts(task).listens = true;
    assert!(sim.park(task, sim.now + secs(3600), false));
    sim.cancel(task, Reason::User);
    let asked = sim.state(task);
    assert!(matches!(asked, Some(State::Asked { .. })));
    sim.unpark(task);
    assert_eq!(sim.state(task), asked);
}
