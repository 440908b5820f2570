//! Register numbers, bits and masks.

/// Physical address of the MMIO page; it cannot be moved.
pub const APIC_BASE_ADDRESS: u64 = 0xfee0_0000;

/// The architectural MSRs the APIC owns.
pub mod msr {
    /// IA32_APIC_BASE.
    pub const APIC_BASE: u32 = 0x1b;
    /// IA32_TSC_DEADLINE.
    pub const TSC_DEADLINE: u32 = 0x6e0;
    /// First of the 256 x2APIC MSRs.
    pub const X2APIC_FIRST: u32 = 0x800;
    /// Last of the 256 x2APIC MSRs.
    pub const X2APIC_LAST: u32 = 0x8ff;
}

// Register numbers: MMIO offset / 16, x2APIC MSR - 0x800.
pub(crate) const ID: u8 = 0x02;
pub(crate) const VERSION: u8 = 0x03;
pub(crate) const TPR: u8 = 0x08;
pub(crate) const PPR: u8 = 0x0a;
pub(crate) const EOI: u8 = 0x0b;
pub(crate) const LDR: u8 = 0x0d;
pub(crate) const DFR: u8 = 0x0e;
pub(crate) const SVR: u8 = 0x0f;
pub(crate) const ISR0: u8 = 0x10;
pub(crate) const ISR7: u8 = 0x17;
pub(crate) const TMR0: u8 = 0x18;
pub(crate) const TMR7: u8 = 0x1f;
pub(crate) const IRR0: u8 = 0x20;
pub(crate) const IRR7: u8 = 0x27;
pub(crate) const ESR: u8 = 0x28;
pub(crate) const ICR_LOW: u8 = 0x30;
pub(crate) const ICR_HIGH: u8 = 0x31;
pub(crate) const LVT_TIMER: u8 = 0x32;
pub(crate) const LVT_ERROR: u8 = 0x37;
pub(crate) const INITIAL_COUNT: u8 = 0x38;
pub(crate) const CURRENT_COUNT: u8 = 0x39;
pub(crate) const DIVIDE: u8 = 0x3e;
pub(crate) const SELF_IPI: u8 = 0x3f;

/// Integrated APIC, version 0x14, six LVT entries (so no CMCI), EOI broadcasts not suppressible.
pub(crate) const VERSION_VALUE: u32 = 0x0005_0014;

pub(crate) const SVR_ENABLED: u32 = 1 << 8;
/// Vector, enable, and the focus-check bit, which is stored and means nothing.
pub(crate) const SVR_MASK: u32 = 0x3ff;
pub(crate) const SVR_RESET: u32 = 0xff;

pub(crate) const LVT_MASKED: u32 = 1 << 16;

pub(crate) const ESR_SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
pub(crate) const ESR_RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
pub(crate) const ESR_ILLEGAL_REGISTER: u32 = 1 << 7;
/// The error bits that exist.
pub(crate) const ESR_MASK: u32 = 0xff;

pub(crate) const BASE_BSP: u64 = 1 << 8;
pub(crate) const BASE_X2APIC: u64 = 1 << 10;
pub(crate) const BASE_ENABLED: u64 = 1 << 11;

pub(crate) const DIVIDE_MASK: u32 = 0xb;

/// Delivery status (bit 12) always reads 0.
pub(crate) const ICR_LOW_MASK: u32 = 0x000c_cfff;
/// Reserved in x2APIC mode. Bit 12 is not among them: processors ignore it.
pub(crate) const ICR_LOW_RESERVED: u32 = !0x000c_dfff;
