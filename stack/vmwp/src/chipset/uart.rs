//! COM1: the UART of `vm-superio` between the guest's ports and the VM's console.

use super::irq::IrqLine;
use crate::console::{InputQueue, OutputPort};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_superio::Serial;
use vm_superio::serial::{Error, NoEvents};

/// Registers and their bits, of a 16550A.
const INTERRUPT_ENABLE: u8 = 1;
const INTERRUPT_IDENTIFICATION: u8 = 2;
const LINE_CONTROL: u8 = 3;
const DIVISOR_LATCH: u8 = 0x80;
/// Bytes that wait in it at most.
const FIFO: usize = 64;

/// The UART. What the console has to say waits in the queue until the guest has room for it.
pub struct Uart {
    serial: Mutex<Serial<IrqLine, NoEvents, Console>>,
    input: Arc<InputQueue>,
}

/// The console's end, as the UART writes to it.
struct Console(Arc<dyn OutputPort>);

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Uart {
    /// A UART that interrupts by `line`.
    pub fn new(line: IrqLine, output: Arc<dyn OutputPort>, input: Arc<InputQueue>) -> Self {
        Self { serial: Mutex::new(Serial::new(line, Console(output))), input }
    }

    /// A guest's read of register `offset`, 0 to 7.
    pub fn read(&self, offset: u8) -> u8 {
        if offset == INTERRUPT_IDENTIFICATION {
            remind(&mut self.lock());
        }
        let value = self.lock().read(offset);
        self.pump();
        value
    }

    /// A guest's write to register `offset`, 0 to 7.
    pub fn write(&self, offset: u8, value: u8) {
        report(self.lock().write(offset, value));
    }

    /// Moves what the console says into the UART, as far as there is room.
    pub fn pump(&self) {
        let mut serial = self.lock();
        let room = serial.fifo_capacity();
        if room == 0 {
            return;
        }
        let bytes = self.input.take(room);
        if !bytes.is_empty() {
            report(serial.enqueue_raw_bytes(&bytes).map(drop));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Serial<IrqLine, NoEvents, Console>> {
        self.serial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as there is data, the interrupt for it is pending. The crate's UART forgets it with the first byte that is read,
/// and a driver that leaves some for the next interrupt, as Linux does after 256, would wait for it in vain. Writing the
/// enabled interrupts anew finds out what is pending.
fn remind(serial: &mut Serial<IrqLine, NoEvents, Console>) {
    let is_empty = serial.fifo_capacity() == FIFO;
    if is_empty || serial.read(LINE_CONTROL) & DIVISOR_LATCH != 0 {
        return;
    }
    let enabled = serial.read(INTERRUPT_ENABLE);
    report(serial.write(INTERRUPT_ENABLE, enabled));
}

/// The guest can provoke these at will: they are for whoever debugs.
fn report(result: Result<(), Error<vid::VidError>>) {
    if let Err(error) = result {
        tracing::debug!(%error, "COM1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chipset::irq::Interrupts;
    use vid::fake::FakePartition;

    struct Nowhere;

    impl OutputPort for Nowhere {
        fn write(&self, _bytes: &[u8]) {}
    }

    /// One turn of a driver that takes at most `most` bytes, if the UART wants something.
    fn turn(uart: &Uart, most: usize, got: &mut Vec<u8>) -> bool {
        if uart.read(INTERRUPT_IDENTIFICATION) & 1 != 0 {
            return false;
        }
        for _ in 0..most {
            // Data ready.
            if uart.read(5) & 1 == 0 {
                break;
            }
            got.push(uart.read(0));
        }
        true
    }

    #[test]
    fn a_driver_that_leaves_bytes_for_later_gets_all_of_them() {
        for (length, most) in [(310, 256), (64, 10), (1000, 1), (1, 256)] {
            let interrupts = Interrupts::new(Arc::new(FakePartition::new())).unwrap();
            let input = Arc::new(InputQueue::default());
            let line = IrqLine::new(Arc::new(interrupts), 4);
            let uart = Uart::new(line, Arc::new(Nowhere), Arc::clone(&input));
            assert_eq!(uart.lock().fifo_capacity(), FIFO);
            uart.write(INTERRUPT_ENABLE, 1);
            input.push(&vec![7; length]);
            uart.pump();
            let mut got = Vec::new();
            while turn(&uart, most, &mut got) {}
            assert_eq!(got.len(), length, "{most} at a time");
        }
    }
}
