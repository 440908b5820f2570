//! Anything is unpacked as a bzImage, as what is packed in one, and opened as a kept kernel.
#![no_main]

use kernel_image::{Change, Kept, Kernel, testing};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let unpacked = match kind & 3 {
        0 => Kernel::unpack(data),
        1 => Kernel::unpack(&testing::bzimage(data)),
        // A sound one with changes at the places named by every three bytes.
        2 => Kernel::unpack(&testing::bzimage(&changed(testing::unpacked(&[0x90; 64]), data))),
        _ => return kept(data),
    };
    if let Ok(kernel) = unpacked {
        let len = kernel.image.len();
        assert!(kernel.entry < len as u64);
        kernel.relocations.lists().for_each(|list| fits(list, len));
        let mut file = Vec::new();
        kernel.keep(&mut file).expect("memory does not fail");
        let again = Kept::open(Cursor::new(&file)).expect("what is kept is opened");
        assert_eq!(again.relocations, kernel.relocations);
        kept(&changed(file, data));
    }
});

fn changed(mut file: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(3) {
        let [low, high, value] = *change else { continue };
        let at = usize::from(u16::from_le_bytes([low, high]));
        if let Some(byte) = file.get_mut(at) {
            *byte = value;
        }
    }
    file
}

fn kept(file: &[u8]) {
    if let Ok(kept) = Kept::open(Cursor::new(file)) {
        assert!(kept.entry < kept.len && kept.len <= file.len() as u64);
        kept.relocations.lists().for_each(|list| fits(list, kept.len as usize));
    }
}

fn fits((change, places): (Change, &[u32]), len: usize) {
    assert!(places.iter().all(|&place| place as usize + change.width() <= len));
}
