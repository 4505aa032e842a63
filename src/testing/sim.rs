//! Your own runner, in virtual time, many times over.

use std::fmt;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::dice::Dice;
use super::hostile::Hostile;
use super::promises::{Watched, describe, longest_teardown, runs_without_slot};
use crate::Lanes;
use crate::engine::TICK;
use crate::error::PanicPayload;
use crate::runtime::{Idle, Shared, drop_guarded, first_busy};
use crate::sync::{Arc, Mutex};

/// How long a case may take, in virtual time: whoever waits longer, waits for
/// ever.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// One case of a simulation: the dice, the clock and the eyes of a test body
/// that runs again and again, each time with another seed.
///
/// The body runs on a tokio runtime of its own with one thread, a paused
/// clock and no I/O: a `sleep` takes no time, and a time-out is exact. What it asks
/// of its dice is the same for the same seed, and so is the whole run, as long as
/// the body and what it calls ask nobody else: no other source of randomness
/// (a `select!` without `biased` is one), no threads.
///
/// Virtual time would not wait for a socket or a child process, so tokio panics
/// where one is made ("IO is disabled"); in a task of a lane that is a
/// [`Panicked`](crate::TaskError::Panicked). A child process may have begun by then.
///
/// Whenever nothing moves, the [watched](Self::watch) lanes are looked at.
/// These fail a case, at the virtual moment at which they are seen:
///
/// * a panic of the body;
/// * more active than slots, or than the budget of a group (S1), a waiter beside a
///   slot that is free for it in its lane and group (S5), a task that is silent or
///   queued beyond its limit and all that is due to it (S7, S8), a grant that is not
///   claimed and not passed on (S20), an orphan beyond the bound (S10);
/// * a wedge: a body that has not ended after a day, a watched lane that is
///   not [idle](Self::run_until_idle) in the time that it was given, or not
///   before that day is over; a task that was detached from its slot, or gave it back to
///   wait for somebody, and has not ended by then, or an orphan that is left once all this has.
///
/// Beyond the bound, of a lane or of all, are only tasks that the scheduler took by
/// itself: not those that a reset or a shutdown took, nor those that were detached
/// from their slot.
///
/// A body may move the clock itself (`tokio::time::advance`). For the lanes
/// that is a machine that slept: what came due meanwhile is due from there.
///
/// The report has the seed, the lanes with every task in them as they were,
/// and in its last line the command that repeats just this case:
///
/// ```text
/// replay: LANEWAY_SEED=0x… cargo test -p PACKAGE --all-features --test TARGET -- --exact MODULE::TEST
/// ```
///
/// The package is the one that cargo says it tests, the target is left out
/// unless it is one under `tests`, and the test goes by the name of its thread.
/// All features are on, since cargo is silent about a test that it leaves out
/// for the want of one; where yours exclude each other, name those of the test.
/// On a thread that bears no test's name (that of a doc
/// test, or the only one of `--test-threads=1`) the line has just the seed, for
/// you to set for that test. `LANEWAY_SEED` is heeded by every
/// [`check`](Self::check).
///
/// The ids of tasks are others when a case is repeated, since their first number
/// counts the lanes of the whole process; names are the same.
///
/// It repeats the dice of the case, and nothing else. In a test of proptest's
/// that calls `check`, what proptest chose is in proptest's own file of
/// regressions, and tried again from there.
///
/// What it cannot see: code that never lets go of its thread, a blocking
/// closure that never ends (tokio's paused clock stands still as long as one
/// runs), a task of yours that is in none of the lanes and that your body
/// does not wait for, and lanes that nobody told it to watch.
///
/// # Example
///
/// A runner for agents' turns: a session at a time, and a tool per turn. Its
/// author took away the stall ceiling, since some tools are slow.
///
/// ```
/// use std::time::Duration;
/// use laneway::testing::{Hostile, Sim};
/// use laneway::{LaneConfig, LaneTimeout, Lanes, Timeout};
///
/// struct Runner {
///     lanes: Lanes,
///     limit: LaneTimeout,
/// }
///
/// impl Runner {
///     fn new(limit: LaneTimeout) -> Self {
///         let sessions = LaneConfig::new(1).no_stall_ceiling();
///         let lanes = Lanes::builder().default_lane(sessions).build().unwrap();
///         Self { lanes, limit }
///     }
///
///     fn turn(&self, session: &str, tool: Hostile) -> laneway::TaskHandle<Hostile> {
///         let session = self.lanes.lane(session).unwrap().with_timeout(self.limit);
///         session.task().name("turn").spawn(async move |cx| {
///             cx.progress_note("waiting for the tool");
///             tool.await
///         })
///     }
/// }
///
/// let minute = Duration::from_secs(60);
/// let simulate = async |sim: Sim, limit: LaneTimeout| {
///     let runner = Runner::new(limit);
///     sim.watch(&runner.lanes);
///     let mut turns = Vec::new();
///     for _ in 0..sim.below(4) {
///         let session = if sim.chance(0.5) { "ann" } else { "bob" };
///         let tool = sim.hostile();
///         turns.push((tool, runner.turn(session, tool)));
///     }
///     sim.run_until_idle(30 * minute).await;
///     for (tool, turn) in turns {
///         // Whoever called a healthy tool has its answer.
///         assert_eq!(turn.await.is_ok(), tool.is_healthy(), "{tool:?}");
///     }
/// };
///
/// // Some tool never answers, and the session waits for it …
/// let wedged = Sim::try_check(20, async |sim| simulate(sim, LaneTimeout::default()).await);
/// let failure = wedged.unwrap_err();
/// assert!(failure.problem.contains("not idle"), "{failure}");
/// assert!(failure.lanes.contains("waiting for the tool"), "{failure}");
/// println!("{failure}");                          // … replay: LANEWAY_SEED=0x…
///
/// // … and the mended runner gives each turn a limit.
/// let limit = Timeout::idle(minute).budget(5 * minute);
/// Sim::check(20, async |sim| simulate(sim, limit).await);
/// ```
#[derive(Clone)]
pub struct Sim {
    case: Arc<Case>,
}

