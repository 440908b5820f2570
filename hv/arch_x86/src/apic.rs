//! The physical local APIC, which belongs to the hypervisor.
//!
//! x2APIC mode is used where the processor has it (one MSR access instead of an uncached store); otherwise the registers
//! are reached through a mapping that the caller made.
#![expect(unsafe_code, reason = "APIC registers are MSRs or device memory")]

use crate::{cpu, msr};

/// Register numbers: MMIO offset / 16, which is also the x2APIC MSR number - 0x800.
mod reg {
    pub const ID: u32 = 0x02;
    pub const TPR: u32 = 0x08;
    pub const EOI: u32 = 0x0B;
    pub const SPURIOUS: u32 = 0x0F;
    pub const ISR: u32 = 0x10;
    pub const ESR: u32 = 0x28;
    pub const ICR_LOW: u32 = 0x30;
    pub const ICR_HIGH: u32 = 0x31;
    pub const LVT_TIMER: u32 = 0x32;
    pub const LVT_THERMAL: u32 = 0x33;
    pub const LVT_PERF: u32 = 0x34;
    pub const LVT_LINT0: u32 = 0x35;
    pub const LVT_LINT1: u32 = 0x36;
    pub const LVT_ERROR: u32 = 0x37;
    pub const TIMER_INITIAL: u32 = 0x38;
    pub const TIMER_CURRENT: u32 = 0x39;
    pub const TIMER_DIVIDE: u32 = 0x3E;
}

const LVT_MASKED: u32 = 1 << 16;
const LVT_NMI: u32 = 4 << 8;
const ENABLED: u64 = 1 << 11;
const X2APIC: u64 = 1 << 10;
const BASE_ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// How the registers are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalApic {
    /// By MSR.
    X2,
    /// By device memory at this virtual address.
    Mmio(usize),
}

/// What an inter-processor interrupt does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ipi {
    /// An ordinary interrupt with this vector.
    Fixed(u8),
    /// A non-maskable interrupt.
    Nmi,
    /// Reset to the wait-for-SIPI state.
    Init,
    /// Start at this page number below 1 MiB.
    Startup(u8),
}

/// Physical address of the APIC's register page on the calling LP.
pub fn physical_base() -> u64 {
    // SAFETY: every processor with a local APIC has this register.
    unsafe { msr::read(msr::APIC_BASE) & BASE_ADDRESS }
}

/// Whether the processor offers x2APIC mode.
pub fn has_x2apic() -> bool {
    cpu::cpuid(1, 0).ecx & 1 << 21 != 0
}

impl LocalApic {
    /// Enables the calling LP's APIC in the given mode with everything masked, and sets the spurious vector.
    ///
    /// # Safety
    /// [`Self::Mmio`] names a writable, uncached mapping of [`physical_base`]; [`Self::X2`] needs [`has_x2apic`].
    pub unsafe fn enable(self, spurious: u8, error: u8) {
        // SAFETY: the register exists; switching to x2APIC mode is legal from the enabled xAPIC mode.
        unsafe {
            let base = msr::read(msr::APIC_BASE) | ENABLED;
            msr::write(msr::APIC_BASE, base);
            if self == Self::X2 {
                msr::write(msr::APIC_BASE, base | X2APIC);
            }
        }
        for lvt in [reg::LVT_TIMER, reg::LVT_THERMAL, reg::LVT_PERF, reg::LVT_LINT0] {
            self.write(lvt, LVT_MASKED);
        }
        self.write(reg::LVT_LINT1, LVT_NMI);
        self.write(reg::LVT_ERROR, u32::from(error));
        self.write(reg::TPR, 0);
        self.write(reg::SPURIOUS, 0x100 | u32::from(spurious));
        // Interrupts that firmware left in service would hold back everything below them.
        for _ in 0..256 {
            if !(0..8).any(|word| self.read(reg::ISR + word) != 0) {
                break;
            }
            self.end_of_interrupt();
        }
    }

    /// The calling LP's APIC id.
    pub fn id(self) -> u32 {
        match self {
            Self::X2 => self.read(reg::ID),
            Self::Mmio(_) => self.read(reg::ID) >> 24,
        }
    }

    /// Completes the interrupt with the highest priority in service.
    pub fn end_of_interrupt(self) {
        self.write(reg::EOI, 0);
    }

    /// Reads and clears the error status.
    pub fn error_status(self) -> u32 {
        self.write(reg::ESR, 0);
        self.read(reg::ESR)
    }

    /// Sends an interrupt to the LP with this APIC id.
    pub fn send(self, apic_id: u32, ipi: Ipi) {
        let low = match ipi {
            Ipi::Fixed(vector) => 0x4000 | u32::from(vector),
            Ipi::Nmi => 0x4400,
            Ipi::Init => 0xC500,
            Ipi::Startup(page) => 0x4600 | u32::from(page),
        };
        match self {
            // SAFETY: the ICR exists in x2APIC mode; an interrupt to another LP cannot break this one's memory.
            Self::X2 => unsafe {
                msr::write(
                    msr::X2APIC_FIRST + reg::ICR_LOW,
                    u64::from(apic_id) << 32 | u64::from(low),
                );
            },
            Self::Mmio(_) => {
                self.write(reg::ICR_HIGH, apic_id << 24);
                self.write(reg::ICR_LOW, low);
                while self.read(reg::ICR_LOW) & 1 << 12 != 0 {
                    cpu::pause();
                }
            }
        }
    }

    /// Prepares the timer: one-shot, this vector, counting at the input clock.
    pub fn prepare_timer(self, vector: u8) {
        self.write(reg::TIMER_DIVIDE, 0b1011);
        self.write(reg::LVT_TIMER, u32::from(vector));
    }

    /// Starts the timer with this many ticks, or stops it with 0.
    pub fn start_timer(self, ticks: u32) {
        self.write(reg::TIMER_INITIAL, ticks);
    }

    /// Ticks left on the timer.
    pub fn timer_remaining(self) -> u32 {
        self.read(reg::TIMER_CURRENT)
    }

    fn read(self, register: u32) -> u32 {
        match self {
            // SAFETY: only registers that exist in x2APIC mode are named here; reading them has no side effect.
            Self::X2 => unsafe { msr::read(msr::X2APIC_FIRST + register) as u32 },
            // SAFETY: the mapping is the APIC's register page (see `enable`), and the offset lies inside it.
            Self::Mmio(base) => unsafe {
                ((base + (register as usize) * 16) as *const u32).read_volatile()
            },
        }
    }

    fn write(self, register: u32, value: u32) {
        match self {
            // SAFETY: as `read`; the values keep the APIC in a defined state.
            Self::X2 => unsafe { msr::write(msr::X2APIC_FIRST + register, u64::from(value)) },
            // SAFETY: as `read`.
            Self::Mmio(base) => unsafe {
                ((base + (register as usize) * 16) as *mut u32).write_volatile(value)
            },
        }
    }
}
