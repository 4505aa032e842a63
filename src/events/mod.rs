//! The log of events: what happened to tasks and lanes, with numbers and times.
//!
//! The engine of a lane writes facts down where they become true (see
//! `engine::journal`). Before the lane is unlocked they go to the one *hub* of the
//! scheduler, which numbers them and keeps the latest of them; so the order of the
//! numbers is the order in which things happened, in one lane, and in the lanes of
//! one group, which share a lock. Streams read from the hub, each at its own pace.
//! It is a leaf among the locks: nothing of the user's runs under it (S13), and no
//! reader holds it for longer than a short batch takes.
//!
//! | file | subject |
//! |---|---|
//! | `event` | what is told, in public words |
//! | `tell` | from what the engine says to those |
//! | `hub` | what lanes write, and who waits for more |
//! | `ring` | the latest events, and their numbers |
//! | `stream` | a reader |

mod event;
mod hub;
mod ring;
mod stream;
mod tell;

pub use event::{Event, EventCounters, EventKind, EventsOff, Outcome, Overflow, Reclaimed};
pub(crate) use hub::{Hub, MOST};
pub use stream::EventStream;
#[cfg(feature = "replay")]
pub(crate) use tell::event as event_of;
