//! The dynamic header: where the block table is, and the parent.

use super::wire::{
    ABSOLUTE_PATH, BLOCK_SIZES, DynamicHeader, NOWHERE, ParentLocator, RELATIVE_PATH, SECTOR,
    checksum,
};
use crate::error::{Error, Result};
use crate::storage::{Storage, StorageExt};
use std::mem::offset_of;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const NAME: &str = "VHD dynamic header";
/// The longest path that is read, in bytes.
const PATH_MAX: u32 = 64 * 1024;

impl DynamicHeader {
    /// Of a new disk whose table has no place yet.
    pub fn new(block_size: u32) -> Self {
        let mut header = Self::new_zeroed();
        header.cookie = *b"cxsparse";
        header.data_offset = NOWHERE.into();
        header.version = 0x1_0000.into();
        header.block_size = block_size.into();
        header
    }

    /// With its checksum.
    pub fn sealed(mut self) -> Self {
        self.checksum = checksum(self.as_bytes(), offset_of!(Self, checksum)).into();
        self
    }

    /// Reads and checks one.
    pub fn read(storage: &dyn Storage, offset: u64) -> Result<Self> {
        let fail = |reason: String| Err(Error::malformed(NAME, offset, reason));
        if !offset.is_multiple_of(SECTOR) {
            return fail("does not start at a sector".to_owned());
        }
        if offset
            .checked_add(size_of::<Self>() as u64)
            .is_none_or(|end| end > storage.size().unwrap_or(0))
        {
            return fail("is not in the file".to_owned());
        }
        let bytes = storage.read_vec(offset, size_of::<Self>())?;
        let Ok(header) = Self::read_from_bytes(&bytes) else {
            return fail("is too short".to_owned());
        };
        if header.cookie != *b"cxsparse" {
            return fail("its cookie is not \"cxsparse\"".to_owned());
        }
        let (said, is) = (header.checksum.get(), checksum(&bytes, offset_of!(Self, checksum)));
        if said != is {
            return fail(format!("its checksum is {said:#010x}, its content gives {is:#010x}"));
        }
        if header.version.get() >> 16 != 1 {
            return fail(format!("its version is {:#x}, only 1.x is known", header.version.get()));
        }
        let block_size = u64::from(header.block_size.get());
        if !block_size.is_power_of_two() || !BLOCK_SIZES.contains(&block_size) {
            return fail(format!("the block size is {block_size}, no power of two in use"));
        }
        if !header.table_offset.get().is_multiple_of(SECTOR) {
            let place = header.table_offset.get();
            return fail(format!("the block table is at {place:#x}, which is no sector"));
        }
        Ok(header)
    }

    /// Where the parent may be, best first.
    pub fn parent_paths(&self, storage: &dyn Storage) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for platform in [RELATIVE_PATH, ABSOLUTE_PATH] {
            for locator in self.locators.iter().filter(|locator| locator.platform == platform) {
                let bytes = locator.read(storage)?;
                let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
                paths.extend(text(units));
            }
        }
        paths.extend(text(self.parent_name.iter().map(|unit| unit.get())));
        Ok(paths)
    }

    /// Writes a parent's name into the header, as far as it fits.
    pub fn set_parent_name(&mut self, name: &str) {
        for (place, unit) in self.parent_name.iter_mut().zip(name.encode_utf16()) {
            *place = unit.into();
        }
    }
}

impl ParentLocator {
    /// The path, as its platform writes it.
    pub fn read(&self, storage: &dyn Storage) -> Result<Vec<u8>> {
        let (offset, len) = (self.offset.get(), self.length.get());
        if len > PATH_MAX {
            let reason = format!("a parent's path takes {len} bytes");
            return Err(Error::malformed("VHD parent locator", offset, reason));
        }
        storage.read_vec(offset, len as usize)
    }
}

fn text(units: impl Iterator<Item = u16>) -> Option<String> {
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&units).ok().filter(|text| !text.is_empty())
}
