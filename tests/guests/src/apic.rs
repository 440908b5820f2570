//! The local APIC, in whichever mode it is.

use crate::cpu::{cpuid, msr, peek32, poke32, rdmsr, wrmsr};
use crate::{boot, clock, tables};

/// Vector of spurious interrupts.
pub const SPURIOUS: u8 = 0xFF;
/// The register page.
pub const PAGE: u64 = 0xFEE0_0000;

/// APIC base: enabled.
pub const BASE_ENABLED: u64 = 1 << 11;
/// APIC base: x2APIC mode.
pub const BASE_X2APIC: u64 = 1 << 10;
/// APIC base: the processor that booted.
pub const BASE_BSP: u64 = 1 << 8;

/// Registers: the number of the x2APIC MSR less 0x800, and a sixteenth of the offset in the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Reg(pub u32);

#[expect(missing_docs, reason = "the registers' names in the manuals")]
impl Reg {
    pub const ID: Self = Self(0x02);
    pub const VERSION: Self = Self(0x03);
    pub const TPR: Self = Self(0x08);
    pub const PPR: Self = Self(0x0A);
    pub const EOI: Self = Self(0x0B);
    pub const LDR: Self = Self(0x0D);
    pub const DFR: Self = Self(0x0E);
    pub const SVR: Self = Self(0x0F);
    pub const ISR: Self = Self(0x10);
    pub const TMR: Self = Self(0x18);
    pub const IRR: Self = Self(0x20);
    pub const ESR: Self = Self(0x28);
    pub const ICR: Self = Self(0x30);
    pub const ICR_HIGH: Self = Self(0x31);
    pub const LVT_TIMER: Self = Self(0x32);
    pub const LVT_LINT0: Self = Self(0x35);
    pub const LVT_LINT1: Self = Self(0x36);
    pub const LVT_ERROR: Self = Self(0x37);
    pub const INITIAL_COUNT: Self = Self(0x38);
    pub const CURRENT_COUNT: Self = Self(0x39);
    pub const DIVIDE: Self = Self(0x3E);
    pub const SELF_IPI: Self = Self(0x3F);
}

/// LVT: masked.
pub const MASKED: u32 = 1 << 16;
/// LVT timer: periodic.
pub const PERIODIC: u32 = 1 << 17;
/// SVR: APIC enabled.
pub const SVR_ENABLED: u32 = 1 << 8;

/// ICR: delivery modes.
pub mod mode {
    /// Lowest priority.
    pub const LOWEST: u32 = 1 << 8;
    /// NMI.
    pub const NMI: u32 = 4 << 8;
    /// INIT, level assert.
    pub const INIT: u32 = 5 << 8 | 1 << 14;
    /// Startup.
    pub const STARTUP: u32 = 6 << 8;
    /// Logical destination.
    pub const LOGICAL: u32 = 1 << 11;
    /// Shorthand: self.
    pub const SELF: u32 = 1 << 18;
    /// Shorthand: all.
    pub const ALL: u32 = 2 << 18;
    /// Shorthand: all but self.
    pub const OTHERS: u32 = 3 << 18;
}

/// Whether this processor's APIC is in x2APIC mode.
pub fn is_x2apic() -> bool {
    rdmsr(msr::APIC_BASE) & BASE_X2APIC != 0
}

/// Reads a register.
pub fn read(reg: Reg) -> u32 {
    if is_x2() { rdmsr(0x800 + reg.0) as u32 } else { peek32(PAGE + u64::from(reg.0) * 16) }
}

/// Writes a register.
pub fn write(reg: Reg, value: u32) {
    if is_x2() {
        wrmsr(0x800 + reg.0, value.into())
    } else {
        poke32(PAGE + u64::from(reg.0) * 16, value)
    }
}

/// The mode that [`init`] found: asking the MSR each time would cost an exit.
static X2: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

