//! TLFS `HV_STATUS`: how a hypercall ended (appendix B).

use wire::open_enum;

open_enum! {
    /// Result of a hypercall, bits 15:0 of the result word.
    pub struct HvStatus(u16) {
        /// Done, or of a rep call: done so far.
        SUCCESS = 0x0000;
        /// There is no such call.
        INVALID_HYPERCALL_CODE = 0x0002;
        /// The control word does not fit the call, or reserved bits of the input are set.
        INVALID_HYPERCALL_INPUT = 0x0003;
        /// Input or output is not aligned to 8 bytes, crosses a page or lies outside the partition's memory.
        INVALID_ALIGNMENT = 0x0004;
        /// A parameter is out of range.
        INVALID_PARAMETER = 0x0005;
        /// The caller may not do this to that object.
        ACCESS_DENIED = 0x0006;
        /// Not in the partition's present state.
        INVALID_PARTITION_STATE = 0x0007;
        /// Not in the object's present state.
        OPERATION_DENIED = 0x0008;
        /// There is no such property.
        UNKNOWN_PROPERTY = 0x0009;
        /// The property does not take that value.
        PROPERTY_VALUE_OUT_OF_RANGE = 0x000A;
        /// The partition's pool is empty: deposit a page and repeat.
        INSUFFICIENT_MEMORY = 0x000B;
        /// Too many generations of partitions.
        PARTITION_TOO_DEEP = 0x000C;
        /// There is no such partition.
        INVALID_PARTITION_ID = 0x000D;
        /// The partition has no such VP.
        INVALID_VP_INDEX = 0x000E;
        /// What is named does not exist.
        NOT_FOUND = 0x0010;
        /// There is no such port.
        INVALID_PORT_ID = 0x0011;
        /// There is no such connection.
        INVALID_CONNECTION_ID = 0x0012;
        /// The receiver has no room for another message: try later.
        INSUFFICIENT_BUFFERS = 0x0013;
        /// A virtual interrupt was not acknowledged yet.
        NOT_ACKNOWLEDGED = 0x0014;
        /// Not in the VP's present state.
        INVALID_VP_STATE = 0x0015;
        /// The previous virtual interrupt was acknowledged.
        ACKNOWLEDGED = 0x0016;
        /// The state to restore is not consistent.
        INVALID_SAVE_RESTORE_STATE = 0x0017;
        /// The target's SynIC is off, or the SINT is masked.
        INVALID_SYNIC_STATE = 0x0018;
        /// The object is in use, as is a message slot that holds a message.
        OBJECT_IN_USE = 0x0019;
        /// There is no such proximity domain.
        INVALID_PROXIMITY_DOMAIN_INFO = 0x001A;
        /// Nothing to fetch.
        NO_DATA = 0x001B;
        /// The debugger is not active.
        INACTIVE = 0x001C;
        /// Nothing left, as at the end of a withdrawal.
        NO_RESOURCES = 0x001D;
        /// Not available here.
        FEATURE_UNAVAILABLE = 0x001E;
        /// The packet was not sent as a whole.
        PARTIAL_PACKET = 0x001F;
        /// The processor lacks a feature.
        PROCESSOR_FEATURE_NOT_SUPPORTED = 0x0020;
        /// The processor's cache line differs from the saved state's.
        PROCESSOR_CACHE_LINE_FLUSH_SIZE_INCOMPATIBLE = 0x0030;
        /// The buffer is too small.
        INSUFFICIENT_BUFFER = 0x0033;
        /// Processors differ.
        INCOMPATIBLE_PROCESSOR = 0x0037;
        /// An LP did not come up in time.
        PROCESSOR_STARTUP_TIMEOUT = 0x0040;
        /// There is no such LP.
        INVALID_LP_INDEX = 0x0041;
        /// The register does not take that value.
        INVALID_REGISTER_VALUE = 0x0050;
        /// Not in the virtual trust level's present state.
        INVALID_VTL_STATE = 0x0051;
        /// There is no such device.
        INVALID_DEVICE_ID = 0x0057;
        /// Not in the device's present state.
        INVALID_DEVICE_STATE = 0x0058;
        /// It did not work.
        OPERATION_FAILED = 0x0071;
        /// The root's pool is empty: deposit a page to the root and repeat.
        INSUFFICIENT_ROOT_MEMORY = 0x0073;
        /// The partition's pool has no contiguous pages: deposit eight and repeat.
        INSUFFICIENT_CONTIGUOUS_MEMORY = 0x0075;
        /// It took too long. No Linux caller tries again.
        TIME_OUT = 0x0078;
        /// A message will tell the result.
        CALL_PENDING = 0x0079;
        /// The root's pool has no contiguous pages: deposit eight to the root and repeat.
        INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY = 0x0083;
        /// The virtual trust level is on already.
        VTL_ALREADY_ENABLED = 0x0086;
    }
}

impl HvStatus {
    /// Whether the caller answers by depositing memory and calling again.
    pub const fn wants_memory(self) -> bool {
        matches!(
            self,
            Self::INSUFFICIENT_MEMORY
                | Self::INSUFFICIENT_CONTIGUOUS_MEMORY
                | Self::INSUFFICIENT_ROOT_MEMORY
                | Self::INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::format;

    #[test]
    fn a_status_prints_its_name_and_an_unknown_one_its_number() {
        assert_eq!(format!("{:?}", HvStatus::INVALID_LP_INDEX), "INVALID_LP_INDEX");
        assert_eq!(format!("{:?}", HvStatus(0x7777)), "HvStatus(0x7777)");
        assert_eq!(HvStatus(0x0001).name(), None);
    }

    #[test]
    fn four_statuses_ask_for_memory() {
        let asking = HvStatus::KNOWN.iter().filter(|status| status.wants_memory()).count();
        assert_eq!(asking, 4);
        assert!(!HvStatus::NO_RESOURCES.wants_memory());
    }
}
