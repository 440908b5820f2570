//! A virtual processor on AMD-V.
#![expect(
    unsafe_code,
    reason = "owns a VMCB that the processor reads and writes by physical address"
)]

use super::enter::enter;
use super::events::Nmis;
use super::lp::{Asid, LpContext};
use super::vmcb::{Vmcb, VmcbSegment, exit, intercept, vintr};
use crate::msr;
use crate::svm::PermissionMaps;
use crate::vcpu::{
    Capabilities, Exit, IoAccess, NestedFault, Reg, Segment, SegmentName, SystemReg, TableName,
};

/// What every guest exits for.
const INTERCEPTS: u64 = intercept::INTR
    | intercept::NMI
    | intercept::INIT
    | intercept::CPUID
    | intercept::INVD
    | intercept::HLT
    | intercept::INVLPGA
    | intercept::IO
    | intercept::MSR
    | intercept::SHUTDOWN
    | intercept::VMRUN
    | intercept::VMMCALL
    | intercept::VMLOAD
    | intercept::VMSAVE
    | intercept::STGI
    | intercept::CLGI
    | intercept::SKINIT
    | intercept::MONITOR
    | intercept::MWAIT
    | intercept::XSETBV;

/// PAUSEs of one turn after which the next one exits.
const SPINS: u16 = 4096;
/// Value of the PAT after reset (APM vol. 2, 7.8.2).
const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// CR0 after reset: extension type, not write-through, cache disable.
const CR0_RESET: u64 = 0x6000_0010;

/// A virtual processor. One LP at a time runs it, through `&mut`.
pub struct Vcpu {
    pub(super) vmcb: &'static mut Vmcb,
    vmcb_physical: u64,
    /// General-purpose registers, indexed by [`Reg`].
    regs: [u64; 16],
    asid: Asid,
    flush: bool,
    pub(super) nmis: Nmis,
    /// Exceptions that always exit.
    pub(super) confined: u32,
    /// The guest has EFER.LME set, the processor does not know.
    pub(super) is_lme_kept: bool,
}

impl Vcpu {
    /// A processor in the reset state, with everything intercepted that `maps` says and no nested tables yet.
    ///
    /// # Safety
    /// `page` is the virtual and `physical` the physical address of the same page, zeroed and owned by this processor
    /// for ever; `maps_physical` is where the (never freed) maps lie.
    pub unsafe fn new(page: *mut u8, physical: u64, maps_physical: u64, nested_root: u64) -> Self {
        // SAFETY: a zeroed page is a valid VMCB, and the caller hands over its only pointer.
        let vmcb = unsafe { &mut *page.cast::<Vmcb>() };
        vmcb.intercepts_low = INTERCEPTS as u32;
        vmcb.intercepts_high = (INTERCEPTS >> 32) as u32;
        vmcb.iopm_base = maps_physical;
        vmcb.msrpm_base = maps_physical + PermissionMaps::MSR_OFFSET;
        vmcb.virtual_interrupt = vintr::MASKING;
        vmcb.nested_control = 1;
        vmcb.nested_cr3 = nested_root;
        vmcb.pat = PAT_RESET;
        let mut vcpu = Self {
            vmcb,
            vmcb_physical: physical,
            regs: [0; 16],
            asid: Asid::default(),
            flush: true,
            nmis: Nmis::Open,
            confined: 0,
            is_lme_kept: false,
        };
        vcpu.reset();
        vcpu
    }

    /// Makes the guest exit for what slows the machine or tells of others too: for a guest that does not own the machine.
    ///
    /// An alignment check or debug exception whose delivery raises it again keeps the processor busy for ever, interrupts
    /// closed out, unless it exits (CVE-2015-5307, CVE-2015-8104).
    /// Where the processor counts PAUSEs, a loop of them exits: who waits for a VP that does not run lets it.
    pub fn confine(&mut self, capabilities: &Capabilities) {
        const DEBUG: u32 = 1 << 1;
        const ALIGNMENT_CHECK: u32 = 1 << 17;
        let filter = if capabilities.pause_filter { intercept::PAUSE } else { 0 };
        self.vmcb.pause_count = SPINS;
        let more = intercept::RDPMC | intercept::WBINVD | intercept::TASK_SWITCH | filter;
        self.vmcb.intercepts_low |= more as u32;
        self.vmcb.intercepts_high |= (more >> 32) as u32;
        self.confined = DEBUG | ALIGNMENT_CHECK;
        self.vmcb.exception_intercepts |= self.confined;
    }

