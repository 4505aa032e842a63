//! What is written down, fact by fact. That it makes a whole is the ledger's to say.

use std::sync::Arc;
use std::time::Duration;

use super::sim::{PRESENT, Sim, ceiling, plain, secs, settings};
use crate::engine::fact::{Came, Told};
use crate::engine::{
    Ahead, Effect, Effects, End, Fact, Key, Lane, More, Names, Notice, OnStall, Reclaim, Recovery,
    Span, Spec, TaskId, Time, Verdict, What,
};

const MINUTE: Duration = secs(60);
const NOW: Time = Time::START;

/// Of tasks whose numbers are from here on, each is a part of the one with that number.
const PARTS: u32 = 100;

const fn id(number: u32) -> TaskId {
    TaskId {
        lane: 7,
        key: Key {
            index: number,
            seq: 1 + number as u64,
        },
    }
}

const BY_NUMBER: Names<u32> = Names {
    id: |number| id(*number),
    more: |number| {
        let part_of = number.checked_sub(PARTS).map(id);
        part_of.map(|part_of| {
            Box::new(More {
                part_of: Some(part_of),
                ..More::default()
            })
        })
    },
};

fn lane() -> Lane<u32> {
    let mut lane = Lane::new(settings(2), 1);
    lane.keep_journal(BY_NUMBER, false);
    lane
}

/// What was written down since the last look.
fn facts(lane: &mut Lane<u32>) -> Vec<What> {
    let Some(news) = lane.news() else {
        return Vec::new();
    };
    let facts = news.facts().iter().map(|fact| fact.what.clone()).collect();
    news.clear();
    assert!(lane.news().is_none(), "it was read");
    facts
}

const fn settled(end: Option<Box<End>>) -> What {
    What::Settled {
        end,
        panicked: false,
        holds: false,
        ran: Span::ENDLESS,
    }
}

#[test]
fn what_becomes_of_a_lane_is_told_once() {
    let (mut lane, mut effects) = (lane(), Effects::new());
    lane.pause(None);
    lane.resume(NOW, &mut effects);
    let whole = [What::Paused { until: None }, What::Resumed];
    assert_eq!(facts(&mut lane), whole);
    lane.close();
    assert_eq!(facts(&mut lane), [What::Closed]);
    lane.close();
    assert_eq!(facts(&mut lane), []);
    lane.shutdown(NOW, &mut effects);
    assert_eq!(facts(&mut lane), [What::Shutdown]);
    lane.shutdown(NOW, &mut effects);
    assert_eq!(facts(&mut lane), []);
    lane.note_repaired(0);
    lane.note_repaired(2);
    assert_eq!(facts(&mut lane), [What::Repaired { faults: 2 }]);
    assert_eq!(lane.tally().repaired, 2);
}

#[test]
fn a_fact_of_the_lane_is_of_no_task_and_one_of_a_part_is_of_its_task() {
    let mut lane = lane();
    lane.pause(None);
    lane.submit(NOW, 5, &plain(), PRESENT).expect("it is open");
    lane.submit(NOW, PARTS + 5, &plain(), PRESENT)
        .expect("it is open");
    let news = lane.news().expect("three facts");
    let tasks = news.facts().iter().map(|fact| fact.tag.task(3));
    let tasks: Vec<_> = tasks.collect();
    let own = tasks[1].expect("of a task");
    assert_eq!((tasks[0], own.lane), (None, 3));
    assert_eq!(tasks[2], Some(id(5)));
    let parts = news.facts().iter().map(|fact| fact.tag.is_part());
    assert!(parts.eq([false, false, true]));
}

/// A task of this number that started, and nothing more to be said of that.
fn started(lane: &mut Lane<u32>, number: u32, spec: &Spec) -> Key {
    lane.submit(NOW, number, spec, PRESENT).expect("it is open");
    facts(lane);
    let holders = lane.holders().to_vec();
    *holders.last().expect("it has a slot")
}

/// What is said when a runner lets go of it.
fn let_go(lane: &mut Lane<u32>, key: Key, told: Told, completed: bool) -> Vec<What> {
    let released = lane.release(key, completed);
    lane.note_release(NOW, key, &released, told, completed);
    facts(lane)
}

const STALLED: End = End::Stalled {
    elapsed: MINUTE,
    idle: MINUTE,
    ceiling: MINUTE,
};

