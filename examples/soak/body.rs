//! The work itself, good and bad.

use std::future::{Future, pending};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use laneway::{TaskContext, WaitingError};
use tokio::time::sleep;

use crate::book::{Book, Seats};
use crate::case::{Case, Ticket};
use crate::dice::Dice;
use crate::gate::Gate;
use crate::kind::Kind;
use crate::proof::Planned;
use crate::sync::now;
use crate::watch::SLACK;
use crate::way::{CallsBack, Way, describe};
use crate::world::{STEADY, World};

/// All that a task takes along.
pub(crate) struct Job {
    pub(crate) world: Arc<World>,
    pub(crate) case: Arc<Case>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) dice: Dice,
    pub(crate) token: Arc<()>,
}

impl Job {
    pub(crate) fn new(world: &Arc<World>, ticket: &Ticket, dice: &mut Dice) -> Self {
        Self {
            world: Arc::clone(world),
            case: Arc::clone(&ticket.case),
            gate: world.gate(),
            dice: dice.fork(),
            token: Arc::clone(&world.token),
        }
    }
}

/// Boxed, since tasks nest.
pub(crate) fn body(cx: TaskContext, job: Job) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        job.case.tells_its_rank(&job.world, &cx);
        let mut seats = Seats::take(&cx, &job.case);
        let _carried = &job.token;
        let mut dice = job.dice.clone();
        match job.case.kind {
            Kind::Progressing => {
                for _ in 0..dice.below(8) {
                    cx.progress_note("moving");
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Kind::Steady => {
                // Dropped without a word, it was silent until then.
                let _last = LastBeat(&job.case);
                for _ in 0..dice.millis(6, 20).as_millis() {
                    job.case.pulse.beat(|| cx.progress());
                    sleep(STEADY / 8).await;
                }
            }
            Kind::Parks => park(&cx, &job, &mut seats, &mut dice).await,
            Kind::Nested => nest(&job, &mut dice).await,
            Kind::Hooked => {
                let (token, time) = (Arc::clone(&job.token), dice.millis(0, 3));
                let caller = CallsBack::new(&job.world, &job.case);
                cx.defer(async move |_| {
                    caller.call();
                    sleep(time).await;
                    drop(token);
                });
            }
            Kind::Panics => panic_any(Planned),
            Kind::PanicsInDrop => {
                let _bomb = Bomb;
                pending::<()>().await;
            }
            Kind::BlockedPoll => job.gate.pass(),
            Kind::Listens => drop(cx.cancelled().await),
            Kind::IgnoresAsk => {
                cx.cancelled().await;
                pending::<()>().await;
            }
            Kind::StuckHook => {
                let token = Arc::clone(&job.token);
                cx.defer(async move |_| {
                    pending::<()>().await;
                    drop(token);
                });
                pending::<()>().await;
            }
            Kind::StuckChild => {
                let token = Arc::clone(&job.token);
                let child = cx.spawn(async move {
                    pending::<()>().await;
                    drop(token);
                });
                drop(child.await);
                pending::<()>().await;
            }
            Kind::OverBudget => loop {
                cx.progress();
                sleep(Duration::from_millis(10)).await;
            },
            Kind::OwnDeadline => {
                let limit = job.case.limit.unwrap_or_default();
                cx.set_deadline(tokio::time::Instant::from_std(now()) + limit);
                pending::<()>().await;
            }
            Kind::Late => sleep(dice.millis(300, 900)).await,
            Kind::Pending
            | Kind::Signalled
            | Kind::Cancelled
            | Kind::Dropped
            | Kind::LeakedFuture => pending::<()>().await,
            _ => {
                for _ in 0..dice.below(4) {
                    tokio::task::yield_now().await;
                }
                sleep(dice.millis(0, 2)).await;
            }
        }
        drop(seats);
        job.case.number
    })
}

/// What runs on a thread where it may block.
pub(crate) fn closure(cx: &TaskContext, job: &Job) -> u64 {
    let _seats = Seats::take(cx, &job.case);
    if job.case.kind == Kind::StuckClosure {
        job.gate.pass();
    } else {
        std::thread::sleep(Duration::from_millis(1));
    }
    job.case.number
}

/// Waits for somebody who may not come in time, with its slots or without.
async fn park(cx: &TaskContext, job: &Job, seats: &mut Seats, dice: &mut Dice) {
    let names: Vec<&str> = job.case.names().collect();
    // A slot is given back only with those further on.
    let given = &names[dice.below(names.len() + 1)..];
    let (comes, limit) = (dice.millis(0, 20), dice.millis(1, 20));
    let wait = cx.waiting("somebody").limit(limit).release(given);
    let waited = wait.on(sleep(comes)).await;
    if let Ok(()) | Err(WaitingError::LimitPassed { .. }) = waited {
        seats.look_again(cx, &job.case);
    }
    let proof = job.case.proof();
    match waited {
        Ok(()) | Err(WaitingError::NotActive | WaitingError::TooMany { .. }) => {}
        // It may be late, and never early.
        Err(WaitingError::LimitPassed { .. }) => {
            proof.check("S8", limit <= comes + proof.lateness() + SLACK, || {
                format!(
                    "{}: nobody came in {limit:?}, and somebody was to come in {comes:?}",
                    job.case
                )
            });
        }
        Err(error) => proof.check("S18", false, || format!("{}: {error}", job.case)),
    }
}

/// Runs something in a lane further on, in place or beside.
async fn nest(job: &Job, dice: &mut Dice) {
    let (world, outer) = (&job.world, &job.case);
    let books = &world.books;
    let last = outer.places.last();
    let own = |book: &Arc<Book>| last.is_some_and(|last| Arc::ptr_eq(book, &last.book));
    let later = &books[books.iter().position(own).map_or(0, |own| own + 1)..];
    // Who has of the group's budget does not wait for more of it: together they
    // could fill it, and all would wait.
    let shares = outer.places.iter().any(|place| place.book.traits.shares);
    let later: Vec<_> = later
        .iter()
        .filter(|book| !shares || !book.traits.shares)
        .collect();
    if later.is_empty() {
        return;
    }
    let book = *dice.pick(&later);
    let Some(way) = Way::through(world, &[book]) else {
        return;
    };
    let kind = match Kind::roll_inner(dice) {
        Kind::Pending if book.traits.lets_run_on => Kind::Healthy,
        kind => kind,
    };
    let ceiling = dice.millis(100, 300);
    let ticket = Case::open(
        world,
        &[book],
        kind,
        kind.hangs().then_some(ceiling),
        None,
        outer.shop.as_ref(),
        Some(outer),
    );
    let inner = Job::new(world, &ticket, dice);
    let task = describe(&way, &ticket.case, world, dice);
    let answer = if dice.one_in(2) {
        task.run(move |cx| body(cx, inner)).await
    } else {
        let mut beside = task.spawn(move |cx| body(cx, inner));
        if dice.one_in(2) {
            beside = beside.abort_on_drop();
        }
        beside.await
    };
    ticket.answer(&answer);
}

struct LastBeat<'a>(&'a Case);

impl Drop for LastBeat<'_> {
    fn drop(&mut self) {
        self.0.pulse.beat(|| ());
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_any(Planned);
        }
    }
}
