//! What the fuzzers of all formats share: an image that is sound but for what the fuzzer changes in it, and the use of
//! a disk that opens nevertheless.

use disk::{Disk, FindParent, MemStorage, ParentReference, Result, Storage};
use std::sync::Arc;

/// Longer than any image becomes that is not lied to about its size; memory is taken only for what is written.
const FILE_MAX: u64 = 1 << 30;

/// What the fuzzer says: choices, changes, and work to be done.
pub struct Script<'a> {
    /// Which image, and how it is opened.
    pub choices: u8,
    changes: &'a [[u8; 8]],
    work: &'a [[u8; 8]],
}

impl<'a> Script<'a> {
    /// A byte of choices, a byte with the number of changes, then changes and work of eight bytes each.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (&[choices, count], rest) = data.split_first_chunk()?;
        let all = rest.as_chunks().0;
        let (changes, work) = all.split_at(all.len().min(usize::from(count % 32)));
        Some(Self { choices, changes, work: work.get(..work.len().min(32)).unwrap_or_default() })
    }

    /// Changes the image, mostly inside `structures` (offset and length).
    pub fn damage(&self, image: &MemStorage, structures: &[(u64, u64)]) {
        for &[structure, kind, low, high, a, b, c, d] in self.changes {
            let Some(&(start, len)) = structures.get(usize::from(structure) % structures.len())
            else {
                continue;
            };
            let offset = start + u64::from(u16::from_le_bytes([low, high])) % len;
            let value = u64::from(u32::from_le_bytes([a, b, c, d])) << (kind & 0x1C);
            let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
            let width = 1 << (kind & 3);
            let bytes = match kind & 0x80 {
                0 => little.get(..width),
                _ => big.get(8 - width..),
            };
            let _ = image.write_at(offset, bytes.unwrap_or_default());
        }
    }
}

/// Finds the same parent for everybody.
pub struct OneParent(pub fn() -> Result<Arc<dyn Disk>>);

impl FindParent for OneParent {
    fn find(&mut self, _: &ParentReference) -> Result<Arc<dyn Disk>> {
        (self.0)()
    }
}

/// Opens an image, and if that works, uses it, and opens it again.
pub fn use_image(
    image: MemStorage,
    script: &Script<'_>,
    open: impl Fn(Arc<dyn Storage>, bool) -> Result<Box<dyn Disk>>,
) {
    let read_only = script.choices & 1 != 0;
    image.set_limit(Some(FILE_MAX));
    let image = Arc::new(image);
    let Ok(disk) = open(image.clone(), read_only) else { return };
    disk.describe();
    let mut written = Vec::new();
    for step in script.work {
        work(&*disk, step, &mut written);
    }
    for (at, byte) in &written {
        let mut data = [0; 4096];
        disk.read_at(*at, &mut data).expect("what was written is read");
        assert!(data == [*byte; 4096], "at {at:#x}");
    }
    if read_only || disk.close().is_err() {
        return;
    }
    drop(disk);
    let disk = open(image, true).expect("what was open opens again");
    for (at, byte) in &written {
        let mut data = [0; 4096];
        disk.read_at(*at, &mut data).expect("what was written is read");
        assert!(data == [*byte; 4096], "at {at:#x} after opening again");
    }
}

/// Does one thing. `written` are places with the byte that 4 KiB there are full of.
fn work(disk: &dyn Disk, step: &[u8; 8], written: &mut Vec<(u64, u8)>) {
    let [what, byte, rest @ ..] = *step;
    let [a, b, c, d, e, f] = rest;
    let size = disk.size() / 4096 * 4096;
    if size == 0 {
        return;
    }
    let at = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) % size / 4096 * 4096;
    match what % 8 {
        0..=2 => {
            written.retain(|(place, _)| *place != at);
            if disk.write_at(at, &[byte; 4096]).is_ok() {
                written.push((at, byte));
            }
        }
        3 => {
            let mut data = vec![0; (64 << 10).min(size - at) as usize];
            let _ = disk.read_at(at, &mut data);
        }
        4 | 5 => {
            let len = (u64::from(byte) << 16).min(size - at);
            written.retain(|(place, _)| !(at..at + len).contains(place));
            let _ = disk.discard(at, len);
        }
        6 => {
            let _ = disk.flush();
        }
        _ => {
            let kept = at + 4096;
            if disk.resize(kept, disk::Shrink::Allow).is_ok() {
                written.retain(|(place, _)| *place < kept);
            }
        }
    }
}
