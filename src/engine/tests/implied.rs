//! What is recorded says what was told, word for word, whether it is kept or implied.

use super::sim::{PRESENT, plain, secs, settings};
use crate::engine::{
    Comer, Effects, End, Entry, IfFull, Input, Key, More, Names, Recorder, Released, Span, Spec,
    TaskId, Time, Told,
};

const START: Time = Time::START;

const fn id(key: Key) -> TaskId {
    TaskId { lane: 7, key }
}

const NOBODY: Key = Key { index: 0, seq: 1 };

/// Tasks are numbers, of which the odd ones are parts of others.
const NAMES: Names<u32> = Names {
    id: |_| id(NOBODY),
    more: |number| {
        let part_of = (number % 2 == 1).then_some(id(NOBODY))?;
        Some(Box::new(More {
            part_of: Some(part_of),
            ..More::default()
        }))
    },
};

fn lane(max_concurrent: usize) -> Recorder<u32> {
    let mut lane = Recorder::new(settings(max_concurrent), 1);
    lane.keep_journal(NAMES, true);
    lane
}

/// What was told to the lane since the last look, and how much of it was kept.
fn told(lane: &mut Recorder<u32>) -> (Vec<Input>, usize) {
    let Some(news) = lane.news() else {
        return (Vec::new(), 0);
    };
    let kept: Vec<(usize, Input)> = news.inputs().drain(..).collect();
    let count = kept.len();
    let (mut all, mut kept) = (Vec::new(), kept.into_iter().peekable());
    for (passed, fact) in news.facts().iter().enumerate() {
        while let Some((_, input)) = kept.next_if(|(before, _)| *before <= passed) {
            all.push(input);
        }
        let heard: Result<(), ()> = fact.implied(|input| {
            all.push(input.clone());
            Ok(())
        });
        assert!(heard.is_ok());
    }
    all.extend(kept.map(|(_, input)| input));
    news.clear();
    (all, count)
}

fn come(lane: &mut Recorder<u32>, now: Time, task: u32, entry: Entry) -> Input {
    let key = lane.submit(now, task, &plain(), entry).ok();
    let key = key.map(|accepted| accepted.key());
    let more = key.and_then(|_| (NAMES.more)(&task));
    Input::Come {
        now,
        key,
        label: more.as_deref().map(|more| Box::new(more.into())),
        entry,
        comer: Comer::Plain,
    }
}

/// It is released, and its caller is told this.
fn leave(
    lane: &mut Recorder<u32>,
    now: Time,
    key: Key,
    completed: bool,
    told: &Told,
) -> [Input; 2] {
    let released = lane.release(key, completed, |_| Some((now, told.clone())));
    assert!(matches!(released, Released::Held(_)));
    let release = Input::Release { key, completed };
    let told = told.clone();
    let noted = Input::NoteRelease {
        now,
        key,
        told,
        completed,
    };
    [release, noted]
}

const fn key_of(come: &Input) -> Key {
    match come {
        Input::Come { key: Some(key), .. } => *key,
        _ => NOBODY,
    }
}

fn done(ran: u64) -> Told {
    Told {
        end: None,
        panicked: false,
        ran: Span::of(secs(ran)),
    }
}

#[test]
fn whoever_comes_plainly_is_implied_and_nobody_else() {
    let late = START + secs(60);
    let entries = [
        PRESENT,
        Entry {
            present: false,
            ..PRESENT
        },
        Entry {
            at_once: true,
            ..PRESENT
        },
        Entry {
            if_full: IfFull::Wait,
            ..PRESENT
        },
        Entry {
            if_full: IfFull::Enter,
            ..PRESENT
        },
        Entry {
            descendant: true,
            ..PRESENT
        },
        Entry {
            part: true,
            ..PRESENT
        },
        Entry {
            waited: secs(1),
            ..PRESENT
        },
    ];
    // With a slot for it, and without.
    for max_concurrent in [1, 0] {
        let mut lane = lane(max_concurrent);
        let mut first = true;
        for (n, entry) in entries.into_iter().enumerate() {
            for task in [2, 3] {
                // The second comes from before the lane's last moment.
                for (before, now) in [(false, late), (true, START)] {
                    let granted = std::mem::take(&mut first);
                    let came = come(&mut lane, now, task, entry);
                    let (mut heard, kept) = told(&mut lane);
                    if granted {
                        assert_eq!(heard.remove(0), Input::Spec(plain()));
                    }
                    assert_eq!(heard, std::slice::from_ref(&came), "{entry:?}");
                    let refused = matches!(came, Input::Come { key: None, .. });
                    let implied = n < 5 && !before && !refused;
                    assert_eq!(
                        kept - usize::from(granted),
                        usize::from(!implied),
                        "{came:?}"
                    );
                    if max_concurrent > 0 {
                        leave(&mut lane, late, key_of(&came), true, &done(0));
                        told(&mut lane);
                    }
                }
            }
        }
    }
}

