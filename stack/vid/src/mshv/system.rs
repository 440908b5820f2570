//! The device itself: what it tells of the machine, and the creation of partitions.
#![expect(
    unsafe_code,
    reason = "takes ownership of a descriptor and makes an ioctl that no crate wraps"
)]

use super::failed;
use super::partition::MshvPartition;
use crate::partition::PartitionConfig;
use crate::{Partition, PartitionProperty, VidError, VidResult};
use hvdef::hypercall::HypercallCode;
use hvdef::hypercall::partition::GetPartitionPropertyEx;
use hvdef::property::{AssignableSyntheticProcessorFeatures, VmmCapabilities};
use hvdef::{HvStatus, PartitionId};
use mshv_bindings::{
    MSHV_NUM_CPU_FEATURES_BANKS, MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES, MSHV_PT_BIT_GPA_SUPER_PAGES,
    MSHV_PT_BIT_LAPIC, MSHV_PT_BIT_NESTED_VIRTUALIZATION, MSHV_PT_BIT_X2APIC,
    MSHV_PT_ISOLATION_NONE, mshv_create_partition_v2, mshv_root_hvcall,
};
use mshv_ioctls::{MSHV_ROOT_HVCALL, Mshv, MshvError};
use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::sync::Arc;
use vmm_sys_util::errno;
use vmm_sys_util::ioctl::ioctl_with_mut_ref;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// XSAVE features switched off: all but XSAVE, XSAVEOPT, AVX, AVX2, FMA (bits 0 to 4), XSAVEC and XSAVES (11, 12).
const DISABLED_XSAVE: u64 = !0b1_1000_0001_1111;

/// Bit 6 of the second bank of processor features: running a hypervisor of one's own.
const NESTED_VIRTUALIZATION: u64 = 1 << 6;

/// The bit that stays reserved in the first bank of processor features.
const RESERVED_BANK0: u64 = 1 << 63;

/// The opened `/dev/mshv`.
pub struct Hypervisor {
    mshv: Mshv,
    /// The same open file, for the one question the crate keeps to itself.
    device: File,
}

impl Hypervisor {
    /// Opens the device.
    pub fn open() -> VidResult<Self> {
        let open = |error: MshvError| VidError::Open(error.into());
        let raw = Mshv::open_with_cloexec(true).map_err(open)?;
        // SAFETY: the call above has just opened `raw`, and nobody else knows of it.
        let device = unsafe { File::from_raw_fd(raw) };
        Ok(Self { mshv: Mshv::new().map_err(open)?, device })
    }

    /// Creates a partition and initializes it. It has no memory and no VPs yet, and its time runs.
    pub fn create_partition(&self, config: &PartitionConfig) -> VidResult<Arc<dyn Partition>> {
        let arguments = self.creation_arguments(config)?;
        let vm = self.mshv.create_vm_with_args(&arguments).map_err(failed("create a partition"))?;
        let partition = MshvPartition::new(vm);
        let features = self.assignable(config.features.into_bits())?;
        partition.set_property(PartitionProperty::SYNTHETIC_PROC_FEATURES, features)?;
        partition.initialize()?;
        Ok(Arc::new(partition))
    }

    /// Local APIC in the hypervisor, large pages, the machine's processor features.
    fn creation_arguments(&self, config: &PartitionConfig) -> VidResult<mshv_create_partition_v2> {
        let host0 = self.property(PartitionProperty::PROCESSOR_FEATURES0)?;
        let host1 = self.property(PartitionProperty::PROCESSOR_FEATURES1)?;
        let nested = if config.nested { 0 } else { NESTED_VIRTUALIZATION };
        Ok(mshv_create_partition_v2 {
            pt_flags: creation_flags(config),
            pt_isolation: u64::from(MSHV_PT_ISOLATION_NONE),
            pt_num_cpu_fbanks: MSHV_NUM_CPU_FEATURES_BANKS as u16,
            pt_cpu_fbanks: [!host0 | RESERVED_BANK0, !host1 | nested],
            pt_disabled_xsave: DISABLED_XSAVE,
            ..Default::default()
        })
    }

