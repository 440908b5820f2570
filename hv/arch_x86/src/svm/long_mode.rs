//! EFER.LME while the guest does not page.
//!
//! The processor does not need what is here, QEMU (10.0 and 10.1 at least) does: on an exit it restores the host's CR0
//! while CR4 and EFER are still the guest's, and if that is EFER.LME without CR4.PAE it takes the host for a guest that
//! is about to enter long mode without PAE, and leaves CR0 as it was. The host then runs on without paging. Any guest
//! may be in that state: to set LME first and PAE later is in order.
//!
//! So LME is kept from the processor for as long as the guest does not page:
//!
//! * not paging, LME *kept back*: writes of CR0 exit; such a one may switch paging on. With PAE, the processor gets LME,
//!   and from then on writes of CR4 exit instead, because one may take PAE away;
//! * that write of CR4 finds the guest paging, or keeps LME back again;
//! * paging in long mode: writes of CR0 exit, one may switch paging off. From then on writes of CR4 exit, as above.
//!
//! The instruction that exited is executed again, without its intercept. Writes that change only CR0.TS or CR0.MP never
//! exit; an operating system makes others while it starts, and hardly ever afterwards.

use super::vcpu::Vcpu;
use super::vmcb::{Vmcb, intercept};
use crate::cpu::{CR0_PG, CR4_PAE};
use crate::msr;

/// Writes of CR4 exit.
const CR4_WRITE: u32 = 1 << 20;

/// Which writes exit.
#[derive(Clone, Copy)]
enum Watch {
    Nothing,
    Cr0,
    Cr4,
}

impl Vcpu {
    /// EFER as the guest knows it, with AMD-V's own bit.
    pub(super) fn efer(&self) -> u64 {
        self.vmcb.efer | if self.is_lme_kept { msr::EFER_LME } else { 0 }
    }

    /// After CR0, CR4 or EFER was set from outside: `efer` is what the guest is to find.
    pub(super) fn settle_long_mode(&mut self, efer: u64) {
        let wanted = efer & msr::EFER_LME != 0;
        let active = wanted && is_paging(self.vmcb) && self.vmcb.cr4 & CR4_PAE != 0;
        let others = efer & !(msr::EFER_LME | msr::EFER_LMA);
        self.vmcb.efer = others | if active { msr::EFER_LME | msr::EFER_LMA } else { 0 };
        self.is_lme_kept = wanted && !active;
        self.watch(if wanted { Watch::Cr0 } else { Watch::Nothing });
    }

    /// A write of CR0 exited: it will be executed again, and may change the mode.
    pub(super) fn on_cr0_write(&mut self) {
        if self.is_lme_kept && !is_paging(self.vmcb) && self.vmcb.cr4 & CR4_PAE != 0 {
            self.vmcb.efer |= msr::EFER_LME;
            self.is_lme_kept = false;
        }
        self.watch(Watch::Cr4);
    }

    /// A write of CR4 exited: it will be executed again, and may take PAE away or set it.
    pub(super) fn on_cr4_write(&mut self) {
        if !is_paging(self.vmcb) {
            self.is_lme_kept |= self.vmcb.efer & msr::EFER_LME != 0;
            self.vmcb.efer &= !msr::EFER_LME;
        }
        self.watch(Watch::Cr0);
    }

    fn watch(&mut self, watch: Watch) {
        let (cr0, cr4) = match watch {
            Watch::Nothing => (0, 0),
            Watch::Cr0 => (intercept::CR0_SELECTIVE_WRITE as u32, 0),
            Watch::Cr4 => (0, CR4_WRITE),
        };
        let v = &mut *self.vmcb;
        v.intercepts_low = v.intercepts_low & !(intercept::CR0_SELECTIVE_WRITE as u32) | cr0;
        v.control_register_intercepts = v.control_register_intercepts & !CR4_WRITE | cr4;
    }
}

fn is_paging(vmcb: &Vmcb) -> bool {
    vmcb.cr0 & CR0_PG != 0
}
