//! Somebody who has all the verbs and no sense.

use std::sync::Arc;
use std::time::Duration;

use laneway::{Descendants, Drain, GroupConfig, Lane, Lanes, QueuedWork, Reason, TaskId};
use tokio::time::{sleep, timeout};

use crate::book::{Book, Verb};
use crate::dice::Dice;
use crate::sync::{SeqCst, lock};
use crate::way::key_name;
use crate::workshop::Workshop;
use crate::world::{KEYS, World, session_lane};

/// How many may wait, if a change that was refused was made all the same.
const NOBODY_ELSES: usize = 77_777;

pub(crate) async fn meddle(world: Arc<World>, mut dice: Dice) {
    while !world.is_over() && !world.ending.load(SeqCst) {
        sleep(dice.millis(5, 60)).await;
        let Some(lanes) = world.lanes() else { return };
        let book = dice.pick(&world.books);
        one_verb(&world, &lanes, book, &mut dice).await;
    }
}

async fn one_verb(world: &Arc<World>, lanes: &Lanes, book: &Arc<Book>, dice: &mut Dice) {
    let Ok(lane) = lanes.lane(&book.traits.name) else {
        return;
    };
    let fault = |name| world.proof.fault(name);
    match dice.below(18) {
        0..=2 if book.traits.resizable => {
            fault("verb: set_max_concurrent");
            // Seldom to nothing: that only makes everybody wait.
            let width = if dice.one_in(8) { 0 } else { 1 + dice.below(8) };
            book.resizes.fetch_add(1, SeqCst);
            book.widest.fetch_max(width as u64, SeqCst);
            let _ = lane.set_max_concurrent(width);
            book.resizes.fetch_add(1, SeqCst);
        }
        3 => {
            fault("verb: pause");
            lane.pause();
            sleep(dice.millis(1, 80)).await;
            lane.resume();
        }
        4 => {
            fault("verb: pause_for");
            let _ = lane.pause_for(dice.millis(1, 80));
        }
        5 => {
            fault("verb: clear");
            book.begin(Verb::Clear);
            lane.clear();
            book.finish(Verb::Clear);
        }
        6 => {
            fault("verb: cancel_all");
            book.begin(Verb::CancelAll);
            lane.cancel_all(Reason::User);
            book.finish(Verb::CancelAll);
        }
        7 if book.traits.resettable => {
            fault("verb: reset");
            book.begin(Verb::Reset);
            lane.reset();
            book.finish(Verb::Reset);
        }
        8 | 9 => {
            fault("verb: drain of a lane");
            book.begin(Verb::Drain);
            let report = lane.drain(a_drain(dice));
            let _ = timeout(dice.millis(0, 500), report).await;
            lane.resume();
            book.finish(Verb::Drain);
        }
        10 => {
            fault("verb: cancel_key");
            let key = dice.below(KEYS);
            world.keys_in_use.fetch_add(1, SeqCst);
            world.keys[key].fetch_add(1, SeqCst);
            lanes.cancel_key(&key_name(key), Reason::Superseded);
            world.keys_in_use.fetch_sub(1, SeqCst);
        }
        11 => by_id(world, lanes, dice),
        12 if dice.one_in(3) => {
            fault("runtime shut down");
            let new = Arc::new(Workshop::open());
            let old = {
                let mut shops = lock(&world.shops);
                let at = dice.below(shops.len());
                std::mem::replace(&mut shops[at], new)
            };
            let killer = old.kill(dice);
            lock(&world.killers).extend(killer);
        }
        13 => {
            let orphans = lane.snapshot().orphans;
            if !orphans.is_empty() && dice.one_in(4) {
                fault("verb: forget_orphan");
                let _ = lanes.forget_orphan(dice.pick(&orphans).id);
            }
        }
        14 if dice.one_in(4) => of_all(world, lanes, dice).await,
        15 if book.traits.name == "session:11" => {
            fault("verb: close of a lane");
            book.begin(Verb::Close);
            lane.close();
        }
        16 => {
            fault("verb: reconfigure");
            set_anew(lanes, &book.traits.name, dice);
        }
        17 => {
            fault("verb: reconfigure, and it cannot work");
            set_wrongly(world, &lane, lanes, dice);
        }
        _ => {}
    }
}

