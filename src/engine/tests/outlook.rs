//! What is said of the time to come is what comes.

use std::time::Duration;

use super::sim::{DETACHED, Event, PRESENT, Sim, ceiling, millis, plain, secs, settings};
use crate::engine::task::{CLAIM, KEPT};
use crate::engine::{
    Bound, Ceiling, End, Follows, Leftover, Limit, Notice, OnStall, Outlook, Reason, Settings,
    Spec, State, TICK,
};

const MINUTE: Duration = secs(60);

fn outlook(sim: &mut Sim, task: u32) -> Vec<(Bound, Duration, Follows)> {
    let (key, of) = (sim.key(task), sim.task(task));
    let (spec, facts) = (of.spec.clone(), of.facts.clone());
    let now = sim.now;
    let told = |outlook: Outlook| {
        let Outlook { bound, at, follows } = outlook;
        (bound, at.since(now), follows)
    };
    let outlook = sim.lane.outlook(key, &spec, &facts);
    outlook.into_iter().map(told).collect()
}

/// The first that is said of the task comes true at its moment, and nothing before;
/// what was said, and all that came of it.
#[track_caller]
fn comes_true(sim: &mut Sim, task: u32) -> (Bound, Duration, Follows, Vec<Event>) {
    let (bound, after, follows) = outlook(sim, task)[0];
    let state = sim.state(task);
    sim.events();
    sim.run_for(after - millis(1));
    assert_eq!(sim.events(), []);
    assert_eq!(sim.state(task), state);
    sim.run_for(millis(1));
    (bound, after, follows, sim.events())
}

fn asked(events: &[Event], task: u32, why: Reason) -> bool {
    let asks = [Event::Asked(task, why), Event::ToldToDrop(task, why)];
    events.iter().any(|event| asks.contains(event))
}

#[test]
fn every_limit_of_a_holder() {
    let limits = |change: fn(&mut Spec)| {
        let mut spec = ceiling(secs(600));
        change(&mut spec);
        spec
    };
    let cases = [
        (
            limits(|_| {}),
            Bound::StallCeiling,
            secs(600),
            Reason::Stalled,
        ),
        (
            limits(|spec| spec.idle = Some(MINUTE)),
            Bound::Idle,
            MINUTE,
            Reason::TimedOut,
        ),
        (
            limits(|spec| spec.budget = Some(secs(90))),
            Bound::Budget,
            secs(90),
            Reason::TimedOut,
        ),
        (
            limits(|spec| spec.ceiling = Ceiling::Default),
            Bound::StallCeiling,
            secs(3600),
            Reason::Stalled,
        ),
    ];
    for (spec, expected, after, why) in cases {
        let mut sim = Sim::new(1);
        let task = sim.submit(spec);
        sim.task(task).comes = false;
        // A warning of its own comes before the default ceiling.
        if expected == Bound::StallCeiling && after > secs(600) {
            sim.run_for(secs(601));
        }
        let (bound, at, follows, events) = comes_true(&mut sim, task);
        assert_eq!((bound, follows), (expected, Follows::SlotReclaimed));
        assert!(at == after || at == after - secs(601), "{at:?}");
        assert!(asked(&events, task, why), "{bound:?}: {events:?}");
        // Its runner does not come, so that its slot is taken.
        let (bound, at, follows, events) = comes_true(&mut sim, task);
        assert_eq!(
            (bound, at, follows),
            (Bound::Take, TICK, Follows::SlotTaken)
        );
        assert!(events.contains(&Event::Lost(task)), "{events:?}");
        assert_eq!(outlook(&mut sim, task), []);
    }
}

