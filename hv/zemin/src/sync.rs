//! Locks and cells for state that LPs share.
#![expect(unsafe_code, reason = "interior mutability behind a lock, and values set once at boot")]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// A spin lock. Holders run with interrupts closed, so a holder is never interrupted by a taker on its own LP.
pub struct SpinLock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one LP at a time.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An open lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> Guard<'_, T> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            while self.locked.load(Ordering::Relaxed) {
                arch_x86::cpu::pause();
            }
        }
    }

    /// Takes the lock if it is open.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        let free =
            self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // Lazily: a guard that is made and not given out would open somebody else's lock.
        free.then(|| Guard { lock: self })
    }
}

/// Opens its lock when dropped.
pub struct Guard<'a, T> {
    lock: &'a SpinLock<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
    }
}

/// A value that is set once, at boot, and only read afterwards.
pub struct Once<T> {
    ready: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: after `set` the value is only read; before, nobody gets a reference.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// An empty cell.
    pub const fn new() -> Self {
        Self { ready: AtomicBool::new(false), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Sets the value.
    ///
    /// # Panics
    /// If it is set already. Only the boot path on the first LP calls this.
    pub fn set(&self, value: T) -> &T {
        assert!(!self.ready.load(Ordering::Acquire), "set twice");
        // SAFETY: not ready means that no reference exists, and only the first LP runs.
        unsafe { (*self.value.get()).write(value) };
        self.ready.store(true, Ordering::Release);
        self.get()
    }

    /// The value, if it has been set.
    pub fn try_get(&self) -> Option<&T> {
        // SAFETY: ready means initialised, and it never changes again.
        self.ready.load(Ordering::Acquire).then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value.
    ///
    /// # Panics
    /// Before [`Self::set`]: a fault in the order of boot, not something a guest can bring about.
    pub fn get(&self) -> &T {
        self.try_get().expect("used before boot set it")
    }
}
