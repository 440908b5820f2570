//! Tests that need a machine's memory: here a byte vector.

mod load;
mod multiboot1;
mod multiboot2;
mod random;

use crate::phys::{OutOfRange, PhysRead};
use crate::range::PhysRange;
use bootdef::linux::{BOOT_FLAG, HEADER_MAGIC, HEADER_OFFSET, SetupHeader, loadflags, xloadflags};
use std::vec::Vec;
use zerocopy::{FromZeros, Immutable, IntoBytes};

const MIB: u64 = 1 << 20;

/// Physical memory from 0 on; anything beyond cannot be read.
pub(crate) struct Ram(pub Vec<u8>);

impl PhysRead for Ram {
    fn read(&self, phys: u64, buf: &mut [u8]) -> Result<(), OutOfRange> {
        let start = usize::try_from(phys).map_err(|_| OutOfRange)?;
        let end = start.checked_add(buf.len()).ok_or(OutOfRange)?;
        buf.copy_from_slice(self.0.get(start..end).ok_or(OutOfRange)?);
        Ok(())
    }
}

impl Ram {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(std::vec![0; bytes as usize])
    }

    /// Writes `value` at `at` and says where it ends.
    pub(crate) fn put<T: IntoBytes + Immutable + ?Sized>(&mut self, at: u64, value: &T) -> u64 {
        let bytes = value.as_bytes();
        self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        at + bytes.len() as u64
    }

    /// Writes words one after the other.
    pub(crate) fn words(&mut self, at: u64, words: &[u32]) -> u64 {
        words.iter().fold(at, |at, word| self.put(at, word))
    }

    pub(crate) fn bytes(&self, range: PhysRange) -> &[u8] {
        &self.0[range.start as usize..range.end as usize]
    }
}

/// A setup header like Linux 7.3's, for a small kernel.
pub(crate) fn header() -> SetupHeader {
    let mut header = SetupHeader::new_zeroed();
    header.setup_sects = 3;
    header.boot_flag.set(BOOT_FLAG);
    header.jump = [0xEB, 0x6A];
    header.magic.set(HEADER_MAGIC);
    header.version.set(0x020F);
    header.loadflags = loadflags::LOADED_HIGH | loadflags::CAN_USE_HEAP;
    header.initrd_addr_max.set(0x7FFF_FFFF);
    header.kernel_alignment.set(0x20_0000);
    header.relocatable_kernel = 1;
    header.min_alignment = 21;
    header.xloadflags.set(xloadflags::KERNEL_64 | xloadflags::CAN_BE_LOADED_ABOVE_4G);
    header.cmdline_size.set(2047);
    header.pref_address.set(2 * MIB);
    header.init_size.set(MIB as u32);
    header
}

/// Bytes of setup before the payload of an image with [`header`].
pub(crate) const SETUP: u64 = 4 * 512;

/// A bzImage with `header` and a payload of `payload` recognisable bytes (a multiple of 16).
pub(crate) fn image(mut header: SetupHeader, payload: u64) -> Vec<u8> {
    header.syssize.set((payload / 16) as u32);
    let mut image = std::vec![0xF4; SETUP as usize];
    image[HEADER_OFFSET..HEADER_OFFSET + size_of::<SetupHeader>()]
        .copy_from_slice(header.as_bytes());
    image.extend(pattern(payload, 7));
    image
}

/// `len` bytes that differ from place to place and from seed to seed.
pub(crate) fn pattern(len: u64, seed: u64) -> Vec<u8> {
    (0..len)
        .map(|at| (at.wrapping_mul(0x9E37_79B9) >> 13).wrapping_add(at + seed * 31) as u8)
        .collect()
}
