//! The registers of leaves that consist of feature bits.

use crate::HostCpuid;

/// One such register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    /// Leaf 1 ECX.
    Basic1Ecx,
    /// Leaf 1 EDX.
    Basic1Edx,
    /// Leaf 7, subleaf 0, EBX.
    Leaf7Ebx,
    /// Leaf 7, subleaf 0, ECX.
    Leaf7Ecx,
    /// Leaf 7, subleaf 0, EDX.
    Leaf7Edx,
    /// Leaf 7, subleaf 1, EAX.
    Leaf7s1Eax,
    /// Leaf 0xD, subleaf 1, EAX.
    XsaveEax,
    /// Leaf 0x80000001 ECX.
    Ext1Ecx,
    /// Leaf 0x80000001 EDX.
    Ext1Edx,
    /// Leaf 0x80000007 EDX.
    Ext7Edx,
    /// Leaf 0x80000008 EBX.
    Ext8Ebx,
}

impl Word {
    /// Bits that every partition gets if the processor has them.
    pub const fn always(self) -> u32 {
        match self {
            // FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE36, CLFSH, MMX, FXSR,
            // SSE, SSE2, SS. HTT is a matter of topology.
            Self::Basic1Edx => 0x0F8B_FBFF,
            // The same where AMD repeats it, and SYSCALL, NX, FFXSR, LM.
            Self::Ext1Edx => 0x2393_FBFF,
            // TOPOEXT: leaf 0x8000001E is there.
            Self::Ext1Ecx => 1 << 22,
            Self::Basic1Ecx
            | Self::Leaf7Ebx
            | Self::Leaf7Ecx
            | Self::Leaf7Edx
            | Self::Leaf7s1Eax
            | Self::XsaveEax
            | Self::Ext7Edx
            | Self::Ext8Ebx => 0,
        }
    }

    /// What the processor says.
    pub fn of_host(self, host: &Host<impl HostCpuid>) -> u32 {
        match self {
            Self::Basic1Ecx => host.get(1, 0).ecx,
            Self::Basic1Edx => host.get(1, 0).edx,
            Self::Leaf7Ebx => host.get(7, 0).ebx,
            Self::Leaf7Ecx => host.get(7, 0).ecx,
            Self::Leaf7Edx => host.get(7, 0).edx,
            Self::Leaf7s1Eax => host.get(7, 1).eax,
            Self::XsaveEax => host.get(0xD, 1).eax,
            Self::Ext1Ecx => host.get(0x8000_0001, 0).ecx,
            Self::Ext1Edx => host.get(0x8000_0001, 0).edx,
            Self::Ext7Edx => host.get(0x8000_0007, 0).edx,
            Self::Ext8Ebx => host.get(0x8000_0008, 0).ebx,
        }
    }
}

/// The processor, with zeros for leaves that it does not have.
pub(crate) struct Host<'a, H> {
    inner: &'a H,
    highest: u32,
    highest_extended: u32,
}

impl<'a, H: HostCpuid> Host<'a, H> {
    pub fn new(inner: &'a H) -> Self {
        let highest_extended = inner.cpuid(0x8000_0000, 0).eax;
        Self { inner, highest: inner.cpuid(0, 0).eax, highest_extended }
    }

    pub fn get(&self, leaf: u32, subleaf: u32) -> crate::Registers {
        let highest = if leaf < 0x8000_0000 { self.highest } else { self.highest_extended };
        // Some processors answer leaf 7 for subleaves they do not have.
        let missing = leaf == 7 && subleaf > self.inner.cpuid(7, 0).eax;
        if leaf > highest || missing { crate::entry::ZERO } else { self.inner.cpuid(leaf, subleaf) }
    }

    /// Whether the vendor's leaves are AMD's (so are Hygon's).
    pub fn is_amd(&self) -> bool {
        let vendor = self.inner.cpuid(0, 0);
        vendor.ecx == u32::from_le_bytes(*b"cAMD") || vendor.ecx == u32::from_le_bytes(*b"uine")
    }
}
