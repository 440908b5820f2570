//! Linux kernels, unpacked once and kept as they lie in memory.
//!
//! A bzImage is a small program that unpacks the kernel, and moves it to addresses of its own choice. Of what a guest does from
//! its first instruction to its init, that is nearly half, and it is the same each time. So it is done once, outside the guest:
//!
//! ```text
//!  bzImage ─[Packed]─▶ payload ─▶ ELF file + places to relocate ─[Kernel]─▶ kept file ─[Kept]─▶ guest memory
//!           header      zstd       checked: every place lies in the image      relocated for this start
//! ```
//!
//! The payload is described by the boot protocol (Documentation/arch/x86/boot.rst, `payload_offset`); what is in it is Linux'
//! own business: an ELF file, and behind it the places that hold addresses (arch/x86/boot/compressed/misc.c,
//! `handle_relocations`). What is not exactly that is refused, and the guest can still unpack it by itself.
//!
//! What must always hold: kernels come from guests' disks. Whatever is in them, unpacking ends, in bounded memory, in a
//! [`Kernel`] that changes nothing outside of itself, or in an [`Error`].
#![forbid(unsafe_code)]

mod elf;
mod error;
mod kept;
mod packed;
mod relocations;

pub use error::Error;
pub use kept::{Kept, SUFFIX, file_name};
pub use relocations::{Change, Relocations};

use packed::Packed;

/// A kernel as it lies in memory, linked for [`Kernel::base`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Physical address for which it is linked: the `pref_address` of its header.
    pub base: u64,
    /// Its first instruction, in bytes from the beginning.
    pub entry: u64,
    /// What lies there.
    pub image: Vec<u8>,
    /// What depends on its virtual address. None if it must stay where it is.
    pub relocations: Relocations,
}

impl Kernel {
    /// Unpacks a bzImage.
    ///
    /// # Errors
    ///
    /// What is not as Linux' build makes it, or is compressed by something else than zstd.
    pub fn unpack(bzimage: &[u8]) -> Result<Self, Error> {
        let packed = Packed::find(bzimage)?;
        elf::load(&packed, &packed.unpack()?)
    }
}

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
