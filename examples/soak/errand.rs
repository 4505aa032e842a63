//! One client's doings: it submits a task, waits for the answer and looks
//! whether it comes in time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use laneway::{Chain, Lane, Priority, Reason, TaskBuilder, TaskError, TaskSnapshot, Timeout};
use tokio::time::{sleep, timeout};

use crate::body::{Job, body, closure};
use crate::book::{Book, Seats};
use crate::case::{Case, Ticket};
use crate::dice::Dice;
use crate::gate::Gate;
use crate::kind::Kind;
use crate::proof::Proof;
use crate::sync::{SeqCst, lock};
use crate::world::{GRACE, KEYS, STEADY, TEARDOWN, World};

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

/// To a lane, or to several at once.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Lane(Lane),
    Chain(Chain),
}

impl Way {
    pub(crate) fn through(world: &World, books: &[&Arc<Book>]) -> Option<Self> {
        let lanes = world.lanes()?;
        match books {
            [book] => lanes.lane(&book.traits.name).ok().map(Self::Lane),
            _ => lanes
                .chain(books.iter().map(|book| &book.traits.name))
                .ok()
                .map(Self::Chain),
        }
    }

    fn task(&self) -> TaskBuilder<'_> {
        match self {
            Self::Lane(lane) => lane.task(),
            Self::Chain(chain) => chain.task(),
        }
    }
}

/// What a case asks for, in the builder's terms.
pub(crate) fn describe<'a>(
    way: &'a Way,
    case: &Case,
    world: &Arc<World>,
    dice: &mut Dice,
) -> TaskBuilder<'a> {
    let token = &world.token;
    let priority = *dice.pick(&[Priority::Foreground, Priority::Normal, Priority::Background]);
    let _ = case.priority.set(priority);
    let mut task = way
        .task()
        .name(name(case))
        .meta(Arc::clone(token))
        .priority(priority);
    if let Some(key) = case.key {
        task = task.key(key_name(key));
    }
    if case.kind == Kind::Impatient {
        task = task.timeout(Timeout::wait(dice.millis(1, 50)));
    }
    if case.kind == Kind::Signalled {
        let time = dice.millis(1, 100);
        task = task.cancel_on(async move { sleep(time).await });
    }
    if dice.one_in(8) {
        let caller = CallsBack::new(world, case);
        task = task.on_wait(Duration::from_millis(20), move |_| caller.call());
    }
    if case.kind == Kind::Steady {
        return task.stall_ceiling(STEADY);
    }
    // One that sets itself a deadline is granted none.
    let limit = case.limit.filter(|_| case.kind != Kind::OwnDeadline);
    let Some(limit) = limit else { return task };
    match (case.kind, dice.below(3)) {
        (Kind::OverBudget, _) | (_, 0) => task.timeout(Timeout::budget(limit)),
        (_, 1) => task.timeout(Timeout::idle(limit)),
        _ => task.stall_ceiling(limit),
    }
}

pub(crate) fn key_name(key: usize) -> String {
    format!("key:{key}")
}

fn name(case: &Case) -> String {
    format!("task-{}", case.number)
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

/// Code of the user's that calls back into a lane of its task, and is dropped
/// there: under a lock of ours it would wait for ever.
pub(crate) struct CallsBack {
    lane: Option<Lane>,
    proof: Arc<Proof>,
}

impl CallsBack {
    pub(crate) fn new(world: &World, case: &Case) -> Self {
        Self {
            lane: case.places.last().and_then(|place| world.lane(&place.book)),
            proof: Arc::clone(&world.proof),
        }
    }

    pub(crate) fn call(&self) {
        drop(self.lane.as_ref().map(Lane::snapshot));
        self.proof.check("S13", true, String::new);
    }
}

impl Drop for CallsBack {
    fn drop(&mut self) {
        self.call();
    }
}

/// Looks whether a hung task loses its slot in time.
struct Watch<'a> {
    world: &'a World,
    case: &'a Case,
    gate: &'a Gate,
    /// The answer comes to somebody who does not hang himself, so it must come
    /// as early as the slot goes.
    answer_too: bool,
    told: bool,
}

/// How much later than promised a loaded machine may be, beside what was
/// measured of it.
pub(crate) const SLACK: Duration = Duration::from_secs(5);

impl<'a> Watch<'a> {
    const fn new(world: &'a World, case: &'a Case, gate: &'a Gate, answer_too: bool) -> Self {
        Self {
            world,
            case,
            gate,
            answer_too,
            told: false,
        }
    }

    async fn over<T>(mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        loop {
            match timeout(Duration::from_millis(50), answer.as_mut()).await {
                Ok(answer) => {
                    self.in_time();
                    return answer;
                }
                Err(_) => self.look(),
            }
        }
    }

    async fn until_lost(mut self) {
        while self.case.holds_slot() && !self.told && !self.world.is_over() {
            sleep(Duration::from_millis(20)).await;
            self.look();
        }
        if !self.case.holds_slot() {
            self.in_time();
        }
    }

    fn look(&mut self) {
        let (case, roomy) = (self.case, self.case.is_roomy());
        let (Some(limit), Some(active)) = (case.limit, case.active_for()) else {
            return;
        };
        let all = limit + GRACE + TEARDOWN;
        let lost = !case.holds_slot();
        if lost && !self.answer_too || !roomy && active > all + Duration::from_millis(300) {
            self.gate.open();
            // A lane at its orphan bound owes nothing more.
            self.told |= !roomy;
        }
        let slack = SLACK + 2 * self.world.proof.lateness();
        let pending = !lost || self.answer_too;
        if roomy && pending && !self.told && active > all + slack {
            self.told = true;
            let lanes = case
                .places
                .iter()
                .filter_map(|place| self.world.lane(&place.book));
            let lanes: Vec<_> = lanes.map(|lane| lane.snapshot()).collect();
            let what = if lost {
                "was not answered"
            } else {
                "kept its slot"
            };
            self.world.proof.check("S8", false, || {
                format!("{case} {what} for {active:?}; slack {slack:?}; its lanes: {lanes:#?}")
            });
            self.gate.open();
        }
    }

    fn in_time(&self) {
        let hung = self.case.limit.is_some() && self.case.has_started();
        if hung && self.case.is_roomy() && !self.told {
            self.world.proof.check("S8", true, String::new);
        }
    }
}
