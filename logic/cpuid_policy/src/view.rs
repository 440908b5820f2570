//! What of a VP goes into its answers.

use crate::Registers;
use crate::entry::{Dynamic, Entry};
use crate::policy::Facts;

/// Leaf 1 ECX: OSXSAVE. Leaf 1 EDX and leaf 0x80000001 EDX: APIC.
const OSXSAVE: u32 = 1 << 27;
const APIC: u32 = 1 << 9;
/// Leaf 0x80000007 EDX: invariant TSC.
const INVARIANT: u32 = 1 << 8;

/// The state of a VP that CPUID shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VpView {
    /// The initial APIC id.
    pub apic_id: u32,
    /// APIC_BASE bit 11.
    pub apic_enabled: bool,
    /// CR4.OSXSAVE.
    pub osxsave: bool,
    /// XCR0.
    pub xcr0: u64,
    /// IA32_XSS.
    pub xss: u64,
    /// The guest has set MSR TSC_INVARIANT_CONTROL.
    pub tsc_invariant: bool,
}

impl VpView {
    /// Puts the VP's state into an answer.
    #[inline]
    pub(crate) fn adjust(&self, entry: &Entry, facts: &Facts) -> Registers {
        let mut r = entry.registers;
        match entry.dynamic {
            Dynamic::Nothing => {}
            Dynamic::Basic1 => {
                r.ebx |= self.apic_id << 24;
                r.ecx |= if self.osxsave { OSXSAVE } else { 0 };
                r.edx = hide_unless(r.edx, APIC, self.apic_enabled);
            }
            Dynamic::Topology => r.edx = self.apic_id,
            Dynamic::XsaveSize => r.ebx = facts.xsave.standard(self.xcr0 & facts.xfem),
            Dynamic::CompactedSize => {
                r.ebx = facts.xsave.compacted(self.xcr0 & facts.xfem | self.xss & facts.xss);
            }
            Dynamic::Ext1 => r.edx = hide_unless(r.edx, APIC, self.apic_enabled),
            Dynamic::Ext7 => r.edx = hide_unless(r.edx, INVARIANT, self.tsc_invariant),
            Dynamic::AmdTopology => {
                r.eax = self.apic_id;
                r.ebx |= self.apic_id >> facts.thread_shift & 0xFF;
            }
        }
        r
    }
}

fn hide_unless(register: u32, bit: u32, shown: bool) -> u32 {
    if shown { register } else { register & !bit }
}
