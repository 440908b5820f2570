//! Descriptor tables of the hypervisor: GDT, TSS and IDT, per LP.
#![expect(unsafe_code, reason = "loading descriptor tables")]

use core::arch::asm;

/// Selector of the 64-bit code segment.
pub const CODE: u16 = 0x08;
/// Selector of the data segment.
pub const DATA: u16 = 0x10;
/// Selector of the task state segment.
pub const TSS: u16 = 0x18;
/// Interrupt-stack slot (1-based) of exceptions that cannot trust the current stack: double fault.
pub const IST_DOUBLE_FAULT: u8 = 1;
/// Interrupt-stack slot of NMIs.
pub const IST_NMI: u8 = 2;

/// The 64-bit task state segment (AMD APM vol. 2, 12.2.5): only its stacks matter.
#[repr(C, packed(4))]
pub struct TaskState {
    reserved: u32,
    /// Stacks for a change to rings 0 to 2. Unused: the hypervisor never leaves ring 0.
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}
const _: () = assert!(size_of::<TaskState>() == 104);

/// The tables of one LP.
#[repr(C, align(16))]
pub struct LpTables {
    gdt: [u64; 5],
    tss: TaskState,
}

impl LpTables {
    /// Tables whose interrupt stacks are empty until [`Self::set_stack`].
    pub const fn new() -> Self {
        Self {
            // Null, 64-bit code (present, executable, readable, long), data (present, writable), TSS in two halves.
            gdt: [0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0, 0],
            tss: TaskState {
                reserved: 0,
                rsp: [0; 3],
                reserved1: 0,
                ist: [0; 7],
                reserved2: 0,
                reserved3: 0,
                io_map: 104,
            },
        }
    }

    /// Sets the top of interrupt stack `slot` (1 to 7; others are ignored).
    pub fn set_stack(&mut self, slot: u8, top: u64) {
        let mut ist = self.tss.ist;
        if let Some(entry) = ist.get_mut(usize::from(slot).wrapping_sub(1)) {
            *entry = top;
        }
        self.tss.ist = ist;
    }

    /// Loads GDT, segment registers and task register of the calling LP.
    ///
    /// # Safety
    /// The running code uses 64-bit flat segments, GS is loaded with its base afterwards, and the stacks are valid.
    pub unsafe fn load(&'static mut self) {
        let base = &raw const self.tss as u64;
        self.gdt[3] = 0x0000_8900_0000_0067 | (base & 0xFF_FFFF) << 16 | (base >> 24 & 0xFF) << 56;
        self.gdt[4] = base >> 32;
        let pointer =
            Pointer { limit: size_of::<[u64; 5]>() as u16 - 1, base: self.gdt.as_ptr() as u64 };
        // SAFETY: the table lives for ever and describes the flat segments that the code already runs in.
        unsafe {
            asm!(
                "lgdt [{pointer}]",
                "push {code}",
                "lea {scratch}, [rip + 2f]",
                "push {scratch}",
                "retfq",
                "2:",
                "mov ds, {data:e}",
                "mov es, {data:e}",
                "mov ss, {data:e}",
                "mov fs, {null:e}",
                "mov gs, {null:e}",
                "ltr {tss:x}",
                pointer = in(reg) &pointer,
                code = const CODE,
                data = in(reg) u32::from(DATA),
                null = in(reg) 0u32,
                tss = in(reg) TSS,
                scratch = out(reg) _,
            );
        }
    }
}

/// Address of the descriptor table that the calling LP uses: the first thing in its [`LpTables`]. Unlike GS it never is a
/// guest's while the hypervisor runs, because VMRUN itself swaps it.
pub fn current() -> u64 {
    let mut pointer = Pointer { limit: 0, base: 0 };
    // SAFETY: writes the ten bytes of `pointer`.
    unsafe { asm!("sgdt [{}]", in(reg) &raw mut pointer, options(nostack, preserves_flags)) };
    pointer.base
}

impl Default for LpTables {
    fn default() -> Self {
        Self::new()
    }
}

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// One interrupt gate.
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

/// The interrupt descriptor table; all LPs share one.
#[repr(C, align(16))]
pub struct InterruptTable([Gate; 256]);

impl InterruptTable {
    /// A table with no gate present.
    pub const fn new() -> Self {
        Self([Gate { low: 0, high: 0 }; 256])
    }

    /// Points `vector` to `handler`, an assembly stub that ends in IRETQ, on interrupt stack `ist` (0: the current one).
    pub fn set(&mut self, vector: u8, handler: u64, ist: u8) {
        let low = handler & 0xFFFF
            | u64::from(CODE) << 16
            | u64::from(ist & 7) << 32
            | 0x8E << 40
            | (handler >> 16 & 0xFFFF) << 48;
        self.0[usize::from(vector)] = Gate { low, high: handler >> 32 };
    }

    /// Loads the table on the calling LP.
    ///
    /// # Safety
    /// Every gate that can be taken points to a handler that keeps the interrupted code intact.
    pub unsafe fn load(&'static self) {
        let pointer = Pointer { limit: size_of::<Self>() as u16 - 1, base: self.0.as_ptr() as u64 };
        // SAFETY: the table lives for ever; the caller vouches for its handlers.
        unsafe { asm!("lidt [{}]", in(reg) &pointer, options(nostack)) };
    }
}

impl Default for InterruptTable {
    fn default() -> Self {
        Self::new()
    }
}
