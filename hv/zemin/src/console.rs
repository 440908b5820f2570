//! The debug UART: polled, write-only, the only device the hypervisor ever touches by itself.
#![expect(unsafe_code, reason = "port I/O to a 16550")]

use arch_x86::port;
use core::sync::atomic::{AtomicU16, Ordering};

/// Base port of the UART; 0 while there is none.
static PORT: AtomicU16 = AtomicU16::new(0);

const LINE_STATUS: u16 = 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// How often to look for room before a byte is dropped: a missing UART must not stop the machine.
const PATIENCE: u32 = 100_000;
/// Bytes that fit the transmitter's FIFO.
const FIFO: usize = 16;

/// Sets up the UART at `base` (115200 8N1, FIFO on), or none for 0.
pub fn init(base: u16, baud: u32) {
    if base != 0 {
        let divisor = (115_200 / baud.clamp(50, 115_200)) as u16;
        let [low, high] = divisor.to_le_bytes();
        for (offset, value) in
            [(1, 0), (3, 0x80), (0, low), (1, high), (3, 0x03), (2, 0x07), (4, 0x03)]
        {
            // SAFETY: the operator named a UART here; its set-up has no other effect.
            unsafe { port::write_u8(base + offset, value) };
        }
    }
    PORT.store(base, Ordering::Relaxed);
}

/// Writes text; a line feed becomes carriage return and line feed.
pub fn write(text: &[u8]) {
    let base = PORT.load(Ordering::Relaxed);
    if base == 0 {
        return;
    }
    let mut room = 0;
    for &byte in text {
        if byte == b'\n' {
            put(base, &mut room, b'\r');
        }
        put(base, &mut room, byte);
    }
}

fn put(base: u16, room: &mut usize, byte: u8) {
    if *room == 0 {
        // SAFETY: reading the line status of the configured UART only clears error bits.
        let empty = || unsafe { port::read_u8(base + LINE_STATUS) } & TRANSMITTER_EMPTY != 0;
        if !(0..PATIENCE).any(|_| empty()) {
            return;
        }
        *room = FIFO;
    }
    *room -= 1;
    // SAFETY: writing the transmit register of the configured UART.
    unsafe { port::write_u8(base, byte) };
}
