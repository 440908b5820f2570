//! Exceptions and interrupts that the hypervisor itself takes.
#![expect(unsafe_code, reason = "interrupt entry")]

use crate::log::{Level, log};
use crate::sync::Once;
use crate::{crash, interrupts};
use arch_x86::tables::{IST_DOUBLE_FAULT, IST_NMI, InterruptTable};

core::arch::global_asm!(include_str!("trap.S"), trap = sym trap);

unsafe extern "C" {
    static trap_stubs: u8;
    static trap_return: u8;
}

/// What a stub leaves on the stack.
#[repr(C)]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

static TABLE: Once<InterruptTable> = Once::new();

const DOUBLE_FAULT: u8 = 8;
const NMI: u8 = 2;

/// Fills the table that all LPs share. First LP only, before any other runs.
pub fn init() {
    let stubs = &raw const trap_stubs as u64;
    let mut table = InterruptTable::new();
    for vector in 0..=255u8 {
        let ist = match vector {
            DOUBLE_FAULT => IST_DOUBLE_FAULT,
            NMI => IST_NMI,
            _ => 0,
        };
        table.set(vector, stubs + 16 * u64::from(vector), ist);
    }
    TABLE.set(table);
}

/// Loads the table on the calling LP. The descriptor tables with the interrupt stacks come first.
pub fn load() {
    // SAFETY: nothing writes the table any more, and the stubs keep all registers.
    unsafe { TABLE.get().load() };
}

/// Whether `address` is where a trap's handler returns to: the frame above it is a [`Frame`], not a function's.
pub fn is_return(address: u64) -> bool {
    address == &raw const trap_return as u64
}

extern "C" fn trap(frame: &mut Frame) {
    match frame.vector as u8 {
        NMI => crash::on_nmi(frame),
        vector @ 32.. if !arch_x86::svm::is_switching(frame.rip) => interrupts::handle(vector),
        vector @ 32.. => handle_in_switch(frame, vector),
        _ => crash::on_exception(frame),
    }
}

/// An interrupt between VMLOAD of a guest and VMLOAD of the host. The closed gate keeps them out there; QEMU 10 let one
/// through (docs/debugging.md).
#[cold]
fn handle_in_switch(frame: &Frame, vector: u8) {
    let Some(lp) = crate::lp::try_current() else { crash::on_exception(frame) };
    lp.with_gs(|| {
        interrupts::handle(vector);
        log!(
            Level::Warn,
            "LP {}: vector {vector:#x} in the world switch at {:#x}",
            lp.index,
            frame.rip
        );
    });
}
