//! Raw images and block devices: the disk's bytes and nothing else.

use crate::disk::{Description, Disk, SectorSizes};
use crate::error::{Error, Result};
use crate::flat::{Around, Flat};
use crate::storage::{Storage, StorageExt};
use std::sync::Arc;

#[derive(Debug)]
struct Raw;

impl Around for Raw {
    fn describe(&self) -> Description {
        Description {
            format: "raw",
            kind: "fixed",
            block_size: 0,
            blocks: 0,
            allocated: 0,
            unused: 0,
            remarks: Vec::new(),
            details: Vec::new(),
        }
    }

    fn identity(&self) -> Option<[u8; 16]> {
        None
    }

    fn resize(&self, storage: &dyn Storage, _from: u64, to: u64) -> Result<()> {
        storage.resize(to)?;
        storage.sync()
    }

    fn keeps_space(&self) -> bool {
        false
    }
}

/// Opens a raw image. Its sector sizes are what the caller says: nothing in the file does.
///
/// # Errors
/// [`Error::Unsupported`] when the file is empty or not whole sectors.
pub fn open(
    storage: Arc<dyn Storage>,
    read_only: bool,
    sectors: SectorSizes,
) -> Result<Box<dyn Disk>> {
    let size = storage.length()?;
    if size == 0 || !size.is_multiple_of(sectors.logical.into()) {
        return Err(Error::Unsupported(format!(
            "a raw image of {size} bytes is not whole sectors of {} bytes",
            sectors.logical
        )));
    }
    Ok(Box::new(Flat::new(storage, Raw, size, sectors, read_only)))
}

/// Makes an empty file a raw image: zeros, with or without taking their space.
///
/// # Errors
/// What the file says.
pub fn create(storage: &dyn Storage, size: u64, reserve: bool) -> Result<()> {
    storage.resize(size)?;
    if reserve {
        let reserved = storage.reserve(0, size);
        reserved.map_err(Error::io(format!("reserving {size} bytes")))?;
    }
    storage.sync()
}