#[test]
fn phases_extensions_deadlines_and_children() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    let of = |sim: &mut Sim| {
        let mut all = outlook(sim, task);
        all.retain(|(bound, ..)| *bound != Bound::Deadline);
        let [(bound, after, Follows::SlotReclaimed)] = all[..] else {
            panic!("{all:?}");
        };
        (bound, after)
    };
    sim.run_for(secs(10));
    assert_eq!(of(&mut sim), (Bound::StallCeiling, secs(50)));
    sim.progress(task);
    assert_eq!(of(&mut sim), (Bound::StallCeiling, MINUTE));
    sim.facts(task).hold_until = Some(sim.now + secs(61));
    assert_eq!(of(&mut sim), (Bound::Child, secs(61)));
    sim.facts(task).extended_until = Some(sim.now + secs(100));
    assert_eq!(of(&mut sim), (Bound::Extension, secs(100)));
    sim.facts(task).extended_until = Some(sim.now + secs(59));
    assert_eq!(of(&mut sim), (Bound::Child, secs(61)));
    sim.facts(task).hold_until = None;
    assert_eq!(of(&mut sim), (Bound::StallCeiling, MINUTE));
    sim.facts(task).phase = Some(secs(1200));
    assert_eq!(of(&mut sim), (Bound::Phase, secs(1200)));
    // While it waits for our lanes, only what does not stand still is left.
    sim.facts(task).deadline = Some(sim.now + secs(30));
    sim.facts(task).waiting = true;
    let deadline = (Bound::Deadline, secs(30), Follows::SlotReclaimed);
    assert_eq!(outlook(&mut sim, task), [deadline]);
}

#[test]
fn a_stall_that_is_only_reported_or_leaves_its_task_running() {
    let on_stall = |on_stall| Spec {
        on_stall,
        idle: Some(secs(90)),
        ..ceiling(MINUTE)
    };
    let mut sim = Sim::new(1);
    let warned = sim.submit(on_stall(OnStall::WarnOnly));
    let both = [
        (Bound::StallCeiling, MINUTE, Follows::Reported),
        (Bound::Idle, secs(90), Follows::SlotReclaimed),
    ];
    assert_eq!(outlook(&mut sim, warned), both);
    let (.., events) = comes_true(&mut sim, warned);
    assert!(matches!(
        events[..],
        [Event::Notice(Notice::Stalled { .. })]
    ));

    let observed = Settings {
        observe_only: true,
        ..settings(1)
    };
    let mut sim = Sim::with(observed);
    let task = sim.submit(on_stall(OnStall::Reclaim));
    assert_eq!(outlook(&mut sim, task), both);

    let mut sim = Sim::new(1);
    let spec = Spec {
        budget: Some(secs(300)),
        ..on_stall(OnStall::Detach)
    };
    let task = sim.submit(spec);
    let (bound, at, follows, events) = comes_true(&mut sim, task);
    let stall = (Bound::StallCeiling, MINUTE, Follows::RunsOnWithoutSlot);
    assert_eq!((bound, at, follows), stall);
    assert!(events.contains(&Event::Lost(task)));
    assert_eq!(sim.state(task), Some(State::Detached));
    let dropped = (Bound::Budget, secs(240), Follows::Dropped);
    assert_eq!(outlook(&mut sim, task), [dropped]);
}

#[test]
fn an_end_by_stages() {
    let mut sim = Sim::new(1);
    let spec = Spec {
        grace: secs(5),
        teardown: secs(3),
        ..ceiling(MINUTE)
    };
    let task = sim.submit(spec);
    (sim.facts(task).listens, sim.facts(task).hooks) = (true, true);
    sim.task(task).comes = false;
    comes_true(&mut sim, task);
    let take = secs(8) + TICK;
    assert_eq!(
        outlook(&mut sim, task),
        [
            (Bound::Grace, secs(5), Follows::Dropped),
            (Bound::Take, take, Follows::SlotTaken),
        ]
    );
    let (.., events) = comes_true(&mut sim, task);
    assert!(asked(&events, task, Reason::Stalled), "{events:?}");
    let take = (Bound::Take, secs(3) + TICK, Follows::SlotTaken);
    assert_eq!(outlook(&mut sim, task), [take]);
    let key = sim.key(task);
    let spec = sim.task(task).spec.clone();
    sim.say(|lane, now, _| assert!(lane.begin_teardown(now, key, &spec)));
    let hooks = (Bound::Teardown, secs(3), Follows::HooksDropped);
    assert_eq!(outlook(&mut sim, task)[0], hooks);
    let (.., events) = comes_true(&mut sim, task);
    assert!(events.contains(&Event::EndTeardown(task)));
}

