//! Whether a task costs the same among many.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use laneway::{Chain, GroupConfig, Lane, Lanes, TaskContext};
use laneway_peers::report::{Point, Row};
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::{Flavour, MINUTE, Map, Walk, any_lane, config, one_lane};
use laneway_peers::turns::{Round, Side, Turns};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const FLAT: f64 = 2.0;

pub fn rows(scale: Scale) {
    among_lanes(scale);
    behind_queued(scale);
    beside_active(scale);
    in_a_group(scale);
    through_a_chain(scale);
}

/// The costs of each size, and how the dearest compares with the smallest.
fn flat(plot: &'static str, row: &str, turns: &Turns, sizes: &[u64], series: &str, ours: bool) {
    let side = |size: u64| format!("{series}, {size}");
    for size in sizes {
        Point {
            plot,
            series: series.to_owned(),
            x: *size,
            ns: turns.ns(&side(*size)),
        }
        .print();
    }
    let by_cost = |a: &&u64, b: &&u64| {
        let cost = |size: u64| turns.ns(&side(size)).median;
        cost(**a).total_cmp(&cost(**b))
    };
    let dearest = *sizes.iter().max_by(by_cost).expect("there are sizes");
    let (smallest, dearest) = (side(sizes[0]), side(dearest));
    let row = Row::ratio(4, row, turns, &dearest, &smallest);
    if ours {
        row.at_most(FLAT)
            .note("the dearest size over the smallest")
            .print();
    } else {
        row.note("the same of the other side, for comparison")
            .print();
    }
}

// Lanes -----------------------------------------------------------------------

const PLOT_LANES: &str = "lanes";

fn among_lanes(scale: Scale) {
    let (runtime, tasks) = (Flavour::CurrentThread.runtime(), scale.tasks(500));
    let sizes = scale.decades(1_000_000);
    let forests: Vec<Forest> = sizes.iter().map(|size| Forest::new(*size)).collect();
    for (series, ours, work) in [
        ("`run`, one lane of them", true, Work::Same),
        ("`run`, any of them by handle", true, Work::Any),
        ("`run`, any of them by name", true, Work::Named),
        ("map of semaphores, any of them", false, Work::Map),
    ] {
        let sides = forests
            .iter()
            .map(|forest| {
                let name = format!("{series}, {}", forest.handles.len());
                let runtime = &runtime;
                Side::new(name, tasks, move || {
                    runtime.block_on(forest.round(work, tasks))
                })
            })
            .collect();
        let turns = Turns::take(scale.rounds(201), sides);
        flat(
            PLOT_LANES,
            "among 1 to 1,000,000 lanes",
            &turns,
            &sizes,
            series,
            ours,
        );
    }
}

#[derive(Clone, Copy)]
enum Work {
    Same,
    Any,
    Named,
    Map,
}

struct Forest {
    lanes: Lanes,
    names: Vec<String>,
    handles: Vec<Lane>,
    map: Map,
    /// Goes on from round to round, so that no cache knows where it comes by.
    walk: RefCell<Walk>,
}

impl Forest {
    fn new(size: u64) -> Self {
        let lanes = any_lane(8);
        let names: Vec<String> = (0..size).map(|n| format!("session-{n}")).collect();
        let handle = |name: &String| lanes.lane(name).expect("it is a name");
        Self {
            handles: names.iter().map(handle).collect(),
            map: Map::new(names.iter().map(String::as_str), 8),
            names,
            lanes,
            walk: RefCell::new(Walk::new(size)),
        }
    }

    async fn round(&self, work: Work, tasks: u64) -> Round {
        let mut walk = self.walk.borrow().clone();
        let (began, mut sum) = (Instant::now(), 0);
        for n in 0..tasks {
            // Every side walks, also the one that stays where it is.
            let at = black_box(walk.step());
            sum += match work {
                Work::Same => run(&self.handles[0], n).await,
                Work::Any => run(&self.handles[at], n).await,
                Work::Named => {
                    let lane = self.lanes.lane(&self.names[at]).expect("it is there");
                    run(&lane, n).await
                }
                Work::Map => {
                    let semaphore = self.map.get(&self.names[at]);
                    let _permit = semaphore.acquire_owned().await.expect("it is open");
                    timeout(MINUTE, async { black_box(n) })
                        .await
                        .expect("it is in time")
                }
            };
        }
        let took = began.elapsed();
        *self.walk.borrow_mut() = walk;
        Round { took, sum }
    }
}