/// Lanes go from one pattern to another and back, and whatever nobody is held
/// to here changes. Some of it is refused: the lane may be a pattern's, the
/// pattern may not be there.
fn set_anew(lanes: &Lanes, name: &str, dice: &mut Dice) {
    let (aging, warn_after) = (dice.millis(1, 400), dice.millis(1, 1_000));
    let session = session_lane().aging(aging).warn_after(warn_after);
    let _ = lanes.reconfigure(|change| match dice.below(4) {
        0 => change.pattern("session:1*", session),
        1 => change.pattern("session:*", session),
        2 => change.remove_pattern("session:1*"),
        _ => {
            change.lane(name).aging(aging).warn_after(warn_after);
        }
    });
}

/// One wrong thing among right ones: nothing of it must come to be (S18).
fn set_wrongly(world: &World, lane: &Lane, lanes: &Lanes, dice: &mut Dice) {
    let wrong = dice.below(4);
    let refused = lanes.reconfigure(|change| {
        change.lane(lane.name()).queue_capacity(NOBODY_ELSES);
        match wrong {
            0 => change.pattern("session:1*", session_lane().stall_ceiling(Duration::ZERO)),
            1 => {
                change.lane("nowhere").warn_after(Duration::from_secs(1));
            }
            2 => change.group(
                "shared",
                GroupConfig::new(1).member("fixed:1").reserve("fixed:1", 2),
            ),
            _ => change.add_lane("", session_lane()),
        }
    });
    let capacity = lane.snapshot().queue_capacity;
    let holds = refused.is_err() && capacity != Some(NOBODY_ELSES);
    world.proof.check("S18", holds, || {
        format!(
            "wrong change {wrong} of {lane:?} came to {refused:?}, with a queue of {capacity:?}"
        )
    });
}

fn by_id(world: &World, lanes: &Lanes, dice: &mut Dice) {
    let known: Vec<_> = lock(&world.ledger).values().cloned().collect();
    if known.is_empty() {
        return;
    }
    let case = dice.pick(&known);
    let Some(id): Option<TaskId> = case.id.get().copied() else {
        return;
    };
    if dice.one_in(2) {
        world.proof.fault("verb: extend");
        let _ = lanes.extend(id, dice.millis(1, 300));
    } else {
        world.proof.fault("verb: cancel by id");
        case.cancelled.store(true, SeqCst);
        let _ = lanes.cancel(id, Reason::User);
    }
}

async fn of_all(world: &World, lanes: &Lanes, dice: &mut Dice) {
    let begin = |verb| world.books.iter().for_each(|book| book.begin(verb));
    let finish = |verb| world.books.iter().for_each(|book| book.finish(verb));
    match dice.below(4) {
        0 => {
            world.proof.fault("verb: pause of all");
            lanes.pause();
            sleep(dice.millis(1, 50)).await;
            lanes.resume();
        }
        1 => {
            world.proof.fault("verb: clear of all");
            begin(Verb::Clear);
            lanes.clear();
            finish(Verb::Clear);
        }
        2 => {
            world.proof.fault("verb: cancel_all of all");
            begin(Verb::CancelAll);
            lanes.cancel_all(Reason::User);
            finish(Verb::CancelAll);
        }
        _ => {
            world.proof.fault("verb: drain of all");
            begin(Verb::Drain);
            let report = lanes.drain(a_drain(dice));
            let _ = timeout(dice.millis(0, 500), report).await;
            lanes.resume();
            finish(Verb::Drain);
        }
    }
}

pub(crate) fn a_drain(dice: &mut Dice) -> Drain {
    Drain::within(dice.millis(0, 200))
        .queued(*dice.pick(&[QueuedWork::Run, QueuedWork::Return, QueuedWork::Cancel]))
        .descendants(*dice.pick(&[Descendants::Refuse, Descendants::Admit]))
}
