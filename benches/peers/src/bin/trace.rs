//! A recorded hour of requests under paused time: each a session's lane of one
//! outside and `main` inside, one in a hundred hung. What is promised must
//! hold, and what an hour costs is compared with what one would write.

#[path = "../../../../tests/trace/requests.rs"]
mod requests;

use std::cell::RefCell;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use laneway::{Lane, LaneConfig, Lanes, TaskError};
use laneway_peers::report::Row;
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::Map;
use laneway_peers::spread::Spread;
use laneway_peers::turns::{Round, Side, Turns};
use requests::{Request, SESSIONS};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

const SLOTS: usize = 32;
const CEILING: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let scale = Scale::of(&args);
    let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let Some(mut trace) = requests::load(checkout) else {
        return;
    };
    if scale == Scale::Smoke {
        trace.truncate(1_000);
    }
    let (ours, theirs) = (RefCell::new(Book::default()), RefCell::new(Book::default()));
    let tasks = trace.len() as u64;
    let turns = Turns::take(
        scale.rounds(15),
        vec![
            Side::new("laneway", tasks, || {
                replay(&trace, &ours, |trace| {
                    let lanes = scheduler();
                    trace
                        .iter()
                        .map(|request| tokio::spawn(by_lanes(*request, lanes.clone())))
                        .collect()
                })
            }),
            Side::new("semaphores and timeout", tasks, || {
                replay(&trace, &theirs, |trace| {
                    let (sessions, main) = semaphores();
                    let serve = |request: &Request| {
                        by_hand(*request, Arc::clone(&sessions), Arc::clone(&main))
                    };
                    trace
                        .iter()
                        .map(|request| tokio::spawn(serve(request)))
                        .collect()
                })
            }),
        ],
    );
    Row::ratio(
        10,
        "real time per simulated task",
        &turns,
        "laneway",
        "semaphores and timeout",
    )
    .note("spawning, sleeping and the clock's leaps are on both sides")
    .print();
    ours.borrow().print("laneway", tasks, true);
    theirs
        .borrow()
        .print("semaphores and timeout", tasks, false);
}

type Replayed = tokio::task::JoinHandle<Served>;

/// One hour, on a runtime whose clock leaps when nobody can run.
fn replay(
    trace: &[Request],
    book: &RefCell<Book>,
    begin: impl FnOnce(&[Request]) -> Vec<Replayed>,
) -> Round {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be built here");
    let mut book = book.borrow_mut();
    IN_MAIN.reset();
    IN_SESSIONS.iter().for_each(Gauge::reset);
    let began = std::time::Instant::now();
    let served = runtime.block_on(async {
        let tasks = begin(trace);
        let mut served = Vec::with_capacity(tasks.len());
        for task in tasks {
            served.push(task.await.expect("it ends"));
        }
        served
    });
    let took = began.elapsed();
    let mut sum = 0;
    for (request, served) in trace.iter().zip(served) {
        sum += book.enter(*request, served);
    }
    book.most_in_main = book.most_in_main.max(IN_MAIN.most());
    let sessions = IN_SESSIONS.iter().map(Gauge::most);
    book.most_in_session = book.most_in_session.max(sessions.max().unwrap_or(0));
    Round { took, sum }
}

// What is watched -------------------------------------------------------------

/// How many are inside, and how many ever were at once.
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

static IN_MAIN: Gauge = Gauge::new();
static IN_SESSIONS: [Gauge; SESSIONS] = [const { Gauge::new() }; SESSIONS];

impl Gauge {
    const fn new() -> Self {
        Self {
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    fn reset(&self) {
        assert_eq!(self.now.load(Relaxed), 0, "somebody is still inside");
        self.most.store(0, Relaxed);
    }

    fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    fn enter(&'static self) -> Inside {
        self.most
            .fetch_max(self.now.fetch_add(1, Relaxed) + 1, Relaxed);
        Inside(self)
    }
}

struct Inside(&'static Gauge);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Relaxed);
    }
}

/// How a request ended, and how long it was active in `main`.
struct Served {
    end: End,
    took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Value,
    Reclaimed,
    Other,
}

#[derive(Default)]
struct Book {
    most_in_main: usize,
    most_in_session: usize,
    /// Over the ceiling, of those that hung.
    latest: Duration,
    early: u64,
    hung: u64,
    wrong: u64,
}

impl Book {
    /// The milliseconds of service that were had: what the work came to.
    fn enter(&mut self, request: Request, served: Served) -> u64 {
        let expected = if request.hangs {
            End::Reclaimed
        } else {
            End::Value
        };
        self.wrong += u64::from(served.end != expected);
        if !request.hangs {
            return request.service.as_millis() as u64;
        }
        self.hung += 1;
        match served.took.checked_sub(CEILING) {
            Some(late) => self.latest = self.latest.max(late),
            None => self.early += 1,
        }
        0
    }