async fn run(lane: &Lane, n: u64) -> u64 {
    black_box(lane.run(async |_| black_box(n)).await).expect("it runs")
}

// Queued ----------------------------------------------------------------------

/// A queue that stays as long as it is: whoever runs submits its successor.
fn behind_queued(scale: Scale) {
    let (runtime, tasks) = (Flavour::CurrentThread.runtime(), scale.tasks(1_000));
    let sizes = scale.decades(1_000_000);
    let queues: Vec<_> = {
        let _inside = runtime.enter();
        sizes
            .iter()
            .map(|size| (Queue::new(*size), Line::new(*size)))
            .collect()
    };
    let ours = "`spawn`, behind the queue";
    let sides = queues
        .iter()
        .zip(&sizes)
        .map(|((queue, _), size)| {
            let runtime = &runtime;
            Side::new(format!("{ours}, {size}"), tasks, move || {
                runtime.block_on(queue.round(tasks))
            })
        })
        .collect();
    let turns = Turns::take(scale.rounds(201), sides);
    flat(
        "queued",
        "with 1 to 1,000,000 queued",
        &turns,
        &sizes,
        ours,
        true,
    );
    let theirs = "`tokio::spawn` + `Semaphore`";
    let sides = queues
        .iter()
        .zip(&sizes)
        .map(|((_, line), size)| {
            let runtime = &runtime;
            Side::new(format!("{theirs}, {size}"), tasks, move || {
                runtime.block_on(line.round(tasks))
            })
        })
        .collect();
    let turns = Turns::take(scale.rounds(201), sides);
    flat(
        "queued",
        "with 1 to 1,000,000 queued",
        &turns,
        &sizes,
        theirs,
        false,
    );
}

/// How many tasks of a round are yet to come, and who is told when none is.
#[derive(Default)]
struct Countdown {
    left: AtomicU64,
    over: Notify,
}

impl Countdown {
    /// Whether this was the last.
    fn count(&self) -> bool {
        let last = self.left.fetch_sub(1, Relaxed) == 1;
        if last {
            self.over.notify_one();
        }
        last
    }
}

struct Queue {
    _lanes: Lanes,
    main: Lane,
    countdown: Arc<Countdown>,
}

impl Queue {
    fn new(size: u64) -> Self {
        let (lanes, main) = one_lane(1);
        main.pause();
        let countdown = Arc::new(Countdown::default());
        for _ in 0..size {
            successor(main.clone(), Arc::clone(&countdown));
        }
        Self {
            _lanes: lanes,
            main,
            countdown,
        }
    }

    async fn round(&self, tasks: u64) -> Round {
        self.countdown.left.store(tasks, Relaxed);
        let began = Instant::now();
        self.main.resume();
        self.countdown.over.notified().await;
        Round {
            took: began.elapsed(),
            sum: tasks,
        }
    }
}

fn successor(main: Lane, countdown: Arc<Countdown>) {
    let lane = main.clone();
    drop(main.spawn(async move |_| {
        if countdown.count() {
            lane.pause();
        }
        successor(lane, countdown);
    }));
}

/// The same of tasks behind a semaphore: between rounds we hold its permit.
struct Line {
    semaphore: Arc<Semaphore>,
    countdown: Arc<Countdown>,
    held: RefCell<Option<OwnedSemaphorePermit>>,
    back: Back,
}

impl Line {
    fn new(size: u64) -> Self {
        let semaphore = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&semaphore).try_acquire_owned();
        let line = Self {
            semaphore,
            countdown: Arc::new(Countdown::default()),
            held: RefCell::new(Some(permit.expect("nobody else is there"))),
            back: Arc::default(),
        };
        for _ in 0..size {
            line.join();
        }
        line
    }

    fn join(&self) {
        next_in_line(
            Arc::clone(&self.semaphore),
            Arc::clone(&self.countdown),
            Arc::clone(&self.back),
        );
    }

    async fn round(&self, tasks: u64) -> Round {
        // Whoever was spawned in the last round has not been polled yet.
        tokio::task::yield_now().await;
        self.countdown.left.store(tasks, Relaxed);
        let held = self.held.borrow_mut().take();
        let began = Instant::now();
        drop(held);
        self.countdown.over.notified().await;
        let took = began.elapsed();
        *self.held.borrow_mut() = self.back.lock().expect("nobody panicked").take();
        Round { took, sum: tasks }
    }
}