/// At the orphan bound, there is no moment at which its slot is taken (S10).
#[test]
fn s10_what_is_refused_is_not_to_come() {
    let strict = Settings {
        max_orphans: Some(0),
        ..settings(1)
    };
    for on_stall in [OnStall::Reclaim, OnStall::Detach] {
        let mut sim = Sim::with(strict.clone());
        let task = sim.submit(Spec {
            on_stall,
            ..ceiling(MINUTE)
        });
        sim.task(task).comes = false;
        assert!(sim.lane.is_at_orphan_bound());
        comes_true(&mut sim, task);
        sim.run_for(TICK);
        assert_eq!(outlook(&mut sim, task), [], "{on_stall:?}");
    }
}

#[test]
fn those_who_wait() {
    let mut sim = Sim::new(1);
    let wait = Spec {
        wait: Some(MINUTE),
        ..plain()
    };
    let holder = sim.submit(plain());
    let waiter = sim.submit(wait.clone());
    sim.run_for(secs(10));
    let (bound, at, follows, events) = comes_true(&mut sim, waiter);
    assert_eq!(
        (bound, at, follows),
        (Bound::Wait, secs(50), Follows::GivesUp)
    );
    let timed_out = |event: &Event| {
        let end = End::TimedOut {
            limit: Limit::Wait,
            allowed: MINUTE,
            elapsed: MINUTE,
            idle: MINUTE,
        };
        *event == Event::Settled(waiter, end)
    };
    assert!(events.iter().any(timed_out), "{events:?}");

    let quiet = sim.put_off(wait.clone(), PRESENT, secs(20)).expect("open");
    let both = [
        (Bound::QuietWindow, secs(20), Follows::Queued),
        (Bound::Wait, MINUTE, Follows::GivesUp),
    ];
    assert_eq!(outlook(&mut sim, quiet), both);
    comes_true(&mut sim, quiet);
    assert_eq!(sim.state(quiet), Some(State::Queued));

    // Nobody comes for its grant, and then nobody is there for its place.
    sim.task(quiet).claims = false;
    sim.complete(holder);
    let (bound, at, follows, events) = comes_true(&mut sim, quiet);
    assert_eq!(
        (bound, at, follows),
        (Bound::Claim, secs(5), Follows::PassedOn)
    );
    assert!(events.contains(&Event::Unclaimed(quiet)), "{events:?}");
    let (bound, ..) = outlook(&mut sim, quiet)[0];
    assert_eq!(bound, Bound::Wait);

    let mut sim = Sim::new(1);
    let task = sim.enter(wait, DETACHED).expect("a slot is free");
    sim.task(task).gathers = true;
    sim.gathers(task);
    sim.facts(task).gathers = true;
    let (bound, at, follows, _) = comes_true(&mut sim, task);
    assert_eq!(
        (bound, at, follows),
        (Bound::Wait, MINUTE, Follows::GivesUp)
    );
}

/// One that has ten seconds of its minute behind it, and waits for ten minutes.
fn parked(leaves: bool) -> (Sim, u32) {
    let mut sim = Sim::new(1);
    let spec = Spec {
        budget: Some(MINUTE),
        ..plain()
    };
    let task = sim.submit(spec);
    sim.run_for(secs(10));
    let until = sim.now + secs(600);
    if leaves {
        sim.lane.may_leave().unwrap();
    }
    assert!(sim.park(task, until, leaves));
    // Its budget stands still.
    let limit = (Bound::Parked, secs(600), Follows::GoesOn);
    assert_eq!(outlook(&mut sim, task), [limit]);
    (sim, task)
}

