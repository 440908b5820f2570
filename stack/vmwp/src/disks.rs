//! Disks in image files.

use crate::boot::BootDisk;
use crate::cli::DiskOption;
use anyhow::Context;
use boot_disk::ReadAt;
use disk::OpenOptions;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;
use storvsp::backend::{FileDisk, ImageDisk};
use storvsp::lun::Lun;

/// An open disk.
#[derive(Clone)]
pub struct OpenDisk {
    disk: Arc<FileDisk<ImageDisk>>,
    id: [u8; 16],
    name: String,
}

impl OpenDisk {
    /// As a controller takes it.
    pub fn lun(&self) -> Lun {
        Lun::disk(self.disk.clone(), self.id)
    }
}

impl OpenDisk {
    /// For whoever looks for a kernel on it.
    pub fn to_boot_from(&self) -> BootDisk {
        let reader = Reader(Arc::clone(self.disk.mapping()));
        BootDisk { disk: Arc::new(reader), name: self.name.clone() }
    }
}

/// The disk as the guest sees it.
struct Reader(Arc<ImageDisk>);

impl ReadAt for Reader {
    fn size(&self) -> u64 {
        self.0.image().size()
    }

    fn sector(&self) -> u32 {
        self.0.image().sectors().logical
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.image().read_at(offset, buffer).map_err(io::Error::other)
    }
}

/// Opens what was asked for.
///
/// # Errors
///
/// What is wrong with the image, with its name.
pub fn open(option: &DiskOption) -> anyhow::Result<OpenDisk> {
    let path = &option.path;
    let how = OpenOptions {
        read_only: option.read_only,
        format: option.format,
        ..OpenOptions::default()
    };
    let image = ImageDisk::open(path, &how, !option.cached)
        .with_context(|| format!("cannot use {} as a disk", path.display()))?;
    let id = image.image().identity().unwrap_or_else(|| id_of(path));
    let name = path.display().to_string();
    Ok(OpenDisk { disk: Arc::new(FileDisk::new(image)), id, name })
}

/// A raw disk has no identifier of its own: its name makes one that stays.
pub(crate) fn id_of(path: &Path) -> [u8; 16] {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &path).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(1) << 64 | half(2)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_disk_is_named() {
        let option = DiskOption { path: "/nowhere.img".into(), ..DiskOption::default() };
        let error = open(&option).err().unwrap();
        assert!(error.to_string().contains("cannot use /nowhere.img as a disk"), "{error:#}");
    }

    #[test]
    fn a_raw_disks_identifier_stays_and_is_its_own() {
        assert_eq!(id_of(Path::new("/a.img")), id_of(Path::new("/a.img")));
        assert_ne!(id_of(Path::new("/a.img")), id_of(Path::new("/b.img")));
    }
}
