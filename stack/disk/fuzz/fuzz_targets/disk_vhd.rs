//! Any file is opened as a VHD: a sound one with changes that the fuzzer chooses, checksums set right if it likes.
#![no_main]

use disk::{Disk, MemStorage, NoParent, Result, Storage, vhd};
use disk_fuzz::{OneParent, Script, use_image};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

const SIZE: u64 = 1 << 20;

fn image(parent: Option<[u8; 16]>, fixed: bool, id: [u8; 16]) -> MemStorage {
    let image = Arc::new(MemStorage::new());
    let parent = parent.map(|content_id| vhd::Parent {
        content_id,
        relative: Some(".\\p.vhd".to_owned()),
        absolute: "/p.vhd".to_owned(),
    });
    let parameters =
        vhd::Parameters { size: SIZE, block_size: Some(65_536), fixed, parent, identity: Some(id) };
    vhd::create(&*image, &parameters).expect("the parameters are sound");
    let disk = open(image.clone(), false).expect("a new image opens");
    for at in [0, 300_000 / 512 * 512, SIZE - 65_536] {
        disk.write_at(at, &[7; 8192]).expect("there is room");
    }
    disk.close().expect("memory does not fail");
    image.copy()
}

fn open(storage: Arc<dyn Storage>, read_only: bool) -> Result<Box<dyn Disk>> {
    vhd::open(storage, read_only, &mut OneParent(parent))
}

fn parent() -> Result<Arc<dyn Disk>> {
    static IMAGE: LazyLock<MemStorage> = LazyLock::new(|| image(None, false, [1; 16]));
    Ok(Arc::from(vhd::open(Arc::new(IMAGE.copy()), true, &mut NoParent)?))
}

static IMAGES: LazyLock<[MemStorage; 3]> = LazyLock::new(|| {
    [image(None, false, [2; 16]), image(Some([1; 16]), false, [3; 16]), image(None, true, [4; 16])]
});

fuzz_target!(|data: &[u8]| {
    let Some(script) = Script::parse(data) else { return };
    let [dynamic, differencing, fixed] = &*IMAGES;
    let image = match script.choices >> 1 & 3 {
        0 | 1 => dynamic.copy(),
        2 => differencing.copy(),
        _ => fixed.copy(),
    };
    let footer = image.size().unwrap_or(0) - 512;
    // Footer copy, header, table with locators behind it, anything, footer.
    let structures = [(0, 512), (512, 1024), (1536, 2048), (0, 1 << 16), (footer, 512)];
    script.damage(&image, &structures);
    if script.choices & 0x80 == 0 {
        for (structure, len, place) in [(0, 512, 64), (512, 1024, 36), (footer, 512, 64)] {
            seal(&image, structure, len, place);
        }
    }
    use_image(image, &script, open);
});

/// Sets a structure's checksum right.
fn seal(image: &MemStorage, offset: u64, len: usize, place: u64) {
    let mut bytes = vec![0; len];
    let _ = image.write_at(offset + place, &[0; 4]);
    if image.read_at(offset, &mut bytes).is_ok() {
        let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
        let _ = image.write_at(offset + place, &(!sum).to_be_bytes());
    }
}
