//! A chat gateway: many sessions, a few turns at a time, and model providers that
//! hang, and refuse whoever asks too often.
//!
//! ```text
//! cargo run --example chat_gateway -- --demo      # two days in a second
//! cargo run --example chat_gateway                # type to it
//! ```
//!
//! `docs/guide.md` walks through it. Lines that it understands:
//!
//! ```text
//! anna: find me a train      a message of session `anna`; to a turn under way, it steers
//! anna: !stop, go by bus     an interrupt: the turn under way ends, and this is the next
//! approve 1                  what a turn asked leave for; or `deny 1`
//! lanes                      who runs, who waits, and why
//! restart                    drains, writes the journal, and begins anew from it
//! ```
//!
//! The end of the input drains the gateway. With `--journal`, what is unfinished
//! then goes on with the next start.

mod approvals;
mod console;
mod desk;
mod gateway;
mod journal;
mod providers;
mod session;
mod sync;
mod talk;
mod turn;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use crate::console::{Console, Line, Lines};
use crate::gateway::Gateway;
use crate::journal::Journal;

/// Several people chat with a model, over standard input.
#[derive(Debug, Parser)]
#[command(name = "chat_gateway")]
struct Args {
    /// Plays a script in virtual time, instead of reading standard input.
    #[arg(long)]
    demo: bool,

    /// Where what is unfinished is kept from one run to the next, as JSON.
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    journal: Option<PathBuf>,

    /// How long a message is put off for what its sender may still be typing.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    typing: Duration,

    /// How long turns have to finish when the gateway stops.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    drain: Duration,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Time jumps to whatever happens next; laneway uses the same clock.
        .start_paused(args.demo)
        .build();
    let ran = runtime.context("no runtime").and_then(|runtime| {
        let ran = runtime.block_on(run(&args));
        // A read of standard input may never end.
        runtime.shutdown_background();
        ran
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat_gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    show_warnings();
    let console = Console::new();
    let mut lines = if args.demo {
        Lines::of_script(include_str!("demo.txt"), console.clone())
    } else {
        Lines::of_stdin()
    };
    let journal = match &args.journal {
        Some(path) => {
            Journal::read(path).with_context(|| format!("cannot read {}", path.display()))?
        }
        None => Journal::default(),
    };
    let start = |journal| Gateway::start(console.clone(), args.typing, journal);
    let mut gateway = start(journal)?;
    while let Some(line) = lines.next().await? {
        match line.parse() {
            Ok(Line::Restart) => {
                let written = gateway.stop(args.drain).await.to_json()?;
                console.say(format_args!("a journal of {} bytes", written.len()));
                gateway = start(Journal::of_json(&written)?)?;
            }
            Ok(Line::Command(command)) => gateway.obey(command),
            Err(why) => console.say(why),
        }
    }
    let journal = gateway.stop(args.drain).await;
    if let Some(path) = &args.journal {
        journal
            .write(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What the scheduler warns of: a lane that is blocked, a slot reclaimed.
fn show_warnings() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
