//! From the IOAPIC's pins into the partition: an irqfd for each pin, and the table of MSI routes they send.

use super::ioapic::{Effect, IoApic, PINS};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vid::{EventFd, Partition, VidError, VidResult};
use vm_superio::Trigger;
use vmm_sys_util::eventfd::EFD_NONBLOCK;

/// The interrupt controller with its wires.
pub struct Interrupts {
    partition: Arc<dyn Partition>,
    events: Vec<EventFd>,
    /// Held while effects are carried out, so that routes and messages keep their order.
    ioapic: Mutex<IoApic>,
}

impl Interrupts {
    /// An IOAPIC whose pins reach `partition`.
    pub fn new(partition: Arc<dyn Partition>) -> VidResult<Self> {
        let events = (0..PINS).map(|_| EventFd::new(EFD_NONBLOCK)).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|error| VidError::os("create an eventfd", error))?;
        for (pin, event) in events.iter().enumerate() {
            partition.register_irqfd(event, pin as u32)?;
        }
        Ok(Self { partition, events, ioapic: Mutex::default() })
    }

    /// A device's edge.
    pub fn pulse(&self, pin: usize) -> VidResult<()> {
        let mut ioapic = self.lock();
        let effects = ioapic.pulse(pin);
        self.carry_out(&ioapic, &effects)
    }

    /// A device's line goes high or low.
    pub fn set_line(&self, pin: usize, high: bool) -> VidResult<()> {
        let mut ioapic = self.lock();
        let effects = ioapic.set_line(pin, high);
        self.carry_out(&ioapic, &effects)
    }

    /// The guest ended a level-triggered interrupt.
    pub fn end_of_interrupt(&self, vector: u8) -> VidResult<()> {
        let mut ioapic = self.lock();
        let effects = ioapic.end_of_interrupt(vector);
        self.carry_out(&ioapic, &effects)
    }

    /// A guest's read of the IOAPIC's registers.
    pub fn read(&self, offset: u64) -> u32 {
        self.lock().read(offset)
    }

    /// A guest's write to the IOAPIC's registers.
    pub fn write(&self, offset: u64, value: u32) -> VidResult<()> {
        let mut ioapic = self.lock();
        let effects = ioapic.write(offset, value);
        self.carry_out(&ioapic, &effects)
    }

    fn lock(&self) -> MutexGuard<'_, IoApic> {
        self.ioapic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&self, ioapic: &IoApic, effects: &[Effect]) -> VidResult<()> {
        for effect in effects {
            match *effect {
                Effect::Reroute(_) => {
                    let routes: Vec<_> = (0..PINS).filter_map(|pin| ioapic.route(pin)).collect();
                    self.partition.set_msi_routes(&routes)?;
                }
                Effect::Send(pin) => self.send(pin)?,
            }
        }
        Ok(())
    }

    /// A full eventfd is one that nobody has read yet: the message is on its way.
    fn send(&self, pin: usize) -> VidResult<()> {
        match self.events[pin].write(1) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                Err(VidError::os(format!("signal the irqfd of pin {pin}"), error))
            }
            _ => Ok(()),
        }
    }
}

/// A device's wire to one pin, for edges.
#[derive(Clone)]
pub struct IrqLine {
    interrupts: Arc<Interrupts>,
    pin: usize,
}

impl IrqLine {
    /// The wire to `pin`.
    pub fn new(interrupts: Arc<Interrupts>, pin: u32) -> Self {
        Self { interrupts, pin: pin as usize }
    }
}

impl Trigger for IrqLine {
    type E = VidError;

    fn trigger(&self) -> VidResult<()> {
        self.interrupts.pulse(self.pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vid::fake::FakePartition;

    #[test]
    fn a_pins_message_reaches_the_partition_by_its_newest_route() {
        let partition = FakePartition::new();
        let interrupts = Interrupts::new(Arc::new(partition.clone())).unwrap();
        interrupts.pulse(4).unwrap();
        assert_eq!(partition.take_interrupts(), [], "masked");
        for (index, value) in [(0x19, 1 << 24), (0x18, 0x31)] {
            interrupts.write(0, index).unwrap();
            interrupts.write(0x10, value).unwrap();
        }
        let [request] = partition.take_interrupts()[..] else { panic!("the edge was kept") };
        assert_eq!((request.vector, request.destination, request.level), (0x31, 1, false));
        interrupts.write(0x10, 0x32 | 1 << 15).unwrap();
        interrupts.set_line(4, true).unwrap();
        let [request] = partition.take_interrupts()[..] else { panic!() };
        assert_eq!((request.vector, request.level), (0x32, true));
        interrupts.end_of_interrupt(0x32).unwrap();
        assert_eq!(partition.take_interrupts().len(), 1, "the line is still high");
        assert_eq!(partition.routes().len(), 1);
    }
}