/// Why a case failed. Printed, it says what, where and when, and how to repeat
/// it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What repeats the case.
    pub seed: u64,
    /// When it failed, in virtual time after it began.
    pub at: Duration,
    /// What is wrong.
    pub problem: String,
    /// What every watched lane was doing.
    pub lanes: String,
    /// How to repeat the case.
    replay: String,
}

impl Sim {
    /// Runs the body this many times, each time with another seed; or once,
    /// with the one in the environment's `LANEWAY_SEED`.
    ///
    /// The seeds are the same every time, so that a test that passes goes on
    /// to pass until something changes.
    ///
    /// # Panics
    ///
    /// At the first case that fails, with its [`Failure`]; if `cases` is zero,
    /// which would try nothing; inside of a tokio runtime; and if
    /// `LANEWAY_SEED` is no number.
    #[track_caller]
    pub fn check(cases: u64, body: impl AsyncFn(Self)) {
        if let Err(failure) = Self::try_check(cases, body) {
            panic!("{failure}");
        }
    }

    /// As [`check`](Self::check), for who wants to see a failure.
    ///
    /// # Errors
    ///
    /// The first case that fails.
    ///
    /// # Panics
    ///
    /// As `check`, but for failures.
    #[track_caller]
    pub fn try_check(cases: u64, body: impl AsyncFn(Self)) -> Result<(), Failure> {
        assert!(cases > 0, "a simulation of no cases tries nothing");
        let at = Location::caller();
        if let Some(seed) = seed_of_environment() {
            return run(seed, at, &body);
        }
        (0..cases).try_for_each(|case| run(Dice::new(case).roll(), at, &body))
    }

    /// A number below `n`, or zero if there is none.
    #[must_use]
    pub fn below(&self, n: u64) -> u64 {
        self.case.dice.lock().below(n.max(1))
    }

