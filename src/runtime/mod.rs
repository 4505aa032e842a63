//! The tokio shell: carries out what the engine decides.
//!
//! | file | subject |
//! |---|---|
//! | `domain`, `sequel`, `release` | the engine behind its lock: `act` is the one way to it, but for a release |
//! | `group` | lanes that share a budget, and so a lock |
//! | `perform` | what follows from a decision, outside every lock |
//! | `cell`, `word`, `flags`, `parts`, `spare` | what the parties to one task share |
//! | `submit`, `reserve` | from the call to the slot |
//! | `runner`, `run`, `spawn`, `job`, `slot`, `teardown` | from the slot to the release |
//! | `links`, `inherit` | slots that a task holds in several lanes |
//! | `park`, `waitpoint` | waiting for somebody, with or without a slot |
//! | `facts`, `edge`, `pending` | signs of life, across tasks that await each other |
//! | `waits`, `deadlock` | waits that would never end |
//! | `driver`, `timers`, `watchdog` | the next moment of all lanes |
//! | `shared`, `keys`, `orphans` | what all lanes have in common |
//! | `terms`, `reshape` | how a lane is set, and setting lanes anew |
//! | `context`, `current`, `child`, `phase`, `track` | what a task can do and say |
//! | `inbox`, `coalesce` | messages for whoever runs, or waits |
//! | `idle`, `drain` | waiting for a lane |
//! | `repair` | whether the scheduler is right about itself |
//! | `blocked`, `log`, `spans` | what the scheduler says |
//! | `standing` | whether a silent task is polled at all |
//! | `journal` | what the log of events, and what counts, is told beside what the engine tells it |
//! | `wakers` | waking, and surviving user code that panics |
//!
//! # The order of locks
//!
//! The turn of a reconfiguration, then directory, then group, then domain, then a
//! task's parts; timers, keys, wakers, bells, meters and the log of events come last and lock nothing. No user code runs under any of them (S13), and
//! no task's last reference is dropped under one: that may retire a lane.

mod blocked;
mod cell;
mod child;
mod coalesce;
mod context;
mod current;
mod deadlock;
mod domain;
mod drain;
mod driver;
mod edge;
mod facts;
mod flags;
mod group;
mod handle;
mod idle;
mod inbox;
mod inherit;
mod job;
mod journal;
mod keys;
#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod leaks;
mod links;
pub(crate) mod log;
mod orphans;
mod park;
mod parts;
mod pending;
mod perform;
mod phase;
mod release;
mod repair;
mod reserve;
mod reshape;
mod run;
mod runner;
mod sequel;
mod shared;
mod slot;
mod spans;
mod spare;
mod spawn;
mod standing;
mod submit;
mod teardown;
mod terms;
mod timers;
mod track;
mod waits;
mod wakers;
mod watchdog;
mod word;

pub(crate) use cell::TaskCell;
pub use coalesce::SharedHandle;
pub(crate) use coalesce::coalesce;
pub use context::{Scoped, TaskContext};
pub(crate) use current::id as current_id;
#[cfg(feature = "testing")]
pub(crate) use current::task as current_task;
pub use current::{progress, progress_note};
pub(crate) use deadlock::lanes_changed;
pub(crate) use domain::{Actions, Domain, DomainRef, Engine, withdraw};
pub(crate) use drain::Draining;
pub use drain::{Descendants, Drain, DrainReport, QueuedWork, ReturnedTask};
pub(crate) use facts::{at_hand, read as read_facts};
pub(crate) use group::GroupCell;
pub(crate) use handle::callers_are_gone;
pub use handle::{TaskHandle, TaskStatus};
pub(crate) use idle::{Idle, first_busy, wait_active};
pub(crate) use inbox::{Envelope, Letter, Opener};
pub use inbox::{Inbox, OfferHandle, Offered};
pub(crate) use links::{forget as forget_links, held_in};
pub(crate) use park::snapshot as parked_snapshot;
pub use park::{Parked, Waiting};
pub(crate) use pending::{Pending, holds, pending};
pub(crate) use perform::ask_holders;
pub use phase::Phase;
pub(crate) use repair::repair;
pub(crate) use reserve::Kept;
pub use reserve::Reservation;
pub use run::Run;
pub(crate) use sequel::Staged;
pub(crate) use shared::trim;
pub(crate) use shared::{Shared, StandingDrain};
pub use slot::Slot;
pub(crate) use spawn::{spawn, spawn_blocking};
pub use standing::Standing;
pub(crate) use standing::{probe_all, standing};
pub use track::{Always, Tracked, TrackedRead, When};
#[cfg(feature = "metrics")]
pub(crate) use wakers::guarded;
pub(crate) use wakers::{Ticket, Wakers, drop_guarded, wake_all};
pub(crate) use watchdog::Watchdog;
pub(crate) use word::Word;
