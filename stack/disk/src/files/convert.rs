//! Copying a disk into another format or kind.

use super::Progress;
use super::copy::{Which, copy};
use super::create::{CreateOptions, format_storage, refuse_existing};
use super::replacement::Replacement;
use crate::disk::{Disk, SectorSizes};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::open::OpenOptions;
use crate::parent::NoParent;
use crate::storage::Storage;
use crate::{raw, vhd, vhdx};
use std::path::Path;
use std::sync::Arc;

/// Writes what a disk shows, its parents' part included, into a new image. The target has the source's size and
/// sectors unless `options` says otherwise, and no parent.
///
/// # Errors
/// [`Error::Unsupported`] when the target cannot be that; what reading and writing says. No file is left then.
pub fn convert(
    source: &dyn Disk,
    target: &Path,
    options: &CreateOptions,
    progress: Progress<'_>,
) -> Result<()> {
    refuse_existing(target, options.overwrite)?;
    let format = options.format.map_or_else(|| Format::of_path(target), Ok)?;
    let sectors = options.sectors.unwrap_or_else(|| source.sectors());
    let size = options.size.unwrap_or_else(|| source.size());
    if size < source.size() {
        let text = format!("{size} bytes do not hold the source's {}", source.size());
        return Err(Error::Unsupported(text));
    }
    if sectors.logical != source.sectors().logical {
        return Err(Error::Unsupported(format!(
            "the source has sectors of {} bytes: what is on it would not be found on others",
            source.sectors().logical
        )));
    }
    let (size, sectors) = (Some(size), Some(sectors));
    let options = CreateOptions { format: Some(format), size, sectors, ..options.clone() };
    let file = Replacement::new(target)?;
    let result = format_storage(&*file.storage(), target, &options).and_then(|()| {
        let disk = open_new(file.storage(), format, options.sectors)?;
        copy(source, &*disk, Which::All, progress)?;
        disk.close()
    });
    result.map_err(|error| error.in_file(target))?;
    file.finish(options.overwrite)
}

fn open_new(
    storage: Arc<dyn Storage>,
    format: Format,
    sectors: Option<SectorSizes>,
) -> Result<Box<dyn Disk>> {
    let usual = OpenOptions::default().raw_sectors;
    match format {
        Format::Raw => raw::open(storage, false, sectors.unwrap_or(usual)),
        Format::Vhd => vhd::open(storage, false, &mut NoParent),
        Format::Vhdx => vhdx::open(storage, false, &mut NoParent),
    }
}