    fn print(&self, who: &str, tasks: u64, ours: bool) {
        let whole = |row: &str, value: f64, unit, limit: f64| {
            let row = Row::amount(10, row, who, Spread::exact(value), unit).rounds(1, tasks);
            if ours { row.at_most(limit) } else { row }.print();
        };
        whole(
            "most in `main` at once",
            self.most_in_main as f64,
            "tasks",
            SLOTS as f64,
        );
        whole(
            "most in one session at once",
            self.most_in_session as f64,
            "tasks",
            1.0,
        );
        let tick = TICK.as_secs_f64() * 1e3;
        whole(
            "latest reclaim of a hung request after its ceiling",
            self.latest.as_secs_f64() * 1e3,
            "ms",
            tick,
        );
        whole(
            "reclaims before the ceiling",
            self.early as f64,
            "requests",
            0.0,
        );
        whole(
            "answers that are not what they should be",
            self.wrong as f64,
            "requests",
            0.0,
        );
        assert!(self.hung > 0, "nobody hung");
        assert_eq!(self.most_in_main, SLOTS, "the trace fills the lane");
    }
}

// The two sides ---------------------------------------------------------------

fn scheduler() -> Lanes {
    Lanes::builder()
        .lane("main", LaneConfig::new(SLOTS).stall_ceiling(CEILING))
        .default_lane(LaneConfig::new(1))
        .build()
        .expect("the configuration is sound")
}

async fn by_lanes(request: Request, lanes: Lanes) -> Served {
    sleep(request.at).await;
    let session = lanes.lane(&name(request)).expect("it is a name");
    let main = lanes.lane("main").expect("it is configured");
    let served = session.run(|_| in_session(request, &main)).await;
    served.unwrap_or(Served {
        end: End::Other,
        took: Duration::ZERO,
    })
}

async fn in_session(request: Request, main: &Lane) -> Served {
    let _inside = IN_SESSIONS[request.session].enter();
    let mut began = None;
    let began_at = &mut began;
    let answer = main
        .run(async move |_| {
            *began_at = Some(Instant::now());
            work(request).await;
        })
        .await;
    let end = match answer {
        Ok(()) => End::Value,
        Err(TaskError::Stalled { .. }) => End::Reclaimed,
        Err(_) => End::Other,
    };
    Served {
        end,
        took: began.map_or(Duration::ZERO, |began| began.elapsed()),
    }
}

fn semaphores() -> (Arc<Map>, Arc<Semaphore>) {
    let names: Vec<String> = (0..SESSIONS).map(session_name).collect();
    let sessions = Map::new(names.iter().map(String::as_str), 1);
    (Arc::new(sessions), Arc::new(Semaphore::new(SLOTS)))
}

async fn by_hand(request: Request, sessions: Arc<Map>, main: Arc<Semaphore>) -> Served {
    sleep(request.at).await;
    let session = sessions.get(&name(request));
    let _session = session.acquire_owned().await.expect("it is open");
    let _inside = IN_SESSIONS[request.session].enter();
    let _slot = main.acquire_owned().await.expect("it is open");
    let began = Instant::now();
    let answer = timeout(CEILING, work(request)).await;
    Served {
        end: if answer.is_ok() {
            End::Value
        } else {
            End::Reclaimed
        },
        took: began.elapsed(),
    }
}

async fn work(request: Request) {
    let _inside = IN_MAIN.enter();
    if request.hangs {
        pending::<()>().await;
    }
    sleep(request.service).await;
}

fn name(request: Request) -> String {
    session_name(request.session)
}

fn session_name(session: usize) -> String {
    format!("session:{session}")
}
