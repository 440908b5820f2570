//! The record that a crashed hypervisor leaves in memory, at the symbol `CRASH_RECORD`, for a debugger or a memory dump.

use core::fmt::Write;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most addresses in a back trace.
pub const BACKTRACE_MAX: usize = 32;
/// Most bytes of the message.
pub const MESSAGE_MAX: usize = 240;

/// State of the LP that crashed first. All zero, `magic` included, as long as nothing crashed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CrashRecord {
    /// [`Self::MAGIC`] once the rest is valid: written last.
    pub magic: u64,
    /// Bytes of this structure.
    pub size: u32,
    /// LP index; `u32::MAX` when the LP had no state yet.
    pub lp: u32,
    /// Exception vector; `u32::MAX` for a failed assertion of the hypervisor's own.
    pub vector: u32,
    /// Error code of the exception, 0 where it has none.
    pub error_code: u32,
    /// Reference time in 100 ns.
    pub time_100ns: u64,
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Flags.
    pub rflags: u64,
    /// Faulting address of a page fault.
    pub cr2: u64,
    /// Page-table base.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 … R15: the order of instruction encodings.
    pub registers: [u64; 16],
    /// Return addresses, innermost first; zeros after the last.
    pub backtrace: [u64; BACKTRACE_MAX],
    /// Linker's build id of the hypervisor.
    pub build_id: [u8; 20],
    /// Bytes of [`Self::message`] that count.
    pub message_len: u32,
    /// What was being said, UTF-8 cut at a character.
    pub message: [u8; MESSAGE_MAX],
}
const _: () = assert!(size_of::<CrashRecord>() == 728);
const _: () = assert!(core::mem::offset_of!(CrashRecord, rip) == 32);
const _: () = assert!(core::mem::offset_of!(CrashRecord, registers) == 80);
const _: () = assert!(core::mem::offset_of!(CrashRecord, backtrace) == 208);
const _: () = assert!(core::mem::offset_of!(CrashRecord, build_id) == 464);
const _: () = assert!(core::mem::offset_of!(CrashRecord, message) == 488);

impl CrashRecord {
    /// "ZEMINBUG" in memory order.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"ZEMINBUG");

    /// A record that says nothing.
    pub const EMPTY: Self = Self {
        magic: 0,
        size: size_of::<Self>() as u32,
        lp: 0,
        vector: 0,
        error_code: 0,
        time_100ns: 0,
        rip: 0,
        rsp: 0,
        rflags: 0,
        cr2: 0,
        cr3: 0,
        cr4: 0,
        registers: [0; 16],
        backtrace: [0; BACKTRACE_MAX],
        build_id: [0; 20],
        message_len: 0,
        message: [0; MESSAGE_MAX],
    };

    /// Puts formatted text into the record, cut at [`MESSAGE_MAX`] bytes. Replaces what was there.
    pub fn set_message(&mut self, text: core::fmt::Arguments<'_>) {
        self.message_len = 0;
        let full = write!(MessageWriter(self), "{text}").is_err();
        debug_assert!(!full || self.message_len as usize > MESSAGE_MAX - 4);
    }

    /// The message; what is not UTF-8 is left out.
    pub fn message(&self) -> &str {
        let bytes = self.message.get(..self.message_len as usize).unwrap_or(&self.message);
        bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    /// The return addresses that are there.
    pub fn backtrace(&self) -> impl Iterator<Item = u64> + '_ {
        self.backtrace.iter().copied().take_while(|&address| address != 0)
    }
}

struct MessageWriter<'a>(&'a mut CrashRecord);

impl Write for MessageWriter<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for character in text.chars() {
            let (start, mut bytes) = (self.0.message_len as usize, [0; 4]);
            let encoded = character.encode_utf8(&mut bytes).as_bytes();
            let room = self
                .0
                .message
                .get_mut(start..start.saturating_add(encoded.len()))
                .ok_or(core::fmt::Error)?;
            room.copy_from_slice(encoded);
            self.0.message_len += encoded.len() as u32;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut record = CrashRecord::EMPTY;
        record.set_message(format_args!("x{}", "ş".repeat(200)));
        assert_eq!(record.message_len, 239);
        assert_eq!(record.message(), std::format!("x{}", "ş".repeat(119)));
        record.set_message(format_args!("short"));
        assert_eq!(record.message(), "short");
    }

    #[test]
    fn damaged_lengths_and_bytes_do_not_panic() {
        let mut record = CrashRecord {
            message_len: u32::MAX,
            message: [0xFF; MESSAGE_MAX],
            ..CrashRecord::EMPTY
        };
        assert_eq!(record.message(), "");
        record.backtrace = [7; BACKTRACE_MAX];
        assert_eq!(record.backtrace().count(), BACKTRACE_MAX);
    }
}
