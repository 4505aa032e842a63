//! Rows and points, one JSON object a line, for whoever writes them down.

use serde::Serialize;

use crate::spread::Spread;
use crate::turns::Turns;

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// For comparison; no aim names it.
    None,
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The aim that it belongs to.
    pub aim: u8,
    pub row: String,
    pub ours: String,
    pub theirs: String,
    pub ours_ns: Option<Spread>,
    pub theirs_ns: Option<Spread>,
    pub figure: Spread,
    pub unit: &'static str,
    pub bound: Bound,
    pub rounds: usize,
    pub tasks: u64,
    /// What the other side lacks, or what else must be known.
    pub note: String,
}

impl Row {
    /// Ours over theirs.
    pub fn ratio(aim: u8, row: &str, turns: &Turns, ours: &str, theirs: &str) -> Self {
        Self {
            figure: turns.ratio(ours, theirs),
            unit: "×",
            ours_ns: Some(turns.ns(ours)),
            theirs_ns: Some(turns.ns(theirs)),
            theirs: theirs.to_owned(),
            ours: ours.to_owned(),
            rounds: turns.rounds,
            tasks: turns.tasks,
            ..Self::bare(aim, row)
        }
    }

    /// Theirs over ours: how many times as fast we are.
    pub fn lead(aim: u8, row: &str, turns: &Turns, ours: &str, theirs: &str) -> Self {
        Self {
            figure: turns.ratio(theirs, ours),
            unit: "× faster",
            ..Self::ratio(aim, row, turns, ours, theirs)
        }
    }

    /// Something that is no time.
    pub fn amount(aim: u8, row: &str, ours: &str, figure: Spread, unit: &'static str) -> Self {
        Self {
            figure,
            unit,
            ours: ours.to_owned(),
            rounds: 1,
            ..Self::bare(aim, row)
        }
    }

    fn bare(aim: u8, row: &str) -> Self {
        Self {
            aim,
            row: row.to_owned(),
            ours: String::new(),
            theirs: String::new(),
            ours_ns: None,
            theirs_ns: None,
            figure: Spread::exact(0.0),
            unit: "",
            bound: Bound::None,
            rounds: 0,
            tasks: 0,
            note: String::new(),
        }
    }

    pub const fn at_most(mut self, limit: f64) -> Self {
        self.bound = Bound::AtMost(limit);
        self
    }

    pub const fn at_least(mut self, limit: f64) -> Self {
        self.bound = Bound::AtLeast(limit);
        self
    }

    pub const fn rounds(mut self, rounds: usize, tasks: u64) -> Self {
        self.rounds = rounds;
        self.tasks = tasks;
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub fn print(self) {
        println!("row {}", json(&self));
    }
}

/// One point of a plot.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    pub plot: &'static str,
    pub series: String,
    pub x: u64,
    pub ns: Spread,
}

impl Point {
    pub fn print(self) {
        println!("point {}", json(&self));
    }
}

/// Which version of something was measured.
pub fn print_version(of: &str, version: &str) {
    println!(
        "version {}",
        serde_json::json!({ "of": of, "version": version })
    );
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it is plain data")
}

/// 1,000,000
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
