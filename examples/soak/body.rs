//! The work itself, good and bad.

use std::future::{Future, pending};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use laneway::TaskContext;
use tokio::time::sleep;

use crate::case::{Case, Ticket};
use crate::dice::Dice;
use crate::errand::describe;
use crate::gate::Gate;
use crate::kind::Kind;
use crate::proof::Planned;
use crate::world::World;

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
        let _seat = job.case.book.sit(&cx, &job.case, &job.world.proof);
        let _carried = &job.token;
        let mut dice = job.dice.clone();
        match job.case.kind {
            Kind::Progressing => {
                for _ in 0..dice.below(8) {
                    cx.progress_note("moving");
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Kind::Nested => nest(&job, &mut dice).await,
            Kind::Hooked => {
                let (token, time) = (Arc::clone(&job.token), dice.millis(0, 3));
                cx.defer(async move |_| {
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
        job.case.number
    })
}

/// What runs on a thread where it may block.
pub(crate) fn closure(cx: &TaskContext, job: &Job) -> u64 {
    let _seat = job.case.book.sit(cx, &job.case, &job.world.proof);
    if job.case.kind == Kind::StuckClosure {
        job.gate.pass();
    } else {
        std::thread::sleep(Duration::from_millis(1));
    }
    job.case.number
}

/// Runs something in a lane further on, in place or beside.
async fn nest(job: &Job, dice: &mut Dice) {
    let (world, outer) = (&job.world, &job.case);
    let books = &world.books;
    let own = books.iter().position(|book| Arc::ptr_eq(book, &outer.book));
    let later = &books[own.map_or(0, |own| own + 1)..];
    if later.is_empty() {
        return;
    }
    let book = dice.pick(later);
    let Some(lane) = world.lane(book) else { return };
    let kind = match Kind::roll_inner(dice) {
        Kind::Pending if book.traits.lets_run_on => Kind::Healthy,
        kind => kind,
    };
    let ceiling = dice.millis(100, 300);
    let ticket = Case::open(
        world,
        book,
        kind,
        kind.hangs().then_some(ceiling),
        None,
        outer.shop.as_ref(),
        Some(outer),
    );
    let inner = Job::new(world, &ticket, dice);
    let task = describe(&lane, &ticket.case, &job.token, dice);
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

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_any(Planned);
        }
    }
}
