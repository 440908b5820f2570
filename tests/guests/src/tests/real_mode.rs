//! A processor in real mode, where a startup IPI puts it.

use guests::apic::{self, mode};
use guests::clock::{self, wait_until};
use guests::cpu::{cpuid, peek32, poke32};
use guests::report::Checks;
use guests::tables::cpu;
use guests::{check, equal, hypercall, memory, smp};

#[expect(unsafe_code, reason = "code of the image, for another mode")]
mod raw {
    core::arch::global_asm!(include_str!("real_mode.S"), options(att_syntax));

    unsafe extern "C" {
        static real_start: u8;
        static real_end: u8;
    }

    /// The code for real mode.
    pub fn code() -> &'static [u8] {
        let from = &raw const real_start;
        // SAFETY: code inside the image.
        unsafe { core::slice::from_raw_parts(from, (&raw const real_end) as usize - from as usize) }
    }
}

/// Where it runs, and where it leaves what it found.
const PAGE: u64 = 0x9000;
const RESULTS: u64 = 0xA000;
/// Written last, by the code.
const DONE: u32 = 0x600D_600D;

/// All of it.
pub fn run(t: &Checks) {
    for index in smp::others() {
        one(t, index);
        check!(t, smp::start(index), "processor {index} does not start again after real mode");
        equal!(t, smp::run(index, 1000, |_| {}, 0), Ok(()), "processor {index} afterwards");
    }
}

fn word(index: u64) -> u32 {
    peek32(RESULTS + 4 * index)
}

fn one(t: &Checks, index: usize) {
    memory::put(PAGE, raw::code());
    (0..32).for_each(|i| poke32(RESULTS + 4 * i, 0));
    let apic_id = cpu(index).apic_id.load(core::sync::atomic::Ordering::Relaxed);
    apic::command(apic_id, mode::INIT);
    clock::delay_us(300);
    apic::command(apic_id, mode::STARTUP | (PAGE >> 12) as u32);
    if !check!(
        t,
        wait_until(2000, || word(0) == DONE),
        "processor {index} is not done, step {}",
        word(1)
    ) {
        return;
    }
    equal!(t, word(2), (PAGE >> 4) as u32, "CS");
    equal!(t, word(3) & 0x8000_0001, 0, "CR0: paging, protection");
    equal!(t, word(4), cpuid(1, 0)[0], "EDX: processor signature");
    equal!(t, word(5), 5 * 7 + 0x1234, "arithmetic");
    let signature = if hypercall::is_hyperv() { 0x7263_694D } else { word(6) };
    equal!(t, word(6), signature, "CPUID 0x40000000 EBX");
    equal!(t, word(7), 0x1D1D, "software interrupt");
    equal!(t, word(8) & 0xFFFF, 0x0606, "UD2");
    equal!(t, word(9), 0xFEE0_0000, "APIC base: address");
    equal!(t, word(10), 0, "division by 0 left the result");
    equal!(t, word(11) & 0xFFFF, 0x0000, "flags: interrupts closed");
    equal!(t, word(13), 0xCAFE_F00D, "string move");
    if hypercall::is_hyperv() {
        equal!(t, word(12) & 0xFFFF, 0x0606, "VMMCALL in real mode: exception");
    }
    equal!(t, word(14), 0x2468_ACE0, "memory above 1 MiB in unreal mode");
}