    /// Puts the architectural registers into their state after INIT; PAT and nested tables stay.
    pub fn reset(&mut self) {
        let v = &mut *self.vmcb;
        let data = VmcbSegment { selector: 0, attributes: 0x93, limit: 0xFFFF, base: 0 };
        let table = VmcbSegment { selector: 0, attributes: 0, limit: 0xFFFF, base: 0 };
        v.segments = [data; 10];
        v.segments[1] =
            VmcbSegment { selector: 0xF000, attributes: 0x9B, limit: 0xFFFF, base: 0xFFFF_0000 };
        v.segments[6] = table;
        v.segments[7] = VmcbSegment { attributes: 0x82, ..table };
        v.segments[8] = table;
        v.segments[9] = VmcbSegment { attributes: 0x8B, ..table };
        v.cpl = 0;
        (v.cr0, v.cr2, v.cr3, v.cr4) = (CR0_RESET, 0, 0, 0);
        (v.dr6, v.dr7) = (0xFFFF_0FF0, 0x400);
        (v.rflags, v.rip) = (2, 0xFFF0);
        (v.event_injection, v.interrupt_state) = (0, 0);
        v.virtual_interrupt = vintr::MASKING;
        v.intercepts_low &= !(intercept::VINTR as u32);
        self.settle_long_mode(msr::EFER_SVME);
        self.open_nmis();
        self.regs = [0; 16];
        self.regs[Reg::Rdx as usize] = u64::from(crate::cpu::cpuid(1, 0).eax);
        self.flush = true;
    }

    /// Points CS:IP to page `vector` in real mode, where a startup IPI starts.
    pub fn start_at_page(&mut self, vector: u8) {
        self.vmcb.segments[1].selector = u16::from(vector) << 8;
        self.vmcb.segments[1].base = u64::from(vector) << 12;
        self.vmcb.rip = 0;
    }

    /// Runs until the next exit. Physical interrupts stay closed out before and after.
    ///
    /// # Safety
    /// The calling LP is the one of `lp`, enabled; the nested tables give the guest nothing that is the hypervisor's.
    pub unsafe fn run(&mut self, lp: &mut LpContext) -> Exit {
        self.prepare_translations(lp);
        self.vmcb.rax = self.regs[Reg::Rax as usize];
        self.vmcb.rsp = self.regs[Reg::Rsp as usize];
        // SAFETY: the VMCB is ours, and the caller vouches for LP and nested tables.
        unsafe { enter(self.vmcb_physical, self.regs.as_mut_ptr(), lp.host_vmcb) };
        self.regs[Reg::Rax as usize] = self.vmcb.rax;
        self.regs[Reg::Rsp as usize] = self.vmcb.rsp;
        self.vmcb.tlb_control = 0;
        self.keep_interrupted_event();
        self.decode_exit()
    }

    /// Physical address of the control block, for whoever frees it after the processor's end.
    pub fn control_page(&self) -> u64 {
        self.vmcb_physical
    }

    /// A general-purpose register.
    pub fn reg(&self, reg: Reg) -> u64 {
        self.regs[reg as usize]
    }

    /// Sets a general-purpose register.
    pub fn set_reg(&mut self, reg: Reg, value: u64) {
        self.regs[reg as usize] = value;
    }

    /// All general-purpose registers in encoding order.
    pub fn regs(&mut self) -> &mut [u64; 16] {
        &mut self.regs
    }

    /// Instruction pointer.
    pub fn rip(&self) -> u64 {
        self.vmcb.rip
    }

    /// Sets the instruction pointer.
    pub fn set_rip(&mut self, rip: u64) {
        self.vmcb.rip = rip;
    }

    /// Flags.
    pub fn rflags(&self) -> u64 {
        self.vmcb.rflags
    }

    /// Sets the flags; bit 1 stays set.
    pub fn set_rflags(&mut self, rflags: u64) {
        self.vmcb.rflags = rflags | 2;
    }

    /// Current privilege level.
    pub fn cpl(&self) -> u8 {
        self.vmcb.cpl
    }

    /// Whether the guest runs 64-bit code.
    pub fn is_long_mode_code(&self) -> bool {
        self.vmcb.efer & msr::EFER_LMA != 0 && self.vmcb.segments[1].attributes & 1 << 9 != 0
    }

