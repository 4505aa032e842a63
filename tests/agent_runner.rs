//! The main example, tried as its user would: the built program, real child
//! processes, real signals.
//!
//! No test here waits for a moment to pass. Jobs tell how far they are by files
//! and output, and end when told; what must not happen is made impossible to
//! miss by jobs that would otherwise run for minutes.

// Who was left running is read from /proc.
#![cfg(target_os = "linux")]

mod built;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// In the environment of a runner, and so of every process that it starts.
const MARKER: &str = "AGENT_RUNNER_TEST";

#[test]
fn the_demo_goes_as_it_says() {
    let demo = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/jobs.jsonl"))
        .expect("the demo's jobs");
    let ended = Stage::new("demo").run(&[]);

    assert_eq!(ended.status, Some(1), "{ended:?}");
    let main = ended.row("main");
    assert_eq!(main.ran, demo.lines().count(), "{ended:?}");
    assert_eq!(
        (main.failed, main.timed_out, main.stalled, main.interrupted),
        (3, 0, 2, 0),
        "{ended:?}"
    );
    for (job, how) in [
        ("[ticket-42] a model that never answers", "STALLED"),
        ("[ticket-42] count to a thousand", "ok"),
        ("[ticket-43] a long build, slow but talkative", "ok"),
        ("[ticket-44] ignores SIGTERM", "STALLED"),
        ("[ticket-44] what waited behind it", "ok"),
        ("[ticket-45] floods its output", "ok"),
        ("[ticket-46] crashes", "FAILED: signal: 11"),
        ("[ticket-46] fails its tests", "FAILED: exit status: 101"),
        ("[devserver] leaves a server behind", "ok"),
    ] {
        ended.assert_says(&format!("{job}: {how}"));
    }
    ended.assert_says("exit status 1");
    ended.assert_nothing_left();
}

