//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Runs agents' jobs as child processes: one at a time per session, a few at a
/// time over all sessions, and none of them able to wedge the rest.
///
/// The exit status is 0 if every job went well, 1 if one did not or never ran,
/// and 2 if the command line or the input could not be used.
#[derive(Debug, Parser)]
#[command(name = "agent_runner")]
pub(crate) struct Args {
    /// Jobs, one JSON object a line: {"session", "name", "cmd", "priority"}.
    /// `-` is standard input; without a path, the demo runs.
    pub(crate) jobs: Option<PathBuf>,

    /// How many jobs run at once, over all sessions (the width of lane `main`).
    #[arg(long, value_name = "N", default_value = "4")]
    pub(crate) max: NonZeroUsize,

    /// How long a job may print nothing before it is asked to end.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) stall: Duration,

    /// How long a job may run in all, however talkative [default: no limit].
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// How long a job has between SIGTERM and SIGKILL.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,

    /// The width of one lane, such as `session:ticket-42=2`; repeatable.
    #[arg(long = "lane", value_name = "NAME=N", value_parser = lane_width)]
    pub(crate) lanes: Vec<(String, NonZeroUsize)>,

    /// How the lanes are set, all of them, as TOML; see examples/lanes.toml. It
    /// is read again when SIGHUP comes.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["max", "stall", "timeout", "grace", "lanes"])]
    pub(crate) config: Option<PathBuf>,

    /// Print every line that the jobs print.
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// A lane of no slots would hold its jobs for ever, hence the `NonZero`.
fn lane_width(text: &str) -> Result<(String, NonZeroUsize), String> {
    // The last `=`, since a session may well have one in its name.
    let (name, width) = text
        .rsplit_once('=')
        .ok_or_else(|| "expected NAME=N".to_owned())?;
    let width = width
        .parse()
        .map_err(|error| format!("width of lane `{name}`: {error}"))?;
    Ok((name.to_owned(), width))
}
