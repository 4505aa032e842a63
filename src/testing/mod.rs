//! For tests of code that uses lanes: futures that misbehave, and a harness
//! that runs your own runner in virtual time.
//!
//! * [`Hostile`] is every way we know in which a task fails to end, and three
//!   ways in which it is well. Put one where your runner calls a model or a
//!   tool (it is a future), or submit it to a lane.
//! * [`Sim`] runs a test body many times, each time with other dice, on a
//!   paused clock, and looks at the lanes whenever nothing moves. A promise
//!   that is broken, a body that never ends, a lane that is never idle: each
//!   is a failure with the seed that repeats it.
//! * [`HostileWaker`] is for futures that are polled by hand.
//!
//! All of it is behind the feature `testing`, which needs tokio's `test-util`.
//! Enable it among your dev-dependencies.

mod dice;
mod gate;
mod hostile;
mod promises;
mod sim;
mod trial;
mod waker;

pub use hostile::{Expected, Hostile, HostileFuture};
pub use sim::{Failure, Sim};
pub use trial::Trial;
pub use waker::HostileWaker;
