//! What comes in and goes out: lines.

use std::fmt::Display;
use std::io::{self, Write};
use std::str::FromStr;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Stdin};
use tokio::time::Instant;

use crate::sync::now;

/// Standard output, with the time since the start before each line.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    began: Instant,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self { began: now() }
    }

    /// A reader that went away is no reason to stop working.
    pub(crate) fn say(&self, line: impl Display) {
        let elapsed = self.began.elapsed();
        let seconds = elapsed.as_secs();
        let (hours, minutes, tenths) = (
            seconds / 3600,
            seconds / 60 % 60,
            elapsed.subsec_millis() / 100,
        );
        let seconds = seconds % 60;
        let stamp = format!("{hours:02}:{minutes:02}:{seconds:02}.{tenths}");
        let _ = writeln!(io::stdout(), "{stamp} {line}");
    }
}

/// Where the lines come from.
#[derive(Debug)]
pub(crate) enum Lines {
    Typed(tokio::io::Lines<BufReader<Stdin>>),
    /// Each with the time that passes before it.
    Scripted(std::str::Lines<'static>, Console),
}

impl Lines {
    pub(crate) fn of_stdin() -> Self {
        Self::Typed(BufReader::new(tokio::io::stdin()).lines())
    }

    pub(crate) fn of_script(script: &'static str, console: Console) -> Self {
        Self::Scripted(script.lines(), console)
    }

    /// The next line that is not empty; `None` at the end, or at Ctrl-C.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Typed(lines) => loop {
                let line = tokio::select! {
                    line = lines.next_line() => line?,
                    pressed = tokio::signal::ctrl_c() => pressed.map(|()| None)?,
                };
                if line.as_ref().is_none_or(|line| !line.trim().is_empty()) {
                    return Ok(line);
                }
            },
            Self::Scripted(lines, console) => {
                let is_line = |line: &&str| !line.is_empty() && !line.starts_with('#');
                let Some(line) = lines.find(is_line) else {
                    return Ok(None);
                };
                let (pause, line) = line.split_once(' ').context("a line without a time")?;
                tokio::time::sleep(humantime::parse_duration(pause)?).await;
                let line = line.trim();
                console.say(format_args!("> {line}"));
                Ok(Some(line.to_owned()))
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Say { session: String, text: String },
    Interrupt { session: String, text: String },
    Decide { number: u32, granted: bool },
    Lanes,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Command(Command),
    Restart,
}

impl FromStr for Line {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        if line.trim() == "restart" {
            return Ok(Self::Restart);
        }
        line.parse().map(Self::Command)
    }
}

impl FromStr for Command {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        if let Some((session, text)) = line.split_once(':') {
            let session = session.trim().to_owned();
            return Ok(match text.trim().strip_prefix('!') {
                Some(text) => Self::Interrupt {
                    session,
                    text: text.trim().to_owned(),
                },
                None => Self::Say {
                    session,
                    text: text.trim().to_owned(),
                },
            });
        }
        let mut words = line.split_whitespace();
        let (verb, number) = (words.next(), words.next());
        let decide = |granted| {
            let number = number.unwrap_or_default().parse();
            let number = number.context("which one? `approve 1`, say")?;
            Ok(Self::Decide { number, granted })
        };
        match verb {
            Some("approve") => decide(true),
            Some("deny") => decide(false),
            Some("lanes") => Ok(Self::Lanes),
            _ => bail!("what is {line:?}? `name: text`, say, or `lanes`"),
        }
    }
}
