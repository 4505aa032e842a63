//! What lanes do, as numbers for a recorder.

#[path = "../common/mod.rs"]
mod common;

mod documents;
mod lanes;
mod recorders;
mod seen;
