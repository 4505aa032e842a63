//! What a recording costs, which holds what the engine is told beside what it decides.

use laneway_peers::logged;
use laneway_peers::scale::Scale;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let with = |lanes: laneway::LanesBuilder| lanes.events(10_000).recording(100_000);
    logged::rows(Scale::of(&args), "recorded", with, |lanes| {
        lanes
            .save_recording(std::io::sink())
            .expect("it is complete");
    });
}
