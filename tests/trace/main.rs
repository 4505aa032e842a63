//! The first minutes of a recorded hour, with a hang in every hundred: nobody
//! runs above a limit, every hang is reclaimed on time, everybody is answered.
//! `benches/peers` replays all of it.

mod requests;

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use laneway::{Lane, LaneConfig, Lanes, TaskError};
use requests::{Request, SESSIONS};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

const REQUESTS: usize = 2_000;
const SLOTS: usize = 32;
const CEILING: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many are inside, and how many ever were at once.
#[derive(Default)]
struct Gauge {
    now: Cell<usize>,
    most: Cell<usize>,
}

impl Gauge {
    fn enter(self: &Rc<Self>) -> Inside {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        Inside(Rc::clone(self))
    }
}

struct Inside(Rc<Gauge>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.set(self.0.now.get() - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn s1_s7_s8_a_recorded_hour() {
    let Some(mut trace) = requests::load(env!("CARGO_MANIFEST_DIR")) else {
        return;
    };
    trace.truncate(REQUESTS);
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(SLOTS).stall_ceiling(CEILING))
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let inside_main = Rc::new(Gauge::default());
    let inside_sessions: Vec<_> = (0..SESSIONS).map(|_| Rc::new(Gauge::default())).collect();
    let mut answers = Vec::new();
    let local = LocalSet::new();
    for (row, request) in trace.iter().copied().enumerate() {
        let session = lanes.lane(&format!("session:{}", request.session)).unwrap();
        let gauges = (
            Rc::clone(&inside_sessions[request.session]),
            Rc::clone(&inside_main),
        );
        let main = main.clone();
        let task = local.spawn_local(async move {
            sleep(request.at).await;
            serve(request, &session, &main, gauges).await
        });
        answers.push((row, task));
    }
    let all = local.run_until(async {
        for (row, task) in answers {
            let (started, answer) = task.await.unwrap();
            judge(row, trace[row], started, answer);
        }
    });
    timeout(DAY, all).await.expect("everybody is answered");
    assert_eq!(
        inside_main.most.get(),
        SLOTS,
        "the trace fills the lane, and no more"
    );
    for session in &inside_sessions {
        assert!(
            session.most.get() <= 1,
            "{} in one session",
            session.most.get()
        );
    }
    let counters = main.snapshot().counters;
    let hung = trace.iter().filter(|request| request.hangs).count() as u64;
    assert!(hung > 0);
    assert_eq!((counters.reclaimed, counters.taken), (hung, 0));
    assert_eq!(counters.completed, trace.len() as u64 - hung);
}

/// When it began in `main`, and when and how it ended there.
type Served = (Rc<Cell<Option<Instant>>>, (Instant, Result<(), TaskError>));

async fn serve(
    request: Request,
    session: &Lane,
    main: &Lane,
    (in_session, in_main): (Rc<Gauge>, Rc<Gauge>),
) -> Served {
    let started = Rc::new(Cell::new(None));
    let answer = session
        .run(async |_| {
            let _inside = in_session.enter();
            let answer = main
                .run(async |_| {
                    let _inside = in_main.enter();
                    started.set(Some(now()));
                    if request.hangs {
                        pending::<()>().await;
                    }
                    sleep(request.service).await;
                })
                .await;
            (now(), answer)
        })
        .await;
    (started, answer.expect("nothing befalls a session"))
}

#[track_caller]
fn judge(
    row: usize,
    request: Request,
    started: Rc<Cell<Option<Instant>>>,
    (ended, answer): (Instant, Result<(), TaskError>),
) {
    let took = ended - started.get().expect("it ran");
    if !request.hangs {
        assert!(answer.is_ok(), "row {row}: {answer:?}");
        return;
    }
    assert!(
        matches!(answer, Err(TaskError::Stalled { .. })),
        "row {row}: {answer:?}"
    );
    assert!(
        took >= CEILING && took <= CEILING + TICK,
        "row {row}: {took:?}"
    );
}

#[expect(clippy::disallowed_methods, reason = "tests read tokio's paused clock")]
fn now() -> Instant {
    Instant::now()
}
