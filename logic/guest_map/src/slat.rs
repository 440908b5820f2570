//! Rights and caching as the two second-level formats write them.

use page_table::{EXTENDED, Format, NESTED, ept, flags};

/// What the partition may do with a page. Every mapped page is readable: neither format can say otherwise for pages
/// that can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    /// Write.
    pub write: bool,
    /// Fetch instructions, in any mode.
    pub execute: bool,
}

/// How a page is cached, as far as the hypervisor decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caching {
    /// Write-back: memory.
    WriteBack,
    /// Uncached: devices.
    Uncached,
}

/// One second-level format.
#[derive(Clone, Copy, Debug)]
pub struct Slat {
    pub(crate) format: Format,
    /// Bits of every leaf.
    base: u64,
    write: u64,
    execute: u64,
    no_execute: u64,
    write_back: u64,
    uncached: u64,
}

/// Nested paging of AMD-V (APM vol. 2, 15.25). Uncached is PAT entry 3, which has its reset value.
pub const AMD_NESTED: Slat = Slat {
    format: NESTED,
    base: flags::PRESENT | flags::USER,
    write: flags::WRITE,
    execute: 0,
    no_execute: flags::NO_EXECUTE,
    write_back: 0,
    uncached: flags::UNCACHED | flags::WRITE_THROUGH,
};

/// Extended page tables of VT-x (SDM vol. 3, 28.3).
pub const INTEL_EXTENDED: Slat = Slat {
    format: EXTENDED,
    base: ept::READ,
    write: ept::WRITE,
    execute: ept::EXECUTE,
    no_execute: 0,
    write_back: ept::WRITE_BACK,
    uncached: 0,
};

impl Slat {
    /// Bits of a leaf. Unless writes are tracked it counts as accessed and dirty from the start, which spares the
    /// processor the update.
    pub(crate) const fn leaf(&self, rights: Rights, caching: Caching, tracking: bool) -> u64 {
        let write = if rights.write { self.write } else { 0 };
        let execute = if rights.execute { self.execute } else { self.no_execute };
        let caching = match caching {
            Caching::WriteBack => self.write_back,
            Caching::Uncached => self.uncached,
        };
        let used = if tracking { 0 } else { self.format.accessed | self.format.dirty };
        self.base | write | execute | caching | used
    }

    /// The rights that a leaf gives.
    pub(crate) const fn rights(&self, leaf: u64) -> Rights {
        Rights {
            write: leaf & self.write != 0,
            execute: leaf & self.execute == self.execute && leaf & self.no_execute == 0,
        }
    }
}
