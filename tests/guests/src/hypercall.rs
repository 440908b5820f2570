//! Hypercalls, through the hypervisor's page.
#![expect(unsafe_code, reason = "calls the hypercall page")]

use crate::cpu::{cpuid, rdmsr, wrmsr};
use crate::memory::PAGE;
use crate::sync::Place;
use crate::tables::MAX_CPUS;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use hvdef::HvStatus;
use hvdef::msr as hv;

/// What this kernel calls itself: open source, operating system id 0x5A.
pub const GUEST_OS_ID: u64 = 0x8000_5A00_0001_0000;
/// "The caller's own partition".
pub const SELF: u64 = u64::MAX;
/// Control word: parameters in registers.
pub const FAST: u64 = 1 << 16;

static PAGE_AT: AtomicU64 = AtomicU64::new(0);
static HYPERV: AtomicBool = AtomicBool::new(false);
/// An input and an output page for each processor, as Linux has them.
static BUFFERS: Place<[[u64; 1024]; MAX_CPUS]> = Place::new([[0; 1024]; MAX_CPUS]);

/// Looks for the hypervisor, and switches hypercalls on.
pub fn init() {
    let present = cpuid(1, 0)[2] >> 31 != 0;
    let [max, b, c, d] = cpuid(0x4000_0000, 0);
    let found =
        present && max >= 0x4000_0005 && [b, c, d] == [0x7263_694D, 0x666F_736F, 0x7648_2074];
    HYPERV.store(found, Ordering::Relaxed);
    if found {
        wrmsr(hv::GUEST_OS_ID, GUEST_OS_ID);
        let value = crate::memory::overlay(rdmsr(hv::HYPERCALL));
        wrmsr(hv::HYPERCALL, value | 1);
        PAGE_AT.store(value & !(PAGE - 1), Ordering::Relaxed);
    }
}

/// Whether the hypervisor's interface is there.
pub fn is_hyperv() -> bool {
    HYPERV.load(Ordering::Relaxed)
}

/// Whether this is the root partition: it may create partitions and manages processors.
pub fn is_root() -> bool {
    is_hyperv() && cpuid(0x4000_0003, 0)[1] & 0x1001 == 0x1001
}

/// Address of the hypercall page.
pub fn page() -> u64 {
    PAGE_AT.load(Ordering::Relaxed)
}

/// Where the hypervisor's answer is taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer(pub u64);

impl Answer {
    /// Status.
    pub fn status(self) -> HvStatus {
        HvStatus(self.0 as u16)
    }

    /// Repetitions completed.
    pub fn reps(self) -> u64 {
        self.0 >> 32 & 0xFFF
    }

    /// Whether all other bits are 0, as they must be.
    pub fn is_well_formed(self) -> bool {
        self.0 & !0xFFF_0000_FFFF == 0
    }

    /// Whether it worked.
    pub fn is_success(self) -> bool {
        self.status() == HvStatus::SUCCESS
    }
}

/// Makes a hypercall at the page at `entry`.
pub fn call_at(entry: u64, control: u64, first: u64, second: u64) -> Answer {
    let answer: u64;
    // SAFETY: the page holds the hypervisor's code, which changes nothing but these registers.
    unsafe {
        asm!(
            "call {entry}", entry = in(reg) entry, inout("rcx") control => _, inout("rdx") first => _,
            inout("r8") second => _, out("rax") answer, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    Answer(answer)
}

/// Makes a hypercall with these registers.
pub fn call(control: u64, first: u64, second: u64) -> Answer {
    call_at(page(), control, first, second)
}

/// This processor's input page.
pub fn input_page() -> u64 {
    BUFFERS.address() + crate::tables::this().number() as u64 * 2 * PAGE
}

/// This processor's output page.
pub fn output_page() -> u64 {
    input_page() + PAGE
}

/// Puts `input` into the input page and makes a call with `control`. The output is in [`output_page`].
pub fn with_input(control: u64, input: &[u64]) -> Answer {
    for (i, word) in input.iter().enumerate() {
        crate::cpu::poke(input_page() + 8 * i as u64, *word);
    }
    call(control, input_page(), output_page())
}

/// A call that every partition may make and that changes nothing: a long spin wait.
pub fn harmless() -> Answer {
    with_input(0x08, &[0])
}

/// A word of the output page.
pub fn output(index: u64) -> u64 {
    crate::cpu::peek(output_page() + 8 * index)
}
