//! Each processor's segments, task state and stacks; everybody's interrupt table.
#![expect(unsafe_code, reason = "loads descriptor tables")]

use crate::cpu::{msr, wrmsr};
use crate::sync::Place;
use crate::trap;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Most processors this kernel uses.
pub const MAX_CPUS: usize = 16;
/// Kernel code segment.
pub const KERNEL_CODE: u16 = 0x08;
/// Kernel data segment.
pub const KERNEL_DATA: u16 = 0x10;
/// Ring 3 data segment.
pub const USER_DATA: u16 = 0x1B;
/// Ring 3 64-bit code segment.
pub const USER_CODE: u16 = 0x23;
/// A data segment that is not present.
pub const ABSENT_DATA: u16 = 0x38;
const TASK: u16 = 0x28;

const STACK: usize = 32 << 10;
const FAULT_STACK: usize = 8 << 10;

/// What each processor has to itself. Reached through GS, and by all others through [`cpu`].
#[repr(C, align(64))]
pub struct Cpu {
    this: AtomicU64,
    /// Where an exception that a test provokes comes back to: see [`trap::catch`]. 0: it is not expected.
    pub recovery: AtomicU64,
    /// Index: 0 is the one that booted.
    pub index: AtomicU32,
    /// APIC id.
    pub apic_id: AtomicU32,
    /// In [`crate::smp`]'s loop.
    pub online: AtomicBool,
    /// Interrupts taken, by vector; exceptions are in here too.
    pub counts: [AtomicU32; 256],
    /// Work: function and argument. See [`crate::smp`].
    pub job: AtomicU64,
    /// The work's argument.
    pub job_argument: AtomicU64,
    /// The work's result: 0 none yet, 1 done, else 0x100 + vector of the exception that ended it.
    pub job_result: AtomicU32,
    /// Address of that exception.
    pub job_fault: AtomicU64,
    /// The vector and interrupted address of the latest interrupt.
    pub last_vector: AtomicU32,
    /// Interrupted address of the latest interrupt.
    pub last_rip: AtomicU64,
}

#[expect(clippy::declare_interior_mutable_const, reason = "a template for the array")]
const NEW: Cpu = Cpu {
    this: AtomicU64::new(0),
    recovery: AtomicU64::new(0),
    index: AtomicU32::new(0),
    apic_id: AtomicU32::new(0),
    online: AtomicBool::new(false),
    counts: [const { AtomicU32::new(0) }; 256],
    job: AtomicU64::new(0),
    job_argument: AtomicU64::new(0),
    job_result: AtomicU32::new(0),
    job_fault: AtomicU64::new(0),
    last_vector: AtomicU32::new(0),
    last_rip: AtomicU64::new(0),
};

static CPUS: [Cpu; MAX_CPUS] = [NEW; MAX_CPUS];

#[repr(C)]
struct Tables {
    gdt: [u64; 8],
    /// 104 bytes of task state; as words, because its fields lie across 8-byte borders.
    task: [u32; 26],
}

#[repr(C, align(16))]
struct Stacks {
    kernel: [u8; STACK],
    double_fault: [u8; FAULT_STACK],
    nmi: [u8; FAULT_STACK],
}

static TABLES: Place<[Tables; MAX_CPUS]> =
    Place::new([const { Tables { gdt: [0; 8], task: [0; 26] } }; MAX_CPUS]);
static STACKS: Place<[Stacks; MAX_CPUS]> = Place::new(
    [const { Stacks { kernel: [0; STACK], double_fault: [0; FAULT_STACK], nmi: [0; FAULT_STACK] } };
        MAX_CPUS],
);
static IDT: Place<[[u64; 2]; 256]> = Place::new([[0; 2]; 256]);

/// Processor `index`.
pub fn cpu(index: usize) -> &'static Cpu {
    &CPUS[index]
}

/// The processor that asks.
#[inline(always)]
pub fn this() -> &'static Cpu {
    let address: u64;
    // SAFETY: GS points to this processor's own structure from `load` on.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) address, options(nostack, pure, readonly, preserves_flags))
    };
    // SAFETY: see above; it is static.
    unsafe { &*(address as *const Cpu) }
}

impl Cpu {
    /// Interrupts with this vector taken so far.
    pub fn count(&self, vector: u8) -> u32 {
        self.counts[usize::from(vector)].load(Ordering::SeqCst)
    }

    /// Its index as such.
    pub fn number(&self) -> usize {
        self.index.load(Ordering::Relaxed) as usize
    }
}

