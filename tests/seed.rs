//! The scenario that the crate exists for: a task that never settles, no
//! traffic, and everybody else gets on with it.

use std::future::pending;
use std::time::Duration;

use laneway::{LaneConfig, Lanes, TaskError};
use tokio::time::Instant;

const CEILING: Duration = Duration::from_secs(600);
const TICK: Duration = Duration::from_millis(10);

fn lanes(slots: usize) -> laneway::Lane {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(slots).stall_ceiling(CEILING))
        .build()
        .unwrap();
    let lane = lanes.lane("main").unwrap();
    // The scheduler must outlive this function.
    std::mem::forget(lanes);
    lane
}

#[tokio::test(start_paused = true)]
async fn s8_a_phantom_gives_way_without_traffic() {
    let main = lanes(1);
    let began = Instant::now();
    let phantom = main.spawn(async |_| pending::<()>().await);
    let second = main.spawn(async |_| Instant::now());
    let ran_at = second.await.unwrap();
    assert!(ran_at - began >= CEILING, "{:?}", ran_at - began);
    assert!(ran_at - began <= CEILING + TICK, "{:?}", ran_at - began);
    assert!(matches!(phantom.await, Err(TaskError::Stalled { .. })));
}

#[tokio::test(start_paused = true)]
async fn s8_a_forgotten_slot_gives_way() {
    let main = lanes(1);
    let began = Instant::now();
    std::mem::forget(main.acquire().await.unwrap());
    let ran_at = main.run(async |_| Instant::now()).await.unwrap();
    assert!(ran_at - began <= CEILING + TICK * 2, "{:?}", ran_at - began);
    assert_eq!(main.snapshot().orphans.len(), 1);
}