type Back = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

fn next_in_line(semaphore: Arc<Semaphore>, countdown: Arc<Countdown>, back: Back) {
    tokio::spawn(async move {
        let permit = Arc::clone(&semaphore)
            .acquire_owned()
            .await
            .expect("it is open");
        if countdown.count() {
            *back.lock().expect("nobody panicked") = Some(permit);
        } else {
            drop(permit);
        }
        next_in_line(semaphore, countdown, back);
    });
}

// Active ----------------------------------------------------------------------

fn beside_active(scale: Scale) {
    let (runtime, tasks) = (Flavour::CurrentThread.runtime(), scale.tasks(500));
    let sizes = scale.decades(100_000);
    for (series, row) in [
        (
            "`run`, all of one ceiling",
            "beside 1 to 100,000 active, one ceiling",
        ),
        (
            "`run`, each with its own ceiling",
            "beside 1 to 100,000 active, a ceiling each",
        ),
    ] {
        let own = series.contains("each");
        let crowds: Vec<_> = sizes
            .iter()
            .map(|size| {
                let lanes = Lanes::builder()
                    .lane("main", config(*size as usize + 1))
                    .build()
                    .expect("the configuration is sound");
                let main = lanes.lane("main").expect("it is configured");
                let slots: Vec<_> = runtime.block_on(async {
                    let slot = |n: u64| {
                        let ceiling = if own {
                            MINUTE + Duration::from_millis(n)
                        } else {
                            MINUTE
                        };
                        main.task()
                            .stall_ceiling(60 * ceiling)
                            .try_acquire()
                            .expect("a slot is free")
                    };
                    (0..*size).map(slot).collect()
                });
                (lanes, main, slots)
            })
            .collect();
        let sides = crowds
            .iter()
            .map(|(_, main, slots)| {
                let runtime = &runtime;
                Side::new(format!("{series}, {}", slots.len()), tasks, move || {
                    runtime.block_on(many(main, tasks))
                })
            })
            .collect();
        let turns = Turns::take(scale.rounds(201), sides);
        flat("active", row, &turns, &sizes, series, true);
    }
    let theirs = "semaphore and timeout";
    let sides = sizes
        .iter()
        .map(|size| {
            // A runtime each: timers are the runtime's.
            let runtime = Flavour::CurrentThread.runtime();
            let semaphore = Arc::new(Semaphore::new(*size as usize + 1));
            for _ in 0..*size {
                let permit = Arc::clone(&semaphore).try_acquire_owned();
                let permit = permit.expect("one is free");
                runtime.spawn(async move {
                    let _permit = permit;
                    timeout(60 * MINUTE, std::future::pending::<()>()).await
                });
            }
            Side::new(format!("{theirs}, {size}"), tasks, move || {
                runtime.block_on(many_of(&semaphore, tasks))
            })
        })
        .collect();
    let turns = Turns::take(scale.rounds(201), sides);
    flat(
        "active",
        "beside 1 to 100,000 active",
        &turns,
        &sizes,
        theirs,
        false,
    );
}

