//! What a task goes through, and what it asks for there.

use std::sync::Arc;
use std::time::Duration;

use laneway::{Chain, Lane, Priority, TaskBuilder, Timeout};
use tokio::time::sleep;

use crate::book::Book;
use crate::case::Case;
use crate::dice::Dice;
use crate::kind::Kind;
use crate::proof::Proof;
use crate::world::{STEADY, World};

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

pub(crate) fn name(case: &Case) -> String {
    format!("task-{}", case.number)
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