#[test]
fn the_last_word_of_a_task_is_how_it_ended_and_of_a_part_that_it_left() {
    let mut lane = lane();
    for (told, completed) in [(End::Completed, true), (STALLED, false)] {
        let key = started(&mut lane, 1, &plain());
        let end = (told != End::Completed).then(|| Box::new(told));
        let expected = [settled(end)];
        assert_eq!(let_go(&mut lane, key, told.into(), completed), expected);
        let key = started(&mut lane, PARTS, &plain());
        let said = let_go(&mut lane, key, told.into(), completed);
        assert_eq!(said, [What::Left]);
        // Whoever is told while its slot stays held.
        let key = started(&mut lane, 1, &plain());
        lane.tell(NOW, key, STALLED, &mut Effects::new());
        let word = What::Settled {
            end: Some(Box::new(STALLED)),
            panicked: false,
            holds: true,
            ran: Span::ENDLESS,
        };
        assert_eq!(facts(&mut lane), [word]);
        lane.tell(NOW, key, STALLED, &mut Effects::new());
        assert_eq!(facts(&mut lane), [], "it is said once");
        let said = let_go(&mut lane, key, told.into(), completed);
        assert_eq!(said, [What::Left]);
    }
    let panicked = Told {
        end: None,
        panicked: true,
        ran: Span::of(MINUTE),
    };
    let key = started(&mut lane, 1, &plain());
    let word = What::Settled {
        end: None,
        panicked: true,
        holds: false,
        ran: Span::of(MINUTE),
    };
    assert_eq!(let_go(&mut lane, key, panicked, true), [word]);
}

/// One whose slot was taken.
fn orphan(lane: &mut Lane<u32>, number: u32, detaches: bool) -> Key {
    let spec = Spec {
        on_stall: if detaches {
            OnStall::Detach
        } else {
            OnStall::Reclaim
        },
        ..ceiling(MINUTE)
    };
    let key = started(lane, number, &spec);
    let (mut effects, facts_of) = (Effects::new(), Default::default());
    if detaches {
        assert!(lane.detach(NOW, key, &spec, &facts_of, &mut effects));
    } else {
        lane.end_active(NOW, key, STALLED, &spec, &facts_of, &mut effects);
        lane.take(NOW, key, &facts_of, &mut effects);
    }
    facts(lane);
    key
}

#[test]
fn what_an_orphan_comes_to_is_told_apart() {
    let mut lane = lane();
    let key = orphan(&mut lane, 1, false);
    let said = let_go(&mut lane, key, End::Completed.into(), true);
    assert_eq!(said, [What::LateCompletion], "nobody has its value");
    let key = orphan(&mut lane, 1, false);
    assert_eq!(
        let_go(&mut lane, key, STALLED.into(), false),
        [What::OrphanGone]
    );
    let key = orphan(&mut lane, PARTS, false);
    let said = let_go(&mut lane, key, End::Completed.into(), true);
    assert_eq!(said, [What::OrphanGone], "a part has no value");
    // One that was detached delivers what it comes to.
    let key = orphan(&mut lane, 1, true);
    let said = let_go(&mut lane, key, End::Completed.into(), true);
    assert_eq!(said, [settled(None), What::OrphanGone]);
}

/// That it was taken is all that there is to say of a part.
#[test]
fn a_taken_task_is_told_and_a_taken_part_is_not() {
    for (number, tells) in [(1, true), (PARTS, false)] {
        let mut lane = lane();
        let key = started(&mut lane, number, &ceiling(MINUTE));
        let (mut effects, none) = (Effects::new(), Default::default());
        lane.end_active(NOW, key, STALLED, &ceiling(MINUTE), &none, &mut effects);
        lane.take(NOW, key, &none, &mut effects);
        let said = facts(&mut lane);
        let told = said.contains(&settled(Some(Box::new(STALLED))));
        assert_eq!(told, tells, "{said:?}");
    }
}

#[test]
fn progress_is_told_once_for_each_look_that_found_some() {
    let mut sim = Sim::new(1);
    let spec = ceiling(MINUTE);
    let task = sim.submit(spec.clone());
    let (key, mut effects) = (sim.key(task), Effects::new());
    let mut known = sim.facts(task).clone();
    let lane = &mut sim.lane;
    let mut look = |known: &_, at: Time| {
        let verdict = lane.judge(at, key, &spec, known, &mut effects);
        assert_eq!(verdict, Verdict::Nothing);
        facts(lane)
    };
    let begun = known.active_at;
    assert_eq!(look(&known, begun + secs(1)), [], "it never reported");
    known.active_at = begun + secs(1);
    assert_eq!(look(&known, begun + secs(1)), [], "it waited for a lane");
    (known.reported, known.active_at) = (true, begun);
    assert_eq!(look(&known, begun + secs(2)), [], "not since it began");
    known.active_at = begun + secs(3);
    let idle = secs(2);
    assert_eq!(look(&known, begun + secs(5)), [What::Moved { idle }]);
    assert_eq!(look(&known, begun + secs(6)), [], "it is known");
    known.active_at = begun + secs(7);
    let idle = secs(1);
    assert_eq!(look(&known, begun + secs(8)), [What::Moved { idle }]);
}

