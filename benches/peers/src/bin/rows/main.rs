//! The rows of the aims that are times. `rows aim1 aim5` runs two of them,
//! `rows` all; `--quick` and `--smoke` shorten them.

mod aim1;
mod aim10;
mod aim2;
mod aim3;
mod aim4;
mod aim5;
mod aim6;
mod aim8;
mod aim9;
mod node;

use laneway_peers::scale::Scale;

type Aim = (&'static str, fn(Scale));

const AIMS: [Aim; 9] = [
    ("aim1", aim1::rows),
    ("aim2", aim2::rows),
    ("aim3", aim3::rows),
    ("aim4", aim4::rows),
    ("aim5", aim5::rows),
    ("aim6", aim6::rows),
    ("aim8", aim8::rows),
    ("aim9", aim9::rows),
    ("aim10", aim10::rows),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let named: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    for name in &named {
        let known = AIMS.iter().any(|(aim, _)| aim == name);
        assert!(known, "{name} is no aim that is measured here");
    }
    for (name, rows) in AIMS {
        if named.is_empty() || named.iter().any(|given| *given == name) {
            rows(Scale::of(&args));
        }
    }
}
