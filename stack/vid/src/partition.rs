//! A partition, as its worker sees it.

use crate::interrupt::{InterruptRequest, MsiRoute};
use crate::{EventFd, Gpa, PartitionProperty, VidResult, Vp, VpIndex};
use hvdef::hypercall::intercept::InterceptType;
use hvdef::message::Message;
use hvdef::property::SyntheticProcessorFeatures;

/// What is decided before a partition exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionConfig {
    /// The part of the Hyper-V ABI the guest is to see. What the hypervisor cannot assign is left out.
    pub features: SyntheticProcessorFeatures,
    /// Offer x2APIC.
    pub x2apic: bool,
    /// The guest may run a hypervisor of its own.
    pub nested: bool,
}

impl Default for PartitionConfig {
    fn default() -> Self {
        Self { features: default_features(), x2apic: true, nested: false }
    }
}

impl PartitionConfig {
    /// What is of use to a guest with that many processors. With one, nobody waits for another one's lock: Linux would make
    /// each of its spin locks a paravirtual one all the same, at some instructions for every use.
    pub fn for_cpus(self, count: u32) -> Self {
        if count > 1 {
            return self;
        }
        let features =
            self.features.with_access_guest_idle_reg(false).with_notify_long_spin_wait(false);
        Self { features, ..self }
    }
}

/// All of the ABI that a Linux or Windows guest makes use of.
fn default_features() -> SyntheticProcessorFeatures {
    SyntheticProcessorFeatures::new()
        .with_hypervisor_present(true)
        .with_hv1(true)
        .with_access_vp_run_time_reg(true)
        .with_access_partition_reference_counter(true)
        .with_access_synic_regs(true)
        .with_access_synthetic_timer_regs(true)
        .with_access_intr_ctrl_regs(true)
        .with_access_hypercall_regs(true)
        .with_access_vp_index(true)
        .with_access_partition_reference_tsc(true)
        .with_access_guest_idle_reg(true)
        .with_access_frequency_regs(true)
        .with_direct_synthetic_timers(true)
        .with_extended_processor_masks(true)
        .with_tb_flush_hypercalls(true)
        .with_synthetic_cluster_ipi(true)
        .with_notify_long_spin_wait(true)
        .with_signal_events(true)
        .with_access_vp_regs(true)
        .with_flush_guest_physical_address_space(true)
}

/// Memory of this process that appears as guest-physical memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryMapping {
    /// Where, a multiple of 4096.
    pub gpa: Gpa,
    /// Bytes, a multiple of 4096.
    pub size: u64,
    /// Its address in this process, a multiple of 4096. The memory outlives the mapping.
    pub host_address: u64,
    /// The guest may write it.
    pub writable: bool,
    /// The guest may execute it.
    pub executable: bool,
}

/// A child partition. Dropping the last handle (VPs included) destroys it.
///
/// Every method may be called while VPs run, from any thread.
pub trait Partition: Send + Sync {
    /// Property `code`.
    fn property(&self, code: PartitionProperty) -> VidResult<u64>;

    /// Sets property `code`.
    fn set_property(&self, code: PartitionProperty, value: u64) -> VidResult<()>;

    /// Makes memory of this process visible to the guest. Mappings do not overlap.
    fn map_memory(&self, mapping: &MemoryMapping) -> VidResult<()>;

    /// Takes back exactly one earlier mapping.
    fn unmap_memory(&self, mapping: &MemoryMapping) -> VidResult<()>;

    /// Creates a VP. Its APIC id is its index.
    fn create_vp(&self, index: VpIndex) -> VidResult<Box<dyn Vp>>;

    /// Replaces the whole table of MSI routes.
    fn set_msi_routes(&self, routes: &[MsiRoute]) -> VidResult<()>;

    /// Each signal of `event` sends the MSI of `gsi`.
    fn register_irqfd(&self, event: &EventFd, gsi: u32) -> VidResult<()>;

    /// Ends [`Self::register_irqfd`].
    fn unregister_irqfd(&self, event: &EventFd, gsi: u32) -> VidResult<()>;

    /// A guest's write to `gpa`, of any size and value, signals `event` and causes no exit.
    fn register_doorbell(&self, event: &EventFd, gpa: Gpa) -> VidResult<()>;

    /// Ends [`Self::register_doorbell`].
    fn unregister_doorbell(&self, event: &EventFd, gpa: Gpa) -> VidResult<()>;

    /// Sends one interrupt now.
    fn assert_interrupt(&self, request: &InterruptRequest) -> VidResult<()>;

    /// Asks for exits of a kind the worker does not get unasked. `parameter` depends on the kind.
    fn install_intercept(&self, kind: InterceptType, parameter: u64) -> VidResult<()>;

    /// Sets event flag `flag` of a SINT.
    fn signal_event(&self, vp: VpIndex, sint: u8, flag: u16) -> VidResult<()>;

    /// Puts a message into a SINT's slot. Fails while the slot is taken: see [`Self::notify_deliverable`].
    fn post_message(&self, vp: VpIndex, sint: u8, message: &Message) -> VidResult<()>;

    /// Asks for [`Exit::SintDeliverable`](crate::Exit::SintDeliverable) once a slot of these SINTs (bit n: SINT n) is
    /// free. Replaces the VP's earlier wish.
    fn notify_deliverable(&self, vp: VpIndex, sints: u16) -> VidResult<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_one_processor_does_not_wait_for_others() {
        let config = PartitionConfig::default();
        let (one, two) = (config.clone().for_cpus(1).features, config.clone().for_cpus(2).features);
        assert!(two == config.features && two.access_guest_idle_reg());
        assert!(!one.access_guest_idle_reg() && !one.notify_long_spin_wait());
        assert!(one.access_synic_regs() && one.access_hypercall_regs());
    }

    #[test]
    fn the_default_features_are_those_a_linux_guest_uses() {
        let features = PartitionConfig::default().features;
        // What Cloud Hypervisor asks for is all among them.
        assert_eq!(features.into_bits() & 0x0020_0040_0640_0FFB, 0x0020_0040_0640_0FFB);
        assert!(features.extended_processor_masks() && features.signal_events());
        assert!(!features.start_virtual_processor() && !features.install_intercept());
    }
}
