//! Giving back the space that an image takes without need, and setting right what a power loss left.

use super::Progress;
use super::copy::{Which, copy};
use super::replacement::Replacement;
use crate::disk::{Disk, Shrink};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::open::{OpenOptions, open_file, open_over};
use crate::storage::StorageExt;
use crate::{vhd, vhdx};
use std::path::Path;

/// Writes an image anew without what is free or zero. It stays the same disk: children know it again.
///
/// # Errors
/// [`Error::Unsupported`] when the disk has no blocks to leave out; what reading and writing says. The image is as it
/// was then.
pub fn compact(path: &Path, format: Option<Format>, progress: Progress<'_>) -> Result<()> {
    let format = format.map_or_else(|| Format::of_path(path), Ok)?;
    // Writable, so that nobody else has it open.
    let options = OpenOptions { format: Some(format), ..OpenOptions::default() };
    let source = open_file(path, &options)?;
    let file = Replacement::new(path)?;
    rewrite(&*source, &file, path, format, progress).map_err(|error| error.in_file(path))?;
    file.finish(true)
}

fn rewrite(
    source: &dyn Disk,
    file: &Replacement,
    path: &Path,
    format: Format,
    progress: Progress<'_>,
) -> Result<()> {
    if source.describe().kind == "fixed" {
        return Err(Error::Unsupported("a fixed disk takes its whole space always".to_owned()));
    }
    let storage = file.storage();
    let Some(old) = source.file(0) else { return Ok(()) };
    match format {
        Format::Vhd => vhd::create_like(old, &*storage)?,
        Format::Vhdx => vhdx::create_like(old, &*storage)?,
        Format::Raw => return Err(Error::Unsupported("a raw disk has no blocks".to_owned())),
    }
    let target = open_over(storage.clone(), path, format)?;
    copy(source, &*target, Which::Own, progress)?;
    target.close()?;
    drop(target);
    if let (Format::Vhdx, Some(id)) = (format, source.content_id()) {
        vhdx::set_content_id(&*storage, id)?;
    }
    storage.sync()
}

/// Writes anew what an image keeps twice and has lost once, and empties its log.
///
/// # Errors
/// What writing says.
pub fn repair(disk: &dyn Disk) -> Result<()> {
    disk.resize(disk.size(), Shrink::Refuse)?;
    disk.close()
}
