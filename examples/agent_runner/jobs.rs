//! The jobs: one JSON object a line, each on its own.

use std::io::{self, BufRead};

use laneway::Priority;
use serde::{Deserialize, Serialize};

/// The lanes that [`Job::lane`] names.
pub(crate) const SESSIONS: &str = "session:*";

/// One command of one session. It is written as it was read, so that what a
/// drain hands back can be given to the next run.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    pub(crate) session: String,
    pub(crate) name: String,
    pub(crate) cmd: String,
    #[serde(default)]
    pub(crate) priority: Urgency,
}

impl Job {
    /// The lane of the job's session, where it waits for its turn.
    pub(crate) fn lane(&self) -> String {
        format!("session:{}", self.session)
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Urgency {
    Foreground,
    #[default]
    Normal,
    Background,
}

impl From<Urgency> for Priority {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Foreground => Self::Foreground,
            Urgency::Normal => Self::Normal,
            Urgency::Background => Self::Background,
        }
    }
}

/// What one line held, under its number: a job, or why it is none.
pub(crate) type Line = (usize, Result<Job, String>);

/// Reads all of the input. Only the reading itself can fail: a malformed line
/// is told apart from its neighbours and costs them nothing.
pub(crate) fn read(input: impl BufRead) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    // Bytes and not `lines()`, which would give up at the first bad UTF-8.
    for (index, line) in input.split(b'\n').enumerate() {
        let line = line?;
        if !line.trim_ascii().is_empty() {
            lines.push((index + 1, parse(&line)));
        }
    }
    Ok(lines)
}

fn parse(line: &[u8]) -> Result<Job, String> {
    let job: Job = serde_json::from_slice(line).map_err(|error| explain(&error))?;
    check("session", &job.session)?;
    check("name", &job.name)?;
    if job.cmd.contains('\0') {
        return Err("`cmd` has a NUL character".to_owned());
    }
    Ok(job)
}

/// What the scheduler would refuse is refused here, where its line is known.
fn check(field: &str, text: &str) -> Result<(), String> {
    const LONGEST: usize = 200;
    if text.is_empty() {
        Err(format!("`{field}` is empty"))
    } else if text.len() > LONGEST {
        Err(format!("`{field}` is longer than {LONGEST} bytes"))
    } else if text.contains(char::is_control) {
        Err(format!("`{field}` has a control character"))
    } else {
        Ok(())
    }
}

/// The parser counts lines too, and for it every line is line 1: its place is
/// put in our words.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => format!("column {}: {what}", error.column()),
        None => text,
    }
}
