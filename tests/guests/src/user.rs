//! A short stay in ring 3.
#![expect(unsafe_code, reason = "leaves the kernel's privilege level")]

use crate::memory::{self, PAGE};
use crate::paging::{self, PRESENT, USER, WRITE};
use crate::tables::{self, USER_CODE, USER_DATA};
use crate::trap::{self, Trap};
use core::arch::asm;

/// Window pages: code, then stack, for each processor.
const FIRST_SLOT: usize = 480;
static PAGES: [core::sync::atomic::AtomicU64; tables::MAX_CPUS] =
    [const { core::sync::atomic::AtomicU64::new(0) }; tables::MAX_CPUS];

/// Where the code of the calling processor's stay begins.
pub fn code_address() -> u64 {
    paging::window(FIRST_SLOT + 2 * tables::this().number())
}

/// Runs `code`, machine code of at most 4000 bytes, in ring 3 with interrupts as `flags` say, until an exception.
/// Its RAX to RDX start as given.
pub fn run(code: &[u8], registers: [u64; 4], flags: u64) -> Trap {
    use core::sync::atomic::Ordering::Relaxed;
    let index = tables::this().number();
    if PAGES[index].load(Relaxed) == 0 {
        PAGES[index].store(memory::pages(2), Relaxed);
    }
    let pages = PAGES[index].load(Relaxed);
    let slot = FIRST_SLOT + 2 * index;
    memory::fill(pages, PAGE, 0xCC);
    memory::put(pages, code);
    let entry = paging::map(slot, pages | PRESENT | USER);
    let stack = paging::map(slot + 1, (pages + PAGE) | PRESENT | WRITE | USER) + PAGE - 64;
    let [a, b, c, d] = registers;
    let frame = [entry, u64::from(USER_CODE), flags | 2, stack, u64::from(USER_DATA)];
    let result = trap::catch(|| {
        // SAFETY: only an exception comes back, to `catch`, which puts all registers right that the compiler relies on.
        unsafe {
            asm!(
                "mov rbx, {b}",
                "push [{f} + 32]", "push [{f} + 24]", "push [{f} + 16]", "push [{f} + 8]", "push [{f}]",
                "iretq",
                b = in(reg) b, f = in(reg) &frame, in("rax") a, in("rcx") c, in("rdx") d, options(noreturn),
            );
        }
    });
    match result {
        Err(trap) => trap,
        Ok(()) => unreachable!("ring 3 returns by exception only"),
    }
}
