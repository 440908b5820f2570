//! `outside`: a child's memory ends where its map says. Of what lies beyond, not one byte can be read or written.

use guests::cpu::{self, msr, peek, peek8, poke8, rdmsr};
use guests::memory::{self, Kind, PAGE};
use guests::paging::{self, PRESENT, UNCACHED, WRITE};
use guests::report::Checks;
use guests::rng::Rng;
use guests::trap::catch;
use guests::{boot, check, equal, line};

/// Pages that are looked at without `count=`, beside those at the edges.
const DEFAULT_COUNT: u64 = 300;
/// Below this the child has memory that its map does not mention, where a PC has its video card and firmware.
const LEGACY_END: u64 = 1 << 20;
/// The worker's I/O APIC, which is a device of the child's own.
const IO_APIC: u64 = 0xFEC0_0000;
const SLOT: usize = 310;

/// All of it.
pub fn run(t: &Checks) {
    let mut edges = 0;
    for region in memory::map() {
        for page in
            [region.end.next_multiple_of(PAGE), (region.start & !(PAGE - 1)).wrapping_sub(PAGE)]
        {
            if is_outside(page) {
                edges += 1;
                every_byte(t, page);
            }
        }
    }
    check!(t, edges > 0, "the memory map has no edge");
    let mut rng = Rng::new(boot::args().seed);
    let (count, width) =
        (boot::args().count_or(DEFAULT_COUNT), cpu::cpuid(0x8000_0008, 0)[0] & 0xFF);
    for bit in 20..width {
        for page in [1 << bit, (1 << bit) - PAGE] {
            some_bytes(t, page, &mut rng);
        }
    }
    for _ in 0..count {
        let bits = 20 + rng.below(u64::from(width) - 19);
        some_bytes(t, rng.word() & ((1 << bits) - 1) & !(PAGE - 1), &mut rng);
    }
    across(t);
    line!("  every byte of {edges} pages, some of {count} others");
}

/// Whether nothing of the child's is at this page.
fn is_outside(page: u64) -> bool {
    let devices = [IO_APIC, rdmsr(msr::APIC_BASE) & 0xF_FFFF_FFFF_F000];
    page >= LEGACY_END && memory::kind_of(page).is_none() && !devices.contains(&page)
}

fn window(page: u64) -> u64 {
    paging::map(SLOT, page | PRESENT | WRITE | UNCACHED)
}

fn every_byte(t: &Checks, page: u64) {
    let address = window(page);
    let open = (0..PAGE).filter(|offset| !is_closed(address + offset, *offset as u8)).count();
    equal!(t, open, 0, "bytes of page {page:#x} that are there");
    paging::map(SLOT, 0);
}

fn some_bytes(t: &Checks, page: u64, rng: &mut Rng) {
    if !is_outside(page) {
        return;
    }
    let address = window(page);
    for _ in 0..4 {
        let offset = rng.below(PAGE);
        check!(
            t,
            is_closed(address + offset, rng.word() as u8),
            "byte {:#x} is there",
            page + offset
        );
    }
    paging::map(SLOT, 0);
}

/// Reads as on a bus where nobody answers, also after a write.
fn is_closed(address: u64, value: u8) -> bool {
    let is_open = || catch(|| peek8(address)).is_ok_and(|byte| byte != 0xFF);
    let was_open = is_open();
    let _ = catch(|| poke8(address, value));
    !was_open && !is_open()
}

/// An access that begins in the last bytes of memory reads no more than those.
fn across(t: &Checks) {
    let last = memory::map()
        .iter()
        .filter(|region| region.kind == Kind::RAM)
        .map(|region| region.end)
        .max();
    let Some(end) = last.filter(|end| is_outside(*end)) else {
        return t.fail(format_args!("the end of memory is not known"));
    };
    let address = paging::map(SLOT, (end - PAGE) | PRESENT | WRITE);
    paging::map(SLOT + 1, end | PRESENT | WRITE | UNCACHED);
    for inside in 1..8 {
        let read = catch(|| peek(address + PAGE - inside));
        let beyond = u64::MAX << (8 * inside);
        let is_closed = read.is_ok_and(|value| value & beyond == beyond) || read.is_err();
        check!(t, is_closed, "a read of {inside} bytes of memory and more: {read:x?}");
    }
    paging::map(SLOT, 0);
    paging::map(SLOT + 1, 0);
}
