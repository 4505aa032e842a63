//! Ours as the rows use it, with everything on, and what one would write.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use laneway::{Lane, LaneConfig, Lanes};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

pub const MINUTE: Duration = Duration::from_secs(60);

/// With a stall ceiling that was set by hand, like the timeout beside it.
pub fn config(slots: usize) -> LaneConfig {
    LaneConfig::new(slots).stall_ceiling(MINUTE)
}

/// A scheduler with one lane, `main`.
pub fn one_lane(slots: usize) -> (Lanes, Lane) {
    one_lane_of(config(slots))
}

pub fn one_lane_of(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder()
        .lane("main", config)
        .build()
        .expect("the configuration is sound");
    let main = lanes.lane("main").expect("it is configured");
    (lanes, main)
}

/// A scheduler whose lanes are made on first use.
pub fn any_lane(slots: usize) -> Lanes {
    Lanes::builder()
        .default_lane(config(slots))
        .build()
        .expect("the configuration is sound")
}

/// A map of semaphores: what one would write by hand.
pub struct Map(DashMap<String, Arc<Semaphore>>);

impl Map {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, slots: usize) -> Self {
        let entry = |name: &str| (name.to_owned(), Arc::new(Semaphore::new(slots)));
        Self(names.into_iter().map(entry).collect())
    }

    pub fn get(&self, name: &str) -> Arc<Semaphore> {
        Arc::clone(&self.0.get(name).expect("it is in the map"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    CurrentThread,
    MultiThread,
}

impl Flavour {
    pub const BOTH: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    pub const fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current_thread",
            Self::MultiThread => "multi_thread(2)",
        }
    }

    pub fn runtime(self) -> Runtime {
        match self {
            Self::CurrentThread => Builder::new_current_thread(),
            Self::MultiThread => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(2);
                builder
            }
        }
        .enable_all()
        .build()
        .expect("a runtime can be built here")
    }
}

/// A walk over `0..len` that is the same every time and that no prefetcher
/// foresees; `len` need be no power of two.
#[derive(Clone, Debug)]
pub struct Walk {
    state: u64,
    len: u64,
}

impl Walk {
    pub const fn new(len: u64) -> Self {
        Self {
            state: 0x9E37_79B9_7F4A_7C15,
            len,
        }
    }

    pub const fn step(&mut self) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (((self.state >> 32) * self.len) >> 32) as usize
    }
}
