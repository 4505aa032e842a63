//! A ready future through a free slot, over and over.

use std::hint::black_box;
use std::time::Instant;

use laneway::Lane;

use crate::turns::Round;

/// So many of them, one after the other.
pub async fn by_handle(main: Lane, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    for n in 0..tasks {
        sum += black_box(main.run(async |_| black_box(n)).await).expect("it runs");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}
