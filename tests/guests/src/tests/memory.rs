//! The hypervisor's memory: neither to be read nor written nor executed nor used as page tables.
#![expect(unsafe_code, reason = "executes what is not its own")]

use super::Job;
use super::works;
use core::sync::atomic::{AtomicU64, Ordering};
use guests::cpu::{self, peek, rdmsr};
use guests::hypercall::{self, SELF, with_input};
use guests::memory::{self, Kind, PAGE};
use guests::paging::{self, PRESENT, WRITE};
use guests::report::Checks;
use guests::trap::{Trap, catch};
use guests::{boot, check, equal, line, smp};
use hvdef::msr as hv;

const SLOT: usize = 300;

/// All of it.
pub fn run(t: &Checks) {
    let found = Found::scan();
    line!(
        "  {} pages not accessible, {} all ones, first {:#x}",
        found.closed,
        found.ones,
        found.first
    );
    amount(t, &found);
    if found.first != 0 {
        closed_page(t, found.first);
        for index in smp::others() {
            let job = |page| assert!(is_closed(page), "readable");
            equal!(
                t,
                smp::run(index, 1000, job, found.first),
                Ok(()),
                "hypervisor's memory on processor {index}"
            );
        }
    }
    shared_pages(t);
    if found.first != 0 && smp::count() > 1 {
        stack(t, found.first);
    }
    given_ranges(t);
    own_memory(t);
    device_memory(t);
    let after = Found::scan();
    equal!(t, after.closed, found.closed, "pages not accessible, at the end");
}

/// The first page that the hypervisor keeps to itself; 0 if there is none to be found.
pub fn first_closed() -> u64 {
    Found::scan().first
}

/// What the memory map calls reserved, page by page.
struct Found {
    closed: u64,
    ones: u64,
    first: u64,
}

impl Found {
    fn scan() -> Self {
        let mut found = Self { closed: 0, ones: 0, first: 0 };
        for region in memory::map().iter().filter(|region| region.kind == Kind::RESERVED) {
            // Larger ones are device windows; the hypervisor's memory is RAM.
            let end = region.end.min(1 << 32);
            if end.saturating_sub(region.start) > 64 << 20 {
                continue;
            }
            for page in (region.start.next_multiple_of(PAGE)..end).step_by(PAGE as usize) {
                match catch(|| peek(page)) {
                    Ok(u64::MAX) if (0..8).all(|i| peek(page + 512 * i) == u64::MAX) => {
                        found.ones += 1
                    }
                    Ok(_) => {}
                    Err(_) => {
                        found.closed += 1;
                        if found.first == 0 {
                            found.first = page;
                        }
                    }
                }
            }
        }
        found
    }
}

fn is_closed(page: u64) -> bool {
    match catch(|| peek(page)) {
        Err(_) => true,
        Ok(value) => value == u64::MAX,
    }
}

/// At least the image and the pool less what is shared, by the hypervisor's own account (`zemindef::info::HvInfo`).
fn amount(t: &Checks, found: &Found) {
    let answer = with_input(0x101, &[SELF, 0x5A_0003, 0]);
    if !check!(t, answer.is_success(), "the hypervisor's status property: {answer:x?}") {
        return;
    }
    let (pool, image) = (hypercall::output(11), hypercall::output(14));
    // Two pages of the partition, four for each VP, and those that the first VP starts on.
    let shared = 2 + 4 * smp::count() as u64 + 16;
    let least = (pool + image / PAGE).saturating_sub(shared);
    check!(
        t,
        found.closed + found.ones >= least,
        "{} of at least {least} pages are closed",
        found.closed + found.ones
    );
}

/// Every way to touch a page of the hypervisor's.
fn closed_page(t: &Checks, page: u64) {
    let ways: [Job; 7] = [
        ("read", |page| drop_value(peek(page + 64))),
        ("write", |page| cpu::poke(page + 64, 0x5A5A)),
        ("exchange", |page| unsafe {
            // SAFETY: faults.
            core::arch::asm!("xchg [{}], {}", in(reg) page, inout(reg) 1u64 => _);
        }),
        ("locked or", |page| unsafe {
            // SAFETY: faults.
            core::arch::asm!("lock or qword ptr [{}], 1", in(reg) page);
        }),
        ("string", |page| unsafe {
            // SAFETY: faults.
            core::arch::asm!("rep stosb", inout("rdi") page => _, inout("rcx") 64u64 => _, in("al") 0u8);
        }),
        ("access across its beginning", |page| drop_value(peek(page - 4))),
        ("execution", |page| unsafe {
            // SAFETY: does not get to execute anything.
            core::arch::asm!("call {}", in(reg) page, clobber_abi("C"));
        }),
    ];
    for (name, way) in ways {
        let result = catch(|| way(page));
        let silent_read = result.is_ok() && matches!(name, "read") && peek(page + 64) == u64::MAX;
        check!(
            t,
            result.is_err() || silent_read,
            "{name} of the hypervisor's page {page:#x} works"
        );
    }
    // As a page table: the processor reads it on the guest's behalf.
    let address = paging::table_window(7);
    paging::set_table(7, page | PRESENT | WRITE);
    let walked: Result<u64, Trap> = catch(|| peek(address));
    check!(t, walked.is_err(), "a page table in the hypervisor's memory translates to {walked:x?}");
    paging::set_table(7, 0);
    // By another address, uncached.
    let alias = paging::map(SLOT, page | PRESENT | WRITE | paging::UNCACHED);
    check!(t, is_closed(alias), "the hypervisor's page by another address");
    paging::map(SLOT, 0);
    still_closed(t, page);
}