    /// True with this probability: never at 0, always at 1.
    #[must_use]
    pub fn chance(&self, probability: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
        let drawn = (self.case.dice.lock().roll() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < probability
    }

    /// What a call to a model or a tool may turn out to be: as likely healthy
    /// as not, and one that can be awaited.
    #[must_use]
    pub fn hostile(&self) -> Hostile {
        Hostile::call(&mut self.case.dice.lock())
    }

    /// Looks at these lanes from now on, and at those that are made later.
    /// Does not keep them open.
    pub fn watch(&self, lanes: &Lanes) {
        let watched = Watched::new(Arc::clone(lanes.shared()));
        self.case.watched.lock().push(watched);
    }

    /// Lets time go on until nobody is queued or active in any watched lane.
    /// If that takes longer than `limit`, the case fails here.
    ///
    /// To let a certain time go on, `sleep`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing; nobody looks at the limit any more.
    ///
    /// # Panics
    ///
    /// If nothing is [watched](Self::watch): whatever your lanes do, it would
    /// be idle at once.
    pub async fn run_until_idle(&self, limit: Duration) {
        assert!(
            !self.case.watched.lock().is_empty(),
            "nothing is watched: `Sim::watch` your lanes before `run_until_idle`"
        );
        if timeout(limit, self.case.idle()).await.is_err() {
            self.case.fail(format!("not idle after {limit:?}"));
            // The case is over.
            pending::<()>().await;
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").finish_non_exhaustive()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            problem,
            lanes,
            replay,
            ..
        } = self;
        writeln!(f, "a simulation failed, {at:?} after it began: {problem}")?;
        write!(f, "{lanes}")?;
        write!(f, "replay: {replay}")
    }
}

impl std::error::Error for Failure {}

struct Case {
    dice: Mutex<Dice>,
    watched: Mutex<Vec<Watched>>,
    problem: Mutex<Option<String>>,
    /// Who is to hear of a problem.
    root: Mutex<Option<Waker>>,
    hands: Mutex<Hands>,
}

/// Whether somebody moves the hands of the clock.
#[derive(Default)]
struct Hands {
    /// The time when the thread last woke up. A paused clock moves by itself
    /// while nobody can run, and at no other time.
    woken: Option<Instant>,
    /// When they were last seen to have moved all the same.
    moved: Option<Instant>,
}

/// Runs one case, on a runtime of its own.
fn run(seed: u64, caller: &Location<'_>, body: &impl AsyncFn(Sim)) -> Result<(), Failure> {
    let case = Arc::new(Case {
        dice: Mutex::new(Dice::new(seed)),
        watched: Mutex::new(Vec::new()),
        problem: Mutex::new(None),
        root: Mutex::new(None),
        hands: Mutex::default(),
    });
    let runtime = runtime(&case);
    let sim = Sim {
        case: Arc::clone(&case),
    };
    let outcome = runtime.block_on(async {
        let began = now();
        case.wake_up();
        // Alive until the lanes are described: as they are now, and not as they
        // are without it.
        let mut through = Box::pin(async {
            body(sim).await;
            case.wind_up().await;
        });
        let root = Root {
            case: &case,
            body: through.as_mut(),
            patience: Box::pin(sleep(PATIENCE)),
        };
        let problem = root.await?;
        let found = (problem, now().duration_since(began), case.describe());
        // A destructor that panics must not take the report along.
        drop_guarded(through);
        Some(found)
    });
    // Threads that are stuck are not waited for.
    runtime.shutdown_background();
    let Some((problem, at, lanes)) = outcome else {
        return Ok(());
    };
    Err(Failure {
        seed,
        at,
        problem,
        lanes,
        replay: replay(seed, caller),
    })
}

/// From what this process knows: cargo says at run time what it tests, and
/// tests run on threads that bear their names.
fn replay(seed: u64, caller: &Location<'_>) -> String {
    let seed = format!("LANEWAY_SEED={seed:#x}");
    let thread = std::thread::current();
    let Some(test) = thread.name().filter(|name| *name != "main") else {
        return format!("{seed} in the environment of this test");
    };
    let package = std::env::var("CARGO_PKG_NAME").ok();
    let package = package.map_or_else(String::new, |name| format!(" -p {name}"));
    let target = target(caller).map_or_else(String::new, |name| format!(" --test {name}"));
    format!("{seed} cargo test{package} --all-features{target} -- --exact {test}")
}

/// The target of a test under `tests`, so that only it is built; `None` unless
/// the program bears the same name as what calls us.
fn target(caller: &Location<'_>) -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let (program, _hash) = program.file_stem()?.to_str()?.rsplit_once('-')?;
    let mut parts = Path::new(caller.file()).iter();
    parts.find(|part| *part == "tests")?;
    let name = Path::new(parts.next()?).file_stem()?.to_str()?;
    (name.replace('-', "_") == program).then(|| name.to_owned())
}

fn runtime(case: &Arc<Case>) -> Runtime {
    let (looking, waking) = (Arc::clone(case), Arc::clone(case));
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // Whenever nobody can run: just before the clock moves.
        .on_thread_park(move || looking.look())
        .on_thread_unpark(move || waking.wake_up())
        .build()
        .expect("a runtime of one thread")
}

/// Polls the body until it ends, one way or another; says what is wrong.
struct Root<'a, B> {
    case: &'a Case,
    body: Pin<&'a mut B>,
    patience: Pin<Box<Sleep>>,
}

