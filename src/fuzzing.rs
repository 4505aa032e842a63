//! The way in for `fuzz/`, which knows the public surface only.

/// Tries the engine with the operations that the bytes stand for, and panics
/// with the promise that was broken.
pub fn engine(bytes: &[u8]) {
    crate::engine::oracle::bytes::run(bytes);
}

/// The same for lanes that share a budget.
pub fn group(bytes: &[u8]) {
    crate::engine::oracle::bytes::run_group(bytes);
}
