//! The requests of a recorded hour of an LLM service, as they came.
//!
//! The trace is not part of this crate: it is looked for beside the checkout,
//! or where `LANEWAY_TRACE` says.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const SESSIONS: usize = 200;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// After the first of them.
    pub(crate) at: Duration,
    /// Reading its context and writing its answer.
    pub(crate) service: Duration,
    pub(crate) session: usize,
    /// One in a hundred never ends.
    pub(crate) hangs: bool,
}

/// `None`, and a word about it, where there is no trace.
pub(crate) fn load(checkout: &str) -> Option<Vec<Request>> {
    let path = std::env::var_os("LANEWAY_TRACE").map_or_else(
        || PathBuf::from(checkout).join("../shared/data/azure_llm_conv_2023.csv"),
        PathBuf::from,
    );
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(parse(&text)),
        Err(problem) => {
            eprintln!(
                "skipped: no trace at {}: {problem}. It is AzureLLMInferenceTrace_conv.csv of \
                 AzurePublicDataset; LANEWAY_TRACE says where it is.",
                path.display()
            );
            None
        }
    }
}

fn parse(text: &str) -> Vec<Request> {
    let mut requests: Vec<Request> = text
        .lines()
        .skip(1)
        .zip(0..)
        .map(|(line, row)| {
            request(line, row).unwrap_or_else(|| panic!("row {row} of the trace: {line:?}"))
        })
        .collect();
    let first = requests
        .iter()
        .map(|request| request.at)
        .min()
        .unwrap_or_default();
    for request in &mut requests {
        request.at -= first;
    }
    requests
}

/// `2023-11-16 18:15:46.6805900,374,44`
fn request(line: &str, row: u64) -> Option<Request> {
    let mut fields = line.split(',');
    let (_, clock) = fields.next()?.split_once(' ')?;
    let context: u32 = fields.next()?.trim().parse().ok()?;
    let generated: u32 = fields.next()?.trim().parse().ok()?;
    let mut clock = clock.split(':');
    let hours: u64 = clock.next()?.parse().ok()?;
    let minutes: u64 = clock.next()?.parse().ok()?;
    let seconds: f64 = clock.next()?.parse().ok()?;
    Some(Request {
        at: Duration::from_secs(hours * 3600 + minutes * 60) + Duration::from_secs_f64(seconds),
        service: Duration::from_micros(250) * context + Duration::from_millis(30) * generated,
        session: (hash(row) % SESSIONS as u64) as usize,
        hangs: hash(row ^ (1 << 63)).is_multiple_of(100),
    })
}

/// The trace names no sessions, so its rows are dealt to them; the same ones
/// every time.
const fn hash(row: u64) -> u64 {
    let row =
        (row.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ (row >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let row = (row ^ (row >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    row ^ (row >> 31)
}
