use super::testing::{BASE, bzimage, elf, relocations};
use super::*;
use proptest::prelude::*;
use std::io::{Cursor, Read};

const CODE: [u8; 64] = [0x90; 64];

/// Two segments with a gap between them, and relocations of each kind.
fn whole() -> Vec<u8> {
    let mut file = elf(&[(0, &CODE), (0x80, &[7; 16])], 8);
    file.extend(relocations(&[&[0, 0x88], &[16], &[4, 60, 0x8C]]));
    file
}

fn lists(kernel: &Kernel) -> Vec<(Change, Vec<u32>)> {
    kernel.relocations.lists().map(|(change, places)| (change, places.to_vec())).collect()
}

#[test]
fn a_kernel_is_unpacked_as_it_lies_in_memory() {
    let kernel = Kernel::unpack(&bzimage(&whole())).unwrap();
    assert_eq!((kernel.base, kernel.entry), (BASE, 8));
    let image = [&CODE[..], &[0; 64], &[7; 16]].concat();
    assert_eq!(kernel.image, image);
    let expected = [
        (Change::Add64, vec![0, 0x88]),
        (Change::Subtract32, vec![16]),
        (Change::Add32, vec![4, 60, 0x8C]),
    ];
    assert_eq!(lists(&kernel), expected);
}

#[test]
fn newer_kernels_have_two_lists_and_fixed_ones_none() {
    let mut file = elf(&[(0, &CODE)], 0);
    assert!(Kernel::unpack(&bzimage(&file)).unwrap().relocations.is_empty());
    file.extend(relocations(&[&[8], &[20]]));
    let kernel = Kernel::unpack(&bzimage(&file)).unwrap();
    let expected =
        [(Change::Add64, vec![8]), (Change::Subtract32, vec![]), (Change::Add32, vec![20])];
    assert_eq!(lists(&kernel), expected);
}

#[test]
fn a_kept_kernel_is_the_same() {
    let kernel = Kernel::unpack(&bzimage(&whole())).unwrap();
    let mut file = Vec::new();
    kernel.keep(&mut file).unwrap();
    let mut kept = Kept::open(Cursor::new(&file)).unwrap();
    assert_eq!((kept.base, kept.entry, kept.len), (BASE, 8, kernel.image.len() as u64));
    assert_eq!(kept.relocations, kernel.relocations);
    let mut image = vec![0; kept.len as usize];
    kept.image().unwrap().read_exact(&mut image).unwrap();
    assert_eq!(image, kernel.image);
    for len in 0..file.len() {
        assert!(matches!(Kept::open(Cursor::new(&file[..len])), Err(Error::Kept(_))), "{len}");
    }
    file.push(0);
    assert!(Kept::open(Cursor::new(&file)).is_err());
}

#[test]
fn what_is_not_understood_is_refused() {
    let refused = |file: &[u8]| Kernel::unpack(&bzimage(file)).unwrap_err();
    let with = |lists: &[&[u32]]| [elf(&[(0, &CODE)], 0), relocations(lists)].concat();
    for lists in [&[&[0u32][..]][..], &[&[0], &[0], &[0], &[0]], &[&[], &[61]], &[&[57], &[]]] {
        assert!(matches!(refused(&with(lists)), Error::Relocations(_)), "{lists:?}");
    }
    assert!(matches!(refused(&[with(&[]), vec![1; 3]].concat()), Error::Relocations(_)));
    assert!(matches!(refused(&[with(&[]), vec![1; 4]].concat()), Error::Relocations(_)));
    for (segments, entry) in [
        (&[(0u64, &CODE[..])][..], 64u64),
        (&[], 0),
        (&[(1, &CODE)], 1),
        (&[(0, &CODE), (0x20_0000 - 63, &CODE)], 0),
        (&[(0, &CODE), (u64::MAX - BASE, &CODE)], 0),
    ] {
        let error = refused(&elf(segments, entry));
        assert!(matches!(error, Error::Elf(_)), "{segments:?}, {entry}: {error}");
    }
    let whole = whole();
    for len in [0, 10, 63, 64, 100, 300] {
        assert!(matches!(refused(&whole[..len]), Error::Elf(_)), "{len}");
    }
}

#[test]
fn headers_are_not_believed() {
    let sound = bzimage(&whole());
    let change = |at: usize, bytes: &[u8]| {
        let mut file = sound.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Kernel::unpack(&file).unwrap_err()
    };
    assert_eq!(change(0x202, b"x"), Error::NoBzImage);
    assert_eq!(change(0x206, &[9, 2]), Error::NoBzImage);
    assert_eq!(change(0x234, &[0]), Error::NotRelocatable);
    assert_eq!(change(0x230, &[3, 0, 0, 0]), Error::NotRelocatable);
    assert_eq!(change(0x248, &[0xFF; 4]), Error::Header);
    assert_eq!(change(0x24C, &[0xFF; 4]), Error::Header);
    assert_eq!(change(0x24C, &[3, 0, 0, 0]), Error::Header);
    let end = sound.len() - 4;
    assert!(matches!(change(end, &[0xFF; 4]), Error::TooLarge { .. }));
    assert!(matches!(change(end, &[1, 0, 0, 0]), Error::Payload(_)));
    assert!(matches!(change(end + 1, &[0xFF]), Error::Payload(_)));
    assert_eq!(change(1024 + 32, &[0]), Error::Compression);
    assert_eq!(Kernel::unpack(&[]), Err(Error::NoBzImage));
}

/// All that was promised of a kernel, or of a kept one.
fn is_sound(entry: u64, len: u64, relocations: &Relocations) -> bool {
    let fits = |(change, places): (Change, &[u32])| {
        places.iter().all(|&place| place as usize + change.width() <= len as usize)
    };
    entry < len && relocations.lists().all(fits)
}

proptest! {
    #[test]
    fn damage_is_refused_or_harmless(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = whole();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(kernel) = Kernel::unpack(&bzimage(&file)) {
            prop_assert!(is_sound(kernel.entry, kernel.image.len() as u64, &kernel.relocations));
        }
    }

    #[test]
    fn damaged_kept_files_are_refused_or_harmless(at in 0..64usize, byte: u8) {
        let mut file = Vec::new();
        Kernel::unpack(&bzimage(&whole())).unwrap().keep(&mut file).unwrap();
        file[at] = byte;
        if let Ok(kept) = Kept::open(Cursor::new(&file)) {
            prop_assert!(is_sound(kept.entry, kept.len, &kept.relocations));
        }
    }
}
