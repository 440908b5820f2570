//! Which format a file is in.

use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::{vhd, vhdx};
use std::fmt;
use std::path::Path;

/// A disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The disk's bytes and nothing else; also block devices and ISO images.
    Raw,
    /// Virtual Hard Disk, up to 2040 GiB.
    Vhd,
    /// Virtual Hard Disk v2, up to 64 TiB, with a log.
    Vhdx,
}

impl Format {
    /// What a file's name says: `.vhdx`, `.vhd`, `.raw`, `.img`, `.iso`, or a device in `/dev`.
    ///
    /// The name decides and not the content, because the content of a raw disk is its guest's to choose.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the name says nothing.
    pub fn of_path(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("vhdx" | "avhdx") => Ok(Self::Vhdx),
            Some("vhd" | "avhd" | "vpc") => Ok(Self::Vhd),
            Some("raw" | "img" | "iso") => Ok(Self::Raw),
            _ if path.starts_with("/dev") => Ok(Self::Raw),
            _ => Err(Error::Unsupported(
                "the file's name does not say which format it has: .vhdx, .vhd, .img, .raw and .iso are known"
                    .to_owned(),
            )),
        }
    }

    /// What a file's content looks like. Only for files that no guest can have written to.
    pub fn of_content(storage: &dyn Storage) -> Self {
        if vhdx::is_vhdx(storage) {
            Self::Vhdx
        } else if vhd::is_vhd(storage) {
            Self::Vhd
        } else {
            Self::Raw
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Raw => "raw",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        let of = |name: &str| Format::of_path(Path::new(name)).ok();
        assert_eq!(of("a.b/Disk.VHDX"), Some(Format::Vhdx));
        assert_eq!(of("disk.vhd"), Some(Format::Vhd));
        assert_eq!(of("/dev/sdb"), Some(Format::Raw));
        assert_eq!(of("debian.iso"), Some(Format::Raw));
        assert_eq!(of("disk"), None);
        assert_eq!(of("disk.qcow2"), None);
    }
}
