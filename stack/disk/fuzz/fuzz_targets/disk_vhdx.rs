//! Any file is opened as a VHDX, its log replayed: a sound one with changes that the fuzzer chooses, checksums set right
//! if it likes.
#![no_main]

use disk::{Disk, MemStorage, NoParent, Result, SectorSizes, Storage, vhdx};
use disk_fuzz::{OneParent, Script, use_image};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// An image whose log has to be replayed, or one that was closed.
fn image(parent: Option<[u8; 16]>, content_id: [u8; 16], closed: bool) -> MemStorage {
    let image = Arc::new(MemStorage::new());
    let parent = parent.map(|content_id| vhdx::Parent {
        content_id,
        relative: Some(".\\p.vhdx".to_owned()),
        absolute: "/p.vhdx".to_owned(),
    });
    let parameters = vhdx::Parameters {
        size: 5 * MIB,
        block_size: Some(MIB),
        sectors: SectorSizes { logical: 512, physical: 4096 },
        fixed: false,
        parent,
        identity: None,
        content_id: Some(content_id),
    };
    vhdx::create(&*image, &parameters).expect("the parameters are sound");
    let disk = open(image.clone(), false).expect("a new image opens");
    for at in [0, 2 * MIB - 4096, 4 * MIB + 512] {
        disk.write_at(at, &[7; 8192]).expect("there is room");
        disk.flush().expect("memory does not fail");
    }
    if closed {
        disk.close().expect("memory does not fail");
        vhdx::set_content_id(&*image, content_id).expect("it is a VHDX");
    }
    image.copy()
}

fn open(storage: Arc<dyn Storage>, read_only: bool) -> Result<Box<dyn Disk>> {
    vhdx::open(storage, read_only, &mut OneParent(parent))
}

fn parent() -> Result<Arc<dyn Disk>> {
    static IMAGE: LazyLock<MemStorage> = LazyLock::new(|| image(None, [1; 16], true));
    Ok(Arc::from(vhdx::open(Arc::new(IMAGE.copy()), true, &mut NoParent)?))
}

static IMAGES: LazyLock<[MemStorage; 4]> = LazyLock::new(|| {
    [
        image(None, [2; 16], true),
        image(None, [3; 16], false),
        image(Some([1; 16]), [4; 16], true),
        image(Some([1; 16]), [5; 16], false),
    ]
});

/// Both headers, both region tables, the log's entries, metadata table and items, BAT, bitmaps or data.
const STRUCTURES: [(u64, u64); 9] = [
    (64 * KIB, 80),
    (128 * KIB, 80),
    (192 * KIB, 80),
    (256 * KIB, 80),
    (MIB, 24 * KIB),
    (2 * MIB, 256),
    (2 * MIB + 64 * KIB, 512),
    (3 * MIB, 80),
    (4 * MIB, 64 * KIB),
];

fuzz_target!(|data: &[u8]| {
    let Some(script) = Script::parse(data) else { return };
    let image = IMAGES.get(usize::from(script.choices >> 1 & 3)).map(MemStorage::copy);
    let Some(image) = image else { return };
    script.damage(&image, &STRUCTURES);
    if script.choices & 0x80 == 0 {
        seal_all(&image);
    }
    use_image(image, &script, open);
});

fn seal_all(image: &MemStorage) {
    for (offset, len) in [(64, 4), (128, 4), (192, 64), (256, 64)] {
        seal(image, offset * KIB, len * KIB);
    }
    // The log's entries, as far as they follow each other.
    let mut entry = MIB;
    while entry < 2 * MIB {
        let mut length = [0; 4];
        let _ = image.read_at(entry + 8, &mut length);
        let length = u64::from(u32::from_le_bytes(length)).clamp(4 * KIB, 256 * KIB);
        seal(image, entry, length.next_multiple_of(4 * KIB));
        entry += length.next_multiple_of(4 * KIB);
        let mut signature = [0; 4];
        if image.read_at(entry, &mut signature).is_err() || signature != *b"loge" {
            break;
        }
    }
}

/// Sets a structure's checksum right.
fn seal(image: &MemStorage, offset: u64, len: u64) {
    let mut bytes = vec![0; len as usize];
    let _ = image.write_at(offset + 4, &[0; 4]);
    if image.read_at(offset, &mut bytes).is_ok() {
        let _ = image.write_at(offset + 4, &crc32c::crc32c(&bytes).to_le_bytes());
    }
}