fn is_x2() -> bool {
    X2.load(core::sync::atomic::Ordering::Relaxed)
}

/// Enables this processor's APIC, in the mode of the one that booted (which `x2apic=on` changes), with everything masked
/// and nothing pending.
pub fn init() {
    let first = tables::this().number() == 0;
    let base = rdmsr(msr::APIC_BASE);
    if first {
        let wanted = boot::args().x2apic && cpuid(1, 0)[2] & 1 << 21 != 0;
        X2.store(wanted || base & BASE_X2APIC != 0, core::sync::atomic::Ordering::Relaxed);
    }
    wrmsr(msr::APIC_BASE, base | BASE_ENABLED);
    if is_x2() {
        wrmsr(msr::APIC_BASE, base | BASE_ENABLED | BASE_X2APIC);
    }
    quiet();
    tables::this().apic_id.store(id(), core::sync::atomic::Ordering::Relaxed);
}

/// Chooses between MMIO and MSRs after a test has changed the mode itself.
pub fn set_x2apic(x2: bool) {
    X2.store(x2, core::sync::atomic::Ordering::Relaxed);
}

/// Everything masked, priority 0, enabled, nothing in service.
pub fn quiet() {
    for lvt in 0x32..=0x37 {
        write(Reg(lvt), MASKED | u32::from(SPURIOUS));
    }
    write(Reg::INITIAL_COUNT, 0);
    write(Reg::DIVIDE, 0xB);
    // Not by CR8: QEMU aborts when a guest of AMD-V writes it while the hypervisor waits for an interrupt window.
    write(Reg::TPR, 0);
    write(Reg::SVR, SVR_ENABLED | u32::from(SPURIOUS));
    if !is_x2() {
        write(Reg::DFR, u32::MAX);
    }
    write(Reg::ESR, 0);
    write(Reg::ESR, 0);
    for _ in 0..256 {
        if (0..8).all(|word| read(Reg(Reg::ISR.0 + word)) == 0) {
            break;
        }
        eoi();
    }
}

/// This processor's APIC id.
pub fn id() -> u32 {
    let id = read(Reg::ID);
    if is_x2() { id } else { id >> 24 }
}

/// Ends the interrupt in service.
pub fn eoi() {
    write(Reg::EOI, 0);
}

/// One bit of IRR, ISR or TMR.
pub fn bit(set: Reg, vector: u8) -> bool {
    read(Reg(set.0 + u32::from(vector / 32))) & 1 << (vector % 32) != 0
}

/// Whether an interrupt with this vector is in service.
pub fn in_service(vector: u8) -> bool {
    bit(Reg::ISR, vector)
}

/// Whether an interrupt with this vector is requested.
pub fn requested(vector: u8) -> bool {
    bit(Reg::IRR, vector)
}

/// Writes the interrupt command register.
pub fn command(destination: u32, low: u32) {
    if is_x2() {
        wrmsr(0x830, u64::from(destination) << 32 | u64::from(low));
    } else {
        write(Reg::ICR_HIGH, destination << 24);
        write(Reg::ICR, low);
        let _ = (0..100_000).find(|_| read(Reg::ICR) & 1 << 12 == 0);
    }
}

/// Sends a fixed interrupt to the processor with this APIC id.
pub fn send(destination: u32, vector: u8) {
    command(destination, vector.into());
}

/// Sends a fixed interrupt to this processor.
pub fn send_self(vector: u8) {
    command(0, mode::SELF | u32::from(vector));
}

/// Starts the timer with divisor 1.
pub fn start_timer(lvt: u32, count: u32) {
    write(Reg::DIVIDE, 0xB);
    write(Reg::LVT_TIMER, lvt);
    write(Reg::INITIAL_COUNT, count);
}

/// Timer ticks at divisor 1 in `us` microseconds.
pub fn ticks(us: u64) -> u32 {
    (clock::apic_hz() as u128 * u128::from(us) / 1_000_000) as u32
}
