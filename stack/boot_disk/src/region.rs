//! A part of a disk, readable at any byte.

use ext4_view::Ext4Read;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// What a disk has to be able to.
pub trait ReadAt: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Size of a sector in bytes: 512 or 4096.
    fn sector(&self) -> u32;
    /// Fills `buffer` from byte `offset` on. Both ends are at sectors, and inside of the disk.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A part of a disk.
#[derive(Clone)]
pub struct Region {
    disk: Arc<dyn ReadAt>,
    /// Number of the partition, 0 for all of the disk.
    number: u32,
    start: u64,
    len: u64,
    /// Where `Read` goes on.
    position: u64,
}

impl Region {
    /// All of it.
    pub fn whole(disk: &Arc<dyn ReadAt>) -> Self {
        Self { disk: Arc::clone(disk), number: 0, start: 0, len: disk.size(), position: 0 }
    }

    /// `len` bytes from `start` on, partition `number`; `None` if they are not all inside.
    pub fn part(&self, number: u32, start: u64, len: u64) -> Option<Self> {
        let end = start.checked_add(len)?;
        (end <= self.len).then(|| Self { number, start, len, position: 0, ..self.clone() })
    }

    /// What to call it in messages.
    pub fn name(&self) -> String {
        match self.number {
            0 => "the disk".to_owned(),
            number => format!("partition {number}"),
        }
    }

    /// Bytes of one sector.
    pub fn sector(&self) -> u64 {
        self.disk.sector().into()
    }

    /// Fills `buffer` from byte `offset` of the part on.
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        let start = end.and_then(|_| self.start.checked_add(offset));
        let start = start.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let sector = self.sector().max(1);
        let skip = start % sector;
        if skip == 0 && (buffer.len() as u64).is_multiple_of(sector) {
            return self.disk.read_at(start, buffer);
        }
        let whole = (skip + buffer.len() as u64).next_multiple_of(sector);
        let mut sectors = vec![0; whole as usize];
        self.disk.read_at(start - skip, &mut sectors)?;
        let wanted = sectors.get(skip as usize..skip as usize + buffer.len());
        buffer.copy_from_slice(wanted.ok_or_else(|| io::Error::other("a short sector"))?);
        Ok(())
    }
}

impl Ext4Read for Region {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(self.fill(start_byte, dst)?)
    }
}

impl Read for Region {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.position);
        let count = left.min(buffer.len() as u64) as usize;
        let buffer = buffer.get_mut(..count).unwrap_or_default();
        self.fill(self.position, buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Region {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn sector(&self) -> u32 {
            512
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            assert!(offset.is_multiple_of(512) && buffer.len().is_multiple_of(512));
            let from = offset as usize;
            buffer.copy_from_slice(&self.0[from..from + buffer.len()]);
            Ok(())
        }
    }

    fn disk() -> Arc<dyn ReadAt> {
        Arc::new(Bytes((0..4096_u32).map(|n| (n / 16) as u8).collect()))
    }

    #[test]
    fn any_bytes_are_read_by_whole_sectors() {
        let part = Region::whole(&disk()).part(1, 512, 2048).unwrap();
        for (offset, len) in [(0, 512), (1, 1), (510, 4), (2047, 1), (0, 2048), (700, 1300)] {
            let mut buffer = vec![0; len];
            part.fill(offset, &mut buffer).unwrap();
            let right = (0..len).map(|n| ((512 + offset as usize + n) / 16) as u8);
            assert!(right.eq(buffer), "{offset} {len}");
        }
    }

    #[test]
    fn nothing_outside_of_a_part_is_read() {
        let part = Region::whole(&disk()).part(1, 512, 2048).unwrap();
        for (offset, len) in [(2048, 1), (0, 2049), (u64::MAX, 1), (u64::MAX - 100, 2)] {
            let kind = part.fill(offset, &mut vec![0; len]).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::UnexpectedEof, "{offset} {len}");
        }
    }

    #[test]
    fn parts_that_are_not_inside_are_none() {
        let whole = Region::whole(&disk());
        assert!(whole.part(1, 4096, 0).is_some());
        assert!(whole.part(1, 4096, 1).is_none() && whole.part(1, u64::MAX, 2).is_none());
    }

    #[test]
    fn reading_on_ends_at_the_end() {
        let mut part = Region::whole(&disk()).part(1, 512, 700).unwrap();
        let mut all = Vec::new();
        part.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 700);
        assert_eq!(part.seek(SeekFrom::End(-4)).unwrap(), 696);
        assert!(part.seek(SeekFrom::Current(-800)).is_err());
    }
}