#[test]
fn one_that_is_parked() {
    let (mut sim, task) = parked(false);
    let (.., events) = comes_true(&mut sim, task);
    assert!(events.contains(&Event::Outwaited(task)));
    let budget = (Bound::Budget, secs(50), Follows::SlotReclaimed);
    assert_eq!(outlook(&mut sim, task), [budget]);
}

/// Its wait is over, and so its clocks go on, with its slot or without.
#[test]
fn one_that_waits_for_nobody_but_its_slot() {
    let (mut sim, task) = parked(true);
    sim.run_for(secs(600) + TICK);
    let budget = (Bound::Budget, secs(50) - TICK, Follows::SlotReclaimed);
    assert_eq!(outlook(&mut sim, task), [budget]);
}

/// It has no slot to lose, and so it is not detached; all else ends it as ever.
#[test]
fn of_who_is_on_its_way_back_a_stall_is_said_where_it_ends_it() {
    let silent = |on_stall| {
        let mut sim = Sim::new(1);
        let task = sim.submit(Spec {
            on_stall,
            ..ceiling(MINUTE)
        });
        sim.lane.may_leave().expect("no bound");
        assert!(sim.park(task, sim.now + secs(5), true));
        sim.run_for(secs(5));
        assert_eq!(sim.state(task), Some(State::ComingBack));
        outlook(&mut sim, task)
    };
    let stall = |follows| [(Bound::StallCeiling, MINUTE, follows)];
    assert_eq!(silent(OnStall::Reclaim), stall(Follows::SlotReclaimed));
    assert_eq!(silent(OnStall::WarnOnly), stall(Follows::Reported));
    assert_eq!(silent(OnStall::Detach), []);
}

#[test]
fn a_drain_ends_nobody_who_waits_for_somebody_without_a_slot() {
    for leaves in [false, true] {
        let (mut sim, task) = parked(leaves);
        let deadline = sim.now + MINUTE;
        sim.say(|lane, _, _| lane.start_draining(deadline, false, Leftover::Run));
        let ends = (Bound::Drain, MINUTE, Follows::SlotReclaimed);
        assert_eq!(outlook(&mut sim, task).contains(&ends), !leaves);
        sim.run_for(MINUTE);
        let goes_on = sim.state(task).is_some_and(State::is_parked);
        assert_eq!(goes_on, leaves);
    }
}

#[test]
fn a_drain_ends_who_is_detached_and_asks_nobody_twice() {
    let mut sim = Sim::new(2);
    let detached = sim.submit(Spec {
        on_stall: OnStall::Detach,
        ..ceiling(MINUTE)
    });
    sim.run_for(MINUTE);
    assert_eq!(sim.state(detached), Some(State::Detached));
    let listener = sim.submit(Spec {
        grace: secs(300),
        ..plain()
    });
    sim.facts(listener).listens = true;
    sim.cancel(listener, Reason::User);
    let deadline = sim.now + MINUTE;
    sim.say(|lane, _, _| lane.start_draining(deadline, false, Leftover::Run));
    let dropped = (Bound::Drain, MINUTE, Follows::Dropped);
    assert_eq!(outlook(&mut sim, detached), [dropped]);
    let of_listener = outlook(&mut sim, listener);
    let bounds: Vec<Bound> = of_listener.iter().map(|(bound, ..)| *bound).collect();
    assert_eq!(bounds, [Bound::Grace, Bound::Take]);
}

#[test]
fn a_drain_ends_what_is_active_and_hands_back_what_waits() {
    let mut sim = Sim::new(1);
    let holder = sim.submit(plain());
    let waiter = sim.submit(plain());
    let deadline = sim.now + MINUTE;
    sim.say(|lane, _, _| lane.start_draining(deadline, false, Leftover::Run));
    assert_eq!(sim.lane.drains_until(), Some(deadline));
    let back = (Bound::Drain, MINUTE, Follows::HandedBack);
    assert_eq!(outlook(&mut sim, waiter), [back]);
    let (bound, _, follows, events) = comes_true(&mut sim, holder);
    assert_eq!((bound, follows), (Bound::Drain, Follows::SlotReclaimed));
    assert!(asked(&events, holder, Reason::Draining), "{events:?}");
    let waited = MINUTE;
    let back = Event::Settled(waiter, End::Returned { waited });
    assert!(events.contains(&back), "{events:?}");
}

