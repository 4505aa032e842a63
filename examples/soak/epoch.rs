//! The life of one scheduler: clients and meddlers at work, then an end of one
//! kind or another, and then nothing may be left.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::errand::errand;
use crate::meddler::{a_drain, meddle};
use crate::proof::Proof;
use crate::sampler::sample;
use crate::sync::{SeqCst, lock};
use crate::world::{Fences, World};

const CLIENTS: usize = 192;
/// By when all is over after an end; longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether all came to its end; if not, nothing more can be tried.
pub(crate) async fn epoch(
    proof: &Arc<Proof>,
    fences: &mut Fences,
    dice: &mut Dice,
    time: Duration,
) -> bool {
    let world = Arc::new(World::make(proof, fences, dice));
    let sampler = {
        let world = Arc::clone(&world);
        std::thread::spawn(move || sample(&world))
    };
    let mut all = JoinSet::new();
    for _ in 0..CLIENTS {
        let (world, mut dice) = (Arc::clone(&world), dice.fork());
        all.spawn(async move {
            while !world.is_over() && world.lanes().is_some() {
                errand(&world, &mut dice).await;
                if world.ending.load(SeqCst) {
                    // Refusals come at once, and prove little.
                    sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }
    let mut meddlers = JoinSet::new();
    for _ in 0..2 {
        meddlers.spawn(meddle(Arc::clone(&world), dice.fork()));
    }
    sleep(time).await;

    end(&world, dice, meddlers).await;
    world.stop.store(true, SeqCst);
    world.open_gates();
    let gone = async { while all.join_next().await.is_some() {} };
    let settled = timeout(PATIENCE, gone).await.is_ok();
    proof.check("S7", settled, || {
        format!("never answered: {:#?}", lock(&world.ledger).values())
    });
    if !settled {
        return false;
    }
    leave_nothing(world, sampler, dice).await
}

/// Ends the scheduler while its clients are at work.
async fn end(world: &Arc<World>, dice: &mut Dice, mut meddlers: JoinSet<()>) {
    let Some(lanes) = world.lanes() else { return };
    let way = *dice.pick(&["shutdown", "drop", "drain", "close", "idle"]);
    world.proof.fault(match way {
        "shutdown" => "end: shutdown",
        "drop" => "end: scheduler dropped",
        "drain" => "end: drained, then dropped",
        "close" => "end: close",
        _ => "end: idle",
    });
    world.ending.store(true, SeqCst);
    let ended = match way {
        "shutdown" => timeout(PATIENCE, lanes.shutdown()).await.is_ok(),
        "drop" => {
            world.let_go();
            true
        }
        "drain" => timeout(PATIENCE, lanes.drain(a_drain(dice))).await.is_ok(),
        _ => {
            // Once nobody pauses or narrows a lane any more, it comes to rest.
            while meddlers.join_next().await.is_some() {}
            widen(world);
            if way == "close" {
                lanes.close();
            }
            world.stop.store(true, SeqCst);
            world.open_gates();
            timeout(PATIENCE, lanes.idle()).await.is_ok()
        }
    };
    world.proof.check("S7", ended, || {
        format!("{way} did not end: {:#?}", lanes.snapshot())
    });
    drop(lanes);
    world.let_go();
    while meddlers.join_next().await.is_some() {}
}

/// A lane that was left with no slot would never be idle.
fn widen(world: &World) {
    for book in &world.books {
        if let Some(lane) = world.lane(book).filter(|_| book.traits.resizable) {
            book.resizes.fetch_add(1, SeqCst);
            let _ = lane.set_max_concurrent(book.traits.width);
            book.resizes.fetch_add(1, SeqCst);
        }
    }
}

async fn leave_nothing(
    world: Arc<World>,
    sampler: std::thread::JoinHandle<()>,
    dice: &mut Dice,
) -> bool {
    let proof = Arc::clone(&world.proof);
    world.ending.store(true, SeqCst);
    world.let_go();
    let grave = std::mem::take(&mut *lock(&world.grave));
    drop(grave);
    let shops = std::mem::take(&mut *lock(&world.shops));
    let mut threads = std::mem::take(&mut *lock(&world.killers));
    threads.extend(shops.iter().filter_map(|shop| shop.kill(dice)));
    threads.push(sampler);
    drop(shops);
    let joined = tokio::task::spawn_blocking(move || {
        threads.into_iter().for_each(|thread| drop(thread.join()));
    });
    let joined = timeout(PATIENCE, joined).await.is_ok();
    proof.check("S7", joined, || {
        "a runtime that was shut down never ended".to_owned()
    });
    let left = lock(&world.ledger).len();
    proof.check("S7", left == 0, || {
        format!("{left} tasks are still in the ledger")
    });

    // Every task carried a token and the world itself.
    let token = Arc::downgrade(&world.token);
    let world_left = Arc::downgrade(&world);
    drop(world);
    let gone = gone(&token, &world_left).await;
    proof.check("S15", gone, || {
        let (tokens, worlds) = (token.strong_count(), world_left.strong_count());
        format!("all settled and dropped, but {tokens} tokens and {worlds} tasks' worlds are alive")
    });
    joined
}

async fn gone(token: &Weak<()>, world: &Weak<World>) -> bool {
    for _ in 0..1000 {
        if token.strong_count() == 0 && world.strong_count() == 0 {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}
