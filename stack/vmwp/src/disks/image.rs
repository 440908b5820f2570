//! A disk image, as the storage VSP wants it: where the bytes are.

use disk::{Disk, IoGuard, WriteTicket};
use std::io;
use storvsp::backend::{Extent, FileRef, Mapping, Place};
use storvsp::block::{Discard, DiskInfo, IoError};

/// An open image.
pub struct Image {
    disk: Box<dyn Disk>,
}

impl Image {
    /// Takes over an open image.
    pub fn new(disk: Box<dyn Disk>) -> Self {
        Self { disk }
    }
}

fn failed(error: disk::Error) -> IoError {
    match error {
        error if error.is_out_of_space() => IoError::NoSpace,
        disk::Error::ReadOnly => IoError::ReadOnly,
        disk::Error::OutOfRange { .. } => IoError::OutOfRange,
        disk::Error::Unsupported(_) => IoError::Unsupported,
        error => {
            tracing::error!(error = %anyhow::Error::new(error), "a disk fails");
            IoError::Host(io::Error::from(io::ErrorKind::Other))
        }
    }
}

fn convert(from: &[disk::Extent], to: &mut Vec<Extent>) {
    to.extend(from.iter().map(|extent| Extent {
        place: match extent.place {
            disk::Place::Zero => Place::Zero,
            disk::Place::File { file, offset } => Place::File { file, offset },
        },
        length: extent.len,
    }));
}

impl Mapping for Image {
    type ReadGuard = IoGuard;
    type WriteGuard = WriteTicket;

    fn info(&self) -> DiskInfo {
        let (sectors, read_only) = (self.disk.sectors(), self.disk.is_read_only());
        let granularity = sectors.physical;
        DiskInfo {
            size: self.disk.size(),
            logical_block: sectors.logical,
            physical_block: sectors.physical,
            read_only,
            discard: (!read_only).then_some(Discard { granularity, reads_zeros: true }),
        }
    }

    fn file(&self, number: u16) -> Option<FileRef<'_>> {
        Some(FileRef { fd: self.disk.file(number)?.as_fd()?, alignment: None })
    }

    fn map_read(
        &self,
        offset: u64,
        length: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<IoGuard, IoError> {
        let mut found = Vec::new();
        let guard = self.disk.map_read(offset, length, &mut found).map_err(failed)?;
        convert(&found, extents);
        Ok(guard)
    }

    fn map_write(
        &self,
        offset: u64,
        length: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<WriteTicket, IoError> {
        let mut found = Vec::new();
        let ticket = self.disk.map_write(offset, length, &mut found).map_err(failed)?;
        convert(&found, extents);
        Ok(ticket)
    }

    fn written(&self, ticket: WriteTicket) -> Result<(), IoError> {
        self.disk.complete(ticket).map_err(failed)
    }

    fn flush_file(&self) -> Option<u16> {
        (!self.disk.needs_commit()).then_some(0)
    }

    fn flush(&self) -> Result<(), IoError> {
        self.disk.flush().map_err(failed)
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), IoError> {
        self.disk.discard(offset, length).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::OpenOptions;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_raw_images_bytes_are_where_they_are() {
        let file = tempfile::Builder::new().suffix(".img").tempfile().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let image = Image::new(disk::open_file(file.path(), &OpenOptions::default()).unwrap());
        let info = image.info();
        assert_eq!((info.size, info.logical_block, info.read_only), (1 << 20, 512, false));
        let mut extents = Vec::new();
        let ticket = image.map_write(4096, 8192, &mut extents).unwrap();
        let place = Place::File { file: 0, offset: 4096 };
        assert_eq!(extents, [Extent { place, length: 8192 }]);
        image.written(ticket).unwrap();
        assert!(image.file(0).is_some_and(|file| file.fd.as_raw_fd() >= 0));
        assert!(image.file(1).is_none());
        let beyond = image.map_read(1 << 20, 512, &mut Vec::new());
        assert!(matches!(beyond, Err(IoError::OutOfRange)));
    }

    #[test]
    fn an_image_for_reading_takes_no_writes() {
        let file = tempfile::Builder::new().suffix(".img").tempfile().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let image = Image::new(disk::open_file(file.path(), &OpenOptions::read_only()).unwrap());
        assert!(image.info().read_only && image.info().discard.is_none());
        assert!(matches!(image.map_write(0, 512, &mut Vec::new()), Err(IoError::ReadOnly)));
    }
}
