//! What the rows have in common: taking turns, and saying what came of it.

pub mod logged;
pub mod report;
pub mod scale;
pub mod schedulers;
pub mod spread;
pub mod through;
pub mod turns;