    /// Steps over the intercepted instruction: to where the processor says the next one is, else by `length` bytes.
    /// A guest that takes single steps gets its trap.
    pub fn skip_instruction(&mut self, lp: &LpContext, length: u64) {
        let v = &mut *self.vmcb;
        let known = lp.capabilities.next_rip && v.next_rip != 0;
        v.rip = if known { v.next_rip } else { v.rip.wrapping_add(length) };
        v.interrupt_state &= !1;
        self.trap_after_step();
    }

    /// The guest's CR8 (task priority class, 0 to 15).
    pub fn cr8(&self) -> u8 {
        (self.vmcb.virtual_interrupt & 0xF) as u8
    }

    /// Sets the guest's CR8.
    pub fn set_cr8(&mut self, class: u8) {
        self.vmcb.virtual_interrupt =
            self.vmcb.virtual_interrupt & !vintr::TPR | u64::from(class & 0xF);
    }

    /// Drops every translation of this guest before it runs again.
    pub fn flush_translations(&mut self) {
        self.flush = true;
    }

    /// Sets the difference between the guest's time-stamp counter and the machine's.
    pub fn set_tsc_offset(&mut self, offset: u64) {
        self.vmcb.tsc_offset = offset;
    }

    /// A segment register.
    pub fn segment(&self, name: SegmentName) -> Segment {
        let s = &self.vmcb.segments[segment_index(name)];
        let attributes = s.attributes & 0xFF | (s.attributes & 0xF00) << 4;
        Segment { base: s.base, limit: s.limit, selector: s.selector, attributes }
    }

    /// Sets a segment register. SS carries the privilege level with it.
    pub fn set_segment(&mut self, name: SegmentName, segment: Segment) {
        let attributes = segment.attributes & 0xFF | segment.attributes >> 4 & 0xF00;
        self.vmcb.segments[segment_index(name)] = VmcbSegment {
            selector: segment.selector,
            attributes,
            limit: segment.limit,
            base: segment.base,
        };
        if name == SegmentName::Ss {
            self.vmcb.cpl = (segment.attributes >> 5 & 3) as u8;
        }
    }

    /// Base and limit of a descriptor table.
    pub fn table(&self, name: TableName) -> (u64, u16) {
        let t = &self.vmcb.segments[table_index(name)];
        (t.base, t.limit as u16)
    }

    /// Sets base and limit of a descriptor table.
    pub fn set_table(&mut self, name: TableName, base: u64, limit: u16) {
        let t = &mut self.vmcb.segments[table_index(name)];
        (t.base, t.limit) = (base, u32::from(limit));
    }

    /// A system register, as the guest sees it.
    pub fn system(&self, reg: SystemReg) -> u64 {
        let v = &*self.vmcb;
        match reg {
            SystemReg::Cr0 => v.cr0,
            SystemReg::Cr2 => v.cr2,
            SystemReg::Cr3 => v.cr3,
            SystemReg::Cr4 => v.cr4,
            SystemReg::Dr6 => v.dr6,
            SystemReg::Dr7 => v.dr7,
            SystemReg::Efer => self.efer() & !msr::EFER_SVME,
            SystemReg::Pat => v.pat,
            SystemReg::Star => v.star,
            SystemReg::Lstar => v.lstar,
            SystemReg::Cstar => v.cstar,
            SystemReg::Sfmask => v.sfmask,
            SystemReg::KernelGsBase => v.kernel_gs_base,
            SystemReg::SysenterCs => v.sysenter_cs,
            SystemReg::SysenterEsp => v.sysenter_esp,
            SystemReg::SysenterEip => v.sysenter_eip,
        }
    }

    /// Sets a system register. The value is checked by the processor at the next entry ([`Exit::InvalidState`]).
    pub fn set_system(&mut self, reg: SystemReg, value: u64) {
        let mut efer = self.efer();
        let v = &mut *self.vmcb;
        match reg {
            SystemReg::Cr0 => v.cr0 = value,
            SystemReg::Cr2 => v.cr2 = value,
            SystemReg::Cr3 => v.cr3 = value,
            SystemReg::Cr4 => v.cr4 = value,
            SystemReg::Dr6 => v.dr6 = value,
            SystemReg::Dr7 => v.dr7 = value,
            SystemReg::Efer => efer = value | msr::EFER_SVME,
            SystemReg::Pat => v.pat = value,
            SystemReg::Star => v.star = value,
            SystemReg::Lstar => v.lstar = value,
            SystemReg::Cstar => v.cstar = value,
            SystemReg::Sfmask => v.sfmask = value,
            SystemReg::KernelGsBase => v.kernel_gs_base = value,
            SystemReg::SysenterCs => v.sysenter_cs = value,
            SystemReg::SysenterEsp => v.sysenter_esp = value,
            SystemReg::SysenterEip => v.sysenter_eip = value,
        }
        if matches!(reg, SystemReg::Cr0 | SystemReg::Cr4 | SystemReg::Efer) {
            self.settle_long_mode(efer);
        }
        if matches!(reg, SystemReg::Cr0 | SystemReg::Cr3 | SystemReg::Cr4 | SystemReg::Efer) {
            self.flush = true;
        }
    }

