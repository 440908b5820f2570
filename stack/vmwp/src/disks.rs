//! The VM's disks. They are opened once, and stay open over resets of the VM.

use crate::cli::DiskOption;
use anyhow::Context;
use disk::OpenOptions;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use storvsp::backend::{FileDisk, ImageDisk};
use storvsp::controller::{Controller, LunError};
use storvsp::lun::Lun;

/// Open disks, in the order of their LUNs.
#[derive(Clone, Default)]
pub struct Disks(Vec<OpenDisk>);

#[derive(Clone)]
struct OpenDisk {
    disk: Arc<FileDisk<ImageDisk>>,
    id: [u8; 16],
}

impl Disks {
    /// Opens what was asked for.
    pub fn open(options: &[DiskOption]) -> anyhow::Result<Self> {
        options.iter().map(open).collect::<anyhow::Result<_>>().map(Self)
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes them LUNs of a controller, from 0 on.
    pub fn attach(&self, controller: &Controller) -> Result<(), LunError> {
        self.0.iter().zip(0..).try_for_each(|(open, number)| {
            controller.attach(number, Lun::disk(open.disk.clone(), open.id))
        })
    }
}

fn open(option: &DiskOption) -> anyhow::Result<OpenDisk> {
    let path = &option.path;
    let how = OpenOptions {
        read_only: option.read_only,
        format: option.format,
        ..OpenOptions::default()
    };
    let image = ImageDisk::open(path, &how, !option.cached)
        .with_context(|| format!("cannot use {} as a disk", path.display()))?;
    let id = image.image().identity().unwrap_or_else(|| id_of(path));
    Ok(OpenDisk { disk: Arc::new(FileDisk::new(image)), id })
}

/// A raw disk has no identifier of its own: its name makes one that stays.
fn id_of(path: &Path) -> [u8; 16] {
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
        let error = Disks::open(&[option]).err().unwrap();
        assert!(error.to_string().contains("cannot use /nowhere.img as a disk"), "{error:#}");
    }

    #[test]
    fn a_raw_disks_identifier_stays_and_is_its_own() {
        assert_eq!(id_of(Path::new("/a.img")), id_of(Path::new("/a.img")));
        assert_ne!(id_of(Path::new("/a.img")), id_of(Path::new("/b.img")));
    }
}
