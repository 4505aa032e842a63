//! The command line.

use std::num::ParseIntError;
use std::time::Duration;

use clap::{Parser, value_parser};

/// A year, in minutes: longer ones are slips of the hand.
const LONGEST: u64 = 365 * 24 * 60;

/// Runs the scheduler for a while under every fault that the soak can make, and
/// checks the promises from outside.
///
/// The exit status is 0 if nothing was violated, 1 if something was.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub(crate) struct Args {
    /// How long to run, in minutes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = value_parser!(u64).range(1..=LONGEST))]
    minutes: u64,

    /// How long to run, in seconds; in place of `--minutes`.
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    #[arg(value_parser = value_parser!(u64).range(1..=60 * LONGEST))]
    seconds: Option<u64>,

    /// Decides what is tried; how the threads interleave it does not decide
    /// [default: from the clock].
    #[arg(long, value_name = "S", value_parser = seed)]
    pub(crate) seed: Option<u64>,
}

impl Args {
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(self.minutes * 60))
    }
}

/// As the tests take `LANEWAY_SEED`.
fn seed(text: &str) -> Result<u64, ParseIntError> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
}
