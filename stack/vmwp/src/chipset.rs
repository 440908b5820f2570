//! The machine around the processors: ports and device memory, and who answers there.
//!
//! One `match` for each address space is the whole decoding. What nobody answers reads as all ones, as on a bus
//! without a device, and writes to it are lost.

pub mod ioapic;
pub mod irq;
pub mod pm;
pub mod ports;
pub mod rtc;
pub mod uart;

use crate::console::ConsoleEnds;
use crate::memory::layout::IOAPIC_BASE;
use irq::{Interrupts, IrqLine};
use pm::{PowerRequest, ResetControl};
use rtc::Rtc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use uart::Uart;
use vid::{Partition, VidResult};

/// The keyboard controller's command to pulse the reset line.
const KEYBOARD_RESET: u8 = 0xFE;

/// All devices of a VM.
pub struct Chipset {
    interrupts: Arc<Interrupts>,
    com1: Arc<Uart>,
    rtc: Mutex<Rtc>,
    reset: Mutex<ResetControl>,
    power_on: Instant,
}

impl Chipset {
    /// The devices of `partition`, as after power-on, with COM1 at `console`.
    pub fn new(partition: Arc<dyn Partition>, console: &ConsoleEnds) -> VidResult<Self> {
        let interrupts = Arc::new(Interrupts::new(partition)?);
        let line = IrqLine::new(Arc::clone(&interrupts), ports::COM1_IRQ);
        let (output, input) = (Arc::clone(&console.output), Arc::clone(&console.input));
        Ok(Self {
            interrupts,
            com1: Arc::new(Uart::new(line, output, input)),
            rtc: Mutex::default(),
            reset: Mutex::default(),
            power_on: Instant::now(),
        })
    }

    /// COM1, for whoever brings it input.
    pub fn com1(&self) -> &Arc<Uart> {
        &self.com1
    }

    /// The interrupt controller.
    pub fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// IN of `size` bytes. Registers are bytes; a wider access to them finds only the first.
    pub fn port_in(&self, port: u16, size: u8) -> u32 {
        let byte = match port {
            ports::COM1..=ports::COM1_LAST => self.com1.read((port - ports::COM1) as u8),
            ports::CMOS_DATA => lock(&self.rtc).read(unix_time()),
            ports::RESET => lock(&self.reset).read(),
            ports::PM_TIMER => return pm::timer_at(self.power_on.elapsed()),
            ports::SLEEP_CONTROL | ports::SLEEP_STATUS => 0,
            // Nothing to read and nothing in the way.
            ports::KEYBOARD_DATA | ports::KEYBOARD_COMMAND | ports::SYSTEM_CONTROL_B => 0,
            _ => {
                tracing::trace!(port, size, "IN that nobody answers");
                return u32::MAX;
            }
        };
        let rest = if size > 1 { 0xFFFF_FF00 } else { 0 };
        rest | u32::from(byte)
    }

    /// OUT of `size` bytes, of which devices here take the first.
    pub fn port_out(&self, port: u16, size: u8, value: u32) -> Option<PowerRequest> {
        let byte = value as u8;
        match port {
            ports::COM1..=ports::COM1_LAST => self.com1.write((port - ports::COM1) as u8, byte),
            ports::CMOS_INDEX => lock(&self.rtc).select(byte),
            ports::CMOS_DATA => lock(&self.rtc).write(byte, unix_time()),
            ports::RESET => return lock(&self.reset).write(byte),
            ports::SLEEP_CONTROL => return pm::sleep_control(byte),
            ports::KEYBOARD_COMMAND if byte == KEYBOARD_RESET => return Some(PowerRequest::Reset),
            ports::POST_CODE => {}
            _ => tracing::trace!(port, size, value, "OUT that nobody takes"),
        }
        None
    }

    /// A read of device memory.
    pub fn mmio_read(&self, gpa: u64, bytes: &mut [u8]) {
        match ioapic_register(gpa) {
            Some(offset) => {
                // Registers have 32 bits; wider reads find zeros behind.
                let value = u64::from(self.interrupts.read(offset)).to_le_bytes();
                bytes.fill(0);
                bytes.iter_mut().zip(value).for_each(|(place, byte)| *place = byte);
            }
            None => bytes.fill(0xFF),
        }
    }

