//! One client's doings: it submits a task and waits for the answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use laneway::{Reason, TaskError, TaskSnapshot};
use tokio::time::{sleep, timeout};

use crate::body::{Job, body, closure};
use crate::book::{Book, Seats};
use crate::case::{Case, Ticket};
use crate::dice::Dice;
use crate::kind::Kind;
use crate::sync::{SeqCst, lock};
use crate::watch::Watch;
use crate::way::{Way, describe, name};
use crate::world::{KEYS, World};

pub(crate) async fn errand(world: &Arc<World>, dice: &mut Dice) {
    let books = world.some_lanes(dice);
    let lets_run_on = books.iter().any(|book| book.traits.lets_run_on);
    let kind = match Kind::roll(dice) {
        kind if kind.hangs() && lets_run_on => Kind::Late,
        Kind::Late if !lets_run_on => Kind::Pending,
        kind => kind,
    };
    let Some(way) = Way::through(world, &books) else {
        return;
    };
    // A thread that hangs is one of a runtime that can spare it.
    let shop = (kind == Kind::BlockedPoll || !dice.one_in(4)).then(|| world.shop(dice));
    let limit = kind.hangs().then(|| dice.millis(200, 500));
    let key = dice.one_in(3).then(|| dice.below(KEYS));
    let ticket = Case::open(world, &books, kind, limit, key, shop.as_ref(), None);
    match kind {
        Kind::Slot | Kind::ForgottenSlot => by_hand(world, &way, ticket, dice).await,
        Kind::Dropped | Kind::LeakedFuture => leave(world, way, ticket, dice).await,
        _ if !kind.blocks() && kind != Kind::Detached && dice.one_in(2) => {
            run(world, way, ticket, dice).await;
        }
        _ => spawn(world, &way, ticket, dice).await,
    }
}

async fn spawn(world: &Arc<World>, way: &Way, ticket: Ticket, dice: &mut Dice) {
    let (case, kind) = (Arc::clone(&ticket.case), ticket.case.kind);
    let job = Job::new(world, &ticket, dice);
    let gate = Arc::clone(&job.gate);
    let handle = {
        let _entered = case.shop.as_ref().map(|shop| shop.handle.enter());
        let task = describe(way, &case, world, dice);
        if kind.blocks() {
            task.spawn_blocking(move |cx| closure(&cx, &job))
        } else {
            task.spawn(move |cx| body(cx, job))
        }
    };
    let _ = case.id.set(handle.id());
    match kind {
        Kind::Detached => {
            let handle = if dice.one_in(2) {
                handle.abort_on_drop()
            } else {
                handle
            };
            drop(handle);
            return ticket.may_drop().done();
        }
        Kind::Cancelled => {
            sleep(dice.millis(0, 50)).await;
            case.cancelled.store(true, SeqCst);
            handle.cancel(Reason::User);
        }
        _ => {}
    }
    let answer = Watch::new(world, &case, &gate, true).over(handle).await;
    gate.open();
    ticket.answer(&answer);
}

/// Runs it on its caller, which is a plain tokio task.
async fn run(world: &Arc<World>, way: Way, ticket: Ticket, dice: &mut Dice) {
    let case = Arc::clone(&ticket.case);
    let job = Job::new(world, &ticket, dice);
    let gate = Arc::clone(&job.gate);
    let mut own = dice.fork();
    if case.kind == Kind::Cancelled {
        // There is no handle, so nobody but this timeout ends it.
        let call = async {
            let task = describe(&way, &case, world, &mut own);
            task.run(|cx| body(cx, job)).await
        };
        match timeout(dice.millis(0, 50), call).await {
            Ok(answer) => ticket.answer(&answer),
            Err(_) => ticket.may_drop().done(),
        }
        return;
    }
    let caller = {
        let (case, world) = (Arc::clone(&case), Arc::clone(world));
        async move {
            let task = describe(&way, &case, &world, &mut own);
            let answer = task.run(|cx| body(cx, job)).await;
            ticket.answer(&answer);
        }
    };
    let caller = match &case.shop {
        Some(shop) => shop.handle.spawn(caller),
        None => tokio::spawn(caller),
    };
    // It ends when the runtime of the caller does.
    let ended = Watch::new(world, &case, &gate, false).over(caller).await;
    gate.open();
    world
        .proof
        .check("S14", ended.is_ok() || case.runtime_gone(), || {
            format!("{case}: its caller ended with {ended:?}")
        });
}

