//! The few things that processors share.
#![expect(unsafe_code, reason = "cells that the tests' own order of events protects")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A place that is reached by pointer only; who uses it when is the user's business.
#[repr(C, align(4096))]
pub struct Place<T>(UnsafeCell<T>);

// SAFETY: only raw pointers come out.
unsafe impl<T> Sync for Place<T> {}

impl<T> Place<T> {
    /// A place that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where it is.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }

    /// Its address.
    pub fn address(&self) -> u64 {
        self.get() as u64
    }
}

/// A lock that gives up after a while rather than hang: what it protects is the order of output.
pub struct Lock(AtomicBool);

impl Lock {
    /// Open.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Runs `action` alone, or after long waiting anyway.
    pub fn with<R>(&self, action: impl FnOnce() -> R) -> R {
        let mut patience = 10_000_000u32;
        while self.0.swap(true, Ordering::Acquire) && patience != 0 {
            patience -= 1;
            core::hint::spin_loop();
        }
        let result = action();
        self.0.store(false, Ordering::Release);
        result
    }
}

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}
