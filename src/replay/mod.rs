//! From an incident to a test: what a scheduler was told is saved, and its engine
//! decides it once more.
//!
//! The engine knows no clock and no chance: the same inputs, with their times, give the
//! same dispatches, warnings and reclaims. So a scheduler that records what its engine is
//! told (see [`LanesBuilder::recording`](crate::LanesBuilder::recording)) can be replayed
//! anywhere, in no time, without the work that its tasks did.
//!
//! [`Recording::replay`] holds every event that the engine comes to against the one that
//! was recorded, and says with which the two part. [`Replayed`] is what came of it: a test
//! asks what was dispatched when, what was blocked, what was reclaimed.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use laneway::replay::Recording;
//! use laneway::{EventKind, LaneConfig, Lanes};
//!
//! let main = LaneConfig::new(1).stall_ceiling(Duration::from_secs(60));
//! let lanes = Lanes::builder().lane("main", main).events(100).recording(1_000).build()?;
//! let main = lanes.lane("main")?;
//! let silent = main.task().name("silent").spawn(async |_| std::future::pending::<()>().await);
//! main.task().name("next").run(async |_| ()).await?;
//! assert!(silent.await.is_err());
//!
//! let mut saved = Vec::new();                         // a file, in production
//! lanes.save_recording(&mut saved)?;
//!
//! let replayed = Recording::read(&saved[..])?.replay()?;
//! let next = replayed.dispatched().last().expect("it was dispatched");
//! assert_eq!(next.name.as_deref(), Some("next"));
//! assert!(matches!(
//!     next.kind,
//!     EventKind::Dispatched { waited, .. } if waited >= Duration::from_secs(60)
//! ));
//! assert_eq!(replayed.blocked().count(), 1);
//! assert_eq!(replayed.reclaimed().count(), 1);
//! # Ok(()) }
//! ```
//!
//! # What is in a recording
//!
//! Names of lanes and tasks, keys, notes and phases, and how tasks were set; nothing of
//! what they worked on. It begins with the scheduler, and so it has to be saved from there
//! on; one of which a part found no room says so, and is not replayed.
//!
//! # The format
//!
//! One JSON object a line, of version 1. Times are nanoseconds on the engine's clock.
//!
//! | line | what it says |
//! |---|---|
//! | `{"recording": {"version", "built", "unix_micros"}}` | the first: its version, and when the scheduler was built, on the engine's clock and on the wall |
//! | `{"told": {"lane", "input"}}` | an input of the engine, for the lane of this number; how inputs look may change with every version of this crate |
//! | `{"event": {"lane", "at", "event"}}` | an [`Event`](crate::Event) as it serializes, and its exact time |
//! | `{"part": n}` | the part of this number begins, from 1 on; that with the first line is part 0 |
//! | `{"missed": n}` | so many inputs and events found no room, or were not written |
//!
//! Each call of `save_recording` writes a part. One that failed may have left half a line;
//! then the next repeats the first line and says what is missing.
//!
//! | file | subject |
//! |---|---|
//! | `tape` | what is kept until it is saved |
//! | `save` | saving it |
//! | `recording` | reading it back |
//! | `stage` | the engine once more |

mod error;
mod recording;
mod save;
mod stage;
mod tape;

pub use error::{Divergence, ReplayError, SaveError};
pub use recording::{Recording, Replayed};
pub(crate) use save::save;
pub(crate) use tape::{Noted, Part, Tape};
