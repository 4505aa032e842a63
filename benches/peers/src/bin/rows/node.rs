//! The queues of another world: one Node process that runs a round when it is
//! told to and is idle otherwise, so that it takes turns with us.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use laneway_peers::report::print_version;
use laneway_peers::turns::Round;
use serde_json::{Value, json};

pub struct Node {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Node {
    /// `None`, and a word about it, where Node or its packages are not there.
    pub fn start() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/peers.mjs");
        let child = Command::new("node")
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(problem) => {
                eprintln!("no rows of Node's queues: {problem}");
                return None;
            }
        };
        let to = child.stdin.take().expect("it is piped");
        let from = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut node = Self { child, to, from };
        let Some(versions) = node.answer() else {
            eprintln!("no rows of Node's queues: `npm ci` in benches/peers/node installs them");
            return None;
        };
        for (of, version) in versions.as_object().expect("it says its versions") {
            print_version(of, version.as_str().unwrap_or("?"));
        }
        Some(node)
    }

    pub fn round(&mut self, peer: &str, tasks: u64) -> Round {
        let done = self.ask(&json!({ "peer": peer, "tasks": tasks }));
        let nanos = done["ns"].as_u64().expect("it says how long it took");
        Round {
            took: Duration::from_nanos(nanos),
            sum: done["sum"].as_u64().expect("it says what it came to"),
        }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.to, "{question}").expect("Node listens");
        self.answer().expect("Node answers")
    }

    fn answer(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.from.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its input is closed with us, and it ends by itself; but not before
        // it is waited for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
