//! A running VM's memory and devices together, as its processors reach them.

use crate::chipset::Chipset;
use crate::chipset::pm::PowerRequest;
use crate::control::{Control, Outcome};
use crate::emulator::Bus;
use crate::memory::GuestRam;
use ::vmbus::bus::Bus as VmBus;
use std::sync::Arc;
use vid::VidError;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

/// What the VPs of a VM share.
pub struct Machine {
    ram: GuestRam,
    chipset: Chipset,
    vmbus: Arc<VmBus>,
    control: Arc<Control>,
}

impl Machine {
    /// Puts the parts together.
    pub fn new(ram: GuestRam, chipset: Chipset, vmbus: Arc<VmBus>, control: Arc<Control>) -> Self {
        Self { ram, chipset, vmbus, control }
    }

    /// The devices.
    pub fn chipset(&self) -> &Chipset {
        &self.chipset
    }

    /// The bus of the guest's own kind of devices.
    pub fn vmbus(&self) -> &VmBus {
        &self.vmbus
    }

    /// Reads RAM; `false` if not all of it is.
    pub fn read_ram(&self, gpa: u64, bytes: &mut [u8]) -> bool {
        self.ram.memory().read_slice(bytes, GuestAddress(gpa)).is_ok()
    }

    /// Where the end of the run is told.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Whether all of `size` bytes at `gpa` are RAM.
    fn is_ram(&self, gpa: u64, size: usize) -> bool {
        self.ram.memory().check_range(GuestAddress(gpa), size)
    }
}

impl Bus for Machine {
    fn read(&self, gpa: u64, bytes: &mut [u8]) {
        if !self.is_ram(gpa, bytes.len())
            || self.ram.memory().read_slice(bytes, GuestAddress(gpa)).is_err()
        {
            self.chipset.mmio_read(gpa, bytes);
        }
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), VidError> {
        if self.is_ram(gpa, bytes.len())
            && self.ram.memory().write_slice(bytes, GuestAddress(gpa)).is_ok()
        {
            return Ok(());
        }
        self.chipset.mmio_write(gpa, bytes)
    }

    fn read_table(&self, gpa: u64, size: usize) -> Option<u64> {
        let mut entry = [0; 8];
        let bytes = entry.get_mut(..size)?;
        self.ram.memory().read_slice(bytes, GuestAddress(gpa)).ok()?;
        Some(u64::from_le_bytes(entry))
    }

    fn port_in(&self, port: u16, size: u8) -> u32 {
        self.chipset.port_in(port, size)
    }

    fn port_out(&self, port: u16, size: u8, value: u32) {
        let request = self.chipset.port_out(port, size, value);
        if let Some(request) = request {
            tracing::debug!(port, value, ?request, "the guest ends the run");
        }
        match request {
            Some(PowerRequest::Off) => self.control.end(Outcome::PowerOff),
            Some(PowerRequest::Reset) => self.control.end(Outcome::Reset),
            None => {}
        }
    }
}