#[test]
fn all_well_is_exit_status_zero() {
    let stage = Stage::new("all-well");
    stage.jobs(&[job("a", "one", "echo 1"), job("b", "two", "true")]);
    let ended = stage.run(&["jobs.jsonl"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    ended.assert_says("2 of 2 jobs went well");
    assert_eq!(ended.row("main").ran, 2);
    assert_eq!(ended.row("session:a").ran, 1);
    assert_eq!(ended.row("session:b").ran, 1);
}

#[test]
fn a_malformed_line_is_named_and_costs_the_others_nothing() {
    let stage = Stage::new("malformed");
    let good = job("a", "good", "echo fine").to_string();
    let lines: [&[u8]; 9] = [
        good.as_bytes(),
        b"{\"session\": \"a\", ",
        b"",
        b"\xff\xfe",
        b"{\"session\": \"a\", \"name\": \"no command\"}",
        b"{\"session\": \"\", \"name\": \"no session\", \"cmd\": \"true\"}",
        b"{\"session\": \"\\u0007\", \"name\": \"no lane\", \"cmd\": \"true\"}",
        b"{\"session\": \"a\", \"name\": \"x\", \"cmd\": \"true\", \"priority\": \"high\"}",
        good.as_bytes(),
    ];
    fs::write(stage.path("jobs.jsonl"), lines.join(&b'\n')).expect("the jobs");
    let ended = stage.run(&["jobs.jsonl"]);

    assert_eq!(ended.status, Some(1), "{ended:?}");
    let named: Vec<&str> = ended
        .err
        .lines()
        .filter_map(|line| line.strip_prefix("line ")?.split_once(':'))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(named, ["2", "4", "5", "6", "7", "8"], "{ended:?}");
    ended.assert_says("2 of 2 jobs went well");
    ended.assert_says("6 malformed lines were left out");
}

#[test]
fn jobs_come_from_standard_input_too() {
    let stage = Stage::new("stdin");
    stage.jobs(&[job("a", "from afar", "echo fine")]);
    let input = File::open(stage.path("jobs.jsonl")).expect("the jobs");
    let ended = stage.start(&["-"], Stdio::from(input)).wait();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    ended.assert_says("[a] from afar: ok");
}

#[test]
fn what_cannot_be_used_is_exit_status_two() {
    let stage = Stage::new("unusable");
    stage.jobs(&[job("a", "never", "touch ran")]);
    stage.lanes("lanes.toml", "lanes.main.max_concurrent = 1");
    stage.lanes("no-main.toml", "lanes.mian.max_concurrent = 1");
    for args in [
        &["no-such-file.jsonl"][..],
        &["."],
        &["jobs.jsonl", "--max", "0"],
        &["jobs.jsonl", "--stall", "0s"],
        &["jobs.jsonl", "--stall", "3"],
        &["jobs.jsonl", "--stall", "999999999999999999h"],
        &["jobs.jsonl", "--lane", "session:a"],
        &["jobs.jsonl", "--lane", "session:a=0"],
        &["jobs.jsonl", "--lane", "=1"],
        &["jobs.jsonl", "--lane", "main=2"],
        &["jobs.jsonl", "--no-such-flag"],
        &["jobs.jsonl", "--config", "no-such-file.toml"],
        &["jobs.jsonl", "--config", "jobs.jsonl"],
        &["jobs.jsonl", "--config", "no-main.toml"],
        &["jobs.jsonl", "--config", "lanes.toml", "--max", "2"],
    ] {
        let ended = stage.run(args);
        assert_eq!(ended.status, Some(2), "{args:?}: {ended:?}");
        assert!(!ended.err.is_empty(), "{args:?}: it does not say why");
    }
    assert!(!stage.path("ran").exists());
}

#[test]
fn a_session_runs_one_job_at_a_time() {
    let stage = Stage::new("one-at-a-time");
    let alone = "mkdir alone && echo in && sleep 0.02 && rmdir alone";
    let names: Vec<String> = (0..10).map(|n| format!("job {n}")).collect();
    stage.jobs(
        &names
            .iter()
            .map(|name| job("a", name, alone))
            .collect::<Vec<_>>(),
    );
    let ended = stage.run(&["jobs.jsonl"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn max_holds_over_all_sessions() {
    let stage = Stage::new("max");
    let alone = "mkdir alone && echo in && sleep 0.02 && rmdir alone";
    let sessions: Vec<String> = (0..10).map(|n| format!("session {n}")).collect();
    stage.jobs(
        &sessions
            .iter()
            .map(|name| job(name, "job", alone))
            .collect::<Vec<_>>(),
    );
    let ended = stage.run(&["jobs.jsonl", "--max", "1"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn a_lane_is_as_wide_as_it_is_told() {
    // Each waits for the other: one at a time, neither would ever end.
    let stage = Stage::new("width");
    let meet = |me: &str, other: &str| {
        format!("touch {me}; until test -e {other}; do echo waiting; sleep 0.02; done")
    };
    stage.jobs(&[
        job("a", "one", &meet("one", "two")),
        job("a", "two", &meet("two", "one")),
    ]);
    let ended = stage.run(&["jobs.jsonl", "--lane", "session:a=2", "--timeout", "1m"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn a_talker_without_end_is_timed_out() {
    let stage = Stage::new("timeout");
    let endless = "while :; do echo still here; sleep 0.02; done";
    stage.jobs(&[job("a", "talker", endless), job("b", "flood", "yes")]);
    let ended = stage.run(&["jobs.jsonl", "--timeout", "500ms"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let main = ended.row("main");
    assert_eq!((main.ran, main.timed_out, main.stalled), (2, 2, 0));
    ended.assert_nothing_left();
}

#[test]
fn a_child_is_reaped_before_its_session_goes_on() {
    let stage = Stage::new("reaped");
    stage.jobs(&[
        job(
            "a",
            "deaf",
            "trap '' TERM; echo $$ > pid; while :; do sleep 1; done",
        ),
        // A zombie would still be there to be signalled.
        job("a", "next", "if kill -0 $(cat pid); then exit 9; fi"),
    ]);
    let ended = stage.run(&["jobs.jsonl", "--stall", "2s", "--grace", "100ms"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    ended.assert_says("[a] deaf: STALLED");
    ended.assert_says("[a] next: ok");
    ended.assert_nothing_left();
}

#[test]
fn an_interrupt_drains() {
    let stage = Stage::new("drain");
    let patient = "touch started; until test -e go; do echo waiting; sleep 0.02; done";
    let waiting = job("a", "waiting", "touch ran");
    stage.jobs(&[job("a", "running", patient), waiting.clone()]);
    let runner = stage.start(&["jobs.jsonl"], Stdio::null());
    eventually("the first job runs", || stage.path("started").exists());

    runner.interrupt();
    eventually("it drains", || runner.out().contains("draining"));
    File::create(stage.path("go")).expect("a file");
    let ended = runner.wait();

    assert_eq!(ended.status, Some(1), "{ended:?}");
    ended.assert_says("[a] running: ok");
    ended.assert_says("1 of 2 jobs went well, 1 were not run");
    assert!(!stage.path("ran").exists(), "{ended:?}");
    // What was handed back is fit to be handed in again.
    let returned = ended.returned();
    assert_eq!(returned.len(), 1, "{ended:?}");
    for field in ["session", "name", "cmd"] {
        assert_eq!(returned[0][field], waiting[field], "{ended:?}");
    }
    stage.jobs(&returned);
    assert_eq!(stage.run(&["jobs.jsonl"]).status, Some(0));
    assert!(stage.path("ran").exists());
}

#[test]
fn a_drain_hands_back_whatever_did_not_run() {
    let stage = Stage::new("hand-back");
    let patient = "touch started; until test -e go; do echo waiting; sleep 0.02; done";
    let mut jobs = Vec::new();
    for session in 0..10 {
        for number in 0..10 {
            let name = format!("{session}/{number}");
            jobs.push(job(&format!("session {session}"), &name, patient));
        }
    }
    stage.jobs(&jobs);
    let runner = stage.start(&["jobs.jsonl", "--max", "2"], Stdio::null());
    eventually("a job runs", || stage.path("started").exists());
    runner.interrupt();
    eventually("it drains", || runner.out().contains("draining"));
    File::create(stage.path("go")).expect("a file");
    let ended = runner.wait();

    assert_eq!(ended.status, Some(1), "{ended:?}");
    let main = ended.row("main");
    assert_eq!((main.failed, main.stalled, main.interrupted), (0, 0, 0));
    assert_eq!(main.ran + ended.returned().len(), jobs.len(), "{ended:#?}");
}

#[test]
fn a_second_interrupt_shuts_down() {
    let stage = Stage::new("shutdown");
    let endless = "touch started; while :; do echo still here; sleep 0.02; done";
    stage.jobs(&[
        job("a", "endless", endless),
        job("b", "deaf", &format!("trap '' TERM; sleep 300 & {endless}")),
        job("a", "waiting", "touch ran"),
    ]);
    let runner = stage.start(&["jobs.jsonl", "--grace", "100ms"], Stdio::null());
    eventually("the jobs run", || {
        ["endless", "deaf"]
            .iter()
            .all(|name| runner.out().contains(&format!("{name}: started")))
            && stage.path("started").exists()
    });
    runner.interrupt();
    eventually("it drains", || runner.out().contains("draining"));
    // The marker finds what it is meant to find: the runner and both its jobs.
    assert!(stage.processes().len() > 2);

    runner.interrupt();
    let ended = runner.wait();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    ended.assert_says("shutting down");
    assert_eq!(ended.row("main").interrupted, 2, "{ended:?}");
    assert!(!stage.path("ran").exists(), "{ended:?}");
    ended.assert_nothing_left();
}

/// Each waits for the other, so both run at once or neither ends.
fn two_that_meet() -> [Value; 2] {
    let meet = |me: &str, other: &str| {
        format!("touch {me}; until test -e {other}; do echo waiting; sleep 0.02; done")
    };
    [
        job("a", "one", &meet("one", "two")),
        job("b", "two", &meet("two", "one")),
    ]
}

#[test]
fn the_example_file_sets_the_lanes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/lanes.toml");
    let stage = Stage::new("example-file");
    let twice = "mkdir alone && echo in && sleep 0.02 && rmdir alone";
    stage.jobs(&[
        job("a", "one", twice),
        job("a", "two", twice),
        job("b", "silent", "touch silent; sleep 300"),
    ]);
    let ended = stage.run(&["jobs.jsonl", "--config", file]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let main = ended.row("main");
    assert_eq!(
        (main.ran, main.failed, main.stalled),
        (3, 0, 1),
        "{ended:?}"
    );
    ended.assert_nothing_left();
}

#[test]
fn a_hangup_reads_the_file_again() {
    let stage = Stage::new("reload");
    stage.jobs(&two_that_meet());
    let sessions = "patterns.'session:*'.max_concurrent = 1\n";
    let lanes = |slots| format!("{sessions}lanes.main.max_concurrent = {slots}");
    stage.lanes("lanes.toml", &lanes(1));
    let runner = stage.start(&["jobs.jsonl", "--config", "lanes.toml"], Stdio::null());
    eventually("a job runs", || {
        stage.path("one").exists() || stage.path("two").exists()
    });
    assert!(!(stage.path("one").exists() && stage.path("two").exists()));

    // Whatever is wrong with the file, it is said, and the lanes stay.
    let bad = [
        (
            "lanes.main.max_concurent = 2",
            "unknown field `max_concurent`",
        ),
        (
            "lanes.mian.max_concurrent = 2",
            "lane \"main\" is not configured",
        ),
        (
            "lanes.main = { max_concurrent = 2, warn_after = '0s' }",
            "may not be zero",
        ),
    ];
    for (number, (text, why)) in bad.into_iter().enumerate() {
        stage.lanes("lanes.toml", text);
        runner.hang_up();
        eventually("it refuses the file", || {
            let err = runner.err();
            let refused = err.matches("lanes.toml: not used, and the lanes stay as they are");
            refused.count() > number && err.contains(why)
        });
    }
    assert!(!runner.out().contains("read again"));
    assert!(!(stage.path("one").exists() && stage.path("two").exists()));

    stage.lanes("lanes.toml", &lanes(2));
    runner.hang_up();
    let ended = runner.wait();
    ended.assert_says("lanes.toml: read again");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(ended.row("main").ran, 2, "{ended:?}");
}

/// A directory of its own for one test, and a marker for what runs there.
struct Stage {
    dir: PathBuf,
    marker: String,
}

impl Stage {
    fn new(name: &str) -> Self {
        let marker = format!("{name}-{}", process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&marker);
        fs::create_dir_all(&dir).expect("a directory");
        Self { dir, marker }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes `jobs.jsonl`.
    fn jobs(&self, jobs: &[Value]) {
        let lines: Vec<String> = jobs.iter().map(Value::to_string).collect();
        fs::write(self.path("jobs.jsonl"), lines.join("\n")).expect("the jobs");
    }

    /// How lanes are set. Whoever reads it finds the old file or the new one.
    fn lanes(&self, name: &str, toml: &str) {
        let new = self.path("new.toml");
        fs::write(&new, toml).expect("the lanes");
        fs::rename(new, self.path(name)).expect("the lanes");
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.start(args, Stdio::null()).wait()
    }

    fn start<'a>(&'a self, args: &[&str], stdin: Stdio) -> Runner<'a> {
        // Files and not pipes: they can be looked at while it runs, and never fill.
        let capture = |name| File::create(self.path(name)).expect("a file");
        let child = Command::new(example())
            .args(args)
            .env(MARKER, &self.marker)
            .current_dir(&self.dir)
            .stdin(stdin)
            .stdout(capture("out"))
            .stderr(capture("err"))
            .spawn()
            .expect("the example starts");
        Runner { stage: self, child }
    }

    /// The processes that live here. A zombie has no environment any more.
    fn processes(&self) -> Vec<PathBuf> {
        let marker = format!("{MARKER}={}", self.marker);
        let marked = |dir: &PathBuf| {
            fs::read(dir.join("environ")).is_ok_and(|vars| {
                vars.split(|&byte| byte == 0)
                    .any(|var| var == marker.as_bytes())
            })
        };
        let all = fs::read_dir("/proc").expect("/proc");
        all.filter_map(|entry| Some(entry.ok()?.path()))
            .filter(marked)
            .collect()
    }

    /// Those still there when all that was killed has had the time to die.
    fn survivors(&self) -> Vec<PathBuf> {
        for _ in 0..100 {
            if self.processes().is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.processes()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Runner<'a> {
    stage: &'a Stage,
    child: Child,
}

impl Runner<'_> {
    fn interrupt(&self) {
        self.signal("INT");
    }

    fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        // It fails if the runner is gone, and whoever waits for it will see that.
        let _ = Command::new("sh").args(["-c", &kill]).status();
    }

    fn out(&self) -> String {
        fs::read_to_string(self.stage.path("out")).unwrap_or_default()
    }

    fn err(&self) -> String {
        fs::read_to_string(self.stage.path("err")).unwrap_or_default()
    }

    fn wait(mut self) -> Ended {
        let mut status = None;
        eventually("the runner ends", || {
            status = self.child.try_wait().expect("the runner's status");
            status.is_some()
        });
        let read = |name| fs::read(self.stage.path(name)).expect("its output");
        Ended {
            status: status.and_then(|status| status.code()),
            out: String::from_utf8_lossy(&read("out")).into_owned(),
            err: String::from_utf8_lossy(&read("err")).into_owned(),
            left: self.stage.survivors(),
        }
    }
}

/// A failed test leaves no more behind than a good one: told twice, the runner
/// takes its children with it.
impl Drop for Runner<'_> {
    fn drop(&mut self) {
        while let Ok(None) = self.child.try_wait() {
            self.interrupt();
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// All there is to know about a run that is over.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
    left: Vec<PathBuf>,
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    ran: usize,
    failed: usize,
    timed_out: usize,
    stalled: usize,
    interrupted: usize,
}

impl Ended {
    #[track_caller]
    fn assert_says(&self, text: &str) {
        assert!(self.out.contains(text), "no {text:?} in {self:#?}");
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        assert!(self.left.is_empty(), "{self:#?}");
    }

    /// The jobs that a drain handed back.
    fn returned(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    #[track_caller]
    fn row(&self, lane: &str) -> Row {
        let table = self
            .out
            .lines()
            .skip_while(|line| !line.starts_with("lane "));
        let cells: Vec<&str> = table
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|cells| cells.first() == Some(&lane))
            .unwrap_or_else(|| panic!("no row for {lane} in {self:#?}"));
        // Five counts, then p50 and p95 of the wait and of the run.
        assert_eq!(cells.len(), 10, "{cells:?}");
        assert!(
            cells[6..].iter().all(|time| time.ends_with('s')),
            "{cells:?}"
        );
        let count = |column: usize| cells[column].parse().expect("a number");
        Row {
            ran: count(1),
            failed: count(2),
            timed_out: count(3),
            stalled: count(4),
            interrupted: count(5),
        }
    }
}

fn job(session: &str, name: &str, cmd: &str) -> Value {
    json!({ "session": session, "name": name, "cmd": cmd })
}

/// Far more patience than any of this takes: a test that fails should not hang.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("in vain: {what}");
}

fn example() -> &'static Path {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLE.get_or_init(|| built::example("agent_runner"))
}
