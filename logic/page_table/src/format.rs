//! What distinguishes one kind of table from another.

/// Size of one leaf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PageSize {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl PageSize {
    /// Bytes covered by a leaf of this size.
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// Base-2 logarithm of [`Self::bytes`].
    pub const fn shift(self) -> u32 {
        12 + 9 * self as u32
    }

    /// The leaf size of a table at `level` (0 = page table), if that level can hold leaves.
    pub(crate) const fn at_level(level: u32) -> Option<Self> {
        match level {
            0 => Some(Self::Small),
            1 => Some(Self::Large),
            2 => Some(Self::Huge),
            _ => None,
        }
    }
}

/// Entry bits of the long-mode format (AMD APM vol. 2, 5.3; the nested tables of AMD-V use the same, 15.25).
pub mod flags {
    /// The entry is valid.
    pub const PRESENT: u64 = 1 << 0;
    /// Writes are allowed.
    pub const WRITE: u64 = 1 << 1;
    /// User accesses are allowed. Every nested access counts as one.
    pub const USER: u64 = 1 << 2;
    /// Write-through; with [`UNCACHED`], the PAT index.
    pub const WRITE_THROUGH: u64 = 1 << 3;
    /// Cache disable.
    pub const UNCACHED: u64 = 1 << 4;
    /// Set by the processor on any access.
    pub const ACCESSED: u64 = 1 << 5;
    /// Set by the processor on a write (leaves only).
    pub const DIRTY: u64 = 1 << 6;
    /// In an upper table: this is a leaf.
    pub const LEAF: u64 = 1 << 7;
    /// Instruction fetches are refused.
    pub const NO_EXECUTE: u64 = 1 << 63;
}

/// How entries of one kind of table are written.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// An entry with any of these bits is valid.
    pub present: u64,
    /// Bits of an entry that points to a lower table.
    pub table: u64,
    /// Marks a leaf above the lowest level.
    pub leaf: u64,
    /// The physical address inside an entry.
    pub address: u64,
}

/// Bits 51:12, the physical address of an entry.
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// The hypervisor's own tables.
pub const LONG_MODE: Format = Format {
    present: flags::PRESENT,
    table: flags::PRESENT | flags::WRITE,
    leaf: flags::LEAF,
    address: ADDRESS,
};

/// Nested tables of AMD-V.
pub const NESTED: Format = Format {
    present: flags::PRESENT,
    table: flags::PRESENT | flags::WRITE | flags::USER,
    leaf: flags::LEAF,
    address: ADDRESS,
};
