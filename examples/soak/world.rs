//! One scheduler, from its making to its end, and all that goes with it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use laneway::{GroupConfig, Lane, LaneConfig, Lanes, OnStall, Priority, TaskId, Timeout};

use crate::audit::KEPT;
use crate::book::{Book, Traits};
use crate::case::Case;
use crate::dice::Dice;
use crate::gate::Gate;
use crate::proof::Proof;
use crate::sync::{Count, Flag, Mutex, SeqCst, lock};
use crate::workshop::Workshop;

const SESSIONS: usize = 24;
const FIXED: usize = 6;
pub(crate) const KEYS: usize = 8;
pub(crate) const GRACE: Duration = Duration::from_millis(200);
pub(crate) const TEARDOWN: Duration = Duration::from_millis(200);

/// The stall ceiling of those who report in time.
pub(crate) const STEADY: Duration = Duration::from_millis(160);

/// The greatest fence of an ended holder, per lane name, over all schedulers.
pub(crate) type Fences = HashMap<String, Arc<Count>>;

pub(crate) struct World {
    pub(crate) proof: Arc<Proof>,
    /// Sessions first: who nests goes on to a later one, so that no circle
    /// comes about.
    pub(crate) books: Vec<Arc<Book>>,
    /// How often each key was cancelled, and how many cancels are under way.
    pub(crate) keys: [Count; KEYS],
    pub(crate) keys_in_use: Count,
    pub(crate) ledger: Mutex<HashMap<u64, Arc<Case>>>,
    /// The priorities of tasks that nobody else can have made more urgent.
    pub(crate) ranks: Mutex<HashMap<TaskId, Priority>>,
    pub(crate) shops: Mutex<Vec<Arc<Workshop>>>,
    /// Threads that shut runtimes down.
    pub(crate) killers: Mutex<Vec<JoinHandle<()>>>,
    /// What was "forgotten", until the end.
    pub(crate) grave: Mutex<Vec<Box<dyn Any + Send>>>,
    /// Every task carries one, and at the end there must be no other.
    pub(crate) token: Arc<()>,
    /// The scheduler is being ended.
    pub(crate) ending: Flag,
    /// Clients go home.
    pub(crate) stop: Flag,
    lanes: Mutex<Option<Lanes>>,
    gates: Mutex<Option<Vec<Weak<Gate>>>>,
}

impl World {
    pub(crate) fn make(proof: &Arc<Proof>, fences: &mut Fences, dice: &mut Dice) -> Self {
        let mut builder = Lanes::builder()
            .max_orphans(ROOM)
            .events(KEPT)
            .pattern("session:*", session_lane());
        let mut traits: Vec<Traits> = (0..SESSIONS).map(a_session).collect();
        for session in traits.iter().filter(|session| !session.roomy) {
            builder = builder.lane(&session.name, session_lane().max_orphans(1));
        }
        for number in 0..FIXED {
            let (fixed, config) = a_fixed_lane(number, dice);
            builder = builder.lane(&fixed.name, config);
            traits.push(fixed);
        }
        // Narrower than its lanes, more often than not.
        let shared = GroupConfig::new(2 + dice.below(8))
            .member("fixed:1")
            .reserve("fixed:1", 1)
            .member("fixed:2");
        builder = builder.group("shared", shared);
        let books = traits.into_iter().map(|traits| {
            let ended = fences.entry(traits.name.clone()).or_default();
            Arc::new(Book::new(traits, Arc::clone(ended)))
        });
        Self {
            proof: Arc::clone(proof),
            books: books.collect(),
            keys: Default::default(),
            keys_in_use: Count::default(),
            ledger: Mutex::default(),
            ranks: Mutex::default(),
            shops: Mutex::new((0..2).map(|_| Arc::new(Workshop::open())).collect()),
            killers: Mutex::default(),
            grave: Mutex::default(),
            token: Arc::new(()),
            ending: Flag::default(),
            stop: Flag::default(),
            lanes: Mutex::new(Some(builder.build().expect("a scheduler that can work"))),
            gates: Mutex::new(Some(Vec::new())),
        }
    }

    pub(crate) fn lanes(&self) -> Option<Lanes> {
        lock(&self.lanes).clone()
    }

    pub(crate) fn lane(&self, book: &Book) -> Option<Lane> {
        self.lanes()?.lane(&book.traits.name).ok()
    }

    /// Lets go of the scheduler; the last to do so ends it.
    pub(crate) fn let_go(&self) {
        let lanes = lock(&self.lanes).take();
        drop(lanes);
    }

    /// One lane, or two for a chain. They are in the order of the books, so that no
    /// circle comes about; nor do two of one budget, which could fill it with
    /// those who wait for more of it.
    pub(crate) fn some_lanes(&self, dice: &mut Dice) -> Vec<&Arc<Book>> {
        let first = dice.below(self.books.len());
        let mut books = vec![&self.books[first]];
        if dice.one_in(4) && first + 1 < self.books.len() {
            let further = dice.pick(&self.books[first + 1..]);
            let traits = [&books[0].traits, &further.traits];
            if !traits.iter().any(|it| it.lets_run_on) && !traits.iter().all(|it| it.shares) {
                books.push(further);
            }
        }
        books
    }

    pub(crate) fn shop(&self, dice: &mut Dice) -> Arc<Workshop> {
        Arc::clone(dice.pick(&lock(&self.shops)))
    }

    /// A gate that is open at the end at the latest.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        match &mut *lock(&self.gates) {
            Some(gates) => {
                gates.retain(|gate| gate.strong_count() > 0);
                gates.push(Arc::downgrade(&gate));
            }
            None => gate.open(),
        }
        gate
    }

    pub(crate) fn open_gates(&self) {
        let gates = lock(&self.gates).take().unwrap_or_default();
        gates
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|gate| gate.open());
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(SeqCst)
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

/// More orphans than the soak makes at one moment.
const ROOM: usize = 10_000;

fn a_session(number: usize) -> Traits {
    Traits {
        name: format!("session:{number}"),
        width: 1,
        roomy: number % 4 != 3,
        resizable: false,
        resettable: number.is_multiple_of(2),
        lets_run_on: false,
        shares: false,
    }
}

pub(crate) fn session_lane() -> LaneConfig {
    with_times(LaneConfig::new(1).max_orphans(ROOM))
}

fn a_fixed_lane(number: usize, dice: &mut Dice) -> (Traits, LaneConfig) {
    let width = 1 + dice.below(16);
    let mut traits = Traits {
        name: format!("fixed:{number}"),
        width,
        roomy: number < 3,
        resizable: number.is_multiple_of(3),
        resettable: number.is_multiple_of(2),
        lets_run_on: false,
        shares: number == 1 || number == 2,
    };
    let mut config = LaneConfig::new(width).max_orphans(ROOM);
    match number {
        3 => config = config.max_orphans(1),
        4 => config = config.strict(),
        5 => {
            traits.lets_run_on = true;
            let on_stall = *dice.pick(&[OnStall::Detach, OnStall::WarnOnly]);
            config = config.on_stall(on_stall);
        }
        _ => {}
    }
    (traits, with_times(config))
}

/// Nothing that a healthy task could come near: those are given to the faulty
/// ones one by one.
fn with_times(config: LaneConfig) -> LaneConfig {
    config
        .no_stall_ceiling()
        .timeout(Timeout::grace(GRACE))
        .teardown(TEARDOWN)
        .warn_after(Duration::from_millis(500))
        .aging(Duration::from_millis(200))
}
