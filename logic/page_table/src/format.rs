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
    /// In a leaf, set by the processor on any access.
    pub accessed: u64,
    /// In a leaf, set by the processor on a write.
    pub dirty: u64,
}

/// Bits 51:12, the physical address of an entry.
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// Marks an entry that is not present: whoever asks is told. Ignored by processors in every format here.
pub(crate) const MARK: u64 = 1 << 11;

/// In an entry for 2 MiB, leaf or mark, that is not dirty: the first of its 4 KiB pages from which on it still counts as dirty, 0 if none.
///
/// Nine of the bits that processors ignore: in nested tables 58:52 always and 60:59 while the hypervisor runs without
/// protection keys; in extended ones bits 52 to 60 while mode-based execution control, guest paging verification and
/// supervisor shadow stack control are off (SDM vol. 3, 28.3.2).
pub(crate) const DIRTY_FROM_SHIFT: u32 = 52;
/// The bits of that.
pub(crate) const DIRTY_FROM: u64 = 511 << DIRTY_FROM_SHIFT;

/// The hypervisor's own tables.
pub const LONG_MODE: Format = Format {
    present: flags::PRESENT,
    table: flags::PRESENT | flags::WRITE,
    leaf: flags::LEAF,
    address: ADDRESS,
    accessed: flags::ACCESSED,
    dirty: flags::DIRTY,
};

/// Nested tables of AMD-V.
pub const NESTED: Format = Format {
    present: flags::PRESENT,
    table: flags::PRESENT | flags::WRITE | flags::USER,
    leaf: flags::LEAF,
    address: ADDRESS,
    accessed: flags::ACCESSED,
    dirty: flags::DIRTY,
};

/// Entry bits of the extended (EPT) format of VT-x (SDM vol. 3, 28.3.2).
pub mod ept {
    /// Reads are allowed.
    pub const READ: u64 = 1 << 0;
    /// Writes are allowed.
    pub const WRITE: u64 = 1 << 1;
    /// Instruction fetches are allowed.
    pub const EXECUTE: u64 = 1 << 2;
    /// Leaf: memory type write-back; without it, uncached.
    pub const WRITE_BACK: u64 = 6 << 3;
    /// Leaf: the memory type above is used whatever the guest's PAT says.
    pub const IGNORE_PAT: u64 = 1 << 6;
    /// Leaf: set by the processor on any access, if the EPTP enables it.
    pub const ACCESSED: u64 = 1 << 8;
    /// Leaf: set by the processor on a write, if the EPTP enables it.
    pub const DIRTY: u64 = 1 << 9;
}

/// Extended tables of VT-x.
pub const EXTENDED: Format = Format {
    present: ept::READ | ept::WRITE | ept::EXECUTE,
    table: ept::READ | ept::WRITE | ept::EXECUTE,
    leaf: flags::LEAF,
    address: ADDRESS,
    accessed: ept::ACCESSED,
    dirty: ept::DIRTY,
};
