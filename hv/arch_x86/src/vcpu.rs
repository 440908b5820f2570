//! The vendor-neutral face of a virtual processor.
//!
//! The exit loop, the device models and the hypercalls see only these types. A back end ([`crate::svm`] today) fills in
//! [`Exit`]s and takes [`Event`]s; the choice is made once at boot.

pub use crate::svm::vcpu::Vcpu;
pub use crate::svm::{LpContext, PermissionMaps};

/// Index of a general-purpose register in [`Vcpu::regs`]: the order of instruction encodings, which is the TLFS's too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Reg {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rsp = 4,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

/// What the processor's virtualization extension can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// The next instruction's address is reported with an exit.
    pub next_rip: bool,
    /// Instruction bytes and operands are reported with some exits.
    pub decode_assists: bool,
    /// One guest's translations can be flushed without the others'.
    pub flush_by_asid: bool,
    /// A PAUSE loop exits only after a number of rounds.
    pub pause_filter: bool,
    /// Nested tables may hold 1 GiB leaves.
    pub huge_pages: bool,
    /// Number of address-space ids, the host's (0) included.
    pub asids: u32,
}

/// Why this processor cannot run Zemin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsupported {
    /// Neither AMD-V nor anything else that this release knows.
    NoVirtualization,
    /// An Intel processor with VT-x, for which there is no back end yet.
    OnlyVtx,
    /// Firmware switched AMD-V off and locked it.
    DisabledByFirmware,
    /// AMD-V without nested paging.
    NoNestedPaging,
}

impl core::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoVirtualization => "this processor has no AMD-V (SVM) extension; Zemin needs it",
            Self::OnlyVtx => "this processor has Intel VT-x, which this release does not support yet; it needs AMD-V (SVM)",
            Self::DisabledByFirmware => {
                "AMD-V (SVM) is disabled and locked by the firmware; enable \"SVM mode\" in the BIOS/UEFI setup"
            }
            Self::NoNestedPaging => "this processor's AMD-V lacks nested paging (NPT); Zemin needs it",
        })
    }
}

/// Why a virtual processor stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// A physical interrupt is pending: open the window and take it.
    Interrupt,
    /// A physical NMI is pending.
    Nmi,
    /// The guest can take the interrupt that was waiting ([`Vcpu::request_window`]).
    InterruptWindow,
    /// An NMI can be taken, or the guest's handler of one, or of an interrupt behind which another one waits, ends
    /// ([`Vcpu::request_nmi_window`], [`Vcpu::request_window`]).
    NmiWindow,
    /// A write of CR8 ([`Vcpu::watch_priority`]).
    PriorityWrite,
    /// The guest may be about to change its mode, which the back end keeps account of: there is nothing to do.
    ModeChange,
    /// CPUID.
    Cpuid,
    /// RDMSR of the register in ECX.
    MsrRead,
    /// WRMSR of the register in ECX.
    MsrWrite,
    /// HLT.
    Hlt,
    /// PAUSE, or many of them.
    Pause,
    /// VMMCALL or VMCALL.
    Hypercall,
    /// Port I/O.
    Io(IoAccess),
    /// An access that the nested tables do not allow.
    NestedFault(NestedFault),
    /// An intercepted exception.
    Exception {
        /// Vector.
        vector: u8,
        /// Error code, 0 where the exception has none.
        error_code: u32,
        /// The faulting address of a page fault.
        address: u64,
    },
    /// XSETBV.
    Xsetbv,
    /// WBINVD, INVD or WBNOINVD.
    CacheFlush,
    /// RDPMC ([`Vcpu::confine`]).
    PerformanceCounter,
    /// Triple fault.
    Shutdown,
    /// An instruction of the virtualization extension itself, which the guest does not have.
    VirtualizationInstruction,
    /// A task switch; the processor cannot do one with nested paging.
    TaskSwitch,
    /// The state to be entered was refused by the processor: a fault of ours, or of who set the registers.
    InvalidState,
    /// Any other exit, with the back end's code.
    Other(u64),
}

/// A port access that exited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoAccess {
    /// Port.
    pub port: u16,
    /// Operand size in bytes: 1, 2 or 4.
    pub size: u8,
    /// IN or INS rather than OUT or OUTS.
    pub input: bool,
    /// INS or OUTS.
    pub string: bool,
    /// With a REP prefix.
    pub repeat: bool,
    /// Address of the next instruction.
    pub next_rip: u64,
}

/// A nested page fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NestedFault {
    /// Guest physical address.
    pub gpa: u64,
    /// The access was a write.
    pub write: bool,
    /// The access was an instruction fetch.
    pub execute: bool,
    /// A translation is present and forbids the access.
    pub present: bool,
    /// The access was the processor's walk of the guest's own page tables.
    pub table_walk: bool,
}

/// Something delivered to the guest at the next entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A maskable interrupt, already acknowledged at the virtual APIC.
    Interrupt(u8),
    /// A non-maskable interrupt.
    Nmi,
    /// An exception.
    Exception {
        /// Vector.
        vector: u8,
        /// Pushed for exceptions that have one.
        error_code: Option<u32>,
    },
}

impl Event {
    /// #UD: invalid opcode.
    pub const UNDEFINED: Self = Self::Exception { vector: 6, error_code: None };
    /// #DF: double fault.
    pub const DOUBLE_FAULT: Self = Self::Exception { vector: 8, error_code: Some(0) };
    /// #GP(0): general protection.
    pub const PROTECTION: Self = Self::Exception { vector: 13, error_code: Some(0) };
}

/// A segment register. `attributes` is in the TLFS layout: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D 14, G 15.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Segment {
    pub base: u64,
    pub limit: u32,
    pub selector: u16,
    pub attributes: u16,
}

/// A segment register's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SegmentName {
    Es,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
    Ldtr,
    Tr,
}

/// A descriptor table register's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TableName {
    Gdtr,
    Idtr,
}

/// A register that is neither general-purpose nor a segment and that the back end keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SystemReg {
    Cr0,
    Cr2,
    Cr3,
    Cr4,
    Dr6,
    Dr7,
    Efer,
    Pat,
    Star,
    Lstar,
    Cstar,
    Sfmask,
    KernelGsBase,
    SysenterCs,
    SysenterEsp,
    SysenterEip,
}