/// A slot by hand, held for a moment or "forgotten".
async fn by_hand(world: &Arc<World>, way: &Way, ticket: Ticket, dice: &mut Dice) {
    let case = Arc::clone(&ticket.case);
    let task = describe(way, &case, world, dice);
    let slot = match timeout(Duration::from_secs(3), task.acquire()).await {
        Ok(Ok(slot)) => slot,
        Ok(Err(error)) => return ticket.refused(&error),
        // No fault of the lane's that could be told from here: behind hung
        // tasks, in a lane that is paused or narrowed now and then, nobody is
        // promised a slot by now. That it would be answered in the end is what
        // all the others show.
        Err(_) => {
            world.proof.fault("acquire dropped while queued");
            return ticket.may_drop().done();
        }
    };
    let _ = case.id.set(slot.id());
    let seats = Seats::take(slot.context(), &case);
    if case.kind == Kind::Slot {
        sleep(dice.millis(0, 3)).await;
        if !slot.is_current() {
            let reason = slot.context().cancel_reason();
            let explained = reason.is_some_and(|reason| case.explains_reason(world, reason));
            world.proof.check("S4", explained, || {
                format!("{case} lost its slot to {reason:?}")
            });
        }
        drop(seats);
        drop(slot);
    } else {
        let gate = world.gate();
        Watch::new(world, &case, &gate, false).until_lost().await;
        // What keeps its slot, at the orphan bound, may not lie there for ever.
        if !case.holds_any_slot() && dice.one_in(2) {
            lock(&world.grave).push(Box::new((seats, slot)));
        }
    }
    ticket.done();
}

/// A `run` that is polled for a while, and then is not: dropped, or left lying.
async fn leave(world: &Arc<World>, way: Way, ticket: Ticket, dice: &mut Dice) {
    let case = Arc::clone(&ticket.case);
    let job = Job::new(world, &ticket, dice);
    let gate = Arc::clone(&job.gate);
    let mut own = dice.fork();
    let mut call: Pin<Box<dyn Future<Output = Result<u64, TaskError>> + Send>> = {
        let (way, case, world) = (way.clone(), Arc::clone(&case), Arc::clone(world));
        Box::pin(async move {
            let task = describe(&way, &case, &world, &mut own);
            task.run(|cx| body(cx, job)).await
        })
    };
    if let Ok(answer) = timeout(dice.millis(0, 100), call.as_mut()).await {
        return ticket.answer(&answer);
    }
    if case.kind == Kind::LeakedFuture && case.has_started() {
        Watch::new(world, &case, &gate, false).until_lost().await;
        if !case.holds_any_slot() && dice.one_in(2) {
            lock(&world.grave).push(Box::new(call));
        }
    } else {
        let started = case.has_started();
        if !started {
            world.proof.fault("run dropped while queued");
        }
        drop(call);
        for place in &case.places {
            let left = left_of(world, &place.book, &name(&case));
            let unmoved = case.has_started() == started;
            world.proof.check("S12", left.is_none() && unmoved, || {
                format!("{case} was dropped, and its lane still has {left:?}")
            });
        }
    }
    ticket.may_drop().done();
}

fn left_of(world: &World, book: &Book, name: &str) -> Option<TaskSnapshot> {
    let lane = world.lane(book)?.snapshot();
    let mut all = [lane.queued, lane.active, lane.parked, lane.orphans]
        .into_iter()
        .flatten();
    all.find(|task| task.name.as_deref() == Some(name))
}
