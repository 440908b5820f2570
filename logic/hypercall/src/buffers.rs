//! Views of a call's input and output, copied out of the caller's memory once and into it once.

use crate::decode::Call;
use core::marker::PhantomData;
use hvdef::HvStatus;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A copy of a call's input.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    header: usize,
    list: usize,
    element: usize,
    call: &'a Call,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, the input of `call` from its beginning. Fewer bytes than
    /// [`Call::input_bytes`] are answered INVALID_HYPERCALL_INPUT, more are ignored.
    pub fn new(call: &'a Call, bytes: &'a [u8]) -> Result<Self, HvStatus> {
        let bytes = bytes.get(..call.input_bytes()).ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?;
        let info = call.info();
        Ok(Self {
            bytes,
            header: usize::from(info.input),
            list: call.list_offset(),
            element: usize::from(info.rep_input),
            call,
        })
    }

    /// The beginning of the input as a `T`.
    ///
    /// Where `T` reaches into the variable header, as that of MAP_DEVICE_INTERRUPT does, a call with a shorter one is
    /// answered INVALID_HYPERCALL_INPUT.
    pub fn header<T: FromBytes>(&self) -> Result<T, HvStatus> {
        let bytes = self.bytes.get(..self.list).unwrap_or_default();
        let (header, _) =
            T::read_from_prefix(bytes).map_err(|_| HvStatus::INVALID_HYPERCALL_INPUT)?;
        Ok(header)
    }

    /// The variable header.
    pub fn variable_header(&self) -> &'a [u8] {
        self.bytes.get(self.header..self.list).unwrap_or_default()
    }

    /// The variable header as words.
    pub fn variable_qwords(&self) -> &'a [U64] {
        <[U64]>::ref_from_bytes(self.variable_header()).unwrap_or_default()
    }

    /// Element `index` of the list, counted from its beginning.
    pub fn element<T: FromBytes>(&self, index: u16) -> Result<T, HvStatus> {
        let at = self.list + self.element * usize::from(index);
        let bytes =
            self.bytes.get(at..at + self.element).ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?;
        let (element, _) =
            T::read_from_prefix(bytes).map_err(|_| HvStatus::INVALID_HYPERCALL_INPUT)?;
        Ok(element)
    }

    /// The elements still to do, each with its index.
    pub fn elements<T: FromBytes>(&self) -> Elements<'a, T> {
        Elements { reader: *self, next: self.call.reps().start, element: PhantomData }
    }
}

/// Iterator over the elements of an input list that are still to do.
#[derive(Clone, Debug)]
pub struct Elements<'a, T> {
    reader: Reader<'a>,
    next: u16,
    element: PhantomData<T>,
}

impl<T: FromBytes> Iterator for Elements<'_, T> {
    type Item = (u16, T);

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.reader.call.reps().end {
            return None;
        }
        let element = self.reader.element(index).ok()?;
        self.next += 1;
        Some((index, element))
    }
}

/// A call's output, before it is copied to the caller.
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    list: usize,
    element: usize,
}

impl<'a> Writer<'a> {
    /// A writer to `bytes`, the output of `call` from its beginning. Fewer bytes than [`Call::output_bytes`] are answered
    /// INVALID_HYPERCALL_INPUT, more are left alone.
    pub fn new(call: &Call, bytes: &'a mut [u8]) -> Result<Self, HvStatus> {
        let bytes =
            bytes.get_mut(..call.output_bytes()).ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?;
        let info = call.info();
        let list = if info.rep_output == 0 { bytes.len() } else { usize::from(info.output) };
        Ok(Self { bytes, list, element: usize::from(info.rep_output) })
    }

    /// Puts `value` at the beginning of the output.
    ///
    /// INVALID_HYPERCALL_INPUT if there is no room for it, which a handler sees only with outputs of varying size.
    pub fn header<T: IntoBytes + Immutable>(&mut self, value: &T) -> Result<(), HvStatus> {
        self.put(0, self.list, value.as_bytes())
    }

    /// Puts bytes at the beginning of the output.
    pub fn header_bytes(&mut self, bytes: &[u8]) -> Result<(), HvStatus> {
        self.put(0, self.list, bytes)
    }

    /// Puts element `index` of the list, counted from its beginning.
    pub fn element<T: IntoBytes + Immutable>(
        &mut self,
        index: u16,
        value: &T,
    ) -> Result<(), HvStatus> {
        let at = self.list + self.element * usize::from(index);
        self.put(at, self.element, value.as_bytes())
    }

    fn put(&mut self, at: usize, room: usize, bytes: &[u8]) -> Result<(), HvStatus> {
        let slot = self.bytes.get_mut(at..at + bytes.len()).filter(|slot| slot.len() <= room);
        slot.ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
