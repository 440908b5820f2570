//! Opening disks by path, with their parents.

use crate::disk::{Disk, SectorSizes};
use crate::error::{Error, Result};
use crate::file_storage::FileStorage;
use crate::format::Format;
use crate::parent::{FindParent, ParentReference};
use crate::storage::Storage;
use crate::{raw, vhd, vhdx};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest chain of parents.
const CHAIN_MAX: usize = 32;

/// How to open a disk.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Refuse all changes, and let others read, too.
    pub read_only: bool,
    /// The format; `None`: as the name says ([`Format::of_path`]).
    pub format: Option<Format>,
    /// Sector sizes of a raw disk; the other formats know their own.
    pub raw_sectors: SectorSizes,
}

impl Default for OpenOptions {
    fn default() -> Self {
        let raw_sectors = SectorSizes { logical: 512, physical: 4096 };
        Self { read_only: false, format: None, raw_sectors }
    }
}

impl OpenOptions {
    /// For reading only.
    pub fn read_only() -> Self {
        Self { read_only: true, ..Self::default() }
    }
}

/// Opens a disk and, for reading only, its parents.
///
/// # Errors
/// Any, inside [`Error::File`], which names the file.
pub fn open_file(path: &Path, options: &OpenOptions) -> Result<Box<dyn Disk>> {
    open_in_chain(path, options, &mut Vec::new())
}

fn open_in_chain(
    path: &Path,
    options: &OpenOptions,
    children: &mut Vec<PathBuf>,
) -> Result<Box<dyn Disk>> {
    open_here(path, options, children).map_err(|error| match error {
        Error::File { .. } => error,
        error => error.in_file(path),
    })
}

fn open_here(
    path: &Path,
    options: &OpenOptions,
    children: &mut Vec<PathBuf>,
) -> Result<Box<dyn Disk>> {
    let format = options.format.map_or_else(|| Format::of_path(path), Ok)?;
    let file = FileStorage::open(path, options.read_only).map_err(Error::io("opening"))?;
    let options = OpenOptions { format: Some(format), ..options.clone() };
    open_storage(Arc::new(file), path, &options, children)
}

fn open_storage(
    storage: Arc<dyn Storage>,
    path: &Path,
    options: &OpenOptions,
    children: &mut Vec<PathBuf>,
) -> Result<Box<dyn Disk>> {
    let format = options.format.map_or_else(|| Format::of_path(path), Ok)?;
    children.push(path.to_owned());
    let mut parents = InFiles { children, format };
    match format {
        Format::Raw => raw::open(storage, options.read_only, options.raw_sectors),
        Format::Vhd => vhd::open(storage, options.read_only, &mut parents),
        Format::Vhdx => vhdx::open(storage, options.read_only, &mut parents),
    }
}

/// Opens a disk in a file that will have this path, and is not there yet.
pub(crate) fn open_over(
    storage: Arc<dyn Storage>,
    path: &Path,
    format: Format,
) -> Result<Box<dyn Disk>> {
    let options = OpenOptions { format: Some(format), ..OpenOptions::default() };
    open_storage(storage, path, &options, &mut Vec::new())
}

/// Finds parents in the file system, from where the child is.
struct InFiles<'a> {
    /// The files opened so far, the youngest first.
    children: &'a mut Vec<PathBuf>,
    format: Format,
}

impl FindParent for InFiles<'_> {
    fn find(&mut self, reference: &ParentReference) -> Result<Arc<dyn Disk>> {
        if self.children.len() >= CHAIN_MAX {
            let text = format!("there are more than {CHAIN_MAX} of them, one above the other");
            return Err(Error::Parent(text));
        }
        let child = self.children.last().map(PathBuf::as_path);
        let places = candidates(child.unwrap_or(Path::new(".")), &reference.paths);
        let Some(path) = places.iter().find(|path| path.exists()) else {
            let tried: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
            return Err(Error::Parent(format!(
                "{} is in none of these places: {}",
                reference.identity,
                tried.join(", ")
            )));
        };
        if self.children.iter().any(|child| is_same(child, path)) {
            return Err(Error::Parent(format!("{} is its own ancestor", path.display())));
        }
        let options = OpenOptions { format: Some(self.format), ..OpenOptions::read_only() };
        open_in_chain(path, &options, self.children).map(Arc::from)
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The files that a child's notes may mean, with whichever separators they were written.
fn candidates(child: &Path, paths: &[String]) -> Vec<PathBuf> {
    let directory = child.parent().unwrap_or(Path::new(""));
    let mut places = Vec::new();
    for path in paths {
        let path = path.replace('\\', "/");
        // A drive's letter means nothing here; the file may still be beside the child.
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        places.push(directory.join(path));
        places.push(directory.join(name));
    }
    let mut seen = Vec::new();
    places.retain(|place| {
        !seen.contains(place) && {
            seen.push(place.clone());
            true
        }
    });
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_looked_for_beside_its_child() {
        let paths = [".\\base\\p.vhdx".to_owned(), "C:\\vm\\p.vhdx".to_owned()];
        let places = candidates(Path::new("/d/child.vhdx"), &paths);
        let expected = ["/d/./base/p.vhdx", "/d/p.vhdx", "/d/C:/vm/p.vhdx"];
        assert_eq!(places, expected.map(PathBuf::from));
    }
}
