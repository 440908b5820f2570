//! The hypervisor's memory: a pool of frames, then its own address space.

use super::input::Input;
use crate::crash;
use crate::mem::{frames, phys, space};
use boot_plan::{End, Kind, PhysRange, Search};

/// Pool for the hypervisor itself and its first LPs.
const POOL_BASE: u64 = 1 << 20;
/// Pool for each LP: stacks, state, the parent's VP, shared pages, tables; and some room.
const POOL_PER_LP: u64 = 128 << 10;
/// Most large pages of the parent that can be split because single pages of them were deposited; a table each. With more
/// than 2 GiB of RAM, deposits that are spread over all of it fail in the end.
const SPLITS_MAX: u64 = 1024;
/// Pools are whole large pages, so that the parent's tables stay coarse around them.
const LARGE: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
const FOUR_GIB: u64 = 4 * GIB;

/// Takes a pool out of RAM, moves to the hypervisor's own address space, and returns the pool.
pub fn prepare(input: &Input, lps: usize) -> PhysRange {
    let lps = lps.min(crate::lp::MAX_LPS) as u64;
    let splits = (input.ram_total() / LARGE).min(SPLITS_MAX) * crate::mem::PAGE;
    let len = (POOL_BASE + lps * POOL_PER_LP + splits).next_multiple_of(LARGE);
    let (start, end) = space::image_range();
    let [kernel, initrd] = input.files();
    let search = Search {
        len,
        align: LARGE,
        within: PhysRange::new(1 << 20, FOUR_GIB),
        avoid: &[PhysRange::new(start, end), kernel, initrd],
        from: End::Top,
    };
    let Some(pool) = input.map.find_free(&search) else {
        crash::refuse(format_args!(
            "no {} KiB of free RAM below 4 GiB for the hypervisor",
            len >> 10
        ));
    };
    frames::init(pool.start, pool.len());
    let direct = direct_map(input);
    if space::build(&direct).is_none() {
        crash::refuse(format_args!("out of memory while the address space was built"));
    }
    space::activate();
    phys::set_mapped(direct);
    pool
}

/// RAM, and only RAM: what the direct map holds is what a guest may name as a parameter, and reading a device would have
/// effects.
fn direct_map(input: &Input) -> phys::Ranges {
    let mut direct = phys::Ranges::new();
    for region in input.map.regions().iter().filter(|region| region.kind == Kind::Ram) {
        let inside =
            PhysRange::new(region.range.start.next_multiple_of(crate::mem::PAGE), region.range.end);
        let end = inside.end & !(crate::mem::PAGE - 1);
        if inside.start < end {
            direct.push(inside.start, end);
        }
    }
    direct
}

/// Where the parent's tables end at first: everything that the memory map names, and all of the first 4 GiB.
pub fn premapped_end(input: &Input) -> u64 {
    let ram = input.map.regions().iter().filter(|region| region.kind == Kind::Ram);
    ram.map(|region| region.range.end).max().unwrap_or(0).max(FOUR_GIB).next_multiple_of(GIB)
}
