//! The two headers: one is always whole, whatever happens while the other is written.

use super::wire::{FILE_SIGNATURE, HEADER_SECTION, HEADERS, Header, MIB, checksum};
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::space::Used;
use crate::storage::{Storage, StorageExt};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const NAME: &str = "VHDX header";
/// A log longer than this is refused: none is made that long, and reading it would take forever.
const LOG_MAX: u64 = 256 * MIB;

/// The header that counts, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Headers {
    current: Header,
    /// Which of [`HEADERS`] it is.
    slot: usize,
    /// Why the other one is not usable.
    pub remark: Option<String>,
}

impl Headers {
    /// Reads both and chooses.
    ///
    /// # Errors
    /// When the file is no VHDX, or neither header is whole.
    pub fn read(storage: &dyn Storage) -> Result<Self> {
        let mut signature = [0; 8];
        storage.read(0, &mut signature)?;
        if signature != *FILE_SIGNATURE {
            return Err(Error::malformed("VHDX file identifier", 0, "is not \"vhdxfile\""));
        }
        let [first, second] = HEADERS.map(|offset| read_one(storage, offset));
        let (current, slot, remark) = match (first, second) {
            (Ok(a), Ok(b)) if a.sequence.get() >= b.sequence.get() => (a, 0, None),
            (Ok(_), Ok(b)) => (b, 1, None),
            (Ok(a), Err(error)) => (a, 0, Some(error.to_string())),
            (Err(error), Ok(b)) => (b, 1, Some(error.to_string())),
            (Err(error), Err(_)) => return Err(error),
        };
        let headers = Self { current, slot, remark };
        headers.check_log(storage.length()?)?;
        Ok(headers)
    }

    /// Both headers of a new file.
    pub fn create(storage: &dyn Storage, data_write: Guid, log: &Used) -> Result<Self> {
        let mut header = Header::new_zeroed();
        header.signature = *b"head";
        header.file_write = Guid::random();
        header.data_write = data_write;
        header.version = 1.into();
        header.log_length = u32::try_from(log.len).unwrap_or(0).into();
        header.log_offset = log.start.into();
        let mut headers = Self { current: header, slot: 1, remark: None };
        headers.update(storage, |_| ())?;
        headers.update(storage, |_| ())?;
        Ok(headers)
    }

    fn check_log(&self, file_len: u64) -> Result<()> {
        let (offset, len) =
            (self.current.log_offset.get(), u64::from(self.current.log_length.get()));
        let end = offset.checked_add(len);
        let problem = if !offset.is_multiple_of(MIB) || !len.is_multiple_of(MIB) {
            "the log does not start and end at whole MiB"
        } else if offset < HEADER_SECTION {
            "the log lies in the header section"
        } else if len == 0 || len > LOG_MAX {
            "the log's length is not between 1 and 256 MiB"
        } else if end.is_none_or(|end| end > file_len) {
            "the log reaches beyond the end of the file"
        } else {
            return Ok(());
        };
        Err(Error::malformed(NAME, self.offset(), problem))
    }

    /// Writes a changed header over the older one and makes it the one that counts.
    pub fn update(
        &mut self,
        storage: &dyn Storage,
        change: impl FnOnce(&mut Header),
    ) -> Result<()> {
        let mut next = self.current;
        change(&mut next);
        next.sequence = self.current.sequence.get().wrapping_add(1).into();
        next.checksum = checksum(next.as_bytes()).into();
        let slot = 1 - self.slot;
        let offset = HEADERS.get(slot).copied().unwrap_or_default();
        storage.write(offset, next.as_bytes())?;
        storage.sync()?;
        (self.current, self.slot, self.remark) = (next, slot, None);
        Ok(())
    }

    /// The same change to both.
    pub fn update_both(
        &mut self,
        storage: &dyn Storage,
        change: impl Fn(&mut Header),
    ) -> Result<()> {
        self.update(storage, &change)?;
        self.update(storage, &change)
    }

    /// Where the current header is.
    pub fn offset(&self) -> u64 {
        HEADERS.get(self.slot).copied().unwrap_or_default()
    }

    pub fn log(&self) -> Used {
        let (start, len) = (self.current.log_offset.get(), self.current.log_length.get().into());
        Used { start, len, name: "VHDX log" }
    }

    pub fn log_guid(&self) -> Guid {
        self.current.log
    }

    pub fn log_version(&self) -> u16 {
        self.current.log_version.get()
    }

    pub fn data_write(&self) -> Guid {
        self.current.data_write
    }
}

/// Gives a closed file the content id of another, whose place it takes: its children then know it again.
///
/// # Errors
/// [`Error::Malformed`] when the file is no VHDX.
pub fn set_content_id(storage: &dyn Storage, id: [u8; 16]) -> Result<()> {
    let mut headers = Headers::read(storage)?;
    headers.update_both(storage, |header| header.data_write = Guid(id))
}

fn read_one(storage: &dyn Storage, offset: u64) -> Result<Header> {
    let mut bytes = [0; size_of::<Header>()];
    storage.read(offset, &mut bytes)?;
    let fail = |reason: String| Err(Error::malformed(NAME, offset, reason));
    let Ok(header) = Header::read_from_bytes(&bytes) else {
        return fail("is too short".to_owned());
    };
    if header.signature != *b"head" {
        return fail("its signature is not \"head\"".to_owned());
    }
    let (said, is) = (header.checksum.get(), checksum(&bytes));
    if said != is {
        return fail(format!("its checksum is {said:#010x}, its content gives {is:#010x}"));
    }
    match header.version.get() {
        1 => Ok(header),
        version => fail(format!("its version is {version}, only 1 is known")),
    }
}
