//! From the loader to `guest_main`.
#![expect(unsafe_code, reason = "entry from the loader, and its data")]

use crate::args::Args;
use crate::memory::{Kind, Region};
use crate::sync::Place;
use crate::{clock, cpu, hypercall, line, memory, paging, serial, smp, tables};
use core::sync::atomic::{AtomicUsize, Ordering};

core::arch::global_asm!(include_str!("boot/entry.S"), guest_entry = sym guest_entry, options(att_syntax));

unsafe extern "Rust" {
    /// The tests, in `main.rs`.
    safe fn guest_main() -> !;
}

/// Longest command line that is kept.
const LINE_MAX: usize = 2048;
static LINE: Place<[u8; LINE_MAX]> = Place::new([0; LINE_MAX]);
static LINE_LEN: AtomicUsize = AtomicUsize::new(0);
static ARGS: Place<Option<Args<'static>>> = Place::new(None);

/// What the loader said.
struct Handover {
    line: u64,
    rsdp: u64,
}

extern "C" fn guest_entry(kind: u32, address: u64) -> ! {
    serial::init(0x3F8);
    tables::init();
    tables::load(0);
    let handover = if kind == 0 { boot_params(address) } else { start_info(address) };
    keep_line(handover.line);
    // SAFETY: nobody else runs yet.
    unsafe { ARGS.get().write(Some(Args::parse(command_line()))) };
    let args = args();
    if args.serial != 0x3F8 {
        serial::init(args.serial);
    }
    line!("test kernel: {}", command_line());
    if let Some(word) = args.unknown {
        line!("not understood: {word}");
    }
    paging::init();
    memory::init();
    init_processor();
    hypercall::init();
    clock::init();
    smp::init(crate::acpi::rsdp(handover.rsdp));
    guest_main()
}

/// What every processor switches on for itself.
pub fn init_processor() {
    use cpu::bits::*;
    let xsave = if cpu::cpuid(1, 0)[2] & 1 << 26 != 0 { CR4_OSXSAVE } else { 0 };
    cpu::set_cr0(cpu::cr0() & !(CR0_EM | CR0_TS) | CR0_MP | CR0_WP);
    cpu::set_cr4(cpu::cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_DE | xsave);
    cpu::wrmsr(cpu::msr::EFER, cpu::rdmsr(cpu::msr::EFER) | 1 << 11 | 1);
    crate::apic::init();
}

/// The command line.
pub fn command_line() -> &'static str {
    // SAFETY: written once, before the first call.
    let bytes = unsafe {
        core::slice::from_raw_parts(LINE.get().cast::<u8>(), LINE_LEN.load(Ordering::Relaxed))
    };
    core::str::from_utf8(bytes).unwrap_or("")
}

/// The command line's meaning.
pub fn args() -> &'static Args<'static> {
    // SAFETY: written once, at the very beginning.
    unsafe { (*ARGS.get()).as_ref() }.expect("set at entry")
}

/// Reads a field that a loader left; not necessarily aligned.
fn field<T: Copy>(address: u64) -> T {
    // SAFETY: the loader's data, inside the first 4 GiB which are mapped; integers only.
    unsafe { (address as *const T).read_unaligned() }
}

fn keep_line(address: u64) {
    if address == 0 {
        return;
    }
    let bytes = LINE.get().cast::<u8>();
    let len = (0..LINE_MAX).find(|&i| field::<u8>(address + i as u64) == 0).unwrap_or(LINE_MAX);
    for i in 0..len {
        // SAFETY: inside the static, before anybody reads it.
        unsafe { bytes.add(i).write(field(address + i as u64)) };
    }
    LINE_LEN.store(len, Ordering::Relaxed);
}

/// Linux' `struct boot_params` (Documentation/arch/x86/zero-page.rst).
fn boot_params(at: u64) -> Handover {
    for i in 0..u64::from(field::<u8>(at + 0x1E8)) {
        let entry = at + 0x2D0 + 20 * i;
        memory::add(Region::new(field(entry), field(entry + 8), Kind(field(entry + 16))));
    }
    let line = u64::from(field::<u32>(at + 0x228)) | u64::from(field::<u32>(at + 0xC8)) << 32;
    Handover { line, rsdp: field(at + 0x70) }
}

/// Xen's `struct hvm_start_info` (xen/include/public/arch-x86/hvm/start_info.h), version 1.
fn start_info(at: u64) -> Handover {
    let table: u64 = field(at + 40);
    for i in 0..u64::from(field::<u32>(at + 48)) {
        let entry = table + 24 * i;
        memory::add(Region::new(field(entry), field(entry + 8), Kind(field(entry + 16))));
    }
    Handover { line: field(at + 24), rsdp: field(at + 32) }
}
