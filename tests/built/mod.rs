//! An example as its user would run it: built. Cargo tells tests where binaries
//! are, but not examples, and does not build them for a single test: so it is
//! asked.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

pub(crate) fn example(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--example", name, "--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // As this test was built, so that most of it is there already.
    if cfg!(feature = "serde") {
        cargo.args(["--features", "serde"]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = cargo.output().expect("cargo runs");
    let err = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{err}");
    built
        .stdout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .find_map(|message| {
            let is_it = message["target"]["name"] == name
                && message["target"]["kind"] == json!(["example"]);
            is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
        })
        .unwrap_or_else(|| panic!("no executable in what cargo says: {err}"))
}
