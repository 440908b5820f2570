//! A partition behind its file descriptor.
#![expect(unsafe_code, reason = "lays out the one structure of the driver that ends in an array")]

use super::failed;
use super::vp::MshvVp;
use crate::partition::MemoryMapping;
use crate::{EventFd, Gpa, InterruptRequest, MsiRoute, Partition, PartitionProperty};
use crate::{VidError, VidResult, Vp, VpIndex};
use hvdef::hypercall::intercept::InterceptType;
use hvdef::hypercall::synic::SignalEventDirect;
use hvdef::message::Message;
use hvdef::register::Deliverability;
use hvdef::{HypercallCode, PartitionId, Vtl};
use mshv_bindings::{
    HV_INTERCEPT_ACCESS_MASK_EXECUTE, MSHV_SET_MEM_BIT_EXECUTABLE, MSHV_SET_MEM_BIT_WRITABLE,
    hv_intercept_parameters, mshv_install_intercept, mshv_root_hvcall, mshv_user_irq_table,
    mshv_user_mem_region,
};
use mshv_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use std::io;
use zerocopy::IntoBytes;

/// A partition of `/dev/mshv`.
pub struct MshvPartition {
    vm: VmFd,
}

impl MshvPartition {
    /// Takes over a partition that was just created.
    pub fn new(vm: VmFd) -> Self {
        Self { vm }
    }

    /// Leaves the state in which early properties are set.
    pub fn initialize(&self) -> VidResult<()> {
        self.vm.initialize().map_err(failed("initialize the partition"))
    }
}

impl Partition for MshvPartition {
    fn property(&self, code: PartitionProperty) -> VidResult<u64> {
        self.vm.get_partition_property(code.0).map_err(failed(format!("read property {code:?}")))
    }

    fn set_property(&self, code: PartitionProperty, value: u64) -> VidResult<()> {
        let what = format!("set property {code:?} to {value:#x}");
        self.vm.set_partition_property(code.0, value).map_err(failed(what))
    }

    fn map_memory(&self, mapping: &MemoryMapping) -> VidResult<()> {
        let what = format!("map {:#x} bytes at {:#x}", mapping.size, mapping.gpa.0);
        self.vm.map_user_memory(region(mapping)).map_err(failed(what))
    }

    fn unmap_memory(&self, mapping: &MemoryMapping) -> VidResult<()> {
        let what = format!("unmap {:#x} bytes at {:#x}", mapping.size, mapping.gpa.0);
        self.vm.unmap_user_memory(region(mapping)).map_err(failed(what))
    }

    fn create_vp(&self, index: VpIndex) -> VidResult<Box<dyn Vp>> {
        let what = format!("create VP {}", index.0);
        let Ok(number) = u8::try_from(index.0) else {
            return Err(VidError::os(what, io::Error::from(io::ErrorKind::InvalidInput)));
        };
        let vcpu = self.vm.create_vcpu(number).map_err(failed(what))?;
        Ok(Box::new(MshvVp::new(index, vcpu)))
    }

    fn set_msi_routes(&self, routes: &[MsiRoute]) -> VidResult<()> {
        let table = routing_table(routes);
        // SAFETY: `table` begins with the header, whose count is that of the entries which follow it in the same
        // allocation; u32 is as aligned as the header.
        let header = unsafe { &*table.as_ptr().cast::<mshv_user_irq_table>() };
        self.vm.set_msi_routing(header).map_err(failed("set the interrupt routes"))
    }

    fn register_irqfd(&self, event: &EventFd, gsi: u32) -> VidResult<()> {
        self.vm.register_irqfd(event, gsi).map_err(failed(format!("register irqfd of {gsi}")))
    }

    fn unregister_irqfd(&self, event: &EventFd, gsi: u32) -> VidResult<()> {
        self.vm.unregister_irqfd(event, gsi).map_err(failed(format!("unregister irqfd of {gsi}")))
    }

    fn register_doorbell(&self, event: &EventFd, gpa: Gpa) -> VidResult<()> {
        self.vm
            .register_ioevent(event, &IoEventAddress::Mmio(gpa.0), NoDatamatch)
            .map_err(failed(format!("register a doorbell at {:#x}", gpa.0)))
    }

