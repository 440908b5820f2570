//! A kernel that was unpacked before: put where it runs, and moved to the addresses that it would have chosen by itself.
//!
//! What stands here in the place of Linux' own code is the choice of those addresses (arch/x86/boot/compressed/kaslr.c) and the
//! changes that follow from it (`handle_relocations` in misc.c there).

use super::bzimage::KernelHeader;
use kernel_image::{Change, Kept};
use std::fs::File;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

/// Virtual room for a kernel that can be moved, from `__START_KERNEL_map` on (`KERNEL_IMAGE_SIZE`).
const VIRTUAL_ROOM: u64 = 1 << 30;
/// Words of the command line with which memory is not what the memory map says. Such kernels stay where they are linked.
const MEMORY_OPTIONS: [&str; 4] = ["mem=", "memmap=", "hugepages=", "movable_node"];

/// Where a kernel goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Physical address.
    pub(super) physical: u64,
    /// How far it is from the virtual address for which it is linked.
    pub(super) shift: u64,
    /// Both were chosen at random.
    pub(super) is_random: bool,
}

impl Place {
    /// Chooses one below physical address `end`, by two random numbers.
    pub(super) fn choose(
        header: &KernelHeader,
        cmdline: &str,
        is_movable: bool,
        end: u64,
        random: [u64; 2],
    ) -> Self {
        let mut words = cmdline.split_ascii_whitespace();
        let is_random = is_movable && words.all(|word| word != "nokaslr");
        if !is_random {
            return Self { physical: header.base, shift: 0, is_random };
        }
        let stays = cmdline
            .split_ascii_whitespace()
            .any(|word| MEMORY_OPTIONS.iter().any(|option| word.starts_with(option)));
        let end = if stays { 0 } else { end };
        let [physical, shift] = random;
        Self {
            physical: header.base + header.slot(end, physical),
            shift: header.slot(VIRTUAL_ROOM, shift),
            is_random,
        }
    }
}

/// Two random numbers.
pub(super) fn random() -> std::io::Result<[u64; 2]> {
    let mut bytes = [[0; 8]; 2];
    let all = bytes.as_flattened_mut();
    let got = rustix::rand::getrandom(&mut *all, rustix::rand::GetRandomFlags::empty())?;
    if got < all.len() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.map(u64::from_ne_bytes))
}

/// Puts the kernel there. Its first instruction.
pub(super) fn load(
    kept: &mut Kept<File>,
    place: Place,
    memory: &GuestMemoryMmap,
) -> anyhow::Result<u64> {
    let (at, len) = (GuestAddress(place.physical), kept.len as usize);
    memory.read_exact_volatile_from(at, kept.image()?, len)?;
    let image = memory.get_slice(at, len)?;
    if place.shift != 0 {
        relocate(&image, kept, place.shift)?;
    }
    Ok(place.physical + kept.entry)
}

fn relocate(image: &VolatileSlice<'_>, kept: &Kept<File>, shift: u64) -> anyhow::Result<()> {
    let narrow = |place: usize, shift: u32| {
        let value: u32 = image.read_obj(place)?;
        image.write_obj(value.wrapping_add(shift), place)
    };
    for (change, places) in kept.relocations.lists() {
        let mut places = places.iter().map(|&place| place as usize);
        match change {
            Change::Add64 => places.try_for_each(|place| {
                let value: u64 = image.read_obj(place)?;
                image.write_obj(value.wrapping_add(shift), place)
            }),
            Change::Add32 => places.try_for_each(|place| narrow(place, shift as u32)),
            Change::Subtract32 => {
                places.try_for_each(|place| narrow(place, (shift as u32).wrapping_neg()))
            }
        }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: KernelHeader =
        KernelHeader { base: 16 << 20, init_size: 0x37D_E000, alignment: 2 << 20 };

    fn choose(cmdline: &str, end: u64, random: [u64; 2]) -> Place {
        Place::choose(&HEADER, cmdline, true, end, random)
    }

    #[test]
    fn places_are_within_bounds_and_reach_them() {
        let end = 256 << 20;
        assert_eq!(
            choose("", end, [0; 2]),
            Place { physical: 16 << 20, shift: 0, is_random: true }
        );
        // 55.9 MiB: slots to 200 MiB, and virtually to 968 MiB.
        let slots = [(200 - 16) / 2 + 1, (968 - 16) / 2 + 1];
        let last = choose("", end, slots.map(|slots| slots - 1));
        assert_eq!((last.physical, last.shift), (200 << 20, (968 - 16) << 20));
        assert_eq!(choose("quiet", end, slots), choose("", end, [0; 2]));
        // No room beyond its own.
        assert_eq!(choose("", (16 << 20) + HEADER.init_size, [7; 2]).physical, 16 << 20);
    }

    #[test]
    fn who_asks_for_it_gets_a_kernel_where_it_is_linked() {
        let fixed = Place { physical: 16 << 20, shift: 0, is_random: false };
        assert_eq!(choose("quiet nokaslr", 1 << 30, [9; 2]), fixed);
        assert_eq!(Place::choose(&HEADER, "", false, 1 << 30, [9; 2]), fixed);
        for option in ["mem=300M", "x memmap=4M!100M"] {
            let place = choose(option, 1 << 30, [9; 2]);
            assert_eq!((place.physical, place.shift), (16 << 20, 18 << 20), "{option}");
        }
    }
}
