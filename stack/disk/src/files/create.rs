//! Making an image file.

use super::replacement::Replacement;
use crate::disk::SectorSizes;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::open::{OpenOptions, open_file};
use crate::storage::Storage;
use crate::{raw, vhd, vhdx};
use std::path::{Component, Path, PathBuf};

/// What to make. [`Default`]: a dynamic disk of the format that the file's name says.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// The format; `None`: as the name says.
    pub format: Option<Format>,
    /// Bytes; `None`: as many as the parent has.
    pub size: Option<u64>,
    /// Bytes of a block; `None`: the format's usual.
    pub block_size: Option<u64>,
    /// Sector sizes; `None`: the parent's, or 512 and 4096.
    pub sectors: Option<SectorSizes>,
    /// All space is taken at once.
    pub fixed: bool,
    /// Makes a differencing disk over this one, which must not be written to from now on.
    pub parent: Option<PathBuf>,
    /// Replace a file that is there.
    pub overwrite: bool,
}

/// Makes an image: all of it or nothing.
///
/// # Errors
/// [`Error::Unsupported`] when the format cannot be that, [`std::io::ErrorKind::AlreadyExists`], what writing says.
pub fn create_file(path: &Path, options: &CreateOptions) -> Result<()> {
    // Found out before the work rather than after it.
    refuse_existing(path, options.overwrite)?;
    let file = Replacement::new(path)?;
    format_storage(&*file.storage(), path, options).map_err(|error| match error {
        Error::File { .. } => error,
        error => error.in_file(path),
    })?;
    file.finish(options.overwrite)
}

pub(super) fn refuse_existing(path: &Path, overwrite: bool) -> Result<()> {
    match overwrite || !path.exists() {
        true => Ok(()),
        false => {
            let error = std::io::ErrorKind::AlreadyExists.into();
            Err(Error::io("creating")(error).in_file(path))
        }
    }
}

/// Writes an empty image; `path` is where it will be.
pub(super) fn format_storage(
    storage: &dyn Storage,
    path: &Path,
    options: &CreateOptions,
) -> Result<()> {
    let format = options.format.map_or_else(|| Format::of_path(path), Ok)?;
    let parent = match &options.parent {
        Some(parent) => Some(Parent::open(parent, path, format)?),
        None => None,
    };
    let size = options.size.or(parent.as_ref().map(|parent| parent.size));
    let size = size.ok_or_else(|| Error::Unsupported("no size was given".to_owned()))?;
    let usual = parent.as_ref().map(|parent| parent.sectors);
    let usual = usual.unwrap_or(SectorSizes { logical: 512, physical: 4096 });
    let sectors = options.sectors.unwrap_or(usual);
    match format {
        Format::Raw => raw::create(storage, size, options.fixed),
        Format::Vhd => vhd::create(storage, &vhd_parameters(options, size, sectors, parent)?),
        Format::Vhdx => {
            let parent = parent.map(|parent| vhdx::Parent {
                content_id: parent.content_id,
                relative: parent.relative,
                absolute: parent.absolute,
            });
            let (block_size, fixed) = (options.block_size, options.fixed);
            let (identity, content_id) = (None, None);
            let parameters =
                vhdx::Parameters { size, block_size, sectors, fixed, parent, identity, content_id };
            vhdx::create(storage, &parameters)
        }
    }
}

fn vhd_parameters(
    options: &CreateOptions,
    size: u64,
    sectors: SectorSizes,
    parent: Option<Parent>,
) -> Result<vhd::Parameters> {
    if sectors.logical != 512 {
        return Err(Error::Unsupported(
            "a VHD has sectors of 512 bytes: take VHDX for others".to_owned(),
        ));
    }
    let parent = parent.map(|parent| vhd::Parent {
        content_id: parent.content_id,
        relative: parent.relative,
        absolute: parent.absolute,
    });
    let (block_size, fixed) = (options.block_size, options.fixed);
    Ok(vhd::Parameters { size, block_size, fixed, parent, identity: None })
}

/// What a child notes.
struct Parent {
    size: u64,
    sectors: SectorSizes,
    content_id: [u8; 16],
    relative: Option<String>,
    absolute: String,
}

impl Parent {
    fn open(parent: &Path, child: &Path, format: Format) -> Result<Self> {
        let options = OpenOptions { format: Some(format), ..OpenOptions::read_only() };
        let disk = open_file(parent, &options)?;
        let content_id = disk
            .content_id()
            .ok_or_else(|| Error::Unsupported(format!("a {format} disk cannot have a parent")))?;
        let absolute = parent.canonicalize().map_err(Error::io("looking for the parent"))?;
        let beside = child.parent().filter(|directory| !directory.as_os_str().is_empty());
        let directory = beside.unwrap_or(Path::new(".")).canonicalize();
        let relative = directory.ok().map(|directory| relative(&directory, &absolute));
        Ok(Self {
            size: disk.size(),
            sectors: disk.sectors(),
            content_id,
            relative,
            absolute: absolute.display().to_string(),
        })
    }
}

/// The way from a directory to a file, as Windows writes it. Both are absolute.
fn relative(directory: &Path, file: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) =
        (directory.components().collect(), file.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.iter().skip(common).map(|_| "..".to_owned());
    let down = to
        .iter()
        .skip(common)
        .map(|part: &Component<'_>| part.as_os_str().to_string_lossy().into_owned());
    let way: Vec<String> = up.chain(down).collect();
    match way.first().map(String::as_str) {
        Some("..") => way.join("\\"),
        _ => format!(".\\{}", way.join("\\")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_parent_is_written_for_windows() {
        let way = |from, to| relative(Path::new(from), Path::new(to));
        assert_eq!(way("/vm/a", "/vm/a/base.vhdx"), ".\\base.vhdx");
        assert_eq!(way("/vm/a", "/vm/b/base.vhdx"), "..\\b\\base.vhdx");
        assert_eq!(way("/vm", "/vm/b/base.vhdx"), ".\\b\\base.vhdx");
    }
}
