//! The guest's VMBus: the server of the crate `vmbus` on this VM's partition.
//!
//! ```text
//!  guest's POST_MESSAGE ─── intercept ─▶ VP's thread ─▶ hypercall ─▶ Bus
//!  guest's SIGNAL_EVENT ─┬─ doorbell ──▶ the device's own thread
//!                        └─ intercept ─▶ VP's thread ─▶ hypercall ─▶ Bus      where there is no doorbell
//!  guest ◀── POST_MESSAGE_DIRECT, SIGNAL_EVENT_DIRECT ─── transport ◀── Bus, devices
//! ```

mod transport;

use crate::memory::GuestRam;
use crate::storage::Storage;
use anyhow::Context;
use hvdef::hypercall::intercept::InterceptType;
use std::sync::Arc;
use transport::PartitionTransport;
use vid::Partition;
use vmbus::bus::Bus;
use vmbus::memory::GuestMemory;
use vmbus::server::Config;

/// The bus of a VM with `cpus` VPs, and the devices on it.
pub fn start(
    partition: &Arc<dyn Partition>,
    ram: &GuestRam,
    cpus: u32,
    storage: &Storage,
) -> anyhow::Result<Arc<Bus>> {
    partition.install_intercept(InterceptType::UNKNOWN_SYNIC_CONNECTION, 0)?;
    let transport = Arc::new(PartitionTransport::new(Arc::clone(partition)));
    let memory = GuestMemory::new(ram.memory());
    let bus = Bus::start(Config::new(cpus), transport, memory).context("cannot start VMBus")?;
    let bus = Arc::new(bus);
    storage.offer(&bus, cpus)?;
    Ok(bus)
}
