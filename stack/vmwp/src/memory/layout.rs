//! What lies where in guest-physical space. Everything here is arithmetic.
//!
//! ```text
//!         0 ─ 0x9FC00     RAM; boot structures below 0x90000
//!   0x9FC00 ─ 0x100000    not usable: EBDA, VGA hole; ACPI tables from 0xE0000
//!  0x100000 ─ low_end     RAM, at most to 3 GiB
//!    3 GiB  ─ 4 GiB       the hole: VMBus window 0xE0000000–0xFEBFFFFF, IOAPIC, local APIC
//!    4 GiB  ─ high_end    the rest of RAM
//!   60 GiB  ─ 64 GiB      VMBus window (behind RAM if there is more RAM than that)
//! ```

use thiserror::Error;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// RAM sizes are multiples of this, so that large pages always fit.
pub const GRANULE: u64 = 2 * MIB;
/// The least that a Linux kernel can be expected to start in.
pub const RAM_MIN: u64 = 32 * MIB;
/// The most; page tables and the high window end below it in any case.
pub const RAM_MAX: u64 = 12 << 40;

/// End of the memory that real-mode software may use.
pub const LOW_MEMORY_END: u64 = 0x9_FC00;
/// Where ACPI tables are, to [`HIGH_MEMORY_START`]. Software searches for the RSDP here.
pub const ACPI_START: u64 = 0xE_0000;
/// Where real-mode software jumps to start the machine anew, and where the tables end.
pub const RESET_VECTOR: u64 = 0xF_FFF0;
/// First megabyte's end.
pub const HIGH_MEMORY_START: u64 = MIB;
/// Where the hole below 4 GiB begins at the earliest.
pub const HOLE_START: u64 = 3 * GIB;
/// Where it ends.
pub const HOLE_END: u64 = 4 * GIB;
/// The IOAPIC's registers.
pub const IOAPIC_BASE: u64 = 0xFEC0_0000;
/// The local APICs' registers, served by the hypervisor.
pub const LOCAL_APIC_BASE: u64 = 0xFEE0_0000;

const LOW_WINDOW: Range = Range { start: 0xE000_0000, end: IOAPIC_BASE };
const HIGH_WINDOW_START: u64 = 60 * GIB;
const HIGH_WINDOW_SIZE: u64 = 4 * GIB;

/// Addresses from `start` up to, but not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
}

impl Range {
    /// Bytes.
    pub const fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Whether `address` is in it.
    pub const fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// Whether the two have an address in common.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// A memory size that no VM can have.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Too small.
    #[error("{0} bytes of memory are too few: a VM has at least 32 MiB")]
    TooSmall(u64),
    /// Too large.
    #[error("{0} bytes of memory are too many: a VM has at most 12 TiB")]
    TooLarge(u64),
    /// Not whole large pages.
    #[error("{0} bytes of memory are not a multiple of 2 MiB")]
    Unaligned(u64),
}

/// What an entry of the firmware's memory map means to the guest; numbers as in E820.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionKind {
    /// RAM.
    Ram = 1,
    /// Not to be touched.
    Reserved = 2,
    /// ACPI tables.
    Acpi = 3,
}

/// A VM's address space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryLayout {
    low_end: u64,
    high_end: u64,
}

impl MemoryLayout {
    /// For `size` bytes of RAM.
    pub fn new(size: u64) -> Result<Self, LayoutError> {
        if size < RAM_MIN {
            return Err(LayoutError::TooSmall(size));
        }
        if size > RAM_MAX {
            return Err(LayoutError::TooLarge(size));
        }
        if !size.is_multiple_of(GRANULE) {
            return Err(LayoutError::Unaligned(size));
        }
        let low_end = size.min(HOLE_START);
        Ok(Self { low_end, high_end: HOLE_END + (size - low_end) })
    }

    /// The ranges with RAM behind them: one, or two with the hole between.
    pub fn ram(&self) -> Vec<Range> {
        let mut ranges = vec![Range { start: 0, end: self.low_end }];
        if self.high_end > HOLE_END {
            ranges.push(Range { start: HOLE_END, end: self.high_end });
        }
        ranges
    }

