//! The one home of locks and atomics; a lint keeps it so.
//!
//! The types are our own, thin as they are, so that what stands behind them
//! can be exchanged in this file and nowhere else.

#![expect(
    clippy::disallowed_types,
    reason = "this is the place that the lint protects"
)]

use std::sync::atomic;

pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, Weak};

pub(crate) type MutexGuard<'a, T> = parking_lot::MutexGuard<'a, T>;

/// A lock that knows no poison: nothing that can panic runs under it.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty, { $($method:ident($($arg:ident: $ty:ty),*) -> $out:ty;)* }) => {
        #[derive(Debug)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            $(pub(crate) fn $method(&self, $($arg: $ty),*) -> $out {
                self.0.$method($($arg),*)
            })*
        }
    };
}

atomic!(AtomicBool, bool, {
    load(order: Ordering) -> bool;
    store(value: bool, order: Ordering) -> ();
});

atomic!(AtomicU8, u8, {
    load(order: Ordering) -> u8;
    store(value: u8, order: Ordering) -> ();
    fetch_or(value: u8, order: Ordering) -> u8;
    compare_exchange(current: u8, new: u8, success: Ordering, failure: Ordering) -> Result<u8, u8>;
});

atomic!(AtomicU64, u64, {
    load(order: Ordering) -> u64;
    store(value: u64, order: Ordering) -> ();
    fetch_add(value: u64, order: Ordering) -> u64;
    fetch_max(value: u64, order: Ordering) -> u64;
});

atomic!(AtomicUsize, usize, {
    load(order: Ordering) -> usize;
    store(value: usize, order: Ordering) -> ();
    fetch_add(value: usize, order: Ordering) -> usize;
    fetch_sub(value: usize, order: Ordering) -> usize;
    compare_exchange(current: usize, new: usize, success: Ordering, failure: Ordering) -> Result<usize, usize>;
});