impl<B: Future<Output = ()>> Future for Root<'_, B> {
    type Output = Option<String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let this = &mut *self;
        // Before the problem is looked for, so that none is missed.
        *this.case.root.lock() = Some(cx.waker().clone());
        if let Some(problem) = this.case.problem.lock().take() {
            return Poll::Ready(Some(problem));
        }
        match catch_unwind(AssertUnwindSafe(|| this.body.as_mut().poll(cx))) {
            Ok(Poll::Ready(())) => return Poll::Ready(this.case.problem.lock().take()),
            Ok(Poll::Pending) => {}
            Err(panic) => {
                let panic = PanicPayload::new(panic);
                return Poll::Ready(Some(format!("the body panicked: {panic}")));
            }
        }
        if this.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(format!("not over after {PATIENCE:?}")));
        }
        Poll::Pending
    }
}

impl Case {
    fn fail(&self, problem: String) {
        self.problem.lock().get_or_insert(problem);
        let root = self.root.lock().take();
        if let Some(root) = root {
            root.wake();
        }
    }

    fn wake_up(&self) {
        self.hands.lock().woken = Some(now());
    }

    /// When the body itself last moved the clock.
    fn hands_moved(&self) -> Option<Instant> {
        let now = now();
        let mut hands = self.hands.lock();
        if hands.woken.is_some_and(|woken| now > woken + TICK) {
            hands.moved = Some(now);
        }
        hands.moved
    }

    /// Nothing moves: whether all is as promised.
    fn look(&self) {
        // Not under the lock: what is dropped on the way may be a user's.
        let mut watched = std::mem::take(&mut *self.watched.lock());
        let moved = self.hands_moved();
        let problem = watched.iter_mut().find_map(|watched| watched.broken(moved));
        let mut now = self.watched.lock();
        watched.append(&mut now);
        *now = watched;
        drop(now);
        if let Some(problem) = problem {
            self.fail(problem);
        }
    }

    fn schedulers(&self) -> Vec<Arc<Shared>> {
        let watched = self.watched.lock();
        watched.iter().map(|w| Arc::clone(w.shared())).collect()
    }

    /// Until a moment at which nobody is queued or active anywhere.
    async fn idle(&self) {
        loop {
            let lanes: Vec<_> = self
                .schedulers()
                .iter()
                .flat_map(|s| s.all_that_live())
                .collect();
            match first_busy(lanes.iter()) {
                Some(busy) => Idle::new(busy).await,
                None => return,
            }
        }
    }

    /// The body is through: so must be all that it began.
    async fn wind_up(&self) {
        self.idle().await;
        let schedulers = self.schedulers();
        let began = now();
        // Who has no slot, but runs on, was allowed to: it ends by itself, or takes all the
        // time there is.
        while schedulers.iter().any(|s| runs_without_slot(s)) {
            sleep((now().duration_since(began) / 100).max(TICK)).await;
            self.idle().await;
        }
        // Whoever lost a slot in this moment has a tick to let go of it, and
        // its hooks have their time.
        let teardown = schedulers.iter().map(|s| longest_teardown(s)).max();
        let limit = teardown.unwrap_or_default().saturating_add(TICK * 2);
        let began = now();
        let left = || schedulers.iter().map(|s| s.orphans.count()).sum::<usize>();
        while left() > 0 && now().duration_since(began) < limit {
            sleep((limit / 1000).max(TICK)).await;
        }
        let left = left();
        if left > 0 {
            self.fail(format!("{left} orphans are left"));
        }
    }

    fn describe(&self) -> String {
        self.schedulers().iter().map(|s| describe(s)).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock that is paused here")]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn seed_of_environment() -> Option<u64> {
    let given = std::env::var_os("LANEWAY_SEED")?;
    let seed = given
        .to_str()
        .and_then(|given| match given.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => given.parse().ok(),
        });
    Some(seed.unwrap_or_else(|| panic!("LANEWAY_SEED is no number: {given:?}")))
}
