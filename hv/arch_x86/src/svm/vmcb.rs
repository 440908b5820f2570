//! The virtual machine control block (AMD APM vol. 2, appendix B).

use core::mem::offset_of;

/// `intercepts` bit numbers: word 3 (offset 0x0C) from 0, word 4 (offset 0x10) from 32.
pub mod intercept {
    pub const INTR: u64 = 1 << 0;
    pub const NMI: u64 = 1 << 1;
    pub const INIT: u64 = 1 << 3;
    pub const VINTR: u64 = 1 << 4;
    pub const CR0_SELECTIVE_WRITE: u64 = 1 << 5;
    pub const RDPMC: u64 = 1 << 15;
    pub const CPUID: u64 = 1 << 18;
    pub const IRET: u64 = 1 << 20;
    pub const INVD: u64 = 1 << 22;
    pub const PAUSE: u64 = 1 << 23;
    pub const HLT: u64 = 1 << 24;
    pub const INVLPGA: u64 = 1 << 26;
    pub const IO: u64 = 1 << 27;
    pub const MSR: u64 = 1 << 28;
    pub const TASK_SWITCH: u64 = 1 << 29;
    pub const SHUTDOWN: u64 = 1 << 31;
    pub const VMRUN: u64 = 1 << 32;
    pub const VMMCALL: u64 = 1 << 33;
    pub const VMLOAD: u64 = 1 << 34;
    pub const VMSAVE: u64 = 1 << 35;
    pub const STGI: u64 = 1 << 36;
    pub const CLGI: u64 = 1 << 37;
    pub const SKINIT: u64 = 1 << 38;
    pub const WBINVD: u64 = 1 << 41;
    pub const MONITOR: u64 = 1 << 42;
    pub const MWAIT: u64 = 1 << 43;
    pub const XSETBV: u64 = 1 << 45;
}

/// Exit codes (appendix C).
pub mod exit {
    pub const CR4_WRITE: u64 = 0x14;
    pub const CR8_WRITE: u64 = 0x18;
    pub const EXCEPTION_FIRST: u64 = 0x40;
    pub const EXCEPTION_LAST: u64 = 0x5F;
    pub const INTR: u64 = 0x60;
    pub const NMI: u64 = 0x61;
    pub const VINTR: u64 = 0x64;
    pub const CR0_SELECTIVE_WRITE: u64 = 0x65;
    pub const RDPMC: u64 = 0x6F;
    pub const CPUID: u64 = 0x72;
    pub const IRET: u64 = 0x74;
    pub const INVD: u64 = 0x76;
    pub const PAUSE: u64 = 0x77;
    pub const HLT: u64 = 0x78;
    pub const INVLPGA: u64 = 0x7A;
    pub const IO: u64 = 0x7B;
    pub const MSR: u64 = 0x7C;
    pub const TASK_SWITCH: u64 = 0x7D;
    pub const SHUTDOWN: u64 = 0x7F;
    pub const VMRUN: u64 = 0x80;
    pub const VMMCALL: u64 = 0x81;
    pub const VMLOAD: u64 = 0x82;
    pub const SKINIT: u64 = 0x86;
    pub const WBINVD: u64 = 0x89;
    pub const MONITOR: u64 = 0x8A;
    pub const MWAIT: u64 = 0x8B;
    pub const MWAIT_ARMED: u64 = 0x8C;
    pub const XSETBV: u64 = 0x8D;
    pub const NESTED_FAULT: u64 = 0x400;
    pub const INVALID: u64 = u64::MAX;
}

/// `virtual_interrupt` bits.
pub mod vintr {
    pub const TPR: u64 = 0xFF;
    pub const IRQ: u64 = 1 << 8;
    pub const PRIORITY: u64 = 0xF << 16;
    pub const IGNORE_TPR: u64 = 1 << 20;
    pub const MASKING: u64 = 1 << 24;
    pub const VECTOR_SHIFT: u32 = 32;
    pub const VECTOR: u64 = 0xFF << VECTOR_SHIFT;
}

