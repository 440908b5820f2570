//! A file with changes that stay in memory: how a log is replayed into a disk that is open for reading only.

use crate::storage::Storage;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PAGE: u64 = 4096;
/// Pages kept at most: a log of 256 MiB has no more.
const PAGES_MAX: u64 = 65_536;

#[derive(Debug)]
struct Changes {
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
    size: u64,
}

/// The file below, and whole pages over it.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Arc<dyn Storage>,
    below_size: u64,
    changes: Mutex<Changes>,
}

impl Overlay {
    pub fn new(below: Arc<dyn Storage>) -> io::Result<Self> {
        let size = below.size()?;
        let changes = Mutex::new(Changes { pages: BTreeMap::new(), size });
        Ok(Self { below, below_size: size, changes })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_below(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let inside = self.below_size.saturating_sub(offset).min(buffer.len() as u64);
        let (now, beyond) = buffer.split_at_mut(inside as usize);
        beyond.fill(0);
        self.below.read_at(offset, now)
    }
}

impl Storage for Overlay {
    fn size(&self) -> io::Result<u64> {
        Ok(self.changes().size)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= changes.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.read_below(offset, buffer)?;
        for (&start, page) in changes.pages.range(offset / PAGE * PAGE..end) {
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            let source = page.get((from - start) as usize..(to - start) as usize);
            let target = buffer.get_mut((from - offset) as usize..(to - offset) as usize);
            if let (Some(source), Some(target)) = (source, target) {
                target.copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (pages, rest) = data.as_chunks::<{ PAGE as usize }>();
        if !rest.is_empty() || !offset.is_multiple_of(PAGE) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut changes = self.changes();
        for (place, page) in (offset..).step_by(PAGE as usize).zip(pages) {
            changes.pages.insert(place, Box::new(*page));
        }
        changes.size = changes.size.max(offset + data.len() as u64);
        Ok(())
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        self.changes().size = size;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        if len / PAGE > PAGES_MAX {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too much to keep in memory"));
        }
        let pages = (offset..offset.saturating_add(len)).step_by(PAGE as usize);
        pages.into_iter().try_for_each(|place| self.write_at(place, &[0; PAGE as usize]))
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        self.punch_hole(offset, len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.below.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem_storage::MemStorage;

    #[test]
    fn changes_are_seen_and_the_file_below_stays() {
        let below = Arc::new(MemStorage::from_bytes(&[1; 10_000]));
        let overlay = Overlay::new(Arc::clone(&below) as Arc<dyn Storage>).unwrap();
        overlay.set_len(20_480).unwrap();
        overlay.write_at(4096, &[2; 4096]).unwrap();
        overlay.write_at(16_384, &[3; 4096]).unwrap();
        let mut bytes = vec![9; 20_480];
        overlay.read_at(0, &mut bytes).unwrap();
        let expected = |at: usize| match at {
            4096..8192 => 2,
            ..10_000 => 1,
            16_384.. => 3,
            _ => 0,
        };
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
        let mut piece = [0; 100];
        overlay.read_at(4050, &mut piece).unwrap();
        assert_eq!((piece[45], piece[46]), (1, 2));
        assert_eq!(below.size().unwrap(), 10_000);
    }
}
