//! Values of options, from bytes.

/// I/O port of the first serial port.
pub const COM1: u16 = 0x3F8;
/// I/O port of the second serial port.
pub const COM2: u16 = 0x2F8;
/// Baud rate unless the user says otherwise.
pub const DEFAULT_BAUD: u32 = 115_200;
/// The least that `parent_mem=` may leave: less does not boot a kernel.
const MIN_PARENT_MEM: u64 = 64 << 20;
/// Most logical processors.
const MAX_LPS: u32 = 256;

/// Where the hypervisor's messages go, besides its log ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Console {
    /// Nowhere.
    None,
    /// A 16550 UART.
    Serial {
        /// Its first I/O port.
        port: u16,
        /// Bits per second.
        baud: u32,
    },
}

/// How much is logged: a level shows itself and the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail.
    Warn,
    /// What happens once.
    Info,
    /// What happens often.
    Debug,
    /// Everything.
    Trace,
}

pub(super) fn console(value: &[u8]) -> Option<Console> {
    let comma = value.iter().position(|byte| *byte == b',');
    let name = value.get(..comma.unwrap_or(value.len()))?;
    let baud = match comma {
        Some(comma) => u32::try_from(decimal(value.get(comma.checked_add(1)?..)?)?).ok()?,
        None => DEFAULT_BAUD,
    };
    // A UART divides 115200 by a 16-bit number.
    if baud == 0
        || baud > DEFAULT_BAUD
        || !DEFAULT_BAUD.is_multiple_of(baud)
        || DEFAULT_BAUD / baud > 0xFFFF
    {
        return None;
    }
    match name {
        b"none" => comma.is_none().then_some(Console::None),
        b"com1" => Some(Console::Serial { port: COM1, baud }),
        b"com2" => Some(Console::Serial { port: COM2, baud }),
        _ => Some(Console::Serial { port: port(name)?, baud }),
    }
}

pub(super) fn log_level(value: &[u8]) -> Option<LogLevel> {
    Some(match value {
        b"error" => LogLevel::Error,
        b"warn" => LogLevel::Warn,
        b"info" => LogLevel::Info,
        b"debug" => LogLevel::Debug,
        b"trace" => LogLevel::Trace,
        _ => return None,
    })
}

pub(super) fn on_off(value: &[u8]) -> Option<bool> {
    match value {
        b"on" => Some(true),
        b"off" => Some(false),
        _ => None,
    }
}

pub(super) fn processors(value: &[u8]) -> Option<u32> {
    u32::try_from(decimal(value)?).ok().filter(|count| (1..=MAX_LPS).contains(count))
}

/// Bytes with an optional suffix.
pub(super) fn size(value: &[u8]) -> Option<u64> {
    let (digits, shift) = match value {
        [digits @ .., b'k' | b'K'] => (digits, 10),
        [digits @ .., b'm' | b'M'] => (digits, 20),
        [digits @ .., b'g' | b'G'] => (digits, 30),
        _ => (value, 0),
    };
    let bytes = decimal(digits)?.checked_mul(1 << shift)?;
    (bytes >= MIN_PARENT_MEM).then_some(bytes)
}

/// A port number in hexadecimal with `0x`; not 0.
pub(super) fn port(value: &[u8]) -> Option<u16> {
    let digits = value.strip_prefix(b"0x").or_else(|| value.strip_prefix(b"0X"))?;
    u16::try_from(number(digits, 16)?).ok().filter(|port| *port != 0)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    number(digits, 10)
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}
