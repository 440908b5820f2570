//! Memory type range registers (Intel SDM vol. 3, 12.11; AMD APM vol. 2, 7.7).
//!
//! All LPs must agree on memory types. Firmware leaves the first LP right; INIT may have left others without. The parent
//! does not get to write these registers, so the hypervisor makes them agree.
#![expect(unsafe_code, reason = "reads and writes MTRRs, with caches off while they change")]

use crate::{cpu, msr};

/// Most variable ranges.
const VARIABLE_MAX: usize = 16;
/// The registers of fixed ranges.
const FIXED: [u32; 11] =
    [0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F];
const CAPABILITIES: u32 = 0xFE;
const FIXED_SUPPORTED: u64 = 1 << 8;
const ENABLED: u64 = 1 << 11;
const CR0_CACHE_DISABLE: u64 = 1 << 30;
const CR0_NOT_WRITE_THROUGH: u64 = 1 << 29;

/// The contents of one LP's registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryTypes {
    variable_count: usize,
    has_fixed: bool,
    default: u64,
    fixed: [u64; FIXED.len()],
    /// Base and mask of each variable range.
    variable: [[u64; 2]; VARIABLE_MAX],
}

impl MemoryTypes {
    /// Reads the calling LP's; `None` without MTRRs.
    pub fn read() -> Option<Self> {
        if cpu::cpuid(1, 0).edx & 1 << 12 == 0 {
            return None;
        }
        // SAFETY: CPUID says that the registers exist; the capabilities say how many.
        unsafe {
            let capabilities = msr::read(CAPABILITIES);
            let count = ((capabilities & 0xFF) as usize).min(VARIABLE_MAX);
            let has_fixed = capabilities & FIXED_SUPPORTED != 0;
            let range = |index: usize| {
                let first = msr::MTRR_FIRST + 2 * index as u32;
                if index < count { [msr::read(first), msr::read(first + 1)] } else { [0; 2] }
            };
            Some(Self {
                variable_count: count,
                has_fixed,
                default: msr::read(msr::MTRR_DEF_TYPE),
                fixed: FIXED.map(|register| if has_fixed { msr::read(register) } else { 0 }),
                variable: core::array::from_fn(range),
            })
        }
    }

    /// Gives the calling LP the same, if it differs. Whether it did.
    pub fn apply(&self) -> bool {
        let differs = Self::read().is_some_and(|own| own != *self);
        if differs {
            // SAFETY: the values come from an LP of the same machine. Caches are off and empty, and no type is in force
            // while they change; interrupts are closed for as long as the hypervisor runs.
            unsafe {
                let cr0 = cpu::cr0();
                cpu::set_cr0((cr0 | CR0_CACHE_DISABLE) & !CR0_NOT_WRITE_THROUGH);
                cpu::wbinvd();
                msr::write(msr::MTRR_DEF_TYPE, self.default & !ENABLED);
                self.write();
                msr::write(msr::MTRR_DEF_TYPE, self.default);
                cpu::wbinvd();
                cpu::set_cr3(cpu::cr3());
                cpu::set_cr0(cr0);
            }
        }
        differs
    }

    /// Writes all but the default type.
    ///
    /// # Safety
    /// As in [`Self::apply`].
    unsafe fn write(&self) {
        for (index, [base, mask]) in self.variable.iter().take(self.variable_count).enumerate() {
            let first = msr::MTRR_FIRST + 2 * index as u32;
            // SAFETY: as the caller vouches; the registers were read before.
            unsafe {
                msr::write(first, *base);
                msr::write(first + 1, *mask);
            }
        }
        if self.has_fixed {
            // SAFETY: as above.
            FIXED
                .iter()
                .zip(self.fixed)
                .for_each(|(&register, value)| unsafe { msr::write(register, value) });
        }
    }
}
