//! The guest's VMBus: the server of the crate `vmbus` on this VM's partition.
//!
//! ```text
//!  guest's POST_MESSAGE ─── intercept ─▶ VP's thread ─▶ hypercall ─▶ Bus
//!  guest's SIGNAL_EVENT ─┬─ doorbell ──▶ the device's own thread
//!                        └─ intercept ─▶ VP's thread ─▶ hypercall ─▶ Bus      where there is no doorbell
//!  guest ◀── POST_MESSAGE_DIRECT, SIGNAL_EVENT_DIRECT ─── transport ◀── Bus, devices
//! ```

mod transport;

use crate::disks::Disks;
use crate::memory::GuestRam;
use anyhow::Context;
use hvdef::hypercall::intercept::InterceptType;
use std::sync::Arc;
use storvsp::controller::{Class, Config as ControllerConfig, Controller};
use transport::PartitionTransport;
use vid::Partition;
use vmbus::bus::Bus;
use vmbus::memory::GuestMemory;
use vmbus::server::Config;
use vmbusdef::Guid;

/// Which controller this is, the same in every VM and at every start: guests keep names by it.
const SCSI_INSTANCE: Guid = Guid::new(0x7a65_6d69, 0x6e00, 0x4000, 0x8000, 0x7363_7369_0000);

/// The bus of a VM with `cpus` VPs, and the devices on it.
pub fn start(
    partition: &Arc<dyn Partition>,
    ram: &GuestRam,
    cpus: u32,
    disks: &Disks,
) -> anyhow::Result<Bus> {
    partition.install_intercept(InterceptType::UNKNOWN_SYNIC_CONNECTION, 0)?;
    let transport = Arc::new(PartitionTransport::new(Arc::clone(partition)));
    let memory = GuestMemory::new(ram.memory());
    let bus = Bus::start(Config::new(cpus), transport, memory).context("cannot start VMBus")?;
    if !disks.is_empty() {
        let controller = Controller::new(ControllerConfig::new(Class::Scsi, cpus));
        disks.attach(&controller).context("cannot attach the disks")?;
        crate::look::at(&controller);
        bus.add_device(controller.offer(SCSI_INSTANCE), controller.device())
            .context("cannot offer the SCSI controller")?;
    }
    Ok(bus)
}