    /// A property of the partition this process runs in.
    fn property(&self, code: PartitionProperty) -> VidResult<u64> {
        let what = format!("read property {code:?} of the parent");
        self.mshv.get_host_partition_property(code.0).map_err(failed(what))
    }

    /// Those of `wanted` that this hypervisor can give, if it tells; all of them otherwise.
    fn assignable(&self, wanted: u64) -> VidResult<u64> {
        let capabilities = self.property_ex::<VmmCapabilities>(PartitionProperty::VMM_CAPABILITIES);
        let tells = match capabilities {
            Ok(value) => value.capabilities.assignable_synthetic_proc_features(),
            Err(error) => match error.status() {
                Some(HvStatus::ACCESS_DENIED | HvStatus::UNKNOWN_PROPERTY) => false,
                _ => return Err(error),
            },
        };
        if !tells {
            return Ok(wanted);
        }
        let code = PartitionProperty::ASSIGNABLE_SYNTHETIC_PROC_FEATURES;
        let offered: AssignableSyntheticProcessorFeatures = self.property_ex(code)?;
        Ok(wanted & offered.features.into_bits())
    }

    /// A property that is longer than a word, of the partition this process runs in.
    fn property_ex<T: FromBytes + IntoBytes>(&self, code: PartitionProperty) -> VidResult<T> {
        let input = GetPartitionPropertyEx {
            partition_id: PartitionId::INVALID, // the driver fills it in
            property: code,
            padding: 0,
            argument: 0,
        };
        let mut output = T::new_zeroed();
        self.hypercall(HypercallCode::GET_PARTITION_PROPERTY_EX, &input, &mut output)
            .map_err(failed(format!("read property {code:?} of the parent")))?;
        Ok(output)
    }

    fn hypercall<I: IntoBytes + Immutable, O: FromBytes + IntoBytes>(
        &self,
        code: HypercallCode,
        input: &I,
        output: &mut O,
    ) -> Result<(), MshvError> {
        let mut arguments = mshv_root_hvcall {
            code: code.0,
            in_sz: size_of::<I>() as u16,
            out_sz: size_of::<O>() as u16,
            in_ptr: std::ptr::from_ref(input) as u64,
            out_ptr: std::ptr::from_mut(output) as u64,
            ..Default::default()
        };
        // SAFETY: the driver reads `in_sz` bytes and writes `out_sz` bytes, the sizes of the two; any bytes are a valid
        // `O`. Both live until the call returns.
        let answer =
            unsafe { ioctl_with_mut_ref(&self.device, MSHV_ROOT_HVCALL(), &mut arguments) };
        if answer == 0 {
            return Ok(());
        }
        Err(MshvError::from_hvcall(errno::Error::from(io::Error::last_os_error()), arguments))
    }
}

fn creation_flags(config: &PartitionConfig) -> u64 {
    let always =
        [MSHV_PT_BIT_LAPIC, MSHV_PT_BIT_GPA_SUPER_PAGES, MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES];
    let mut flags = always.iter().fold(0, |flags, bit| flags | 1 << bit);
    flags |= u64::from(config.x2apic) << MSHV_PT_BIT_X2APIC;
    flags | u64::from(config.nested) << MSHV_PT_BIT_NESTED_VIRTUALIZATION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xsave_is_what_other_vmms_ask_for() {
        assert_eq!(DISABLED_XSAVE, 0xFFFF_FFFF_FFFF_E7E0);
    }

    #[test]
    fn partitions_have_a_local_apic_large_pages_and_chosen_features() {
        assert_eq!(creation_flags(&PartitionConfig::default()), 0b1111);
        let plain = PartitionConfig { x2apic: false, nested: true, ..Default::default() };
        assert_eq!(creation_flags(&plain), 0b11101);
    }
}