/// End of processor `index`'s kernel stack.
pub fn stack_end(index: usize) -> u64 {
    STACKS.address() + (index * size_of::<Stacks>() + STACK) as u64
}

/// Fills the interrupt table; once.
pub fn init() {
    let idt = IDT.get().cast::<[u64; 2]>();
    for vector in 0..256u64 {
        let handler = trap::stub(vector as u8);
        let stack: u64 = match vector {
            8 => 1,
            2 => 2,
            _ => 0,
        };
        // INT3 and INT 0x80 are open to ring 3.
        let attributes: u64 = if matches!(vector, 3 | 0x80) { 0xEE } else { 0x8E };
        let low = handler & 0xFFFF
            | u64::from(KERNEL_CODE) << 16
            | stack << 32
            | attributes << 40
            | (handler >> 16 & 0xFFFF) << 48;
        // SAFETY: inside the table, before anybody uses it.
        unsafe { idt.add(vector as usize).write([low, handler >> 32]) };
    }
}

/// Has exceptions with this vector use the stack of whom they interrupt, on all processors.
pub fn take_stack_away(vector: u8) {
    let entry = IDT.get().cast::<[u64; 2]>().wrapping_add(usize::from(vector));
    // SAFETY: inside the table, and any value of this field is a valid entry.
    unsafe { (*entry)[0] &= !(7 << 32) };
}

/// Loads everything on the calling processor, which is number `index`.
pub fn load(index: usize) {
    let cpu = &CPUS[index];
    cpu.this.store(core::ptr::from_ref(cpu) as u64, Ordering::Relaxed);
    cpu.index.store(index as u32, Ordering::Relaxed);
    fill(index);
    let tables = TABLES.address() + (index * size_of::<Tables>()) as u64;
    load_pointer(tables, 63, |at| {
        // SAFETY: the table is complete, and has the running code's segments where they were.
        unsafe { asm!("lgdt [{}]", in(reg) at, options(nostack, preserves_flags)) }
    });
    reload_segments();
    load_idt();
    wrmsr(msr::GS_BASE, cpu.this.load(Ordering::Relaxed));
}

/// Loads the interrupt table on the calling processor.
pub fn load_idt() {
    load_pointer(IDT.address(), 4095, |at| {
        // SAFETY: the table is complete.
        unsafe { asm!("lidt [{}]", in(reg) at, options(nostack, preserves_flags)) }
    });
}

fn fill(index: usize) {
    let end = stack_end(index);
    let mut task = [0u32; 26];
    let ends = [(1, end), (9, end + FAULT_STACK as u64), (11, end + 2 * FAULT_STACK as u64)];
    for (word, address) in ends {
        task[word] = address as u32;
        task[word + 1] = (address >> 32) as u32;
    }
    task[25] = 104 << 16;
    let at = TABLES.address() + (index * size_of::<Tables>() + 64) as u64;
    let low = 103 | (at & 0xFF_FFFF) << 16 | 0x89 << 40 | (at >> 24 & 0xFF) << 56;
    let gdt = [
        0,
        0x00AF_9B00_0000_FFFF,
        0x00CF_9300_0000_FFFF,
        0x00CF_F300_0000_FFFF,
        0x00AF_FB00_0000_FFFF,
        low,
        at >> 32,
        0x00CF_1300_0000_FFFF,
    ];
    // SAFETY: this processor's own entry, not loaded yet or loaded with the same content.
    unsafe { TABLES.get().cast::<Tables>().add(index).write(Tables { gdt, task }) };
}

fn load_pointer(base: u64, limit: u16, load: impl FnOnce(*const u8)) {
    let mut pointer = [0u8; 10];
    pointer[..2].copy_from_slice(&limit.to_le_bytes());
    pointer[2..].copy_from_slice(&base.to_le_bytes());
    load(core::hint::black_box(&pointer).as_ptr());
}

fn reload_segments() {
    // SAFETY: all selectors name flat segments of the table just loaded.
    unsafe {
        asm!(
            "push {code}", "lea {t}, [rip + 2f]", "push {t}", "retfq",
            "2:", "mov ss, {data:x}", "mov ds, {data:x}", "mov es, {data:x}", "mov fs, {zero:x}", "mov gs, {zero:x}", "ltr {task:x}",
            code = in(reg) u64::from(KERNEL_CODE), data = in(reg) u64::from(KERNEL_DATA),
            task = in(reg) u64::from(TASK), zero = in(reg) 0u64, t = out(reg) _,
        );
    }
}
