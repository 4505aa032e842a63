//! The page, and what is compared with it.

use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::mpsc;
use std::time::Duration;

use laneway::{Counters, Lanes, Remedy, TaskError, TaskId};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

use crate::enact;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md");

/// What somebody does who looks into it, and what they see.
pub(crate) struct Session {
    lanes: Lanes,
    text: String,
    log: mpsc::Receiver<Vec<u8>>,
    _guard: DefaultGuard,
}

impl Session {
    /// From now on, on this thread.
    pub(crate) fn begin(lanes: &Lanes) -> Self {
        crate::beside::others_listen();
        let (send, log) = mpsc::channel();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || Sink(send.clone()))
            .with_max_level(Level::WARN)
            .with_ansi(false)
            .without_time();
        Self {
            lanes: lanes.clone(),
            text: String::new(),
            log,
            _guard: tracing::subscriber::set_default(subscriber.finish()),
        }
    }

    /// What the log says since the last look, in lines that have this in them. Says
    /// how many there were.
    pub(crate) fn log(&mut self, message: &str) -> usize {
        let lines: Vec<u8> = self.log.try_iter().flatten().collect();
        let lines = String::from_utf8(lines).expect("text");
        let lines = lines.lines().filter(|line| line.contains(message));
        let lines: Vec<&str> = lines.map(str::trim).collect();
        lines.iter().for_each(|line| self.line(line));
        lines.len()
    }

    /// Time passes.
    pub(crate) async fn later(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
        self.line(format_args!("({} s later)", time.as_secs()));
    }

    /// What is wrong, and what helps.
    pub(crate) fn diagnose(&mut self) -> Vec<Remedy> {
        let diagnosis = self.lanes.diagnose();
        if diagnosis.is_healthy() {
            self.gives("lanes.diagnose()", diagnosis.to_string().trim_end());
        } else {
            self.call("lanes.diagnose()", &diagnosis);
        }
        let remedies = diagnosis.findings.into_iter().map(|of| of.remedies);
        remedies.flatten().collect()
    }

    /// Why a task waits.
    pub(crate) fn explain(&mut self, id: TaskId) {
        let why = self.lanes.explain(id).expect("a task");
        self.call(format_args!("lanes.explain({id})?"), why);
    }

    /// A call, and what it says, if anything.
    pub(crate) fn call(&mut self, call: impl Display, says: impl Display) {
        self.line(format_args!("> {call}"));
        for line in says.to_string().lines() {
            self.line(line);
        }
    }

    /// Does what an explanation says that helps, and says so.
    #[track_caller]
    pub(crate) fn takes(&mut self, remedies: &[Remedy], which: impl Fn(&Remedy) -> bool) {
        let remedy = remedies.iter().find(|remedy| which(remedy));
        let remedy = remedy.unwrap_or_else(|| panic!("it is not in {remedies:?}"));
        let told = remedy.to_string();
        let (call, _why) = told.rsplit_once(": ").expect("a call, and why");
        // What `enact` gives.
        let given = match remedy {
            Remedy::Extend { .. } => "Duration::from_secs(3600)",
            _ => "true",
        };
        self.call(call.replace('…', given), "");
        enact(&self.lanes, remedy).expect("it can be done");
    }

    /// How the caller of a task fared: what was done has helped at once.
    pub(crate) async fn told<T>(
        &mut self,
        handle: &str,
        told: impl IntoFuture<Output = Result<T, TaskError>>,
    ) {
        let told = tokio::time::timeout(Duration::from_secs(10), told).await;
        let says = match told {
            Ok(Ok(_)) => "Ok".to_owned(),
            Ok(Err(error)) => format!("Err: {error}"),
            Err(_late) => panic!("nobody told {handle}, after\n{}", self.text),
        };
        self.gives(format_args!("{handle}.await"), says);
    }

    /// Those that are not zero.
    pub(crate) fn counters(&mut self, lane: &str) {
        let lane = self.lanes.lane(lane).expect("a lane");
        let counters: Counters = lane.snapshot().counters;
        let text = format!("{counters:?}");
        let text = text
            .trim_start_matches("Counters { ")
            .trim_end_matches(" }");
        let counts = text.split(", ").filter(|count| !count.ends_with(": 0"));
        let counts: Vec<&str> = counts.collect();
        let call = format!("lanes.lane({:?})?.snapshot().counters", lane.name());
        self.gives(call, counts.join(", "));
    }

    /// A call, and what it says in a word.
    pub(crate) fn gives(&mut self, call: impl Display, says: impl Display) {
        self.line(format_args!("> {call}  // {says}"));
    }

    fn line(&mut self, line: impl Display) {
        self.text += &format!("{line}\n");
    }

    /// The block of this name on the page is all this, or becomes it.
    #[track_caller]
    pub(crate) fn must_be_shown_as(self, name: &str) {
        let text = renumbered(&self.text);
        let fence = format!("```text {name}\n");
        let blesses = std::env::var_os("LANEWAY_BLESS").is_some();
        let file = File::options().read(true).write(blesses).open(PAGE);
        let mut file = file.expect("a page");
        // Other tests may be about to write other blocks.
        file.lock().expect("it can be locked");
        let mut page = String::new();
        file.read_to_string(&mut page).expect("text");
        let (before, rest) = page.split_once(&fence).unwrap_or_else(|| {
            panic!("no block of the name {name:?} for\n{text}");
        });
        let (shown, after) = rest.split_once("```").expect("an end");
        if shown == text {
            return;
        }
        assert!(
            blesses,
            "docs/runbook.md shows as {name:?}\n{shown}where this is said\n{text}\
             (LANEWAY_BLESS=1 writes it there)"
        );
        let page = format!("{before}{fence}{text}```{after}");
        file.rewind().expect("it is a file");
        file.set_len(0).expect("it is a file");
        file.write_all(page.as_bytes()).expect("it is written");
    }
}

/// With the lanes of task ids numbered from one: what they are depends on how many were
/// made before, in other tests.
fn renumbered(text: &str) -> String {
    let mut lanes = Vec::new();
    let word = |c: char| c.is_ascii_digit() || c == '-';
    let words = text.split_inclusive(|c| !word(c)).map(|piece| {
        let (id, end) = piece.split_at(piece.trim_end_matches(|c| !word(c)).len());
        match id.split_once('-') {
            Some((lane, task)) if !lane.is_empty() && task.parse::<u64>().is_ok() => {
                let known = lanes.iter().position(|of| of == lane);
                let n = known.unwrap_or_else(|| {
                    lanes.push(lane.to_owned());
                    lanes.len() - 1
                });
                format!("{}-{task}{end}", n + 1)
            }
            _ => piece.to_owned(),
        }
    });
    words.collect()
}

/// Whole lines, as they are said.
struct Sink(mpsc::Sender<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
