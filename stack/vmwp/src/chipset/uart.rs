//! COM1: the UART of `vm-superio` between the guest's ports and the VM's console.

use super::irq::IrqLine;
use crate::console::{InputQueue, OutputPort};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_superio::Serial;
use vm_superio::serial::{Error, NoEvents};

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

/// The guest can provoke these at will: they are for whoever debugs.
fn report(result: Result<(), Error<vid::VidError>>) {
    if let Err(error) = result {
        tracing::debug!(%error, "COM1");
    }
}
