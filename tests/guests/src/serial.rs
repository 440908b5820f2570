//! The report's way out: a polled UART.

use crate::cpu::{inb, outb};
use crate::sync::Lock;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU16, Ordering};

static PORT: AtomicU16 = AtomicU16::new(0x3F8);
static LOCK: Lock = Lock::new();

/// Sends the report to the UART at `port` from now on: 115200 baud, 8 bits, no parity.
pub fn init(port: u16) {
    PORT.store(port, Ordering::Relaxed);
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 3)] {
        outb(port + register, value);
    }
}

struct Uart(u16);

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.send(b'\r');
            }
            self.send(byte);
        }
        Ok(())
    }
}

impl Uart {
    fn send(&self, byte: u8) {
        const EMPTY: u8 = 1 << 5;
        let _ = (0..100_000).find(|_| inb(self.0 + 5) & EMPTY != 0);
        outb(self.0, byte);
    }
}

/// Prints one line, apart from those of other processors.
pub fn print_line(line: fmt::Arguments<'_>) {
    LOCK.with(|| {
        let _ = writeln!(Uart(PORT.load(Ordering::Relaxed)), "{line}");
    });
}

/// Prints one line.
#[macro_export]
macro_rules! line {
    ($($part:tt)*) => { $crate::serial::print_line(format_args!($($part)*)) };
}
