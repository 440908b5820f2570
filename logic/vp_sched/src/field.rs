//! Fields of shared structures that one lock guards.
//!
//! They are atomics only so that the structures can be shared without `unsafe`: the lock orders all accesses, and a
//! relaxed load or store is a plain move.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A 64-bit field.
#[derive(Debug, Default)]
pub(crate) struct Word(AtomicU64);

impl Word {
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The field as a signed number.
    pub fn signed(&self) -> i64 {
        self.get().cast_signed()
    }

    pub fn set_signed(&self, value: i64) {
        self.set(value.cast_unsigned());
    }
}

/// A 32-bit field.
#[derive(Debug, Default)]
pub(crate) struct Half(AtomicU32);

impl Half {
    pub const fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    pub fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
    }
}
