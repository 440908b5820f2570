//! What every open disk can do, whatever its format.
//!
//! Formats *resolve*, the caller moves data: [`Disk::map_read`] and [`Disk::map_write`] turn a range of the disk into
//! [`Extent`]s of files, and the caller does the I/O straight between them and the guest's pages.
//!
//! ```text
//!  read:   map_read ──▶ extents ──▶ caller reads ──▶ drop guard
//!  write:  map_write ─▶ extents ──▶ caller writes ─▶ complete(ticket)
//!  flush:  [fsync of the file alone, unless needs_commit()] or flush()
//! ```
//!
//! What must hold: an extent stays valid while its guard or ticket lives; a write counts once [`Disk::complete`] was
//! called with its ticket, and survives a power loss once a flush that began after that returned.

use crate::error::{Error, Result};
use crate::in_use::IoGuard;
use crate::storage::{Storage, StorageExt};
use std::fmt::Debug;

/// Sizes that a guest sees, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorSizes {
    /// Unit of addressing: 512 or 4096. All offsets and lengths are multiples of it.
    pub logical: u32,
    /// Unit that the disk writes without reading first: 512 or 4096.
    pub physical: u32,
}

/// Where the bytes of a piece of the disk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: they are zero.
    Zero,
    /// In a file.
    File {
        /// 0 is the disk's own file, 1 its parent's, and so on: see [`Disk::file`].
        file: u16,
        /// Byte offset in that file.
        offset: u64,
    },
}

/// A piece of the disk and where it is. The extents of a mapping follow each other without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where the bytes are.
    pub place: Place,
    /// How many.
    pub len: u64,
}

/// Permission to write to the extents of one [`Disk::map_write`]; to be handed to [`Disk::complete`] after the data
/// was written, or dropped if that failed (the disk is then as if the write had not been tried, but for parts that the
/// failed write itself changed).
#[derive(Debug)]
#[must_use = "a write does not count before `complete`"]
pub struct WriteTicket {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Whether something other than the data says that the data is there.
    pub(crate) marks: bool,
    pub(crate) _guard: IoGuard,
}

/// What a resize may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shrink {
    /// Refuse to become smaller.
    Refuse,
    /// Cut off what is beyond the new end, whatever it holds.
    Allow,
}

/// A description for people and programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// "raw", "vhd" or "vhdx".
    pub format: &'static str,
    /// "fixed", "dynamic" or "differencing".
    pub kind: &'static str,
    /// Bytes that are allocated at once, 0 where nothing is.
    pub block_size: u64,
    /// Blocks of the disk.
    pub blocks: u64,
    /// Blocks that have room in the file.
    pub allocated: u64,
    /// Bytes in the file that nothing refers to, which [`crate::compact`] would give back.
    pub unused: u64,
    /// What differs from how the format wants it without harm: a missing spare copy, a log left over.
    pub remarks: Vec<String>,
    /// Further facts, as name and value: identifiers, creator, parent.
    pub details: Vec<(&'static str, String)>,
}

/// An open disk. All calls may come from several threads at once.
pub trait Disk: Send + Sync + Debug {
    /// Size in bytes, a multiple of the logical sector.
    fn size(&self) -> u64;

    /// Sector sizes.
    fn sectors(&self) -> SectorSizes;

    /// An identifier that stays with the disk (SCSI page 0x83); `None` for raw disks.
    fn identity(&self) -> Option<[u8; 16]>;

    /// What a differencing child notes of its parent, to know it again: it changes when the content does (VHDX), or
    /// never (VHD). `None` for raw disks, which have no children.
    fn content_id(&self) -> Option<[u8; 16]>;

    /// Whether it was opened for reading only.
    fn is_read_only(&self) -> bool;

    /// The file that extents with this number are in.
    fn file(&self, number: u16) -> Option<&dyn Storage>;

    /// Tells where a range is, replacing what is in `extents`. Extents stay valid while the guard lives.
    ///
    /// May read metadata from the file.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Unaligned`], and what reading says.
    fn map_read(&self, offset: u64, len: u64, extents: &mut Vec<Extent>) -> Result<IoGuard>;

