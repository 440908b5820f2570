//! The footer: what the disk is, and how large.

use super::wire::{
    DIFFERENCING, DYNAMIC, FIXED, FOOTER_LEN, Footer, Geometry, NOWHERE, SECTOR, SIZE_MAX, checksum,
};
use crate::error::{Error, Result};
use crate::storage::{Storage, StorageExt};
use std::mem::offset_of;
use std::time::{Duration, SystemTime};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const NAME: &str = "VHD footer";
/// 2000-01-01 00:00 UTC in seconds since 1970.
const EPOCH: u64 = 946_684_800;

impl Footer {
    /// Of a new disk.
    ///
    /// The creator is said to be Windows: only then do QEMU and others take the size from the footer, as Hyper-V does,
    /// rather than from the geometry, as Virtual PC did.
    pub fn new(size: u64, kind: u32, id: [u8; 16]) -> Self {
        let mut footer = Self::new_zeroed();
        footer.cookie = *b"conectix";
        footer.features = 2.into();
        footer.version = 0x1_0000.into();
        footer.data_offset = if kind == FIXED { NOWHERE } else { FOOTER_LEN }.into();
        footer.timestamp = now().into();
        footer.creator = *b"win ";
        footer.creator_version = 0xA_0000.into();
        footer.creator_os = *b"Wi2k";
        footer.original_size = size.into();
        footer.kind = kind.into();
        footer.id = id;
        footer.with_size(size)
    }

    /// The same disk with another size.
    pub fn with_size(mut self, size: u64) -> Self {
        self.current_size = size.into();
        self.geometry = geometry(size);
        self.checksum = checksum(self.as_bytes(), offset_of!(Self, checksum)).into();
        self
    }

    /// Reads and checks one.
    pub fn read(storage: &dyn Storage, offset: u64) -> Result<Self> {
        let bytes = storage.read_vec(offset, FOOTER_LEN as usize)?;
        let fail = |reason: String| Err(Error::malformed(NAME, offset, reason));
        let Ok(footer) = Self::read_from_bytes(&bytes) else {
            return fail("is too short".to_owned());
        };
        if footer.cookie != *b"conectix" {
            return fail("its cookie is not \"conectix\"".to_owned());
        }
        let (said, is) = (footer.checksum.get(), checksum(&bytes, offset_of!(Self, checksum)));
        if said != is {
            return fail(format!("its checksum is {said:#010x}, its content gives {is:#010x}"));
        }
        if footer.version.get() >> 16 != 1 {
            return fail(format!("its version is {:#x}, only 1.x is known", footer.version.get()));
        }
        let size = footer.current_size.get();
        if size == 0 || !size.is_multiple_of(SECTOR) || size > SIZE_MAX.next_power_of_two() {
            return fail(format!("the disk size is {size}, not whole sectors up to 2 TiB"));
        }
        match footer.kind.get() {
            FIXED | DYNAMIC | DIFFERENCING => Ok(footer),
            kind => fail(format!("the disk type is {kind}, which is not known")),
        }
    }

    /// The creator's name, for people.
    pub fn creator_name(&self) -> String {
        self.creator.iter().map(|&byte| printable(byte)).collect::<String>().trim_end().to_owned()
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { byte.into() } else { '?' }
}

/// Seconds since the format's epoch.
fn now() -> u32 {
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH);
    let since = SystemTime::now().duration_since(epoch).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// "CHS Calculation" of the specification.
pub(crate) fn geometry(size: u64) -> Geometry {
    let total = (size / SECTOR).min(65_535 * 16 * 255);
    let (heads, sectors, tracks) = match total {
        65_535_u64.. if total >= 65_535 * 16 * 63 => (16, 255, total / 255),
        _ => small_geometry(total),
    };
    let cylinders = u16::try_from(tracks / heads).unwrap_or(u16::MAX);
    let byte = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    Geometry { cylinders: cylinders.into(), heads: byte(heads), sectors: byte(sectors) }
}

/// Heads, sectors per track and tracks of a disk of up to 31.5 GiB.
fn small_geometry(total: u64) -> (u64, u64, u64) {
    let tracks = total / 17;
    let heads = tracks.div_ceil(1024).max(4);
    if tracks < heads * 1024 && heads <= 16 {
        return (heads, 17, tracks);
    }
    let tracks = total / 31;
    if tracks < 16 * 1024 { (16, 31, tracks) } else { (16, 63, total / 63) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_follows_the_specification() {
        let chs = |size: u64| {
            let geometry = geometry(size);
            (geometry.cylinders.get(), geometry.heads, geometry.sectors)
        };
        assert_eq!(chs(10 << 20), (301, 4, 17));
        assert_eq!(chs(1 << 30), (2080, 16, 63));
        assert_eq!(chs(100 << 30), (51_400, 16, 255));
        assert_eq!(chs(2040 << 30), (65_535, 16, 255));
    }
}
