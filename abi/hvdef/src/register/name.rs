//! TLFS `HV_REGISTER_NAME` (x64): how GET_VP_REGISTERS and SET_VP_REGISTERS name registers.

use wire::open_enum;

open_enum! {
    /// Name of a VP register. Synthetic ones first, then by chapter of the architecture.
    pub struct RegisterName(u32) {
        /// Bit 0: stopped by the parent.
        EXPLICIT_SUSPEND = 0x0000_0000;
        /// Bit 0: stopped by an intercept.
        INTERCEPT_SUSPEND = 0x0000_0001;
        /// Bit 0: not to be dispatched (root scheduler).
        DISPATCH_SUSPEND = 0x0000_0003;
        /// Waiting for start-up, halted, idle.
        INTERNAL_ACTIVITY_STATE = 0x0000_0004;
        /// As CPUID leaf 0x40000002.
        HYPERVISOR_VERSION = 0x0000_0100;
        /// As CPUID leaf 0x40000003.
        PRIVILEGES_AND_FEATURES_INFO = 0x0000_0200;
        /// As CPUID leaf 0x40000004.
        FEATURES_INFO = 0x0000_0201;
        /// As CPUID leaf 0x40000005.
        IMPLEMENTATION_LIMITS_INFO = 0x0000_0202;
        /// As CPUID leaf 0x40000006.
        HARDWARE_FEATURES_INFO = 0x0000_0203;
        /// As CPUID leaf 0x40000007.
        CPU_MANAGEMENT_FEATURES_INFO = 0x0000_0204;
        /// As CPUID leaf 0x40000008.
        SVM_FEATURES_INFO = 0x0000_0205;
        /// As CPUID leaf 0x40000009.
        SKIP_LEVEL_FEATURES_INFO = 0x0000_0206;
        /// As CPUID leaf 0x4000000A.
        NESTED_VIRT_FEATURES_INFO = 0x0000_0207;
        /// Crash parameter 0.
        GUEST_CRASH_P0 = 0x0000_0210;
        /// Crash parameter 1.
        GUEST_CRASH_P1 = 0x0000_0211;
        /// Crash parameter 2.
        GUEST_CRASH_P2 = 0x0000_0212;
        /// Crash parameter 3.
        GUEST_CRASH_P3 = 0x0000_0213;
        /// Crash parameter 4.
        GUEST_CRASH_P4 = 0x0000_0214;
        /// Crash control.
        GUEST_CRASH_CTL = 0x0000_0215;
        /// Event to deliver on entry.
        PENDING_INTERRUPTION = 0x0001_0002;
        /// Interrupt shadow and NMI mask.
        INTERRUPT_STATE = 0x0001_0003;
        /// Exception to deliver, with its parameter.
        PENDING_EVENT0 = 0x0001_0004;
        /// Second pending event.
        PENDING_EVENT1 = 0x0001_0005;
        /// What the parent waits to be able to deliver.
        DELIVERABILITY_NOTIFICATIONS = 0x0001_0006;
        /// RAX.
        RAX = 0x0002_0000;
        /// RCX.
        RCX = 0x0002_0001;
        /// RDX.
        RDX = 0x0002_0002;
        /// RBX.
        RBX = 0x0002_0003;
        /// RSP.
        RSP = 0x0002_0004;
        /// RBP.
        RBP = 0x0002_0005;
        /// RSI.
        RSI = 0x0002_0006;
        /// RDI.
        RDI = 0x0002_0007;
        /// R8.
        R8 = 0x0002_0008;
        /// R9.
        R9 = 0x0002_0009;
        /// R10.
        R10 = 0x0002_000A;
        /// R11.
        R11 = 0x0002_000B;
        /// R12.
        R12 = 0x0002_000C;
        /// R13.
        R13 = 0x0002_000D;
        /// R14.
        R14 = 0x0002_000E;
        /// R15.
        R15 = 0x0002_000F;
        /// Instruction pointer.
        RIP = 0x0002_0010;
        /// Flags.
        RFLAGS = 0x0002_0011;
        /// XMM0.
        XMM0 = 0x0003_0000;
        /// XMM1.
        XMM1 = 0x0003_0001;
        /// XMM2.
        XMM2 = 0x0003_0002;
        /// XMM3.
        XMM3 = 0x0003_0003;
        /// XMM4.
        XMM4 = 0x0003_0004;
        /// XMM5.
        XMM5 = 0x0003_0005;
        /// XMM6.
        XMM6 = 0x0003_0006;
        /// XMM7.
        XMM7 = 0x0003_0007;
        /// XMM8.
        XMM8 = 0x0003_0008;
        /// XMM9.
        XMM9 = 0x0003_0009;
        /// XMM10.
        XMM10 = 0x0003_000A;
        /// XMM11.
        XMM11 = 0x0003_000B;
        /// XMM12.
        XMM12 = 0x0003_000C;
        /// XMM13.
        XMM13 = 0x0003_000D;
        /// XMM14.
        XMM14 = 0x0003_000E;
        /// XMM15.
        XMM15 = 0x0003_000F;
        /// x87 register 0.
        FP_MMX0 = 0x0003_0010;
        /// x87 register 1.
        FP_MMX1 = 0x0003_0011;
        /// x87 register 2.
        FP_MMX2 = 0x0003_0012;
        /// x87 register 3.
        FP_MMX3 = 0x0003_0013;
        /// x87 register 4.
        FP_MMX4 = 0x0003_0014;
        /// x87 register 5.
        FP_MMX5 = 0x0003_0015;
        /// x87 register 6.
        FP_MMX6 = 0x0003_0016;
        /// x87 register 7.
        FP_MMX7 = 0x0003_0017;
        /// x87 control, status, tag, opcode, last instruction.
        FP_CONTROL_STATUS = 0x0003_0018;
        /// x87 last data, MXCSR and its mask.
        XMM_CONTROL_STATUS = 0x0003_0019;
        /// CR0.
        CR0 = 0x0004_0000;
        /// CR2.
        CR2 = 0x0004_0001;
        /// CR3.
        CR3 = 0x0004_0002;
        /// CR4.
        CR4 = 0x0004_0003;
        /// CR8.
        CR8 = 0x0004_0004;
        /// XCR0.
        XFEM = 0x0004_0005;
        /// CR0 without checks against the other registers.
        INTERMEDIATE_CR0 = 0x0004_1000;
        /// CR3 without checks against the other registers.
        INTERMEDIATE_CR3 = 0x0004_1002;
        /// CR4 without checks against the other registers.
        INTERMEDIATE_CR4 = 0x0004_1003;
        /// CR8 without checks against the other registers.
        INTERMEDIATE_CR8 = 0x0004_1004;
        /// DR0.
        DR0 = 0x0005_0000;
        /// DR1.
        DR1 = 0x0005_0001;
        /// DR2.
        DR2 = 0x0005_0002;
        /// DR3.
        DR3 = 0x0005_0003;
        /// DR6.
        DR6 = 0x0005_0004;
        /// DR7.
        DR7 = 0x0005_0005;
        /// ES, a segment register.
        ES = 0x0006_0000;
        /// CS, a segment register.
        CS = 0x0006_0001;
        /// SS, a segment register.
        SS = 0x0006_0002;
        /// DS, a segment register.
        DS = 0x0006_0003;
        /// FS, a segment register.
        FS = 0x0006_0004;
        /// GS, a segment register.
        GS = 0x0006_0005;
        /// LDTR, a segment register.
        LDTR = 0x0006_0006;
        /// TR, a segment register.
        TR = 0x0006_0007;
        /// IDTR, a table register.
        IDTR = 0x0007_0000;
        /// GDTR, a table register.
        GDTR = 0x0007_0001;
        /// Time-stamp counter.
        TSC = 0x0008_0000;
        /// EFER.
        EFER = 0x0008_0001;
        /// KERNEL_GS_BASE.
        KERNEL_GS_BASE = 0x0008_0002;
        /// APIC_BASE.
        APIC_BASE = 0x0008_0003;
        /// Page attribute table.
        PAT = 0x0008_0004;
        /// SYSENTER_CS.
        SYSENTER_CS = 0x0008_0005;
        /// SYSENTER_EIP.
        SYSENTER_EIP = 0x0008_0006;
        /// SYSENTER_ESP.
        SYSENTER_ESP = 0x0008_0007;
        /// STAR.
        STAR = 0x0008_0008;
        /// LSTAR.
        LSTAR = 0x0008_0009;
        /// CSTAR.
        CSTAR = 0x0008_000A;
        /// SFMASK.
        SFMASK = 0x0008_000B;
        /// APIC id at reset.
        INITIAL_APIC_ID = 0x0008_000C;
        /// MTRR capabilities.
        MTRR_CAP = 0x0008_000D;
        /// MTRR default type.
        MTRR_DEF_TYPE = 0x0008_000E;
        /// Base of variable MTRR 0.
        MTRR_PHYS_BASE0 = 0x0008_0010;
        /// Base of variable MTRR 1.
        MTRR_PHYS_BASE1 = 0x0008_0011;
        /// Base of variable MTRR 2.
        MTRR_PHYS_BASE2 = 0x0008_0012;
        /// Base of variable MTRR 3.
        MTRR_PHYS_BASE3 = 0x0008_0013;
        /// Base of variable MTRR 4.
        MTRR_PHYS_BASE4 = 0x0008_0014;
        /// Base of variable MTRR 5.
        MTRR_PHYS_BASE5 = 0x0008_0015;
        /// Base of variable MTRR 6.
        MTRR_PHYS_BASE6 = 0x0008_0016;
        /// Base of variable MTRR 7.
        MTRR_PHYS_BASE7 = 0x0008_0017;
        /// Base of variable MTRR 8.
        MTRR_PHYS_BASE8 = 0x0008_0018;
        /// Base of variable MTRR 9.
        MTRR_PHYS_BASE9 = 0x0008_0019;
        /// Base of variable MTRR 10.
        MTRR_PHYS_BASE10 = 0x0008_001A;
        /// Base of variable MTRR 11.
        MTRR_PHYS_BASE11 = 0x0008_001B;
        /// Base of variable MTRR 12.
        MTRR_PHYS_BASE12 = 0x0008_001C;
        /// Base of variable MTRR 13.
        MTRR_PHYS_BASE13 = 0x0008_001D;
        /// Base of variable MTRR 14.
        MTRR_PHYS_BASE14 = 0x0008_001E;
        /// Base of variable MTRR 15.
        MTRR_PHYS_BASE15 = 0x0008_001F;
        /// Mask of variable MTRR 0.
        MTRR_PHYS_MASK0 = 0x0008_0040;
        /// Mask of variable MTRR 1.
        MTRR_PHYS_MASK1 = 0x0008_0041;
        /// Mask of variable MTRR 2.
        MTRR_PHYS_MASK2 = 0x0008_0042;
        /// Mask of variable MTRR 3.
        MTRR_PHYS_MASK3 = 0x0008_0043;
        /// Mask of variable MTRR 4.
        MTRR_PHYS_MASK4 = 0x0008_0044;
        /// Mask of variable MTRR 5.
        MTRR_PHYS_MASK5 = 0x0008_0045;
        /// Mask of variable MTRR 6.
        MTRR_PHYS_MASK6 = 0x0008_0046;
        /// Mask of variable MTRR 7.
        MTRR_PHYS_MASK7 = 0x0008_0047;
        /// Mask of variable MTRR 8.
        MTRR_PHYS_MASK8 = 0x0008_0048;
        /// Mask of variable MTRR 9.
        MTRR_PHYS_MASK9 = 0x0008_0049;
        /// Mask of variable MTRR 10.
        MTRR_PHYS_MASK10 = 0x0008_004A;
        /// Mask of variable MTRR 11.
        MTRR_PHYS_MASK11 = 0x0008_004B;
        /// Mask of variable MTRR 12.
        MTRR_PHYS_MASK12 = 0x0008_004C;
        /// Mask of variable MTRR 13.
        MTRR_PHYS_MASK13 = 0x0008_004D;
        /// Mask of variable MTRR 14.
        MTRR_PHYS_MASK14 = 0x0008_004E;
        /// Mask of variable MTRR 15.
        MTRR_PHYS_MASK15 = 0x0008_004F;
        /// Fixed-range MTRR.
        MTRR_FIX64K_00000 = 0x0008_0070;
        /// Fixed-range MTRR.
        MTRR_FIX16K_80000 = 0x0008_0071;
        /// Fixed-range MTRR.
        MTRR_FIX16K_A0000 = 0x0008_0072;
        /// Fixed-range MTRR.
        MTRR_FIX4K_C0000 = 0x0008_0073;
        /// Fixed-range MTRR.
        MTRR_FIX4K_C8000 = 0x0008_0074;
        /// Fixed-range MTRR.
        MTRR_FIX4K_D0000 = 0x0008_0075;
        /// Fixed-range MTRR.
        MTRR_FIX4K_D8000 = 0x0008_0076;
        /// Fixed-range MTRR.
        MTRR_FIX4K_E0000 = 0x0008_0077;
        /// Fixed-range MTRR.
        MTRR_FIX4K_E8000 = 0x0008_0078;
        /// Fixed-range MTRR.
        MTRR_FIX4K_F0000 = 0x0008_0079;
        /// Fixed-range MTRR.
        MTRR_FIX4K_F8000 = 0x0008_007A;
        /// TSC_AUX.
        TSC_AUX = 0x0008_007B;
        /// BNDCFGS.
        BNDCFGS = 0x0008_007C;
        /// DEBUGCTL.
        DEBUG_CTL = 0x0008_007D;
        /// SPEC_CTRL.
        SPEC_CTRL = 0x0008_0084;
        /// XSS.
        U_XSS = 0x0008_008B;
        /// User CET control.
        U_CET = 0x0008_008C;
        /// Supervisor CET control.
        S_CET = 0x0008_008D;
        /// Shadow stack pointer.
        SSP = 0x0008_008E;
        /// Shadow stack of ring 0.
        PL0_SSP = 0x0008_008F;
        /// Shadow stack of ring 1.
        PL1_SSP = 0x0008_0090;
        /// Shadow stack of ring 2.
        PL2_SSP = 0x0008_0091;
        /// Shadow stack of ring 3.
        PL3_SSP = 0x0008_0092;
        /// Interrupt shadow stack table.
        INTERRUPT_SSP_TABLE_ADDR = 0x0008_0093;
        /// TSC_ADJUST.
        TSC_ADJUST = 0x0008_0096;
        /// MISC_ENABLE.
        MISC_ENABLE = 0x0008_00A0;
        /// APIC id register.
        APIC_ID = 0x0008_4802;
        /// Run time in units of 100 ns.
        VP_RUNTIME = 0x0009_0000;
        /// Hypercall MSR.
        HYPERCALL = 0x0009_0001;
        /// Guest id MSR.
        GUEST_OS_ID = 0x0009_0002;
        /// VP index.
        VP_INDEX = 0x0009_0003;
        /// Reference time.
        TIME_REF_COUNT = 0x0009_0004;
        /// Version of CPU management.
        CPU_MANAGEMENT_VERSION = 0x0009_0007;
        /// VP assist page MSR.
        VP_ASSIST_PAGE = 0x0009_0013;
        /// Signals sent for the VP (root scheduler).
        VP_ROOT_SIGNAL_COUNT = 0x0009_0014;
        /// Reference TSC MSR.
        REFERENCE_TSC = 0x0009_0017;
        /// Register page of a VP for itself.
        REG_PAGE = 0x0009_001C;
        /// Synthetic interrupt source 0.
        SINT0 = 0x000A_0000;
        /// Synthetic interrupt source 1.
        SINT1 = 0x000A_0001;
        /// Synthetic interrupt source 2.
        SINT2 = 0x000A_0002;
        /// Synthetic interrupt source 3.
        SINT3 = 0x000A_0003;
        /// Synthetic interrupt source 4.
        SINT4 = 0x000A_0004;
        /// Synthetic interrupt source 5.
        SINT5 = 0x000A_0005;
        /// Synthetic interrupt source 6.
        SINT6 = 0x000A_0006;
        /// Synthetic interrupt source 7.
        SINT7 = 0x000A_0007;
        /// Synthetic interrupt source 8.
        SINT8 = 0x000A_0008;
        /// Synthetic interrupt source 9.
        SINT9 = 0x000A_0009;
        /// Synthetic interrupt source 10.
        SINT10 = 0x000A_000A;
        /// Synthetic interrupt source 11.
        SINT11 = 0x000A_000B;
        /// Synthetic interrupt source 12.
        SINT12 = 0x000A_000C;
        /// Synthetic interrupt source 13.
        SINT13 = 0x000A_000D;
        /// Synthetic interrupt source 14.
        SINT14 = 0x000A_000E;
        /// Synthetic interrupt source 15.
        SINT15 = 0x000A_000F;
        /// SynIC control.
        SCONTROL = 0x000A_0010;
        /// SynIC version.
        SVERSION = 0x000A_0011;
        /// Event flags page.
        SIEFP = 0x000A_0012;
        /// Message page.
        SIMP = 0x000A_0013;
        /// End of message.
        EOM = 0x000A_0014;
        /// Event ring page.
        SIRBP = 0x000A_0015;
        /// Configuration of synthetic timer 0.
        STIMER0_CONFIG = 0x000B_0000;
        /// Count of synthetic timer 0.
        STIMER0_COUNT = 0x000B_0001;
        /// Configuration of synthetic timer 1.
        STIMER1_CONFIG = 0x000B_0002;
        /// Count of synthetic timer 1.
        STIMER1_COUNT = 0x000B_0003;
        /// Configuration of synthetic timer 2.
        STIMER2_CONFIG = 0x000B_0004;
        /// Count of synthetic timer 2.
        STIMER2_COUNT = 0x000B_0005;
        /// Configuration of synthetic timer 3.
        STIMER3_CONFIG = 0x000B_0006;
        /// Count of synthetic timer 3.
        STIMER3_COUNT = 0x000B_0007;
        /// Virtual secure mode: entry points.
        VSM_CODE_PAGE_OFFSETS = 0x000D_0002;
        /// Virtual secure mode: levels of the VP.
        VSM_VP_STATUS = 0x000D_0003;
        /// Virtual secure mode: capabilities.
        VSM_CAPABILITIES = 0x000D_0006;
        /// Virtual secure mode: configuration.
        VSM_PARTITION_CONFIG = 0x000D_0007;
    }
}