    /// Gives the VP an id whose translations are valid on this LP, a fresh one where a flush is due.
    fn prepare_translations(&mut self, lp: &mut LpContext) {
        if self.flush || !lp.is_current(self.asid) {
            let (asid, flush_all) = lp.assign();
            self.asid = asid;
            self.flush = false;
            self.vmcb.asid = asid.id;
            self.vmcb.tlb_control = u32::from(flush_all);
        }
    }

    fn decode_exit(&mut self) -> Exit {
        let v = &*self.vmcb;
        match v.exit_code {
            exit::INTR => Exit::Interrupt,
            exit::CPUID => Exit::Cpuid,
            exit::MSR if v.exit_info1 & 1 == 0 => Exit::MsrRead,
            exit::MSR => Exit::MsrWrite,
            exit::VMMCALL => Exit::Hypercall,
            exit::HLT => Exit::Hlt,
            exit::VINTR => Exit::InterruptWindow,
            exit::NESTED_FAULT => Exit::NestedFault(self.nested_fault()),
            exit::IO => Exit::Io(self.io_access()),
            exit::NMI => Exit::Nmi,
            exit::PAUSE => Exit::Pause,
            exit::XSETBV => Exit::Xsetbv,
            exit::INVD | exit::WBINVD => Exit::CacheFlush,
            exit::RDPMC => Exit::PerformanceCounter,
            exit::SHUTDOWN => Exit::Shutdown,
            exit::TASK_SWITCH => Exit::TaskSwitch,
            exit::INVLPGA | exit::VMRUN | exit::VMLOAD..=exit::SKINIT => {
                Exit::VirtualizationInstruction
            }
            exit::MONITOR | exit::MWAIT | exit::MWAIT_ARMED => Exit::VirtualizationInstruction,
            exit::CR8_WRITE => Exit::PriorityWrite,
            exit::CR0_SELECTIVE_WRITE => {
                self.on_cr0_write();
                Exit::ModeChange
            }
            exit::CR4_WRITE => {
                self.on_cr4_write();
                Exit::ModeChange
            }
            exit::IRET => self.on_iret(),
            code @ exit::EXCEPTION_FIRST..=exit::EXCEPTION_LAST => self.on_exception(code),
            exit::INVALID => Exit::InvalidState,
            code => Exit::Other(code),
        }
    }

    fn on_exception(&mut self, code: u64) -> Exit {
        let vector = (code - exit::EXCEPTION_FIRST) as u8;
        let stepped = if vector == 1 { self.on_step() } else { None };
        let v = &*self.vmcb;
        let (error_code, address) = (v.exit_info1 as u32, v.exit_info2);
        stepped.unwrap_or(Exit::Exception { vector, error_code, address })
    }

    fn nested_fault(&self) -> NestedFault {
        let info = self.vmcb.exit_info1;
        NestedFault {
            gpa: self.vmcb.exit_info2,
            present: info & 1 != 0,
            write: info & 1 << 1 != 0,
            execute: info & 1 << 4 != 0,
            table_walk: info & 1 << 33 != 0,
        }
    }

    fn io_access(&self) -> IoAccess {
        let info = self.vmcb.exit_info1;
        IoAccess {
            port: (info >> 16) as u16,
            size: (info >> 4 & 7) as u8,
            input: info & 1 != 0,
            string: info & 1 << 2 != 0,
            repeat: info & 1 << 3 != 0,
            next_rip: self.vmcb.exit_info2,
        }
    }
}

const fn segment_index(name: SegmentName) -> usize {
    match name {
        SegmentName::Es => 0,
        SegmentName::Cs => 1,
        SegmentName::Ss => 2,
        SegmentName::Ds => 3,
        SegmentName::Fs => 4,
        SegmentName::Gs => 5,
        SegmentName::Ldtr => 7,
        SegmentName::Tr => 9,
    }
}

const fn table_index(name: TableName) -> usize {
    match name {
        TableName::Gdtr => 6,
        TableName::Idtr => 8,
    }
}
