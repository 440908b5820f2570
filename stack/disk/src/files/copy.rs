//! Copying what one disk shows to another, without what is zero.

use super::Progress;
use crate::disk::{Disk, Extent, Place};
use crate::error::Result;
use crate::storage::StorageExt;

/// Bytes that are read at once.
const STEP: u64 = 4 << 20;
/// Zeros of this length in data are left out.
const GRAIN: usize = 64 << 10;

/// Which of the source's data is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All that it shows.
    All,
    /// Its own, not its parent's: the target has the same parent.
    Own,
}

/// Copies onto a target that has not been written to.
pub(super) fn copy(
    source: &dyn Disk,
    target: &dyn Disk,
    which: Which,
    progress: Progress<'_>,
) -> Result<()> {
    let size = source.size();
    let mut buffer = vec![0; STEP as usize];
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let len = STEP.min(size - at);
        let _guard = source.map_read(at, len, &mut extents)?;
        let mut place = at;
        for extent in &extents {
            copy_extent(source, target, which, (place, *extent), &mut buffer)?;
            place += extent.len;
        }
        at += len;
        progress(at, size);
    }
    Ok(())
}

fn copy_extent(
    source: &dyn Disk,
    target: &dyn Disk,
    which: Which,
    (at, extent): (u64, Extent),
    buffer: &mut [u8],
) -> Result<()> {
    let (file, offset) = match extent.place {
        Place::Zero => return make_zero(target, at, extent.len),
        Place::File { file, .. } if file > 0 && which == Which::Own => return Ok(()),
        Place::File { file, offset } => (file, offset),
    };
    let Some(storage) = source.file(file) else { return Ok(()) };
    let data = storage.next_data(offset).ok().flatten().unwrap_or(u64::MAX);
    if data >= offset.saturating_add(extent.len) {
        return make_zero(target, at, extent.len);
    }
    let bytes = buffer.get_mut(..extent.len as usize).unwrap_or_default();
    storage.read(offset, bytes)?;
    write_what_is_not_zero(target, at, bytes)
}

/// Runs of zero and of other grains alternate; each is done at once.
fn write_what_is_not_zero(target: &dyn Disk, mut at: u64, bytes: &[u8]) -> Result<()> {
    let same = |a: &&[u8], b: &&[u8]| is_zero(a) == is_zero(b);
    let grains: Vec<&[u8]> = bytes.chunks(GRAIN).collect();
    let mut rest = bytes;
    for run in grains.chunk_by(same) {
        let len = run.iter().map(|grain| grain.len()).sum();
        let (now, later) = rest.split_at(len);
        match run.first().is_some_and(|grain| is_zero(grain)) {
            true => make_zero(target, at, len as u64)?,
            false => target.write_at(at, now)?,
        }
        at += len as u64;
        rest = later;
    }
    Ok(())
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// What is zero in an untouched target already is left alone; otherwise its parent has something there.
fn make_zero(target: &dyn Disk, at: u64, len: u64) -> Result<()> {
    if target.file(1).is_none() {
        return Ok(());
    }
    let mut extents = Vec::new();
    let _guard = target.map_read(at, len, &mut extents)?;
    match extents.iter().all(|extent| extent.place == Place::Zero) {
        true => Ok(()),
        false => target.discard(at, len),
    }
}