#[test]
fn s17_what_a_reclaim_came_to_is_told_with_whom_it_was_of() {
    let mut lane = lane();
    let came = |recovery| {
        What::Reclaimed(Box::new(Came {
            end: STALLED,
            how: Reclaim::Taken,
            recovery,
        }))
    };
    let how = Reclaim::Taken;
    lane.note_reclaim(&1, STALLED, how, &Recovery::Dispatched(2));
    lane.note_reclaim(&1, STALLED, how, &Recovery::NobodyWaiting);
    let news = lane.news().expect("two facts");
    assert!(news.facts().iter().all(|fact| fact.tag.key() == id(1).key));
    let expected = [
        came(Recovery::Dispatched(id(2))),
        came(Recovery::NobodyWaiting),
    ];
    assert_eq!(facts(&mut lane), expected);
    let mut effects = Effects::new();
    effects.push(Effect::Lost { task: 1 });
    assert!(!effects.reports_reclaim());
    effects.push(Effect::Report(Notice::Reclaimed {
        task: 1,
        end: STALLED,
        how,
        recovery: Recovery::NobodyWaiting,
        orphans: 1,
    }));
    assert!(effects.reports_reclaim());
    lane.note_reclaims(&effects);
    assert_eq!(facts(&mut lane), [came(Recovery::NobodyWaiting)]);
}

#[test]
fn what_a_parked_task_waits_for_is_told_with_it() {
    let mut lane = lane();
    let key = started(&mut lane, 1, &plain());
    assert!(lane.park(NOW, key, NOW + MINUTE, false, &mut Effects::new()));
    lane.note_waits_for("approval".into());
    let parked = What::Parked {
        what: Some("approval".into()),
        until: NOW + MINUTE,
        leaves: false,
    };
    assert_eq!(facts(&mut lane), [parked]);
}

/// What is in a box, or shared, is not kept in places that are free again.
#[test]
fn s15_what_was_read_holds_on_to_nothing() {
    let text: Arc<str> = "a note".into();
    let mut lane = lane();
    let key = started(&mut lane, 1, &plain());
    lane.note_untimed(key, || What::Note(Arc::clone(&text)));
    assert_eq!(Arc::strong_count(&text), 2);
    assert_eq!(facts(&mut lane).len(), 1);
    assert_eq!(Arc::strong_count(&text), 1);
    // And so is what a task is called, whatever happened to it.
    static NAME: std::sync::OnceLock<Arc<str>> = std::sync::OnceLock::new();
    let name = NAME.get_or_init(|| "turn 17".into());
    lane.keep_journal(
        Names {
            more: |_| {
                Some(Box::new(More {
                    name: NAME.get().cloned(),
                    ..More::default()
                }))
            },
            ..BY_NUMBER
        },
        false,
    );
    started(&mut lane, 2, &plain());
    assert_eq!(Arc::strong_count(name), 1);
}

#[test]
fn s15_a_storm_of_facts_gives_its_memory_back() {
    let mut lane = lane();
    let places = |lane: &mut Lane<u32>, facts: usize| {
        for _ in 0..facts {
            lane.pause(None);
        }
        let news = lane.news().expect("some");
        assert_eq!(news.facts().len(), facts);
        news.clear();
        news.places.len()
    };
    assert_eq!(places(&mut lane, 64), 64, "kept for the next");
    assert_eq!(places(&mut lane, 65), 0);
    assert_eq!(places(&mut lane, 200), 0);
    assert_eq!(places(&mut lane, 3), 3);
}

/// A place that is kept is no task, and nothing is told of it.
#[test]
fn a_kept_place_that_is_let_go_of_is_no_fact() {
    let mut lane = lane();
    let (key, placed) = lane.reserve(NOW, 1, &plain(), PRESENT).expect("room");
    assert!(placed);
    facts(&mut lane);
    for told in [End::Completed, STALLED] {
        let said = let_go(&mut lane, key, told.into(), told == End::Completed);
        assert_eq!(said, []);
    }
}

#[test]
fn a_blank_fact_is_of_nobody() {
    assert_eq!(Fact::BLANK.tag.task(1), None);
}

#[test]
fn a_wait_that_is_too_long_is_told_once_and_when_it_is() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    let spec = Spec {
        warn_wait: Some(secs(10)),
        ..plain()
    };
    let waiter = sim.submit(spec.clone());
    let (key, none, begun) = (sim.key(waiter), Default::default(), sim.now);
    let lane = &mut sim.lane;
    let mut look = |at: Time| {
        let verdict = lane.judge(at, key, &spec, &none, &mut Effects::new());
        assert_eq!(verdict, Verdict::Nothing);
        facts(lane)
    };
    assert_eq!(look(begun + secs(5)), []);
    let ahead = Ahead {
        queued: 0,
        active: 1,
    };
    let waited = secs(10);
    let exceeded = What::WaitExceeded { waited, ahead };
    assert_eq!(look(begun + waited), [exceeded]);
    assert_eq!(look(begun + secs(20)), []);
}

/// Its caller was told while its slot stayed held.
#[test]
fn s2_a_task_that_was_told_is_not_told_again_when_it_is_taken() {
    let mut lane = lane();
    let key = started(&mut lane, 1, &ceiling(MINUTE));
    let (mut effects, none) = (Effects::new(), Default::default());
    lane.tell(NOW, key, STALLED, &mut effects);
    lane.end_active(NOW, key, STALLED, &ceiling(MINUTE), &none, &mut effects);
    facts(&mut lane);
    lane.take(NOW, key, &none, &mut effects);
    let said = facts(&mut lane);
    let again = said.iter().any(|what| matches!(what, What::Settled { .. }));
    assert!(!again, "{said:?}");
}
