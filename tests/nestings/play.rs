//! Plays a case, and judges what everybody is told.

use std::cell::RefCell;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use laneway::{AcquireError, GroupConfig, Lane, LaneConfig, Lanes, TaskContext, TaskError, TaskId};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use crate::book::{Book, Wait};
use crate::case::{Case, LANES, Nest, Step};
use crate::judge::Judge;
use crate::recorded::{recorded, reproduces};

/// In virtual time, longer than any case takes that is not stuck.
const LONG: Duration = Duration::from_secs(3600);

/// On threads, far longer than any case takes that is not stuck, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A case was stuck on threads.
static STUCK: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) served: usize,
    pub(crate) refused: usize,
    /// Also of tasks of which nobody has a handle.
    panics: usize,
}

/// What all tasks of a case share.
#[derive(Clone)]
struct Scene {
    lanes: Arc<[Lane; LANES]>,
    /// `None` where nobody can keep it.
    book: Option<Arc<Mutex<Book>>>,
    told: Arc<Mutex<Told>>,
}

pub(crate) fn in_virtual_time(case: &Case) -> Told {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(play(case, Some(Book::new(case))))
}

/// On a thread of its own, so that one which blocks its thread fails, too.
pub(crate) fn on_threads(case: &Case) {
    thread_local! {
        static RUNTIME: RefCell<Option<tokio::runtime::Runtime>> = const { RefCell::new(None) };
    }
    // Every simpler case would take as long to be stuck, or is not stuck by chance.
    if STUCK.load(Ordering::Relaxed) {
        return;
    }
    let make = || {
        Builder::new_multi_thread()
            .worker_threads(3)
            .enable_time()
            .build()
            .unwrap()
    };
    RUNTIME.with_borrow_mut(|runtime| {
        let handle = runtime.get_or_insert_with(make).handle().clone();
        let (case, (ends, ended)) = (case.clone(), channel::<()>());
        let player = thread::Builder::new().name(thread::current().name().unwrap_or("play").into());
        let player = player.spawn(move || {
            let _ends = ends;
            handle.block_on(play(&case, None));
        });
        let blocked = ended.recv_timeout(PATIENCE * 2) == Err(RecvTimeoutError::Timeout);
        if blocked || STUCK.load(Ordering::Relaxed) {
            STUCK.store(true, Ordering::Relaxed);
            // It would wait for what never ends.
            if let Some(runtime) = runtime.take() {
                runtime.shutdown_background();
            }
        }
        assert!(!blocked, "stuck, and its thread is blocked");
        if let Err(panic) = player.unwrap().join() {
            resume_unwind(panic);
        }
    });
}

async fn play(case: &Case, book: Option<Book>) -> Told {
    let lanes = build(case);
    let scene = Scene {
        lanes: Arc::new(std::array::from_fn(|n| lanes.lane(&name(n)).unwrap())),
        book: book.map(|book| Arc::new(Mutex::new(book))),
        told: Arc::default(),
    };
    let judge = scene.book.as_ref().map(Judge::of);
    let tasks: Vec<_> = case
        .tasks
        .iter()
        .map(|nest| scene.spawn(nest.clone()))
        .collect();
    let operator = {
        let (scene, changes) = (scene.clone(), case.changes.clone());
        tokio::spawn(async move {
            for (after, lane, slots) in changes {
                scene.pause(after).await;
                scene.note(|book| book.resize(lane, slots));
                scene.lanes[lane].set_max_concurrent(slots).unwrap();
            }
        })
    };
    let all = async {
        for task in tasks {
            task.await.expect("nobody waits for these in a task");
        }
        operator.await.unwrap();
        lanes.idle().await;
    };
    let limit = if scene.book.is_some() { LONG } else { PATIENCE };
    if timeout(limit, all).await.is_err() {
        STUCK.fetch_or(scene.book.is_none(), Ordering::Relaxed);
        panic!("stuck, and not refused: {:#?}", lanes.snapshot());
    }
    let snapshot = lanes.snapshot();
    assert!(
        snapshot
            .lanes
            .iter()
            .all(|lane| lane.active.is_empty() && lane.queued.is_empty())
    );
    let deadlocks: u64 = snapshot
        .lanes
        .iter()
        .map(|lane| lane.counters.deadlocks)
        .sum();
    let told = *scene.told();
    if let Some(judge) = judge {
        let wrong = judge.verdict();
        assert!(wrong.is_empty(), "refused, and could move: {}", wrong[0]);
    }
    assert!(
        deadlocks >= told.refused as u64,
        "{deadlocks} counted, {told:?}"
    );
    assert_eq!(told.panics, 0);
    reproduces(&lanes);
    told
}

fn name(lane: usize) -> String {
    format!("lane-{lane}")
}

fn build(case: &Case) -> Lanes {
    let mut lanes = Lanes::builder();
    for (n, slots) in case.slots.iter().enumerate() {
        lanes = lanes.lane(name(n), LaneConfig::new(*slots).no_stall_ceiling());
    }
    for group in &case.groups {
        let mut config = GroupConfig::new(group.budget);
        for lane in group.from..group.from + group.lanes {
            config = config.member(name(lane));
        }
        if group.reserved > 0 {
            config = config.reserve(name(group.from), group.reserved);
        }
        lanes = lanes.group(format!("from-{}", group.from), config);
    }
    recorded(lanes).build().unwrap()
}

