//! The incident of `docs/guide.md`, which quotes this file.

use std::error::Error;
use std::fs::{self, File};
use std::future::pending;
use std::io::BufReader;
use std::path::Path;

use laneway::replay::{Recording, SaveError};
use laneway::{EventKind, LaneConfig, Lanes, Outcome};

use crate::common::{MINUTE, SECOND};

fn build() -> Result<Lanes, laneway::ConfigError> {
    let provider = LaneConfig::new(1).stall_ceiling(5 * MINUTE);
    Lanes::builder()
        .lane("provider", provider)
        .events(100_000)
        .recording(100_000)
        .build()
}

/// Every minute, say, and when somebody calls.
fn save(lanes: &Lanes, path: &Path) -> Result<(), SaveError> {
    let file = File::options().create(true).append(true).open(path)?;
    lanes.save_recording(file)
}

/// What the test finds in the recording.
fn check(path: &Path) -> Result<(), Box<dyn Error>> {
    let recording = Recording::read(BufReader::new(File::open(path)?))?;
    let replayed = recording.replay()?;

    // Anna waited for five minutes, and nobody dispatched her before the reclaim.
    let mut dispatched = replayed.dispatched();
    let anna = dispatched.find(|event| event.name.as_deref() == Some("anna"));
    let anna = anna.ok_or("anna was never dispatched")?;
    assert!(matches!(
        anna.kind,
        EventKind::Dispatched { waited, .. } if waited == 5 * MINUTE - 10 * SECOND
    ));
    // The lane said so once, after thirty seconds and a tick.
    let first = replayed.blocked().next().ok_or("it was silent")?;
    assert_eq!(&*first.lane, "provider");
    // Bob held the slot. His provider never answered.
    let reclaim = replayed.reclaimed().next().ok_or("nothing was reclaimed")?;
    let bob = reclaim.task.ok_or("it is of a task")?;
    assert_eq!(reclaim.name.as_deref(), Some("bob"));
    let ended = |kind: &EventKind| match kind {
        EventKind::Settled { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    let ended = replayed.of(bob).find_map(|event| ended(&event.kind));
    assert!(matches!(ended, Some(Outcome::Stalled { .. })));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stall_in_production_becomes_a_test() -> Result<(), Box<dyn Error>> {
    let name = format!("laneway-stall-{}.jsonl", std::process::id());
    let path = std::env::temp_dir().join(name);
    let lanes = build()?;
    let provider = lanes.lane("provider")?;
    let bob = provider.task().name("bob");
    let bob = bob.spawn(async |_| pending::<()>().await);
    tokio::time::sleep(10 * SECOND).await;
    save(&lanes, &path)?;
    let anna = provider.task().name("anna").spawn(async |_| ());
    tokio::time::sleep(MINUTE).await;
    save(&lanes, &path)?;
    anna.await?;
    assert!(bob.await.is_err());
    save(&lanes, &path)?;
    let checked = check(&path);
    fs::remove_file(&path)?;
    checked
}
