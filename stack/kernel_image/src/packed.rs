//! The bzImage: where its payload is, and what its header says of the kernel.

use crate::Error;
use linux_loader::bootparam::setup_header;
use ruzstd::decoding::StreamingDecoder;
use std::io::Read;
use vm_memory::ByteValued;

/// Where the header lies in the file.
const HEADER: usize = 0x1F1;
/// "HdrS".
const MAGIC: u32 = 0x5372_6448;
/// The first boot protocol with `pref_address` and `init_size`.
const PROTOCOL_2_10: u16 = 0x020A;
/// Bytes of the first 512 that hold the boot sector; the setup's are counted in sectors after it.
const SECTOR: usize = 512;
/// Setup sectors of a header that says 0, which is from before there was the field.
const SETUP_SECTORS: u8 = 4;
/// Zstandard's frame magic (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Most that is unpacked: kernels with everything built in have some 100 MiB.
pub const UNPACKED_MAX: u64 = 256 << 20;

/// A bzImage's header and payload.
#[derive(Debug)]
pub struct Packed<'a> {
    payload: &'a [u8],
    /// Bytes of the unpacked payload, by its last word.
    size: u64,
    /// Physical address for which the kernel is linked.
    pub base: u64,
    /// Bytes it needs from there on.
    pub init_size: u64,
}

impl<'a> Packed<'a> {
    /// Reads the header of a bzImage.
    ///
    /// # Errors
    ///
    /// [`Error::NoBzImage`], [`Error::NotRelocatable`], [`Error::Header`], [`Error::TooLarge`].
    pub fn find(bzimage: &'a [u8]) -> Result<Self, Error> {
        let header = bzimage.get(HEADER..HEADER + size_of::<setup_header>());
        let header = *header.and_then(setup_header::from_slice).ok_or(Error::NoBzImage)?;
        if header.header != MAGIC || header.version < PROTOCOL_2_10 {
            return Err(Error::NoBzImage);
        }
        let alignment = u64::from(header.kernel_alignment);
        let base = header.pref_address;
        let is_aligned = alignment.is_power_of_two() && base & (alignment - 1) == 0;
        if header.relocatable_kernel == 0 || !is_aligned {
            return Err(Error::NotRelocatable);
        }
        let sectors = if header.setup_sects == 0 { SETUP_SECTORS } else { header.setup_sects };
        let setup = (usize::from(sectors) + 1) * SECTOR;
        let (offset, length) = (header.payload_offset as usize, header.payload_length as usize);
        let payload = bzimage
            .get(setup..)
            .and_then(|body| body.get(offset..))
            .and_then(|body| body.get(..length));
        let (payload, size) =
            payload.and_then(<[u8]>::split_last_chunk::<4>).ok_or(Error::Header)?;
        let size = u64::from(u32::from_le_bytes(*size));
        if size > UNPACKED_MAX {
            return Err(Error::TooLarge { size, limit: UNPACKED_MAX });
        }
        Ok(Self { payload, size, base, init_size: header.init_size.into() })
    }

    /// Unpacks the payload.
    ///
    /// # Errors
    ///
    /// [`Error::Compression`], [`Error::Payload`].
    pub fn unpack(&self) -> Result<Vec<u8>, Error> {
        if !self.payload.starts_with(&ZSTD) {
            return Err(Error::Compression);
        }
        let damaged = |error: &dyn std::fmt::Display| Error::Payload(error.to_string());
        let decoder = StreamingDecoder::new(self.payload).map_err(|error| damaged(&error))?;
        let mut unpacked = Vec::with_capacity(self.size as usize);
        let read = decoder.take(self.size + 1).read_to_end(&mut unpacked);
        read.map_err(|error| damaged(&error))?;
        if unpacked.len() as u64 != self.size {
            return Err(damaged(&format_args!("it has not the {} bytes it says", self.size)));
        }
        Ok(unpacked)
    }
}
