//! The chat gateway, tried as its user would: the built program, its demo, and
//! lines on its standard input.

mod built;
mod quoted;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use quoted::{blocks, flat, has};
use serde_json::Value;

/// Far more than any of this takes: a test that fails should not hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// In virtual time, so that every moment is known.
#[test]
fn the_demo_goes_as_it_says() {
    let output = run(&["--demo"]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let mut lines = out.lines();
    for expected in [
        // Two lines typed in one go are one message.
        "00:00:03.8 anna < you said: find me a train to Rome on Friday mornin…",
        "00:00:05.6 ben steers after 20 words: make it short, please",
        "00:00:07.8 ben < you said: tell me a long story; make it short, ple…",
        // A second after it was typed, and the ceiling of north later.
        "00:00:28.6 provider:north fell silent",
        "00:00:30.2 cleo < you said: how is the weather in Rome?",
        // Its oldest request of this minute came a second after the start.
        "00:00:48.6 provider:north cools down for 13.0s",
        "00:00:51.6   provider:north: 1 of 2 slots, 14 words; 2 wait: paused",
        "00:01:09.6 ben ends: superseded",
        "00:01:12.0 ben < you said: what time is it?",
        "00:01:41.6 anna may I book the 8:15 to Rome? (approve 1)",
        "00:01:47.6   main: 1 of 3 slots; 1 parked",
        "00:01:47.6   approval #1: open for 6s",
        "00:01:49.4 dora < you said: hello again",
        "00:02:07.6 draining",
        "00:02:37.6 anna ends: lane draining",
        "00:02:37.6 anna may I book the 8:15 to Rome? (approve 1)",
        "14:02:37.6 > approve 1",
        "14:02:38.8 anna < done: book the 8:15 to Rome",
        // The drain at the end lets it through.
        "14:02:44.2 anna < you said: thanks",
    ] {
        assert!(
            lines.any(|line| line == expected),
            "no {expected:?}, or not in this order, in\n{out}"
        );
    }
    // A cooldown is no failure, and nobody was told of one.
    assert!(
        !out.contains("no turn") && !out.contains("no answer"),
        "{out}"
    );
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(err.matches("WARN").count(), 1, "{err}");
    assert!(
        err.contains("lane slot reclaimed lane=\"provider:north\""),
        "{err}"
    );
}

/// What it quotes of the example is there, and so is what it quotes of the demo.
#[test]
fn the_guide_quotes_what_there_is() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(home.join("docs/guide.md")).expect("a guide");
    let files = fs::read_dir(home.join("examples/chat_gateway")).expect("an example");
    let files = files.map(|file| file.expect("a file").path());
    let incident = home.join("tests/replay/incident.rs");
    let sources = files.chain([incident]).map(fs::read_to_string);
    let sources = sources.map(|text| flat(&text.expect("text")));
    let sources: Vec<String> = sources.collect();
    let demo = String::from_utf8(run(&["--demo"]).stdout).expect("text");
    let (mut code, mut lines) = (0, 0);
    for (kind, block) in blocks(&guide) {
        if kind == "rust" {
            let found = |source: &String| has(source, block);
            assert!(sources.iter().any(found), "no file has\n{block}");
            code += 1;
        } else if block.starts_with(|first: char| first.is_ascii_digit()) {
            let mut said = demo.lines();
            for line in block.lines() {
                assert!(said.any(|said| said == line), "{line:?} is not in\n{demo}");
                lines += 1;
            }
        }
    }
    assert!(
        code > 8 && lines > 12,
        "it quotes {code} blocks, {lines} lines"
    );
}

#[test]
fn a_request_for_leave_outlives_the_process() {
    let journal = Scratch::new("leave.json");
    let args = ["--drain", "10ms", "--journal", journal.text()];
    let mut gateway = Gateway::start(&args);
    gateway.types("anna: book it");
    gateway.wait_for("anna may I book the 8:15 to Rome? (approve 1)");
    gateway.stops();
    let written: Value =
        serde_json::from_slice(&fs::read(&journal.0).expect("it is there")).expect("it is JSON");
    assert_eq!(written["turns"][0]["approval"]["number"], 1, "{written}");

    let mut gateway = Gateway::start(&args);
    gateway.wait_for("anna may I book the 8:15 to Rome? (approve 1)");
    gateway.types("approve 1");
    gateway.wait_for("anna < done: book the 8:15 to Rome");
    gateway.types("approve 1");
    gateway.wait_for(r#"there is no waitpoint "approval #1""#);
    gateway.stops();
    let written = fs::read_to_string(&journal.0).expect("it is there");
    assert!(written.contains(r#""turns":[]"#), "{written}");
}

#[test]
fn what_is_being_typed_when_it_stops_is_kept() {
    let journal = Scratch::new("typed.json");
    let args = [
        "--typing",
        "1h",
        "--drain",
        "10ms",
        "--journal",
        journal.text(),
    ];
    let mut gateway = Gateway::start(&args);
    gateway.types("anna: one");
    gateway.types("anna: two");
    gateway.stops();

    let mut gateway = Gateway::start(&args);
    gateway.wait_for("anna < you said: one; two");
    gateway.stops();
}

#[test]
fn a_line_that_means_nothing_costs_the_others_nothing() {
    let mut gateway = Gateway::start(&["--drain", "1m"]);
    for line in [
        "",
        "what",
        "approve",
        "deny x",
        "deny 3",
        ": nobody",
        "anna: hello",
    ] {
        gateway.types(line);
    }
    gateway.wait_for("what is \"what\"?");
    gateway.wait_for("which one?");
    gateway.wait_for("which one?");
    gateway.wait_for(r#"there is no waitpoint "approval #3""#);
    gateway.wait_for("anna < you said: hello");
    gateway.stops();
}

#[test]
fn a_journal_that_cannot_be_read_is_an_error() {
    let journal = Scratch::new("broken.json");
    fs::write(&journal.0, "{").expect("it is written");
    for args in [&["--journal", journal.text()][..], &["--journal", "."]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!output.stderr.is_empty(), "it does not say why");
    }
    assert_eq!(fs::read_to_string(&journal.0).expect("it is there"), "{");
}

fn run(args: &[&str]) -> Output {
    let mut program = Command::new(example());
    let program = program.args(args).stdin(Stdio::null());
    program.output().expect("the example starts")
}

/// One that is running.
struct Gateway {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
    said: String,
}

impl Gateway {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(example())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self {
            input: child.stdin.take().expect("it is piped"),
            output: told,
            child,
            said: String::new(),
        }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    /// Reads up to a line that has this in it.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        loop {
            let line = self.output.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {text:?} in\n{}", self.said));
            self.said += &format!("{line}\n");
            if line.contains(text) {
                return;
            }
        }
    }

    #[track_caller]
    fn stops(self) {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{status}: {}", self.said);
    }
}

/// A file that is gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("it is text")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn example() -> &'static Path {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLE.get_or_init(|| built::example("chat_gateway"))
}
