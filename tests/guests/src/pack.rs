//! From the linked kernel to a bzImage (Documentation/arch/x86/boot.rst in Linux).
//!
//! The image is what the ELF file's one loadable segment holds; in front of it goes a boot sector and one sector of setup
//! whose header says where to load it. There is no 16-bit code: a loader must speak the 32- or the 64-bit protocol.

use bootdef::linux::{
    BOOT_FLAG, HEADER_MAGIC, HEADER_OFFSET, PARAGRAPH, SECTOR, SetupHeader, loadflags, xloadflags,
};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, elf};
use std::mem::offset_of;
use zerocopy::{FromZeros, IntoBytes};

/// Protocol 2.15, with every field of [`SetupHeader`].
const VERSION: u16 = 0x020F;
/// Sectors of setup after the boot sector.
const SETUP_SECTORS: u8 = 1;
/// The kernel stays at its address, which is so aligned.
const ALIGNMENT: u32 = 2 << 20;
/// Longest command line that the kernel keeps.
const LINE_MAX: u32 = 2047;

/// Why a file cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It is no 64-bit ELF file.
    #[error("not a 64-bit ELF file: {0}")]
    NotElf(#[from] object::read::Error),
    /// It is linked otherwise than `guest.ld` does.
    #[error("expected one loadable segment, found {0}")]
    Segments(usize),
    /// A number does not fit its field.
    #[error("the image is too large")]
    TooLarge,
    /// The segment is not where a kernel of this protocol can be.
    #[error("linked at {0:#x}, which is no multiple of {ALIGNMENT:#x} below 4 GiB")]
    Address(u64),
}

/// Makes a bzImage of the kernel's ELF file.
pub fn pack(file: &[u8]) -> Result<Vec<u8>, PackError> {
    let parsed = ElfFile64::<Endianness>::parse(file)?;
    let endian = parsed.endian();
    let loaded: Vec<_> = parsed
        .elf_program_headers()
        .iter()
        .filter(|header| header.p_type(endian) == elf::PT_LOAD)
        .collect();
    let [segment] = loaded[..] else { return Err(PackError::Segments(loaded.len())) };
    let data = segment.data(endian, file).map_err(|()| PackError::TooLarge)?;
    let address = segment.p_paddr(endian);
    if address % u64::from(ALIGNMENT) != 0 || u32::try_from(address).is_err() {
        return Err(PackError::Address(address));
    }
    let mut image = vec![0; usize::from(SETUP_SECTORS + 1) * SECTOR as usize];
    let header = header(address, data.len(), segment.p_memsz(endian)).ok_or(PackError::TooLarge)?;
    image[HEADER_OFFSET..][..size_of::<SetupHeader>()].copy_from_slice(header.as_bytes());
    image.extend_from_slice(data);
    image.resize(image.len().next_multiple_of(PARAGRAPH as usize), 0);
    Ok(image)
}

fn header(address: u64, len: usize, memory: u64) -> Option<SetupHeader> {
    let mut header = SetupHeader::new_zeroed();
    let from_magic = size_of::<SetupHeader>() - offset_of!(SetupHeader, magic);
    header.setup_sects = SETUP_SECTORS;
    header.syssize.set(u32::try_from(len.div_ceil(PARAGRAPH as usize)).ok()?);
    header.boot_flag.set(BOOT_FLAG);
    header.jump = [0xEB, u8::try_from(from_magic).ok()?];
    header.magic.set(HEADER_MAGIC);
    header.version.set(VERSION);
    header.loadflags = loadflags::LOADED_HIGH;
    header.code32_start.set(u32::try_from(address).ok()?);
    header.initrd_addr_max.set(u32::MAX >> 1);
    header.kernel_alignment.set(ALIGNMENT);
    header.min_alignment = ALIGNMENT.trailing_zeros() as u8;
    header.xloadflags.set(xloadflags::KERNEL_64);
    header.cmdline_size.set(LINE_MAX);
    header.pref_address.set(address);
    header.init_size.set(u32::try_from(memory.next_multiple_of(4096)).ok()?);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    /// A little ELF file with one segment of `data` at `address`.
    fn elf_file(address: u64, data: &[u8], memory: u64) -> Vec<u8> {
        let mut file = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let put = |file: &mut Vec<u8>, value: u64, size: usize| {
            file.extend_from_slice(&value.to_le_bytes()[..size])
        };
        // Type, machine, version, entry, program headers, section headers, flags, sizes and counts.
        for (value, size) in [
            (2, 2),
            (62, 2),
            (1, 4),
            (address, 8),
            (64, 8),
            (0, 8),
            (0, 4),
            (64, 2),
            (56, 2),
            (1, 2),
        ] {
            put(&mut file, value, size);
        }
        for (value, size) in [(0, 2), (0, 2), (0, 2)] {
            put(&mut file, value, size);
        }
        let len = data.len() as u64;
        for (value, size) in
            [(1, 4), (7, 4), (120, 8), (address, 8), (address, 8), (len, 8), (memory, 8), (4096, 8)]
        {
            put(&mut file, value, size);
        }
        file.extend_from_slice(data);
        file
    }

    #[test]
    fn a_packed_kernel_has_a_header_that_loaders_accept() {
        let image = pack(&elf_file(0x100_0000, &[0x90; 1000], 0x5000)).unwrap();
        let header =
            SetupHeader::read_from_bytes(&image[HEADER_OFFSET..][..size_of::<SetupHeader>()])
                .unwrap();
        assert_eq!(&image[0x202..0x206], b"HdrS");
        assert!(header.version.get() >= bootdef::linux::VERSION_2_12);
        assert_eq!(header.xloadflags.get() & xloadflags::KERNEL_64, xloadflags::KERNEL_64);
        assert_eq!((header.pref_address.get(), header.init_size.get()), (0x100_0000, 0x5000));
        let setup = (usize::from(header.setup_sects) + 1) * SECTOR as usize;
        assert_eq!(image.len(), setup + header.syssize.get() as usize * 16);
        assert!(image[setup..setup + 1000].iter().all(|&byte| byte == 0x90));
    }

    #[test]
    fn the_header_reaches_exactly_as_far_as_it_says() {
        let image = pack(&elf_file(0x100_0000, &[0; 16], 16)).unwrap();
        assert_eq!(0x202 + usize::from(image[0x201]), HEADER_OFFSET + size_of::<SetupHeader>());
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(matches!(pack(b"#!/bin/sh"), Err(PackError::NotElf(_))));
        assert!(matches!(pack(&elf_file(0x1234, &[0; 16], 16)), Err(PackError::Address(0x1234))));
    }
}
