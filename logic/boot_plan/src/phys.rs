//! The door to physical memory.

use crate::text::Text;
use zerocopy::{FromBytes, IntoBytes};

/// Some of the bytes asked for cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfRange;

/// Reads physical memory. The hypervisor implements it over its direct map, tests over a byte vector.
pub trait PhysRead {
    /// Fills `buf` from `phys` on, or fails if any of it cannot be read.
    fn read(&self, phys: u64, buf: &mut [u8]) -> Result<(), OutOfRange>;
}

/// A copy of the `T` at `phys`.
pub fn read_as<T: FromBytes + IntoBytes>(
    memory: &impl PhysRead,
    phys: u64,
) -> Result<T, OutOfRange> {
    let mut value = T::new_zeroed();
    memory.read(phys, value.as_mut_bytes())?;
    Ok(value)
}

/// Why a string was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BadString {
    Unreadable,
    TooLong,
}

/// Bytes read at once. They never cross a boundary of this size, so that a string may end just before a hole.
const CHUNK: u64 = 32;

/// Reads the NUL-terminated string at `phys` into `text`.
pub(crate) fn read_string<const N: usize>(
    memory: &impl PhysRead,
    phys: u64,
    text: &mut Text<N>,
) -> Result<(), BadString> {
    text.clear();
    let mut at = phys;
    loop {
        let mut chunk = [0; CHUNK as usize];
        let len = CHUNK - at % CHUNK;
        let chunk = chunk.get_mut(..len as usize).ok_or(BadString::Unreadable)?;
        memory.read(at, chunk).map_err(|OutOfRange| BadString::Unreadable)?;
        let end = chunk.iter().position(|byte| *byte == 0);
        if !text.append(chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default()) {
            return Err(BadString::TooLong);
        }
        if end.is_some() {
            return Ok(());
        }
        at = at.checked_add(len).ok_or(BadString::Unreadable)?;
    }
}
