//! The one home of locks, atomics and thread-locals; a lint keeps it so.
//!
//! The types are our own, thin as they are, so that what stands behind them
//! can be exchanged in this file and nowhere else: parking_lot and std, or the
//! model checkers' own. `Arc` is always std's: loom's has no `downgrade`, and
//! counts of references are tried by other means.

#![expect(
    clippy::disallowed_types,
    reason = "this is the place that the lint protects"
)]

#[cfg(laneway_loom)]
use loom::sync as backend;
#[cfg(not(any(laneway_loom, laneway_shuttle)))]
use parking_lot as backend;
#[cfg(laneway_shuttle)]
use shuttle::sync as backend;

#[cfg(laneway_loom)]
use loom::sync::atomic;
#[cfg(laneway_shuttle)]
use shuttle::sync::atomic;
#[cfg(not(any(laneway_loom, laneway_shuttle)))]
use std::sync::atomic;

pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, Weak};

pub(crate) type MutexGuard<'a, T> = backend::MutexGuard<'a, T>;

/// A lock that knows no poison: nothing that can panic runs under it.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(backend::Mutex<T>);

impl<T> Mutex<T> {
    #[inline]
    pub(crate) fn new(value: T) -> Self {
        Self(backend::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        whole(self.0.lock())
    }

    /// `None` while somebody else has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        #[cfg(not(any(laneway_loom, laneway_shuttle)))]
        let locked = self.0.try_lock();
        #[cfg(any(laneway_loom, laneway_shuttle))]
        let locked = self.0.try_lock().ok();
        locked
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        whole(self.0.get_mut())
    }

    pub(crate) fn into_inner(self) -> T {
        whole(self.0.into_inner())
    }
}

#[cfg(not(any(laneway_loom, laneway_shuttle)))]
#[inline]
fn whole<T>(locked: T) -> T {
    locked
}

#[cfg(any(laneway_loom, laneway_shuttle))]
fn whole<T>(locked: std::sync::LockResult<T>) -> T {
    locked.unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// `thread_local!`, for values that a constant begins with.
macro_rules! per_thread {
    ($($(#[$meta:meta])* static $name:ident: $type:ty = $start:expr;)*) => {
        #[cfg(laneway_loom)]
        loom::thread_local! { $($(#[$meta])* static $name: $type = $start;)* }
        #[cfg(laneway_shuttle)]
        shuttle::thread_local! { $($(#[$meta])* static $name: $type = $start;)* }
        #[cfg(not(any(laneway_loom, laneway_shuttle)))]
        thread_local! { $($(#[$meta])* static $name: $type = const { $start };)* }
    };
}

pub(crate) use per_thread;

/// Numbers that are unique in the process. They order nothing, so the model
/// checkers need not see them, and it can be a static.
#[derive(Debug)]
pub(crate) struct Serials(std::sync::atomic::AtomicU64);

impl Serials {
    pub(crate) const fn from(first: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(first))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What no model checker is to see.
#[cfg(any(laneway_loom, laneway_shuttle))]
#[derive(Debug)]
pub(crate) struct Untracked(std::sync::atomic::AtomicU64);

#[cfg(any(laneway_loom, laneway_shuttle))]
impl Untracked {
    pub(crate) const fn new(value: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(value))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self, value: u64) {
        self.0.fetch_add(value, Ordering::SeqCst);
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty, { $($method:ident($($arg:ident: $ty:ty),*) -> $out:ty;)* }) => {
        #[derive(Debug)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            #[inline]
            pub(crate) fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            $(#[inline]
            pub(crate) fn $method(&self, $($arg: $ty),*) -> $out {
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
    fetch_and(value: u8, order: Ordering) -> u8;
    compare_exchange(current: u8, new: u8, success: Ordering, failure: Ordering) -> Result<u8, u8>;
});

atomic!(AtomicU32, u32, {
    load(order: Ordering) -> u32;
    store(value: u32, order: Ordering) -> ();
    fetch_add(value: u32, order: Ordering) -> u32;
    fetch_sub(value: u32, order: Ordering) -> u32;
});

atomic!(AtomicU64, u64, {
    load(order: Ordering) -> u64;
    store(value: u64, order: Ordering) -> ();
    fetch_add(value: u64, order: Ordering) -> u64;
    fetch_max(value: u64, order: Ordering) -> u64;
});

atomic!(AtomicUsize, usize, {
    load(order: Ordering) -> usize;
    fetch_add(value: usize, order: Ordering) -> usize;
    fetch_sub(value: usize, order: Ordering) -> usize;
    compare_exchange(current: usize, new: usize, success: Ordering, failure: Ordering) -> Result<usize, usize>;
});
