//! A kernel as a file: a header, the image from its second page on, the relocations behind it. In this machine's byte order;
//! another version or machine unpacks anew.

use crate::packed::UNPACKED_MAX;
use crate::{Error, Kernel, Relocations};
use std::io::{self, Read, Seek, SeekFrom, Write};
use wire::{layout, wire};
use zerocopy::{FromZeros, IntoBytes};

/// "ZEMINKRN".
const MAGIC: [u8; 8] = *b"ZEMINKRN";
/// Of this layout, and of what [`Kernel::unpack`] makes of a kernel.
pub const VERSION: u32 = 1;
/// Ends the names of files of this version.
pub const SUFFIX: &str = ".kernel1";
/// Where the image begins: page-aligned, as page caches and guests have it.
const IMAGE: usize = 0x1000;

wire! {
    /// The first bytes of the file.
    pub struct Head {
        /// [`MAGIC`].
        pub magic: [u8; 8],
        /// [`VERSION`].
        pub version: u32,
        /// 0.
        pub reserved: u32,
        /// [`Kernel::base`].
        pub base: u64,
        /// [`Kernel::entry`].
        pub entry: u64,
        /// Bytes of the image.
        pub len: u64,
        /// Relocations of each kind, in the order of [`crate::Change::ALL`]: words of 32 bits.
        pub places: [u64; 3],
    }
}
layout!(Head, 64, magic @ 0, version @ 8, base @ 16, entry @ 24, len @ 32, places @ 40);

/// The file's name, by the SHA-256 of its bzImage: kernels come from guests' disks, and none may be taken for another.
pub fn file_name(sha256: &[u8]) -> String {
    let hash: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    hash + SUFFIX
}

impl Kernel {
    /// Writes it, to be read by [`Kept::open`].
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn keep(&self, out: &mut impl Write) -> io::Result<()> {
        let mut head = Head {
            magic: MAGIC,
            version: VERSION,
            reserved: 0,
            base: self.base,
            entry: self.entry,
            len: self.image.len() as u64,
            places: [0; 3],
        };
        for (count, (_, places)) in head.places.iter_mut().zip(self.relocations.lists()) {
            *count = places.len() as u64;
        }
        let mut page = [0; IMAGE];
        head.write_to_prefix(&mut page).map_err(|_| io::ErrorKind::InvalidInput)?;
        out.write_all(&page)?;
        out.write_all(&self.image)?;
        self.relocations.lists().try_for_each(|(_, places)| out.write_all(places.as_bytes()))
    }
}

/// A kept kernel whose image is still in its file.
#[derive(Debug)]
pub struct Kept<F> {
    file: F,
    /// [`Kernel::base`].
    pub base: u64,
    /// [`Kernel::entry`].
    pub entry: u64,
    /// Bytes of the image.
    pub len: u64,
    /// What depends on its virtual address.
    pub relocations: Relocations,
}

impl<F: Read + Seek> Kept<F> {
    /// Reads all but the image.
    ///
    /// # Errors
    ///
    /// [`Error::Kept`] for a file that [`Kernel::keep`] of this version did not write to its end.
    pub fn open(mut file: F) -> Result<Self, Error> {
        let unreadable = |_| Error::Kept("it cannot be read");
        let size = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let mut head = Head::new_zeroed();
        file.read_exact(head.as_mut_bytes()).map_err(unreadable)?;
        if (head.magic, head.version) != (MAGIC, VERSION) {
            return Err(Error::Kept("this version did not write it"));
        }
        let places = head.places.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        let end = places
            .and_then(|places| places.checked_mul(4)?.checked_add(IMAGE as u64))
            .and_then(|end| end.checked_add(head.len));
        if end != Some(size) || head.len > UNPACKED_MAX || head.entry >= head.len {
            return Err(Error::Kept("its parts are not as long as it says"));
        }
        file.seek(SeekFrom::Start(IMAGE as u64 + head.len)).map_err(unreadable)?;
        let mut lists = [const { Vec::new() }; 3];
        for (list, count) in lists.iter_mut().zip(head.places) {
            // Not more than the file has.
            *list = vec![0; count as usize];
            file.read_exact(list.as_mut_bytes()).map_err(unreadable)?;
        }
        let relocations = Relocations::from_lists(lists, head.len as usize)?;
        Ok(Self { file, base: head.base, entry: head.entry, len: head.len, relocations })
    }

    /// The file, where the image begins; [`Self::len`] bytes of it.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn image(&mut self) -> io::Result<&mut F> {
        self.file.seek(SeekFrom::Start(IMAGE as u64))?;
        Ok(&mut self.file)
    }
}
