//! Children with more VPs than the machine could have processors.

use super::children::{self, create, deposit, disable, enable, fast, hear, map, rep};
use super::subject::{enter_paging, set_of};
use guests::clock::wait_until;
use guests::cpu::{cli, peek32, poke, poke32, sti_hlt};
use guests::hypercall::{Answer, SELF, with_input};
use guests::report::Checks;
use guests::{check, equal, memory, smp};
use hvdef::register::RegisterName as N;
use hvdef::stats::StatsObjectType;
use hvdef::{HvStatus, HypercallCode as C};

/// Children of which each VP has a page of statistics, and VPs of each.
const CHILDREN: usize = 2;
const VPS: u64 = 150;
/// Pages for such a child.
const DEPOSIT: u64 = 500;

/// The VP that a flush must reach: so many are before it.
const READER: u64 = 69;
/// How often it is tried.
const ROUNDS: u32 = 100;

/// In 32-bit code of VP 0: FLUSH_VIRTUAL_ADDRESS_SPACE with the input at 0x7000, the result to 0x2010, and `out 0x80, al`.
const FLUSHER_AT: u64 = 0x1000;
const FLUSHER: [u8; 30] = [
    0xB8, 0x02, 0x00, 0x00, 0x00, 0x31, 0xD2, // mov eax, 2; xor edx, edx
    0xB9, 0x00, 0x70, 0x00, 0x00, 0x31, 0xDB, // mov ecx, 0x7000; xor ebx, ebx
    0x31, 0xF6, 0x31, 0xFF, // xor esi, esi; xor edi, edi
    0x0F, 0x01, 0xD9, // vmmcall
    0xA3, 0x10, 0x20, 0x00, 0x00, // mov [0x2010], eax
    0xE6, 0x80, // out 0x80, al
    0xEB, 0xFE, // jmp $
];
/// `1: mov eax, [WINDOW]; mov [SEEN], eax; inc dword [COUNT]; jmp 1b`.
const LOOP_AT: u64 = 0x1100;
const LOOP: [u8; 18] = [
    0xA1, 0x00, 0x00, 0x40, 0x00, 0xA3, 0x00, 0x20, 0x00, 0x00, 0xFF, 0x05, 0x04, 0x20, 0x00, 0x00,
    0xEB, 0xEE,
];
const SEEN: u64 = 0x2000;
const COUNT: u64 = 0x2004;
const RESULT: u64 = 0x2010;
/// Page directory, the table behind the window at 4 MiB, the two pages that it shows, and the hypercall's input.
const DIRECTORY: u64 = 0x3000;
const TABLE: u64 = 0x4000;
const SHOWN: [u64; 2] = [0x5000, 0x6000];
const INPUT: u64 = 0x7000;

/// All of it.
pub fn run(t: &Checks) {
    statistics(t);
    if smp::count() > 1 {
        let messages = enable();
        flushes(t, messages);
        disable();
    }
}

/// Every VP has its page of statistics, also the last of many.
fn statistics(t: &Checks) {
    let pages = [(); CHILDREN].map(|()| memory::pages(DEPOSIT));
    let ids = pages.map(|pages| made(t, pages, DEPOSIT, VPS));
    for id in ids.into_iter().flatten() {
        equal!(
            t,
            map_statistics(StatsObjectType::PARTITION, id, 0),
            HvStatus::SUCCESS,
            "partition"
        );
        for vp in 0..VPS {
            let status = map_statistics(StatsObjectType::VP, id, vp);
            equal!(t, status, HvStatus::SUCCESS, "statistics of VP {vp} of partition {id}");
        }
    }
    for id in ids.into_iter().flatten() {
        for vp in 0..VPS {
            let status = unmap_statistics(StatsObjectType::VP, id, vp);
            equal!(t, status, HvStatus::SUCCESS, "end of statistics of VP {vp} of partition {id}");
        }
        equal!(t, unmap_statistics(StatsObjectType::PARTITION, id, 0), HvStatus::SUCCESS, "end");
        end(t, id, DEPOSIT);
    }
}