    /// A write to device memory.
    pub fn mmio_write(&self, gpa: u64, bytes: &[u8]) -> VidResult<()> {
        let Some(offset) = ioapic_register(gpa) else { return Ok(()) };
        let mut value = [0; 4];
        value.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        self.interrupts.write(offset, u32::from_le_bytes(value))
    }
}

fn ioapic_register(gpa: u64) -> Option<u64> {
    gpa.checked_sub(IOAPIC_BASE).filter(|offset| *offset < ioapic::SIZE)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::testing::Recorder;
    use vid::fake::FakePartition;

    fn chipset() -> (FakePartition, Chipset, Arc<Recorder>) {
        let (ends, recorder) = Recorder::console();
        let (partition, chipset) = with_console(&ends);
        (partition, chipset, recorder)
    }

    fn with_console(ends: &ConsoleEnds) -> (FakePartition, Chipset) {
        let partition = FakePartition::new();
        let chipset = Chipset::new(Arc::new(partition.clone()), ends).unwrap();
        (partition, chipset)
    }

    #[test]
    fn what_the_guest_prints_reaches_the_console() {
        let (_, chipset, recorder) = chipset();
        for byte in b"hi\n" {
            assert_eq!(chipset.port_out(0x3F8, 1, (*byte).into()), None);
        }
        assert_eq!(recorder.text(), "hi\n");
    }

    #[test]
    fn what_the_user_types_interrupts_the_guest_and_is_read() {
        let (ends, _) = Recorder::console();
        let (partition, chipset) = with_console(&ends);
        for (index, value) in [(0x19u32, 0u32), (0x18, 0x34)] {
            chipset.mmio_write(IOAPIC_BASE, &index.to_le_bytes()).unwrap();
            chipset.mmio_write(IOAPIC_BASE + 0x10, &value.to_le_bytes()).unwrap();
        }
        chipset.port_out(0x3F9, 1, 1);
        let text: Vec<u8> = (0..100).collect();
        ends.input.push(&text);
        chipset.com1.pump();
        assert_eq!(partition.take_interrupts()[0].vector, 0x34);
        let mut read = Vec::new();
        while chipset.port_in(0x3FD, 1) & 1 != 0 {
            read.push(chipset.port_in(0x3F8, 1) as u8);
        }
        assert_eq!(read, text, "more than the FIFO holds, in order");
    }

    #[test]
    fn all_ways_to_power_off_and_reset() {
        let (_, chipset, _) = chipset();
        assert_eq!(chipset.port_out(ports::SLEEP_CONTROL, 1, 0x34), Some(PowerRequest::Off));
        assert_eq!(chipset.port_out(ports::RESET, 1, 6), Some(PowerRequest::Reset));
        assert_eq!(chipset.port_out(0x64, 1, 0xFE), Some(PowerRequest::Reset));
        assert_eq!(chipset.port_out(0x64, 1, 0xAA), None);
    }

    #[test]
    fn nobody_answers_elsewhere() {
        let (_, chipset, _) = chipset();
        assert_eq!(chipset.port_in(0xCF8, 4), u32::MAX);
        assert_eq!(chipset.port_in(0x2F8, 1), u32::MAX);
        let mut bytes = [0; 4];
        chipset.mmio_read(0xFED0_0000, &mut bytes);
        assert_eq!(bytes, [0xFF; 4]);
        chipset.mmio_write(0xFED0_0000, &[1]).unwrap();
    }

    #[test]
    fn the_ioapic_is_read_in_words_and_the_timer_runs() {
        let (_, chipset, _) = chipset();
        chipset.mmio_write(IOAPIC_BASE, &[1]).unwrap();
        let mut bytes = [9; 8];
        chipset.mmio_read(IOAPIC_BASE + 0x10, &mut bytes);
        assert_eq!(bytes, [0x20, 0, 0x17, 0, 0, 0, 0, 0]);
        let first = chipset.port_in(ports::PM_TIMER, 4);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(chipset.port_in(ports::PM_TIMER, 4).wrapping_sub(first) >= 7_000);
    }
}