fn still_closed(t: &Checks, page: u64) {
    check!(t, is_closed(page), "the hypervisor's page {page:#x} opened");
    let answer = with_input(4, &[0]);
    check!(t, answer.is_success(), "hypercalls after that: {answer:x?}");
}

fn drop_value(value: u64) {
    core::hint::black_box(value);
}

/// A stack there: the exception for it cannot be delivered on it either, so the double fault comes, on its own stack.
fn stack(t: &Checks, page: u64) {
    let push = |page: u64| {
        let result = catch(|| unsafe {
            // SAFETY: faults, and `catch` restores the stack.
            core::arch::asm!("mov rsp, {}", "push rax", in(reg) page + 128, options(noreturn));
        });
        assert!(
            result.is_err_and(|trap: Trap| trap.vector == 8),
            "another exception than the double fault"
        );
    };
    let result = smp::run(1, 2000, push, page);
    equal!(t, result, Ok(()), "a stack in the hypervisor's memory");
}

/// What the hypervisor shares can be read and written.
fn shared_pages(t: &Checks) {
    for index in [hv::REFERENCE_TSC, hv::VP_ASSIST_PAGE, hv::SIMP, hv::SIEFP, hv::SIRBP] {
        let page = rdmsr(index) & !(PAGE - 1);
        works(t, format_args!("page {page:#x} of MSR {index:#x}"), || {
            let end = page + PAGE - 8;
            let value = peek(end);
            cpu::poke(end, value);
        });
    }
}

fn given_ranges(t: &Checks) {
    for (start, end) in boot::args().hv_ranges.iter().flatten() {
        for page in (*start..*end).step_by(PAGE as usize) {
            let address =
                if page < 1 << 32 { page } else { paging::map(SLOT, page | PRESENT | WRITE) };
            if !check!(t, is_closed(address), "page {page:#x} of the given range is readable") {
                break;
            }
        }
    }
    paging::map(SLOT, 0);
}

/// All RAM of the map is there, and each page is its own.
fn own_memory(t: &Checks) {
    static SUM: AtomicU64 = AtomicU64::new(0);
    let (image_start, image_end) = memory::image();
    for region in memory::map().iter().filter(|region| region.kind == Kind::RAM) {
        let step = 4 << 20;
        for page in
            (region.start.next_multiple_of(PAGE)..region.end.saturating_sub(PAGE)).step_by(step)
        {
            if (image_start..image_end).contains(&page) {
                continue;
            }
            let address = paging::map(SLOT, page | PRESENT | WRITE);
            works(t, format_args!("RAM at {page:#x}"), || {
                let value = peek(address + 8);
                cpu::poke(address + 8, value);
                SUM.fetch_add(value, Ordering::Relaxed);
            });
        }
    }
    paging::map(SLOT, 0);
}

/// Addresses far above RAM: device memory that nobody could have named before. The tables for it may run out, the
/// hypervisor may not.
fn device_memory(t: &Checks) {
    let width = cpu::cpuid(0x8000_0008, 0)[0] & 0xFF;
    let mut refused = 0;
    for i in 0..400u64 {
        let address = (1 << (width - 1)) + i * 3 * (1 << 30);
        let alias = paging::map(
            SLOT,
            (address & ((1 << width) - 1) & !(PAGE - 1)) | PRESENT | WRITE | paging::UNCACHED,
        );
        refused += u64::from(catch(|| peek(alias)).is_err());
    }
    paging::map(SLOT, 0);
    line!("  {refused} of 400 addresses above RAM refused");
    let answer = with_input(4, &[0]);
    check!(t, answer.is_success(), "hypercalls after that: {answer:x?}");
}