/// `event_injection` and `exit_interrupt_info` bits.
pub mod event {
    pub const TYPE: u64 = 7 << 8;
    pub const TYPE_INTR: u64 = 0 << 8;
    pub const TYPE_NMI: u64 = 2 << 8;
    pub const TYPE_EXCEPTION: u64 = 3 << 8;
    pub const TYPE_SOFTWARE: u64 = 4 << 8;
    pub const ERROR_CODE: u64 = 1 << 11;
    pub const VALID: u64 = 1 << 31;
}

/// A segment register as the VMCB keeps it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct VmcbSegment {
    pub selector: u16,
    /// Access byte in bits 7:0; AVL, L, D, G in bits 11:8.
    pub attributes: u16,
    pub limit: u32,
    pub base: u64,
}

/// The whole block: one page, physically contiguous.
#[repr(C, align(4096))]
pub struct Vmcb {
    pub control_register_intercepts: u32,
    pub debug_register_intercepts: u32,
    pub exception_intercepts: u32,
    /// Words 3 and 4; see [`intercept`].
    pub intercepts_low: u32,
    pub intercepts_high: u32,
    reserved0: [u8; 0x3C - 0x14],
    pub pause_threshold: u16,
    pub pause_count: u16,
    pub iopm_base: u64,
    pub msrpm_base: u64,
    pub tsc_offset: u64,
    pub asid: u32,
    /// 0 nothing, 1 all, 3 this guest's translations (with flush-by-ASID).
    pub tlb_control: u32,
    pub virtual_interrupt: u64,
    /// Bit 0: the guest is in an interrupt shadow.
    pub interrupt_state: u64,
    pub exit_code: u64,
    pub exit_info1: u64,
    pub exit_info2: u64,
    pub exit_interrupt_info: u64,
    /// Bit 0: nested paging.
    pub nested_control: u64,
    reserved1: [u8; 0xA8 - 0x98],
    pub event_injection: u64,
    pub nested_cr3: u64,
    pub lbr_control: u64,
    /// State caching; 0 means that everything may have changed.
    pub clean: u64,
    pub next_rip: u64,
    pub fetched: u8,
    pub instruction: [u8; 15],
    reserved2: [u8; 0x400 - 0xE0],
    /// ES, CS, SS, DS, FS, GS, GDTR, LDTR, IDTR, TR.
    pub segments: [VmcbSegment; 10],
    reserved3: [u8; 0x4CB - 0x4A0],
    pub cpl: u8,
    reserved4: u32,
    pub efer: u64,
    reserved5: [u8; 0x548 - 0x4D8],
    pub cr4: u64,
    pub cr3: u64,
    pub cr0: u64,
    pub dr7: u64,
    pub dr6: u64,
    pub rflags: u64,
    pub rip: u64,
    reserved6: [u8; 0x5D8 - 0x580],
    pub rsp: u64,
    reserved7: [u64; 3],
    pub rax: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub cr2: u64,
    reserved8: [u8; 0x668 - 0x648],
    pub pat: u64,
    reserved9: [u8; 0x1000 - 0x670],
}

const _: () = {
    assert!(size_of::<Vmcb>() == 0x1000);
    assert!(offset_of!(Vmcb, intercepts_low) == 0x0C);
    assert!(offset_of!(Vmcb, pause_threshold) == 0x3C);
    assert!(offset_of!(Vmcb, asid) == 0x58);
    assert!(offset_of!(Vmcb, virtual_interrupt) == 0x60);
    assert!(offset_of!(Vmcb, exit_code) == 0x70);
    assert!(offset_of!(Vmcb, nested_control) == 0x90);
    assert!(offset_of!(Vmcb, event_injection) == 0xA8);
    assert!(offset_of!(Vmcb, next_rip) == 0xC8);
    assert!(offset_of!(Vmcb, segments) == 0x400);
    assert!(offset_of!(Vmcb, cpl) == 0x4CB);
    assert!(offset_of!(Vmcb, efer) == 0x4D0);
    assert!(offset_of!(Vmcb, cr4) == 0x548);
    assert!(offset_of!(Vmcb, rip) == 0x578);
    assert!(offset_of!(Vmcb, rsp) == 0x5D8);
    assert!(offset_of!(Vmcb, rax) == 0x5F8);
    assert!(offset_of!(Vmcb, cr2) == 0x640);
    assert!(offset_of!(Vmcb, pat) == 0x668);
};