/// A flush of a partition's translations reaches all of its VPs.
fn flushes(t: &Checks, messages: u64) {
    let pages = memory::pages(children::DEPOSIT);
    let Some(id) = made(t, pages, children::DEPOSIT, READER + 1) else { return };
    let ram = memory::pages(children::MEMORY);
    memory::put(ram + FLUSHER_AT, &FLUSHER);
    memory::put(ram + LOOP_AT, &LOOP);
    // 4 MiB as they are, and the table.
    poke(ram + DIRECTORY, 0x83 | (TABLE | 3) << 32);
    for page in SHOWN {
        poke32(ram + page, page as u32);
    }
    // All processors, all address spaces.
    poke(ram + INPUT + 8, 3);
    equal!(t, map(id, ram).status(), HvStatus::SUCCESS, "map");
    let intercepts = children::state_page(t, id, 1);
    enter_paging(t, (id, 0), DIRECTORY, FLUSHER_AT);
    enter_paging(t, (id, READER), DIRECTORY, LOOP_AT);
    poke32(ram + TABLE, SHOWN[0] as u32 | 3);
    equal!(t, set_of((id, READER), &[(N::EXPLICIT_SUSPEND, 0, 0)]), HvStatus::SUCCESS, "start");
    for round in 0..ROUNDS {
        let shown = SHOWN[round as usize % 2];
        check!(t, counts_on(ram), "the reader does not run");
        poke32(ram + TABLE, shown as u32 | 3);
        let start =
            [(N::RIP, FLUSHER_AT, 0), (N::INTERCEPT_SUSPEND, 0, 0), (N::EXPLICIT_SUSPEND, 0, 0)];
        equal!(t, set_of((id, 0), &start), HvStatus::SUCCESS, "start of the flush");
        check!(t, hear(t, id, messages, sleep), "no end of the flush");
        equal!(t, peek32(intercepts), children::IO_PORT, "intercept");
        equal!(t, peek32(ram + RESULT) & 0xFFFF, 0, "status of the flush");
        check!(t, counts_on(ram), "the reader does not run");
        equal!(t, u64::from(peek32(ram + SEEN)), shown, "round {round}: what the reader sees");
    }
    let unmapped = with_input(C::UNMAP_VP_STATE_PAGE.0.into(), &[id, 1 << 32]);
    equal!(t, unmapped.status(), HvStatus::SUCCESS, "unmap state page");
    end(t, id, children::DEPOSIT);
}

/// Leaves this processor to the VP that flushes: the reader is not to be disturbed on the other one.
fn sleep() {
    sti_hlt();
    cli();
}

/// The reader has begun and ended a round since this was called.
fn counts_on(ram: u64) -> bool {
    let before = peek32(ram + COUNT);
    wait_until(5000, || peek32(ram + COUNT).wrapping_sub(before) >= 2)
}

/// A partition with VPs.
fn made(t: &Checks, pages: u64, count: u64, vps: u64) -> Option<u64> {
    let id = create(t)?;
    equal!(t, deposit(id, pages, count).status(), HvStatus::SUCCESS, "deposit");
    equal!(t, fast(C::INITIALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "initialize");
    for vp in 0..vps {
        let made = with_input(C::CREATE_VP.0.into(), &[id, vp, 0, 0, 0]);
        equal!(t, made.status(), HvStatus::SUCCESS, "VP {vp}");
    }
    Some(id)
}

/// Takes a partition apart.
fn end(t: &Checks, id: u64, deposited: u64) {
    equal!(t, fast(C::FINALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "finalize");
    let answer = with_input(rep(C::WITHDRAW_MEMORY, 511), &[id, 0]);
    equal!(t, (answer.status(), answer.reps()), (HvStatus::NO_RESOURCES, deposited), "withdrawal");
    equal!(t, fast(C::DELETE_PARTITION, id).status(), HvStatus::SUCCESS, "delete");
}

fn statistics_call(code: C, object: StatsObjectType, id: u64, vp: u64) -> Answer {
    with_input(code.0.into(), &[object.0.into(), id, vp])
}

/// Maps a page of statistics, and gives the parent's pool what that needs.
fn map_statistics(object: StatsObjectType, id: u64, vp: u64) -> HvStatus {
    loop {
        match statistics_call(C::MAP_STATS_PAGE, object, id, vp).status() {
            HvStatus::INSUFFICIENT_MEMORY if deposit(SELF, memory::pages(1), 1).is_success() => {}
            status => return status,
        }
    }
}

fn unmap_statistics(object: StatsObjectType, id: u64, vp: u64) -> HvStatus {
    statistics_call(C::UNMAP_STATS_PAGE, object, id, vp).status()
}