#[test]
fn whoever_completes_is_implied_and_nobody_else() {
    let later = START + secs(60);
    let panicked = Told {
        panicked: true,
        ..done(3)
    };
    let ended = Told {
        end: Some(Box::new(End::RuntimeShutdown)),
        ..done(60)
    };
    // Whether it completed, and whether that is implied.
    let ends = [
        (done(60), true, true),
        (panicked, true, true),
        (done(60), false, false),
        (ended, false, false),
    ];
    for (how, completed, implies) in ends {
        // One that is a part of another is not told that it completed.
        for (task, whole) in [(2, true), (3, false)] {
            // The last comes from before the lane's last moment.
            for (now, orderly) in [(later, true), (START, false)] {
                let mut lane = lane(1);
                let came = come(&mut lane, START, task, PRESENT);
                lane.tick(if orderly { START } else { later }, &mut Effects::new());
                told(&mut lane);
                let left = leave(&mut lane, now, key_of(&came), completed, &how);
                let (heard, kept) = told(&mut lane);
                assert_eq!(heard, left);
                let implied = implies && whole && orderly;
                assert_eq!(kept, if implied { 0 } else { 2 }, "{how:?}");
            }
        }
    }
}

#[test]
fn what_is_granted_is_told_when_it_is_another() {
    let mut lane = lane(9);
    let brief = Spec {
        budget: Some(secs(1)),
        ..plain()
    };
    let mut granted = |spec: &Spec| {
        assert!(lane.submit(START, 2, spec, PRESENT).is_ok());
        let (heard, _) = told(&mut lane);
        heard.into_iter().find_map(|input| match input {
            Input::Spec(spec) => Some(spec),
            _ => None,
        })
    };
    assert_eq!(granted(&plain()), Some(plain()));
    assert_eq!(granted(&plain()), None);
    assert_eq!(granted(&brief), Some(brief.clone()));
    assert_eq!(granted(&brief), None);
    assert_eq!(granted(&plain()), Some(plain()));
}

/// Several inputs, and what came of each, before anybody reads any.
#[test]
fn they_are_told_in_their_order() {
    let (mut lane, mut effects) = (lane(1), Effects::new());
    let mut expected = vec![Input::Spec(plain())];
    let first = come(&mut lane, START, 2, PRESENT);
    lane.pause(None);
    let second = come(&mut lane, START, 2, PRESENT);
    lane.resume(START, &mut effects);
    let left = leave(&mut lane, START, key_of(&first), true, &done(0));
    lane.dispatch(START, &mut effects);
    let again = leave(&mut lane, START, key_of(&second), true, &done(0));
    expected.extend([first, Input::Pause { until: None }, second]);
    expected.push(Input::Resume { now: START });
    expected.extend(left);
    expected.push(Input::Dispatch { now: START });
    expected.extend(again);
    let (heard, kept) = told(&mut lane);
    assert_eq!(heard, expected);
    assert_eq!(kept, 4);
}

/// As those of a recording that is full.
#[test]
fn s15_inputs_that_nobody_takes_go_with_their_facts() {
    let mut lane = lane(1);
    let entry = Entry {
        waited: secs(1),
        ..PRESENT
    };
    for _ in 0..3 {
        let came = come(&mut lane, START, 2, entry);
        assert!(lane.news().is_some_and(|news| !news.inputs().is_empty()));
        lane.news().into_iter().for_each(|news| news.clear());
        assert!(lane.news().is_none());
        leave(&mut lane, START, key_of(&came), false, &done(0));
        lane.news().into_iter().for_each(|news| news.clear());
        assert!(lane.news().is_none());
    }
}
