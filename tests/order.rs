//! Who is next, and that somebody always is.

use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use laneway::{Lane, LaneConfig, Lanes, Priority, Reason, Slot, TaskHandle};
use tokio::sync::mpsc;

const SECOND: Duration = Duration::from_secs(1);

fn lane_with(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

async fn quiet() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// A lane of one that is held, and the order in which its waiters run.
struct Line {
    _lanes: Lanes,
    main: Lane,
    held: Slot,
    say: mpsc::UnboundedSender<usize>,
    said: mpsc::UnboundedReceiver<usize>,
    tasks: Vec<TaskHandle<()>>,
}

impl Line {
    async fn form(config: LaneConfig) -> Self {
        let (_lanes, main) = lane_with(config);
        let held = main.acquire().await.unwrap();
        let (say, said) = mpsc::unbounded_channel();
        Self {
            _lanes,
            main,
            held,
            say,
            said,
            tasks: Vec::new(),
        }
    }

    /// The next task, named by how many came before it.
    fn join(&mut self, priority: Priority) {
        let (number, say) = (self.tasks.len(), self.say.clone());
        let task = self.main.task().priority(priority);
        let task = task.spawn(async move |_| say.send(number).unwrap());
        self.tasks.push(task);
    }

    async fn serve(mut self) -> Vec<usize> {
        drop(self.held);
        for task in self.tasks {
            let _ = task.await;
        }
        drop(self.say);
        let mut order = Vec::new();
        while let Some(number) = self.said.recv().await {
            order.push(number);
        }
        order
    }
}

use Priority::{Background, Foreground, Normal};

#[tokio::test(start_paused = true)]
async fn s6_urgent_first_and_fifo_within() {
    let mut line = Line::form(LaneConfig::new(1)).await;
    for priority in [
        Background, Normal, Foreground, Background, Normal, Foreground,
    ] {
        line.join(priority);
    }
    assert_eq!(line.serve().await, [2, 5, 1, 4, 0, 3]);
}

#[tokio::test(start_paused = true)]
async fn s6_aged_background_competes_as_normal_and_never_as_foreground() {
    for (waited, order) in [(SECOND * 29, [3, 1, 2, 0]), (SECOND * 31, [3, 0, 1, 2])] {
        let mut line = Line::form(LaneConfig::new(1)).await;
        line.join(Background);
        tokio::time::sleep(waited).await;
        for priority in [Normal, Normal, Foreground] {
            line.join(priority);
        }
        assert_eq!(line.serve().await, order, "after {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s6_aging_is_as_long_as_the_lane_says() {
    let mut line = Line::form(LaneConfig::new(1).aging(SECOND * 5)).await;
    line.join(Background);
    tokio::time::sleep(SECOND * 6).await;
    line.join(Background);
    line.join(Normal);
    assert_eq!(line.serve().await, [0, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn s6_every_eighth_dispatch_serves_the_oldest() {
    let mut line = Line::form(LaneConfig::new(1)).await;
    line.join(Background);
    line.join(Normal);
    for _ in 0..30 {
        line.join(Foreground);
    }
    let order = line.serve().await;
    assert_eq!((order[7], order[15]), (0, 1));
    let mut foreground = order;
    foreground.retain(|number| *number > 1);
    assert!(foreground.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn s12_a_cancelled_waiter_leaves_no_hole() {
    let mut line = Line::form(LaneConfig::new(1)).await;
    line.join(Normal);
    let main = line.main.clone();
    let mut dropped = Box::pin(main.acquire());
    assert!(dropped.as_mut().now_or_never().is_none());
    for _ in 0..3 {
        line.join(Normal);
    }
    let before = line.main.snapshot().queued.len();
    drop(dropped);
    line.tasks[2].cancel(Reason::User);
    assert_eq!(line.main.snapshot().queued.len(), before - 2);
    assert_eq!(line.serve().await, [0, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn s12_s20_a_grant_that_is_dropped_unpolled_is_passed_on_at_once() {
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let held = main.acquire().await.unwrap();
    let mut first = Box::pin(main.acquire());
    let mut second = Box::pin(main.acquire());
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    drop(held);
    assert!(
        second.as_mut().now_or_never().is_none(),
        "it is not its turn"
    );
    drop(first);
    let second = second.now_or_never().expect("passed on").unwrap();
    assert!(second.is_current());
    assert_eq!(main.snapshot().active.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn s20_an_unclaimed_grant_is_passed_on_and_its_place_kept() {
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let held = main.acquire().await.unwrap();
    let mut sleepy = Box::pin(main.acquire());
    assert!(sleepy.as_mut().now_or_never().is_none());
    let next = main.spawn(async |_| tokio::time::sleep(SECOND * 60).await);
    let mut last = Box::pin(main.acquire());
    assert!(last.as_mut().now_or_never().is_none());
    drop(held);
    tokio::time::sleep(SECOND * 4).await;
    assert_eq!(main.snapshot().queued.len(), 2, "it has its claim ceiling");
    tokio::time::sleep(SECOND * 2).await;
    assert!(matches!(next.status(), laneway::TaskStatus::Active));
    // Polled again, it is ahead of whoever came after it.
    assert!(sleepy.as_mut().now_or_never().is_none());
    next.await.unwrap();
    assert!(last.as_mut().now_or_never().is_none());
    let slot = sleepy.now_or_never().expect("its turn").unwrap();
    drop(slot);
    drop(last.await.unwrap());
}

/// A small generator of numbers that look random and never change.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test(start_paused = true)]
async fn s1_s5_bounded_and_no_eligible_waiter_at_any_moment() {
    let (lanes, main) = lane_with(LaneConfig::new(3));
    let mut dice = Dice(7);
    let mut slots: Vec<Slot> = Vec::new();
    let mut waiting = Vec::new();
    let (mut limit, mut paused) = (3, false);
    for step in 0..3000 {
        match dice.roll(10) {
            0..4 => {
                let lane = main.clone();
                let mut joining = async move { lane.acquire().await }.boxed();
                match joining.as_mut().now_or_never() {
                    Some(slot) => slots.push(slot.unwrap()),
                    None => waiting.push(joining),
                }
            }
            4..6 if !slots.is_empty() => {
                drop(slots.swap_remove(dice.roll(slots.len() as u64) as usize));
            }
            6 if !waiting.is_empty() => {
                drop(waiting.swap_remove(dice.roll(waiting.len() as u64) as usize));
            }
            7 => {
                let before = main.snapshot().active.len();
                let lower = dice.roll(5) as usize;
                main.set_max_concurrent(lower).unwrap();
                assert!(main.snapshot().active.len() >= before, "evicted");
                limit = lower;
            }
            8 => {
                paused = !paused;
                if paused {
                    main.pause();
                } else {
                    main.resume();
                }
            }
            9 => {
                let ids: Vec<_> = main.snapshot().queued.iter().map(|task| task.id).collect();
                if let Some(id) = ids.last() {
                    lanes.cancel(*id, Reason::User).unwrap();
                }
            }
            _ => {}
        }
        let snapshot = main.snapshot();
        let (active, queued) = (snapshot.active.len(), snapshot.queued.len());
        let eligible = queued > 0 && active < limit && !paused;
        assert!(
            !eligible,
            "step {step}: {active} of {limit} active, {queued} queued"
        );
        // Whoever was granted a slot comes for it, in any order.
        let (now, later): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .map(|mut joining| (joining.as_mut().now_or_never(), joining))
            .partition(|(polled, _)| polled.is_some());
        slots.extend(now.into_iter().filter_map(|(polled, _)| polled?.ok()));
        waiting = later.into_iter().map(|(_, joining)| joining).collect();
        assert_eq!(slots.len(), main.snapshot().active.len());
    }
}

#[tokio::test(start_paused = true)]
async fn s6_nobody_starves_under_a_stream_of_urgent_work() {
    let (_lanes, main) = lane_with(LaneConfig::new(1).aging(SECOND * 3600));
    let urgent = |main: &Lane| {
        let task = main.task().priority(Foreground);
        drop(task.spawn(async |_| tokio::time::sleep(SECOND).await));
    };
    urgent(&main);
    urgent(&main);
    let patient = main.task().priority(Background);
    let patient = patient.spawn(async |_| pending::<()>().await);
    let mut seconds = 0;
    while patient.status() == laneway::TaskStatus::Queued {
        urgent(&main);
        tokio::time::sleep(SECOND).await;
        quiet().await;
        seconds += 1;
        assert!(seconds <= 10, "starved");
    }
}