#[test]
fn those_in_line_are_told_in_the_order_in_which_they_are_served() {
    let mut sim = Sim::new(1);
    let holder = sim.submit(plain());
    let at = |priority| Spec {
        priority,
        ..plain()
    };
    use crate::engine::Priority::{Background, Foreground, Normal};
    let tasks: Vec<u32> = [Background, Normal, Foreground, Normal]
        .map(|priority| sim.submit(at(priority)))
        .to_vec();
    let (now, key) = (sim.now, |sim: &Sim, task: u32| sim.key(task));
    let served = sim.lane.served(now);
    let expected = [2, 1, 3, 0].map(|n| key(&sim, tasks[n]));
    assert_eq!(served, expected);
    sim.events();
    sim.complete(holder);
    for task in expected {
        let token = tasks.iter().find(|token| sim.key(**token) == task);
        let token = *token.expect("one of them");
        assert!(sim.events().contains(&Event::Granted(token)));
        sim.complete(token);
    }
}

#[test]
fn what_follows_is_said_in_words_and_whether_somebody_else_is_served() {
    let served = [
        (Follows::SlotReclaimed, "slot reclaimed"),
        (Follows::RunsOnWithoutSlot, "slot taken, and it runs on"),
        (Follows::SlotTaken, "slot taken"),
        (Follows::PassedOn, "passed on"),
    ];
    let nobody = [
        (Follows::Reported, "only reported"),
        (Follows::GivesUp, "gives up"),
        (Follows::Queued, "comes to the queue"),
        (Follows::GoesOn, "goes on"),
        (Follows::Dropped, "dropped"),
        (Follows::HooksDropped, "hooks dropped"),
        (Follows::HandedBack, "handed back"),
        (Follows::LaneResumes, "lane resumes"),
    ];
    for (follows, word) in served {
        assert_eq!(
            (follows.to_string().as_str(), follows.frees_slot()),
            (word, true)
        );
    }
    for (follows, word) in nobody {
        assert_eq!(
            (follows.to_string().as_str(), follows.frees_slot()),
            (word, false)
        );
    }
    assert_eq!(Bound::StallCeiling.to_string(), "stall ceiling");
    assert_eq!(Bound::Take.to_string(), "its runner has not come");
}

#[test]
fn a_kept_place_has_a_minute_once_somebody_has_come_for_it() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    let place = sim.reserve(plain(), PRESENT).expect("room");
    let bound = |after| [(Bound::Claim, after, Follows::PassedOn)];
    sim.facts(place).claimed = true;
    assert_eq!(outlook(&mut sim, place), bound(KEPT));
    sim.facts(place).claimed = false;
    assert_eq!(outlook(&mut sim, place), bound(CLAIM));
}

/// Between its runner's coming and the next look at it.
#[test]
fn a_grant_that_was_claimed_is_bound_by_what_it_does() {
    let mut sim = Sim::new(1);
    let task = sim.enter(ceiling(MINUTE), DETACHED).expect("a slot");
    assert_eq!(sim.state(task), Some(State::Granted));
    let (bound, after, _) = outlook(&mut sim, task)[0];
    assert_eq!((bound, after), (Bound::Claim, CLAIM));
    sim.facts(task).claimed = true;
    let (bound, after, _) = outlook(&mut sim, task)[0];
    assert_eq!((bound, after), (Bound::StallCeiling, MINUTE));
}

#[test]
fn a_floor_at_the_very_moment_of_a_limit_is_not_what_holds_it() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    let begun = sim.now;
    sim.facts(task).extended_until = Some(begun + MINUTE);
    assert_eq!(outlook(&mut sim, task)[0].0, Bound::StallCeiling);
    sim.facts(task).extended_until = Some(begun + MINUTE + TICK);
    assert_eq!(outlook(&mut sim, task)[0].0, Bound::Extension);
}
