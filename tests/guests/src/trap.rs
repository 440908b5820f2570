//! Exceptions and interrupts.
//!
//! An exception inside [`catch`] ends the closure and comes out as `Err`; elsewhere it is a failure of the running test.
//! An interrupt is counted and completed, unless a test has put its own handler there.
#![expect(unsafe_code, reason = "changes where an interrupted program goes on")]

use crate::tables::{self, KERNEL_CODE, KERNEL_DATA};
use crate::{apic, cpu};
use core::sync::atomic::{AtomicUsize, Ordering};

core::arch::global_asm!(include_str!("trap.S"), trap = sym trap, options(att_syntax));

unsafe extern "C" {
    static trap_stubs: u8;
    fn catch_enter(
        function: extern "C" fn(*mut u8),
        argument: *mut u8,
        recovery: *mut [u64; 3],
    ) -> u64;
}

/// The interrupted program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// R15 down to R8.
    pub high: [u64; 8],
    /// RDI.
    pub rdi: u64,
    /// RSI.
    pub rsi: u64,
    /// RBP.
    pub rbp: u64,
    /// RBX.
    pub rbx: u64,
    /// RDX.
    pub rdx: u64,
    /// RCX.
    pub rcx: u64,
    /// RAX.
    pub rax: u64,
    vector: u64,
    /// Error code; all ones if the processor pushed none.
    pub error: u64,
    /// Instruction pointer.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

impl Frame {
    /// The vector.
    pub fn vector(&self) -> u8 {
        self.vector as u8
    }
}

/// An exception that ended a [`catch`].
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// Which.
    pub vector: u8,
    /// Error code; `None` if the processor pushed none.
    pub error: Option<u32>,
    /// Where.
    pub rip: u64,
    /// CR2 after it.
    pub cr2: u64,
    /// DR6 after it.
    pub dr6: u64,
    /// RBX at the time.
    pub rbx: u64,
}

/// #DE, division.
pub const DE: u8 = 0;
/// #DB, debug.
pub const DB: u8 = 1;
/// NMI.
pub const NMI: u8 = 2;
/// #BP, INT3.
pub const BP: u8 = 3;
/// #UD, undefined instruction.
pub const UD: u8 = 6;
/// #NM, no coprocessor.
pub const NM: u8 = 7;
/// #DF, double fault.
pub const DF: u8 = 8;
/// #NP, segment not present.
pub const NP: u8 = 11;
/// #SS, stack.
pub const SS: u8 = 12;
/// #GP, protection.
pub const GP: u8 = 13;
/// #PF, page fault.
pub const PF: u8 = 14;

/// What a test puts in place of the usual handling.
pub type Handler = fn(&mut Frame);

static HANDLERS: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];

/// Takes a vector over, on all processors.
pub fn set_handler(vector: u8, handler: Handler) {
    HANDLERS[usize::from(vector)].store(handler as usize, Ordering::SeqCst);
}

/// Gives a vector back.
pub fn clear_handler(vector: u8) {
    HANDLERS[usize::from(vector)].store(0, Ordering::SeqCst);
}

/// Gives all vectors back.
pub fn clear_handlers() {
    (0..=255).for_each(clear_handler);
}

/// Where the entry of `vector` is.
pub fn stub(vector: u8) -> u64 {
    (&raw const trap_stubs) as u64 + 8 * u64::from(vector)
}

/// Runs `action`; an exception meanwhile ends it. What it owned then is not dropped.
pub fn catch<R>(action: impl FnOnce() -> R) -> Result<R, Trap> {
    struct Call<F, R> {
        action: Option<F>,
        result: Option<R>,
    }
    extern "C" fn run<F: FnOnce() -> R, R>(call: *mut u8) {
        // SAFETY: `catch` passes its own `Call`.
        let call = unsafe { &mut *call.cast::<Call<F, R>>() };
        if let Some(action) = call.action.take() {
            call.result = Some(action());
        }
    }
    fn runner<F: FnOnce() -> R, R>(_: &Call<F, R>) -> extern "C" fn(*mut u8) {
        run::<F, R>
    }
    let mut call = Call { action: Some(action), result: None };
    let function = runner(&call);
    let mut context = Context { recovery: [0; 3], trap: None };
    let this = tables::this();
    let outer = this.recovery.swap((&raw mut context) as u64, Ordering::SeqCst);
    // SAFETY: the function gets what it expects, and everything lives until it has returned.
    unsafe { catch_enter(function, (&raw mut call).cast(), (&raw mut context).cast()) };
    this.recovery.store(outer, Ordering::SeqCst);
    // SAFETY: the trap handler may have written it behind the compiler's back.
    let context = unsafe { (&raw const context).read_volatile() };
    match (context.trap, call.result.take()) {
        (None, Some(result)) => Ok(result),
        (trap, _) => {
            Err(trap.unwrap_or(Trap { vector: 0xFF, error: None, rip: 0, cr2: 0, dr6: 0, rbx: 0 }))
        }
    }
}

/// Lets the innermost [`catch`] of this processor end with the exception of `frame`. `false` if there is none.
pub fn end_catch(frame: &mut Frame) -> bool {
    let context = tables::this().recovery.load(Ordering::SeqCst) as *mut Context;
    if context.is_null() {
        return false;
    }
    let trap = Trap {
        vector: frame.vector(),
        error: (frame.error != u64::MAX).then_some(frame.error as u32),
        rip: frame.rip,
        cr2: cpu::cr2(),
        dr6: cpu::dr6(),
        rbx: frame.rbx,
    };
    // SAFETY: `catch` of this processor set it, and is still inside.
    let [rip, rsp, flags] = unsafe {
        (&raw mut (*context).trap).write_volatile(Some(trap));
        (&raw const (*context).recovery).read_volatile()
    };
    (frame.rip, frame.rsp, frame.rflags, frame.rax) = (rip, rsp, flags, 1);
    (frame.cs, frame.ss) = (KERNEL_CODE.into(), KERNEL_DATA.into());
    true
}

#[repr(C)]
struct Context {
    recovery: [u64; 3],
    trap: Option<Trap>,
}

extern "C" fn trap(frame: &mut Frame) {
    let vector = frame.vector();
    let this = tables::this();
    this.counts[usize::from(vector)].fetch_add(1, Ordering::SeqCst);
    let handler = HANDLERS[usize::from(vector)].load(Ordering::SeqCst);
    if handler != 0 {
        // SAFETY: only `set_handler` stores, and it stores a `Handler`.
        let handler: Handler = unsafe { core::mem::transmute(handler) };
        return handler(frame);
    }
    // A fixed interrupt may have any vector from 16 up.
    let is_interrupt =
        vector >= 32 || vector >= 16 && frame.error == u64::MAX && apic::in_service(vector);
    if is_interrupt {
        this.last_vector.store(vector.into(), Ordering::Relaxed);
        this.last_rip.store(frame.rip, Ordering::Relaxed);
        // These two also come without being in service: as a spurious interrupt, and by instruction.
        if !matches!(vector, apic::SPURIOUS | 0x80) || apic::in_service(vector) {
            apic::eoi();
        }
    } else if vector != NMI && !end_catch(frame) {
        crate::report::unexpected(frame);
    }
}