impl RegisterName {
    /// Synthetic interrupt source `index`; `None` from 16 on.
    pub const fn sint(index: u8) -> Option<Self> {
        if index < 16 { Some(Self(Self::SINT0.0 + index as u32)) } else { None }
    }

    /// The synthetic interrupt source it names.
    pub const fn sint_index(self) -> Option<u8> {
        match self.0.wrapping_sub(Self::SINT0.0) {
            index @ 0..16 => Some(index as u8),
            _ => None,
        }
    }

    /// The synthetic timer it names, and whether it is the timer's count rather than its configuration.
    pub const fn stimer_index(self) -> Option<(u8, bool)> {
        match self.0.wrapping_sub(Self::STIMER0_CONFIG.0) {
            offset @ 0..8 => Some((offset as u8 / 2, offset % 2 != 0)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_given_once() {
        assert!(RegisterName::KNOWN.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn numbers_are_those_that_vmms_use() {
        assert_eq!(RegisterName(0x2_0010).name(), Some("RIP"));
        assert_eq!(RegisterName(0x6_0007).name(), Some("TR"));
        assert_eq!(RegisterName(0x5_0004).name(), Some("DR6"));
        assert_eq!(RegisterName(0x8_007A).name(), Some("MTRR_FIX4K_F8000"));
        assert_eq!(RegisterName(0xA_0014).name(), Some("EOM"));
        assert_eq!(RegisterName(0xB_0007).name(), Some("STIMER3_COUNT"));
        assert_eq!(RegisterName(2).name(), None);
    }

    #[test]
    fn numbered_registers_are_taken_apart() {
        assert_eq!(RegisterName::sint(5), Some(RegisterName::SINT5));
        assert_eq!(RegisterName::sint(16), None);
        assert_eq!(RegisterName::SINT15.sint_index(), Some(15));
        assert_eq!(RegisterName::SCONTROL.sint_index(), None);
        assert_eq!(RegisterName::STIMER2_COUNT.stimer_index(), Some((2, true)));
        assert_eq!(RegisterName::STIMER0_CONFIG.stimer_index(), Some((0, false)));
        assert_eq!(RegisterName(0xB_0008).stimer_index(), None);
    }
}
