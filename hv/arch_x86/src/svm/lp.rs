//! What one LP needs to run guests: AMD-V switched on, a host save area, address-space ids.
#![expect(unsafe_code, reason = "EFER, VM_HSAVE_PA, VMSAVE, STGI")]

use crate::vcpu::Capabilities;
use crate::{cpu, msr};
use core::arch::asm;

/// Per-LP context of the back end.
///
/// Address-space ids (ASIDs) tag translations. A VP gets a fresh id when it comes to an LP or when its translations must
/// go; that works with and without flush-by-ASID. When the ids run out the whole TLB is flushed and a new generation
/// begins, which makes every id handed out before stale.
pub struct LpContext {
    pub(super) host_vmcb: u64,
    /// Never 0 once enabled, so that a new VP's id is stale.
    generation: u64,
    next_asid: u32,
    asids: u32,
    pub(super) capabilities: Capabilities,
}

/// An address-space id and the generation it belongs to. The default is stale everywhere.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asid {
    generation: u64,
    /// The LP context that gave it out, told apart by its host block.
    owner: u64,
    pub(super) id: u32,
}

impl LpContext {
    /// A context that cannot run guests yet.
    pub const fn new() -> Self {
        Self {
            host_vmcb: 0,
            generation: 0,
            next_asid: 1,
            asids: 2,
            capabilities: Capabilities {
                next_rip: false,
                decode_assists: false,
                flush_by_asid: false,
                pause_filter: false,
                huge_pages: false,
                asids: 0,
            },
        }
    }

    /// Switches AMD-V on for the calling LP, and closes the global interrupt gate.
    ///
    /// # Safety
    /// `probe` succeeded; both pages (physical addresses) belong to this LP for ever; descriptor tables and GS base are
    /// final, since VMSAVE records them here as what comes back after each exit.
    pub unsafe fn enable(&mut self, capabilities: Capabilities, host_save: u64, host_vmcb: u64) {
        // SAFETY: the registers exist (see above), and the pages are ours.
        unsafe {
            msr::write(msr::EFER, msr::read(msr::EFER) | msr::EFER_SVME);
            msr::write(msr::VM_HSAVE_PA, host_save);
            asm!("clgi", "vmsave rax", in("rax") host_vmcb, options(nostack));
        }
        *self = Self {
            host_vmcb,
            generation: 1,
            next_asid: 1,
            asids: capabilities.asids.max(2),
            capabilities,
        };
    }

    /// Whether the processor tells where the instruction after an intercepted one is.
    pub fn knows_next_instruction(&self) -> bool {
        self.capabilities.next_rip
    }

    /// Takes pending physical interrupts now, through the interrupt table.
    ///
    /// # Safety
    /// As [`cpu::enable_interrupts`].
    pub unsafe fn take_interrupts(&self) {
        // SAFETY: as the caller vouches; the gate is closed again before returning. STI's shadow covers STGI, so the
        // first interrupt is taken at the NOP.
        unsafe { asm!("sti", "stgi", "nop", "clgi", "cli", options(nostack)) };
    }

    /// Waits until a physical interrupt came and was handled.
    ///
    /// # Safety
    /// As [`cpu::enable_interrupts`].
    pub unsafe fn idle(&self) {
        // SAFETY: as the caller vouches. Interrupts stay masked by RFLAGS.IF until the STI before HLT.
        unsafe {
            asm!("cli", "stgi", options(nostack));
            cpu::wait_for_interrupt();
            asm!("clgi", options(nostack));
        }
    }

    /// Whether `asid` still names the VP's translations on this LP.
    pub(super) fn is_current(&self, asid: Asid) -> bool {
        asid.generation == self.generation && asid.owner == self.host_vmcb
    }

    /// A fresh id, and whether the whole TLB must be flushed with the entry that uses it.
    pub(super) fn assign(&mut self) -> (Asid, bool) {
        let wrapped = self.next_asid >= self.asids;
        if wrapped {
            self.generation += 1;
            self.next_asid = 1;
        }
        let id = self.next_asid;
        self.next_asid += 1;
        (Asid { generation: self.generation, owner: self.host_vmcb, id }, wrapped)
    }
}

impl Default for LpContext {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fresh_until_they_wrap_and_then_flush_everything() {
        let mut lp = LpContext { asids: 4, generation: 1, host_vmcb: 0x1000, ..LpContext::new() };
        let first = lp.assign();
        assert_eq!((first.0.id, first.1), (1, false));
        assert!(lp.is_current(first.0));
        assert_eq!((lp.assign().0.id, lp.assign().0.id), (2, 3));
        let wrapped = lp.assign();
        assert_eq!((wrapped.0.id, wrapped.1), (1, true));
        assert!(!lp.is_current(first.0), "ids of an older generation are stale");
        assert!(!lp.is_current(Asid::default()));
    }
}