async fn many(main: &Lane, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    for n in 0..tasks {
        sum += run(main, n).await;
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

async fn many_of(semaphore: &Arc<Semaphore>, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    for n in 0..tasks {
        let _permit = Arc::clone(semaphore)
            .acquire_owned()
            .await
            .expect("it is open");
        sum += timeout(MINUTE, async { black_box(n) })
            .await
            .expect("it is in time");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

// Groups ----------------------------------------------------------------------

/// Lanes that share a budget of one slot, with nobody waiting in any of them, and
/// with somebody in each.
fn in_a_group(scale: Scale) {
    let sizes = scale.decades(10_000);
    let (plot, row) = ("group", "in a group of 1 to 10,000 lanes");
    let alone = "`run`, one lane of the group";
    crowd(scale, plot, row, alone, &sizes, Hall::of_a_group);
}

/// Sessions in front of one lane of one slot: nobody waits in any of them, and
/// then somebody waits in each for his turn in that lane.
fn through_a_chain(scale: Scale) {
    let sizes = scale.decades(100_000);
    let (plot, row) = (
        "chain",
        "through chains of one session beside 1 to 100,000 others, and one lane",
    );
    let alone = "`run`, one of the chains";
    crowd(scale, plot, row, alone, &sizes, Hall::of_chains);
}

fn crowd(
    scale: Scale,
    plot: &'static str,
    row: &str,
    alone: &str,
    sizes: &[u64],
    hall: fn(u64) -> Hall,
) {
    let (runtime, tasks) = (Flavour::CurrentThread.runtime(), scale.tasks(500));
    let halls: Vec<_> = sizes
        .iter()
        .map(|size| (hall(*size), hall(*size)))
        .collect();
    let sides = halls.iter().zip(sizes).map(|((hall, _), size)| {
        let runtime = &runtime;
        Side::new(format!("{alone}, {size}"), tasks, move || {
            runtime.block_on(hall.round(tasks))
        })
    });
    let turns = Turns::take(scale.rounds(201), sides.collect());
    flat(plot, row, &turns, sizes, alone, true);
    let crowded = "`spawn`, somebody waits in every lane";
    {
        let _inside = runtime.enter();
        halls.iter().for_each(|(_, hall)| hall.crowd());
    }
    let sides = halls.iter().zip(sizes).map(|((_, hall), size)| {
        let runtime = &runtime;
        Side::new(format!("{crowded}, {size}"), tasks, move || {
            runtime.block_on(hall.crowded_round(tasks))
        })
    });
    let turns = Turns::take(scale.rounds(201), sides.collect());
    flat(plot, row, &turns, sizes, crowded, true);
}

struct Hall {
    _lanes: Lanes,
    members: Vec<Member>,
    countdown: Arc<Countdown>,
    again: Arc<Notify>,
}

/// Where a task is submitted.
#[derive(Clone)]
enum Member {
    Lane(Lane),
    Chain(Chain),
}

impl Hall {
    fn of_a_group(size: u64) -> Self {
        let lanes = Lanes::builder()
            .pattern("member-*", config(1))
            .group("shared", GroupConfig::new(1).member("member-*"))
            .build()
            .expect("the configuration is sound");
        let lane = |n: u64| lanes.lane(&format!("member-{n}")).expect("it is a name");
        let members = (0..size).map(|n| Member::Lane(lane(n))).collect();
        Self::new(lanes, members)
    }

    fn of_chains(size: u64) -> Self {
        let lanes = Lanes::builder()
            .pattern("session-*", config(1))
            .lane("main", config(1))
            .build()
            .expect("the configuration is sound");
        let chain = |n: u64| {
            let names = [format!("session-{n}"), "main".to_owned()];
            lanes.chain(names).expect("they are names")
        };
        // One more than it says, so that at every size somebody waits in `main`, too.
        let members = (0..=size).map(|n| Member::Chain(chain(n))).collect();
        Self::new(lanes, members)
    }

    fn new(lanes: Lanes, members: Vec<Member>) -> Self {
        Self {
            members,
            _lanes: lanes,
            countdown: Arc::new(Countdown::default()),
            again: Arc::default(),
        }
    }

    async fn round(&self, tasks: u64) -> Round {
        let (began, mut sum) = (Instant::now(), 0);
        for n in 0..tasks {
            sum += match &self.members[0] {
                Member::Lane(lane) => run(lane, n).await,
                Member::Chain(chain) => {
                    let task = chain.run(async |_| black_box(n));
                    task.await.expect("it runs")
                }
            };
        }
        Round {
            took: began.elapsed(),
            sum,
        }
    }

    /// From now on somebody waits in every lane, and one has the slot and waits
    /// for a round.
    fn crowd(&self) {
        self.countdown.left.store(1, Relaxed);
        for member in &self.members {
            self.join(member.clone());
        }
    }

    fn join(&self, member: Member) {
        next_in(member, Arc::clone(&self.countdown), Arc::clone(&self.again));
    }

    async fn crowded_round(&self, tasks: u64) -> Round {
        // The one that ended the last round.
        self.countdown.over.notified().await;
        self.countdown.left.store(tasks, Relaxed);
        let began = Instant::now();
        self.again.notify_one();
        while self.countdown.left.load(Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        Round {
            took: began.elapsed(),
            sum: tasks,
        }
    }
}

fn next_in(member: Member, countdown: Arc<Countdown>, again: Arc<Notify>) {
    let own = member.clone();
    let task = async move |_: TaskContext| {
        if countdown.count() {
            again.notified().await;
        }
        next_in(member, countdown, again);
    };
    match own {
        Member::Lane(lane) => drop(lane.spawn(task)),
        Member::Chain(chain) => drop(chain.spawn(task)),
    }
}
