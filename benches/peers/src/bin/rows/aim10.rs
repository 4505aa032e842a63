//! What a log of events costs.

use laneway_peers::logged;
use laneway_peers::scale::Scale;

pub fn rows(scale: Scale) {
    logged::rows(scale, "events on", |lanes| lanes.events(10_000), |_| ());
}
