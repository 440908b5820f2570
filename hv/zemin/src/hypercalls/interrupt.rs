//! Device interrupts of the parent: which VP and vector an MSI or an IOAPIC pin goes to.

use super::Call;
use crate::interrupts::{self, DEVICE_VECTORS};
use crate::lp::{self, Lp};
use crate::partition::Partition;
use hvdef::HvStatus;
use hvdef::device_interrupt::{DeviceType, InterruptEntry, InterruptSource};
use hvdef::hypercall::interrupt::{
    InterruptType, MapDeviceInterrupt, MapDeviceInterruptOutput, UnmapDeviceInterrupt,
};
use hypercall::Outcome;

/// Messages to this address are interrupts (AMD APM vol. 2, 16.11); the destination is in bits 19:12.
const MSI_ADDRESS: u32 = 0xFEE0_0000;
/// APIC ids that an MSI or a plain IOAPIC entry can name.
const MSI_MAX_ID: u32 = 0xFE;

/// MAP_DEVICE_INTERRUPT: answers with what the parent writes into the device or the IOAPIC pin.
pub fn map(call: &Call) -> Outcome {
    Outcome::from(try_map(call))
}

fn try_map(call: &Call) -> Result<(), HvStatus> {
    let input: MapDeviceInterrupt = call.input()?;
    own_partition(call, input.partition_id)?;
    let descriptor = input.descriptor;
    if descriptor.interrupt_type != InterruptType::FIXED
        || descriptor.vector_count > 1
        || descriptor.trigger_mode > 1
    {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    let vector = u8::try_from(descriptor.target.vector)
        .ok()
        .filter(|vector| DEVICE_VECTORS.contains(vector));
    let vector = vector.ok_or(HvStatus::INVALID_PARAMETER)?;
    let lp = target(call, descriptor.target.vp_set)?;
    let level = descriptor.trigger_mode == 1;
    let entry = match input.device_id.device_type() {
        DeviceType::IoApic => {
            InterruptEntry::ioapic(u64::from(vector) | u64::from(lp.apic_id) << 56)
        }
        DeviceType::Pci | DeviceType::Logical if !level => {
            InterruptEntry::msi(MSI_ADDRESS | lp.apic_id << 12, u32::from(vector))
        }
        _ => return Err(HvStatus::INVALID_DEVICE_ID),
    };
    call.output(&MapDeviceInterruptOutput { interrupt_entry: entry, deprecated: [0; 5] })?;
    interrupts::map_device(lp, vector, level);
    Ok(())
}

/// The one LP that a VP set names: the parent's VP *n* lives on LP *n*.
fn target(call: &Call, header: hvdef::hypercall::VpSetHeader) -> Result<&'static Lp, HvStatus> {
    let mut targets = call.vp_set(header, size_of::<MapDeviceInterrupt>())?;
    let index = targets.next().ok_or(HvStatus::INVALID_PARAMETER)?;
    if targets.next().is_some() {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    let lp = lp::get(index).ok_or(HvStatus::INVALID_VP_INDEX)?;
    if lp.apic_id > MSI_MAX_ID { Err(HvStatus::INVALID_PARAMETER) } else { Ok(lp) }
}

/// UNMAP_DEVICE_INTERRUPT: forgets what [`map`] answered with.
pub fn unmap(call: &Call) -> Outcome {
    Outcome::from(try_unmap(call))
}

fn try_unmap(call: &Call) -> Result<(), HvStatus> {
    let input: UnmapDeviceInterrupt = call.input()?;
    own_partition(call, input.partition_id)?;
    let entry = input.interrupt_entry;
    let (apic_id, vector) = match entry.source {
        InterruptSource::MSI => {
            let (address, data) = (entry.data as u32, (entry.data >> 32) as u32);
            (address >> 12 & 0xFF, data as u8)
        }
        InterruptSource::IO_APIC => ((entry.data >> 56) as u32, entry.data as u8),
        _ => return Err(HvStatus::INVALID_PARAMETER),
    };
    let lp = lp::all().find(|lp| lp.apic_id == apic_id).ok_or(HvStatus::INVALID_PARAMETER)?;
    if interrupts::unmap_device(lp, vector) { Ok(()) } else { Err(HvStatus::NOT_FOUND) }
}

/// Refuses a partition other than the caller's.
pub fn own_partition(call: &Call, id: hvdef::PartitionId) -> Result<&'static Partition, HvStatus> {
    let partition = call.vp.partition;
    if id == hvdef::PartitionId::SELF || id == partition.id {
        Ok(partition)
    } else {
        Err(HvStatus::INVALID_PARTITION_ID)
    }
}
