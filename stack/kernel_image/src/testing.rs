//! Kernels as Linux' build makes them, small.

use linux_loader::bootparam::setup_header;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use vm_memory::ByteValued;

/// Where they are linked, in physical memory.
pub const BASE: u64 = 0x100_0000;
/// The same virtually.
pub const START: u64 = 0xFFFF_FFFF_8100_0000;
/// What they need.
pub const INIT_SIZE: u32 = 0x20_0000;

/// Segments as (offset from the base, bytes).
pub type Segments<'a> = &'a [(u64, &'a [u8])];

/// An ELF file with these segments, whose entry is `entry` behind the base.
pub fn elf(segments: Segments<'_>, entry: u64) -> Vec<u8> {
    let mut file = vec![0u8; 64];
    file[..8].copy_from_slice(b"\x7FELF\x02\x01\x01\0");
    file[16..20].copy_from_slice(&[2, 0, 62, 0]);
    file[20] = 1;
    file[24..32].copy_from_slice(&(BASE + entry).to_le_bytes());
    file[32..40].copy_from_slice(&64u64.to_le_bytes());
    file[52..58].copy_from_slice(&[64, 0, 56, 0, segments.len() as u8, 0]);
    let mut at = 64 + 56 * segments.len() as u64;
    for (offset, bytes) in segments {
        file.extend([1u32, 7].iter().flat_map(|word| word.to_le_bytes()));
        let size = bytes.len() as u64;
        let [start, base] = [START, BASE].map(|from| from.wrapping_add(*offset));
        let words = [at, start, base, size, size, 0x20_0000];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        at += size;
    }
    segments.iter().for_each(|(_, bytes)| file.extend_from_slice(bytes));
    // Two section headers.
    file[40..48].copy_from_slice(&at.to_le_bytes());
    file[58..62].copy_from_slice(&[64, 0, 2, 0]);
    file.resize(file.len() + 128, 0);
    file
}

/// Lists of relocations, each place as an offset from the base.
pub fn relocations(lists: &[&[u32]]) -> Vec<u8> {
    let list = |list: &&[u32]| {
        let places = list.iter().map(|place| (START as u32) + place);
        std::iter::once(0).chain(places).collect::<Vec<u32>>()
    };
    lists.iter().flat_map(list).flat_map(u32::to_le_bytes).collect()
}

/// A bzImage with `unpacked` in it.
pub fn bzimage(unpacked: &[u8]) -> Vec<u8> {
    let mut payload = compress_to_vec(unpacked, CompressionLevel::Fastest);
    payload.extend_from_slice(&(unpacked.len() as u32).to_le_bytes());
    let header = setup_header {
        setup_sects: 1,
        header: 0x5372_6448,
        version: 0x20F,
        loadflags: 1,
        code32_start: 0x10_0000,
        initrd_addr_max: 0x7FFF_FFFF,
        xloadflags: 1,
        cmdline_size: 2047,
        relocatable_kernel: 1,
        kernel_alignment: 0x20_0000,
        pref_address: BASE,
        init_size: INIT_SIZE,
        payload_offset: 32,
        payload_length: payload.len() as u32,
        ..Default::default()
    };
    let mut file = vec![0; 1024 + 32];
    file[0x1F1..0x1F1 + size_of::<setup_header>()].copy_from_slice(header.as_slice());
    file.extend_from_slice(&payload);
    file
}

/// What is packed for a kernel that is `image`, and has one relocation of each kind: at 0, 8 and 12.
pub fn unpacked(image: &[u8]) -> Vec<u8> {
    [elf(&[(0, image)], 0), relocations(&[&[0], &[8], &[12]])].concat()
}

/// A bzImage with it.
pub fn example(image: &[u8]) -> Vec<u8> {
    bzimage(&unpacked(image))
}
