//! The places in a kernel that hold addresses.
//!
//! Behind the ELF file, words of 32 bits, to be read from their end. Each is the virtual address of such a place as the kernel is
//! linked, without the upper half, which is all ones:
//!
//! ```text
//!  0 | 64-bit places | 0 | 32-bit places that hold a distance to the kernel, negated | 0 | 32-bit places
//! ```
//!
//! The middle one is gone since Linux 6.15, whose per-CPU variables are linked like everything else. A kernel that cannot be
//! moved has none of it.

use crate::Error;

/// How a place changes when the kernel moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// 64 bits, by as much as the kernel.
    Add64,
    /// 32 bits, by as much as the kernel.
    Add32,
    /// 32 bits, by as much the other way.
    Subtract32,
}

impl Change {
    /// In the order in which they are kept.
    pub const ALL: [Self; 3] = [Self::Add64, Self::Subtract32, Self::Add32];

    /// Bytes at the place.
    pub fn width(self) -> usize {
        if self == Self::Add64 { 8 } else { 4 }
    }
}

/// The places, as offsets from the kernel's beginning. Each lies in the image with all its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relocations {
    places: [Vec<u32>; 3],
}

impl Relocations {
    /// Reads them from `bytes`, all that lies behind the ELF file. The kernel's `len` bytes are linked for `start`.
    pub(crate) fn parse(bytes: &[u8], start: u64, len: usize) -> Result<Self, Error> {
        // The words are counted from the end; what is before them fills up to their alignment.
        let (padding, words) = bytes.split_at(bytes.len() % 4);
        if padding.iter().any(|&byte| byte != 0) {
            return Err(Error::Relocations("they are not words"));
        }
        let words: Vec<u32> =
            words.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        if words.is_empty() {
            return Ok(Self::default());
        }
        let lists: Vec<&[u32]> = words.split(|&word| word == 0).collect();
        let (wide, negated, narrow): (&[u32], &[u32], &[u32]) = match lists.as_slice() {
            [[], wide, narrow] => (wide, &[], narrow),
            [[], wide, negated, narrow] => (wide, negated, narrow),
            _ => return Err(Error::Relocations("there are neither two nor three lists of them")),
        };
        let mut found = Self::default();
        for ((change, places), list) in
            Change::ALL.iter().zip(&mut found.places).zip([wide, negated, narrow])
        {
            *places = list
                .iter()
                .map(|&address| offset(address, start, len, change.width()))
                .collect::<Result<_, _>>()?;
        }
        Ok(found)
    }

    /// Takes lists that were [`Self::lists`] once.
    pub(crate) fn from_lists(places: [Vec<u32>; 3], len: usize) -> Result<Self, Error> {
        for (change, places) in Change::ALL.iter().zip(&places) {
            if places.iter().any(|&place| place as usize + change.width() > len) {
                return Err(Error::Kept("a relocation lies outside of it"));
            }
        }
        Ok(Self { places })
    }

    /// The places, by what happens to them.
    pub fn lists(&self) -> impl Iterator<Item = (Change, &[u32])> {
        Change::ALL.into_iter().zip(self.places.iter().map(Vec::as_slice))
    }

    /// Whether there are none: the kernel stays at the virtual address for which it is linked.
    pub fn is_empty(&self) -> bool {
        self.places.iter().all(Vec::is_empty)
    }
}

/// Where in the image `address` is.
fn offset(address: u32, start: u64, len: usize, width: usize) -> Result<u32, Error> {
    let outside = Error::Relocations("one lies outside of the kernel");
    let address = 0xFFFF_FFFF_0000_0000 | u64::from(address);
    let Some(offset) = address.checked_sub(start) else { return Err(outside) };
    match u32::try_from(offset) {
        Ok(offset) if offset as usize + width <= len => Ok(offset),
        _ => Err(outside),
    }
}