    fn unregister_doorbell(&self, event: &EventFd, gpa: Gpa) -> VidResult<()> {
        self.vm
            .unregister_ioevent(event, &IoEventAddress::Mmio(gpa.0), NoDatamatch)
            .map_err(failed(format!("unregister the doorbell at {:#x}", gpa.0)))
    }

    fn assert_interrupt(&self, request: &InterruptRequest) -> VidResult<()> {
        let request = mshv_ioctls::InterruptRequest {
            interrupt_type: request.delivery.number(),
            apic_id: u64::from(request.destination),
            vector: u32::from(request.vector),
            level_triggered: request.level,
            logical_destination_mode: request.logical,
            long_mode: false,
        };
        self.vm.request_virtual_interrupt(&request).map_err(failed("assert an interrupt"))
    }

    fn install_intercept(&self, kind: InterceptType, parameter: u64) -> VidResult<()> {
        let arguments = mshv_install_intercept {
            access_type_mask: HV_INTERCEPT_ACCESS_MASK_EXECUTE,
            intercept_type: kind.0,
            intercept_parameter: hv_intercept_parameters { as_uint64: parameter },
        };
        let what = format!("install intercept {kind:?}");
        self.vm.install_intercept(arguments).map_err(failed(what))
    }

    fn signal_event(&self, vp: VpIndex, sint: u8, flag: u16) -> VidResult<()> {
        // As `VmFd::signal_event_direct`, but for an output that nobody reads: it costs a page, a copy, and a walk through
        // tables for each interrupt of a guest. The driver fills in the partition.
        let input = SignalEventDirect {
            target_partition: PartitionId::SELF,
            target_vp: vp,
            target_vtl: Vtl::new(),
            target_sint: sint,
            flag_number: flag,
        };
        let mut call = mshv_root_hvcall {
            code: HypercallCode::SIGNAL_EVENT_DIRECT.0,
            in_sz: size_of_val(&input) as u16,
            in_ptr: (&raw const input).addr() as u64,
            ..mshv_root_hvcall::default()
        };
        self.vm.hvcall(&mut call).map_err(failed("signal an event"))
    }

    fn post_message(&self, vp: VpIndex, sint: u8, message: &Message) -> VidResult<()> {
        let bytes = message.as_bytes();
        self.vm.post_message_direct(vp.0, sint, bytes).map_err(failed("post a message"))
    }

    fn notify_deliverable(&self, vp: VpIndex, sints: u16) -> VidResult<()> {
        let wish = Deliverability::new().with_sints(sints).into_bits();
        self.vm
            .register_deliverabilty_notifications(vp.0, wish)
            .map_err(failed("ask for deliverability"))
    }
}

fn region(mapping: &MemoryMapping) -> mshv_user_mem_region {
    mshv_user_mem_region {
        size: mapping.size,
        guest_pfn: mapping.gpa.gpn().0,
        userspace_addr: mapping.host_address,
        flags: u8::from(mapping.writable) << MSHV_SET_MEM_BIT_WRITABLE
            | u8::from(mapping.executable) << MSHV_SET_MEM_BIT_EXECUTABLE,
        rsvd: [0; 7],
    }
}

/// `mshv_user_irq_table`: count, 0, then {gsi, address low, address high, data} for each.
fn routing_table(routes: &[MsiRoute]) -> Vec<u32> {
    let mut table = vec![routes.len() as u32, 0];
    table.extend(routes.iter().flat_map(|route| [route.gsi, route.address, 0, route.data]));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routing_table_is_laid_out_as_the_driver_reads_it() {
        let routes = [
            MsiRoute { gsi: 4, address: 0xFEE0_0000, data: 0x31 },
            MsiRoute { gsi: 9, address: 0xFEE0_1000, data: 0x8032 },
        ];
        assert_eq!(
            routing_table(&routes),
            [2, 0, 4, 0xFEE0_0000, 0, 0x31, 9, 0xFEE0_1000, 0, 0x8032]
        );
        assert_eq!(routing_table(&[]), [0, 0]);
    }

    #[test]
    fn a_region_counts_pages_and_keeps_rights() {
        let region = region(&MemoryMapping {
            gpa: Gpa(0x1_0000_0000),
            size: 0x20_0000,
            host_address: 0x7000_0000,
            writable: true,
            executable: false,
        });
        assert_eq!((region.guest_pfn, region.size, region.flags), (0x10_0000, 0x20_0000, 1));
    }
}