    /// Makes room for a range and tells where to write it, replacing what is in `extents`. All are in file 0.
    ///
    /// May read metadata and make the file longer; writes no metadata but the first time.
    ///
    /// # Errors
    /// As [`Disk::map_read`], [`Error::ReadOnly`], and what making room says ([`Error::is_out_of_space`]).
    fn map_write(&self, offset: u64, len: u64, extents: &mut Vec<Extent>) -> Result<WriteTicket>;

    /// Says that the data of a ticket has been written to its extents.
    ///
    /// # Errors
    /// What reading metadata says; the write then does not count.
    fn complete(&self, ticket: WriteTicket) -> Result<()>;

    /// Whether [`Disk::flush`] has more to do than to flush file 0.
    fn needs_commit(&self) -> bool;

    /// Makes everything completed so far survive a power loss.
    ///
    /// # Errors
    /// What the file says. What was completed stays readable, and is not yet safe.
    fn flush(&self) -> Result<()>;

    /// Makes a range zero, and gives its space back where the format can.
    ///
    /// # Errors
    /// As [`Disk::map_write`].
    fn discard(&self, offset: u64, len: u64) -> Result<()>;

    /// Changes the size; new space is zero. Safe against power loss: the disk has the old size or the new one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the format cannot have that size, or would shrink and [`Shrink::Refuse`] was said.
    fn resize(&self, size: u64, shrink: Shrink) -> Result<()>;

    /// Flushes and marks the file as properly closed. Called on drop, too, where an error is lost.
    ///
    /// # Errors
    /// As [`Disk::flush`].
    fn close(&self) -> Result<()>;

    /// What it is and how full.
    fn describe(&self) -> Description;

    /// Reads a range, with a copy per extent.
    ///
    /// # Errors
    /// As [`Disk::map_read`].
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut extents = Vec::new();
        let _guard = self.map_read(offset, buffer.len() as u64, &mut extents)?;
        let mut rest = buffer;
        for extent in &extents {
            let (now, later) = rest.split_at_mut(rest.len().min(extent.len as usize));
            match extent.place {
                Place::Zero => now.fill(0),
                Place::File { file, offset } => file_of(self, file)?.read(offset, now)?,
            }
            rest = later;
        }
        Ok(())
    }

    /// Writes a range, with a copy per extent.
    ///
    /// # Errors
    /// As [`Disk::map_write`] and [`Disk::complete`].
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut extents = Vec::new();
        let ticket = self.map_write(offset, data.len() as u64, &mut extents)?;
        let mut rest = data;
        for extent in &extents {
            let (now, later) = rest.split_at(rest.len().min(extent.len as usize));
            if let Place::File { file, offset } = extent.place {
                file_of(self, file)?.write(offset, now)?;
            }
            rest = later;
        }
        self.complete(ticket)
    }
}

fn file_of<D: Disk + ?Sized>(disk: &D, number: u16) -> Result<&dyn Storage> {
    disk.file(number).ok_or_else(|| Error::Unsupported(format!("the disk has no file {number}")))
}

/// Whether a range lies on the disk and is whole sectors.
pub(crate) fn check_range(offset: u64, len: u64, size: u64, sector: u32) -> Result<()> {
    if !offset.is_multiple_of(sector.into()) || !len.is_multiple_of(sector.into()) {
        return Err(Error::Unaligned { offset, len, sector });
    }
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::OutOfRange { offset, len, size }),
    }
}

/// Adds an extent, joined to the last where they touch.
pub(crate) fn push_extent(extents: &mut Vec<Extent>, place: Place, len: u64) {
    if let Some(last) = extents.last_mut() {
        let joins = match (last.place, place) {
            (Place::Zero, Place::Zero) => true,
            (Place::File { file, offset }, Place::File { file: next, offset: at }) => {
                file == next && offset.checked_add(last.len) == Some(at)
            }
            _ => false,
        };
        if joins {
            last.len += len;
            return;
        }
    }
    extents.push(Extent { place, len });
}