    /// Where RAM below the hole ends.
    pub const fn low_end(&self) -> u64 {
        self.low_end
    }

    /// Addresses for devices on VMBus, below 4 GiB and above RAM.
    pub fn vmbus_windows(&self) -> [Range; 2] {
        let start = self.high_end.next_multiple_of(GIB).max(HIGH_WINDOW_START);
        [LOW_WINDOW, Range { start, end: start + HIGH_WINDOW_SIZE }]
    }

    /// The memory map as the firmware would tell it.
    pub fn map(&self) -> Vec<(Range, RegionKind)> {
        let entry = |start, end, kind| (Range { start, end }, kind);
        let mut map = vec![
            entry(0, LOW_MEMORY_END, RegionKind::Ram),
            entry(LOW_MEMORY_END, 640 * KIB, RegionKind::Reserved),
            entry(ACPI_START, HIGH_MEMORY_START, RegionKind::Acpi),
            entry(HIGH_MEMORY_START, self.low_end, RegionKind::Ram),
        ];
        if self.high_end > HOLE_END {
            map.push(entry(HOLE_END, self.high_end, RegionKind::Ram));
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_machine_has_no_memory_above_the_hole() {
        let layout = MemoryLayout::new(512 * MIB).unwrap();
        assert_eq!(layout.ram(), [Range { start: 0, end: 512 * MIB }]);
        assert_eq!(layout.map().len(), 4);
        assert_eq!(layout.map()[3].0, Range { start: MIB, end: 512 * MIB });
    }

    #[test]
    fn memory_beyond_three_gib_continues_at_four() {
        let layout = MemoryLayout::new(5 * GIB).unwrap();
        assert_eq!(layout.ram()[1], Range { start: 4 * GIB, end: 6 * GIB });
        let exact = MemoryLayout::new(3 * GIB).unwrap();
        assert_eq!(exact.ram().len(), 1);
    }

    #[test]
    fn the_high_window_moves_out_of_the_way() {
        let small = MemoryLayout::new(GIB).unwrap();
        assert_eq!(small.vmbus_windows()[1].start, 60 * GIB);
        let large = MemoryLayout::new(100 * GIB + GRANULE).unwrap();
        assert_eq!(large.vmbus_windows()[1].start, 102 * GIB);
    }

    #[test]
    fn impossible_sizes_are_named() {
        assert_eq!(MemoryLayout::new(MIB), Err(LayoutError::TooSmall(MIB)));
        assert_eq!(MemoryLayout::new(64 * MIB + 1), Err(LayoutError::Unaligned(64 * MIB + 1)));
        assert_eq!(
            MemoryLayout::new(RAM_MAX + GRANULE),
            Err(LayoutError::TooLarge(RAM_MAX + GRANULE))
        );
    }

    proptest! {
        #[test]
        fn nothing_overlaps_and_nothing_is_lost(granules in 16u64..6_000_000) {
            let layout = MemoryLayout::new(granules * GRANULE).unwrap();
            let ram = layout.ram();
            prop_assert_eq!(ram.iter().map(Range::size).sum::<u64>(), granules * GRANULE);
            let hole = [
                Range { start: IOAPIC_BASE, end: IOAPIC_BASE + 0x1000 },
                Range { start: LOCAL_APIC_BASE, end: LOCAL_APIC_BASE + 0x1000 },
            ];
            let all: Vec<_> = ram.iter().chain(&layout.vmbus_windows()).chain(&hole).copied().collect();
            for (number, one) in all.iter().enumerate() {
                prop_assert!(all[number + 1..].iter().all(|other| !one.overlaps(other)));
            }
            let map = layout.map();
            for pair in map.windows(2) {
                prop_assert!(pair[0].0.end <= pair[1].0.start, "the map is in order");
            }
            for (range, _) in &map {
                prop_assert!(ram.iter().any(|ram| ram.start <= range.start && range.end <= ram.end));
            }
        }
    }
}
