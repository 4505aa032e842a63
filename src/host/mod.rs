//! What the shell asks of whoever runs its futures: a runtime to spawn on, and
//! timers. It is the one home of tokio's, so that the model checkers can put
//! their own in its place.

#[cfg(any(laneway_loom, laneway_shuttle))]
mod in_a_model;
#[cfg(not(any(laneway_loom, laneway_shuttle)))]
mod on_tokio;

#[cfg(any(laneway_loom, laneway_shuttle))]
pub(crate) use in_a_model::*;
#[cfg(not(any(laneway_loom, laneway_shuttle)))]
pub(crate) use on_tokio::*;
