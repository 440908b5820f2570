//! Time. With the hypervisor it is reference time; on a bare machine it is made from the time-stamp counter.

use crate::cpu::{self, inb, outb, rdmsr, rdtsc};
use crate::hypercall;
use crate::memory::{self, PAGE};
use core::sync::atomic::{AtomicU64, Ordering};
use hvdef::msr as hv;

static TSC_HZ: AtomicU64 = AtomicU64::new(0);
static APIC_HZ: AtomicU64 = AtomicU64::new(0);
/// The reference TSC page; 0 without.
static REFERENCE: AtomicU64 = AtomicU64::new(0);

/// Finds the frequencies.
pub fn init() {
    if hypercall::is_hyperv() {
        TSC_HZ.store(rdmsr(hv::TSC_FREQUENCY), Ordering::Relaxed);
        APIC_HZ.store(rdmsr(hv::APIC_FREQUENCY), Ordering::Relaxed);
        let page = memory::overlay(rdmsr(hv::REFERENCE_TSC));
        cpu::wrmsr(hv::REFERENCE_TSC, page | 1);
        REFERENCE.store(page & !(PAGE - 1), Ordering::Relaxed);
    } else {
        TSC_HZ.store((0..8).map(|_| pit_tsc_hz()[1]).min().unwrap_or(1), Ordering::Relaxed);
        // What QEMU's timer does; the tests' tolerance is for others.
        APIC_HZ.store(1_000_000_000, Ordering::Relaxed);
    }
}

/// Time-stamp counter ticks per second.
pub fn tsc_hz() -> u64 {
    TSC_HZ.load(Ordering::Relaxed).max(1)
}

/// APIC timer ticks per second at divisor 1.
pub fn apic_hz() -> u64 {
    APIC_HZ.load(Ordering::Relaxed)
}

/// Address of the reference TSC page.
pub fn reference_page() -> u64 {
    REFERENCE.load(Ordering::Relaxed)
}

/// The reference TSC page's time in 100 ns; `None` where it says that it does not hold.
pub fn page_time() -> Option<u64> {
    let page = reference_page();
    if page == 0 {
        return None;
    }
    for _ in 0..1000 {
        let sequence = cpu::peek32(page);
        if sequence == 0 {
            return None;
        }
        let (scale, offset) = (cpu::peek(page + 8), cpu::peek(page + 16));
        let time = ((u128::from(rdtsc()) * u128::from(scale)) >> 64) as u64;
        if cpu::peek32(page) == sequence {
            return Some(time.wrapping_add(offset));
        }
    }
    None
}

/// Time in 100 ns units.
pub fn now() -> u64 {
    page_time().unwrap_or_else(|| (u128::from(rdtsc()) * 10_000_000 / u128::from(tsc_hz())) as u64)
}

/// Microseconds as 100 ns units.
pub const fn us(us: u64) -> u64 {
    us * 10
}

/// Milliseconds as 100 ns units.
pub const fn ms(ms: u64) -> u64 {
    ms * 10_000
}

/// How late anything may be in 100 ns units: this may run on an emulator whose host has much else to do.
pub const SLACK: u64 = ms(3000);

/// Waits until `condition` holds, at most `ms` milliseconds. Whether it does.
pub fn wait_until(milliseconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let end = now() + ms(milliseconds);
    loop {
        if condition() {
            return true;
        }
        if now() > end {
            return condition();
        }
        cpu::pause();
    }
}

/// Waits.
pub fn delay_us(microseconds: u64) {
    let end = now() + us(microseconds);
    while now() < end {
        cpu::pause();
    }
}

/// The time-stamp counter's frequency by the programmable interval timer, over some 5 ms: at least and at most so much. The
/// two are far apart if the processor was not on the machine when the interval began or ended.
pub fn pit_tsc_hz() -> [u64; 2] {
    const PIT_HZ: u64 = 1_193_182;
    const COUNT: u16 = 5966;
    let [low, high] = COUNT.to_le_bytes();
    outb(0x61, inb(0x61) & !3);
    outb(0x43, 0xB0);
    outb(0x42, low);
    let gate = inb(0x61) & !2 | 1;
    // The open gate starts the count; in QEMU the last byte of its start does.
    let before = rdtsc();
    outb(0x42, high);
    outb(0x61, gate);
    let after = rdtsc();
    let mut still_counts = after;
    let end = loop {
        let looked = rdtsc();
        if inb(0x61) & 0x20 != 0 {
            break rdtsc();
        }
        still_counts = looked;
    };
    outb(0x61, inb(0x61) & !3);
    [still_counts - after, end - before]
        .map(|ticks| (u128::from(ticks) * u128::from(PIT_HZ) / u128::from(COUNT)) as u64)
}