type Steps<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Scene {
    fn note<R: Default>(&self, write: impl FnOnce(&mut Book) -> R) -> R {
        self.book.as_ref().map_or_else(R::default, |book| {
            write(&mut book.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pause(&self, millis: u64) {
        if self.book.is_some() {
            sleep(Duration::from_millis(millis)).await;
        } else {
            for _ in 0..millis / 4 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn spawn(&self, nest: Nest) -> laneway::TaskHandle<()> {
        let (scene, lane) = (self.clone(), nest.lane);
        self.lanes[lane].spawn(move |cx| async move { scene.body(&cx, lane, &nest.steps).await })
    }

    /// A task from its first poll to its end, also where it is dropped.
    async fn body(&self, cx: &TaskContext, lane: usize, steps: &[Step]) {
        let _active = Active::begin(self, cx.id(), lane);
        self.steps(cx, steps).await;
    }

    fn steps<'a>(&'a self, cx: &'a TaskContext, steps: &'a [Step]) -> Steps<'a> {
        Box::pin(async move {
            for step in steps {
                self.step(cx, step).await;
            }
        })
    }

    async fn step(&self, cx: &TaskContext, step: &Step) {
        match step {
            Step::Sleep(millis) => self.pause(*millis).await,
            Step::Run(nest) => {
                let waits = self.waits(cx.id(), Wait::Slot(nest.lane));
                let body = async |child: TaskContext| {
                    waits.on(Wait::Task(child.id(), nest.lane));
                    self.body(&child, nest.lane, &nest.steps).await;
                };
                // The future has no name that could be said to be `Send`.
                let told = Box::pin(self.lanes[nest.lane].run(body)).await;
                self.hear(told);
            }
            Step::Acquire(lane, steps) => {
                let waits = self.waits(cx.id(), Wait::Slot(*lane));
                let slot = match self.lanes[*lane].acquire().await {
                    Ok(slot) => slot,
                    Err(AcquireError::WouldDeadlock { .. }) => return self.refused(),
                    Err(error) => panic!("{error}"),
                };
                drop(waits);
                let (scene, steps, lane) = (self.clone(), steps.clone(), *lane);
                tokio::spawn(async move {
                    let cx = slot.context().clone();
                    let _active = Active::begin(&scene, cx.id(), lane);
                    cx.scope(scene.steps(&cx, &steps)).await;
                    drop(slot);
                });
            }
            Step::Spawn(nest) => drop(self.spawn(nest.clone())),
            Step::SpawnAndAwait(nest) => self.join(cx, self.spawn(nest.clone()), nest.lane).await,
            Step::SpawnAndGoOn(nest, steps) => {
                let child = self.spawn(nest.clone());
                self.steps(cx, steps).await;
                self.join(cx, child, nest.lane).await;
            }
            Step::SpawnWithItself(nest) => {
                let (give, given) = tokio::sync::oneshot::channel();
                let (scene, Nest { lane, steps }) = (self.clone(), nest.clone());
                let body = async move |cx: TaskContext| {
                    let _active = Active::begin(&scene, cx.id(), lane);
                    scene.steps(&cx, &steps).await;
                    let own = given.await.expect("it is given at once");
                    scene.join(&cx, own, lane).await;
                };
                let own = self.lanes[nest.lane].spawn(body);
                give.send(own).expect("it has not begun, or awaits this");
            }
            Step::Both(one, other) => {
                tokio::join!(self.steps(cx, one), self.steps(cx, other));
            }
            Step::Part(steps) => {
                let (scene, part, steps) = (self.clone(), cx.clone(), steps.clone());
                let part = cx.spawn(async move { scene.steps(&part, &steps).await });
                part.await.expect("no panic");
            }
            Step::GiveUp(millis, nest) => {
                let run = self.lanes[nest.lane].run(async |child: TaskContext| {
                    self.body(&child, nest.lane, &nest.steps).await;
                });
                tokio::select! {
                    told = Box::pin(run.may_abandon()) => told.expect("it may be given up"),
                    () = self.pause(*millis) => {}
                }
            }
        }
    }

    async fn join(&self, cx: &TaskContext, mut child: laneway::TaskHandle<()>, lane: usize) {
        let _waits = self.waits(cx.id(), Wait::Task(child.id(), lane));
        let told = (&mut child).await;
        self.hear(told);
    }

    #[track_caller]
    fn hear(&self, told: Result<(), TaskError>) {
        match told {
            Ok(()) => {
                self.told().served += 1;
            }
            Err(TaskError::WouldDeadlock { .. }) => self.refused(),
            Err(error) => panic!("{error}"),
        }
    }

    fn refused(&self) {
        self.told().refused += 1;
    }

    fn waits(&self, task: TaskId, wait: Wait) -> Waits<'_> {
        let number = self.note(|book| book.waits(task, wait));
        Waits {
            scene: self,
            number,
        }
    }
}

/// A wait that is in the book.
struct Waits<'a> {
    scene: &'a Scene,
    number: u64,
}

impl Waits<'_> {
    fn on(&self, wait: Wait) {
        self.scene.note(|book| book.waits_on(self.number, wait));
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.scene.note(|book| book.waited(self.number));
    }
}

/// A task that is active in the book.
struct Active<'a> {
    scene: &'a Scene,
    task: TaskId,
}

impl<'a> Active<'a> {
    fn begin(scene: &'a Scene, task: TaskId, lane: usize) -> Self {
        scene.note(|book| book.begins(task, lane));
        Self { scene, task }
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.scene.told().panics += 1;
        }
        self.scene.note(|book| book.ends(self.task));
    }
}
