//! Names of hypercall codes and status codes, as the TLFS and Linux (`include/hyperv/`) have them.

/// Ascending by code.
const HYPERCALLS: &[(u16, &str)] = &[
    (0x0002, "FLUSH_VIRTUAL_ADDRESS_SPACE"),
    (0x0003, "FLUSH_VIRTUAL_ADDRESS_LIST"),
    (0x0004, "GET_LOGICAL_PROCESSOR_RUN_TIME"),
    (0x0008, "NOTIFY_LONG_SPIN_WAIT"),
    (0x000b, "SEND_IPI"),
    (0x000f, "ENABLE_VP_VTL"),
    (0x0013, "FLUSH_VIRTUAL_ADDRESS_SPACE_EX"),
    (0x0014, "FLUSH_VIRTUAL_ADDRESS_LIST_EX"),
    (0x0015, "SEND_IPI_EX"),
    (0x0040, "CREATE_PARTITION"),
    (0x0041, "INITIALIZE_PARTITION"),
    (0x0042, "FINALIZE_PARTITION"),
    (0x0043, "DELETE_PARTITION"),
    (0x0044, "GET_PARTITION_PROPERTY"),
    (0x0045, "SET_PARTITION_PROPERTY"),
    (0x0046, "GET_PARTITION_ID"),
    (0x0048, "DEPOSIT_MEMORY"),
    (0x0049, "WITHDRAW_MEMORY"),
    (0x004b, "MAP_GPA_PAGES"),
    (0x004c, "UNMAP_GPA_PAGES"),
    (0x004d, "INSTALL_INTERCEPT"),
    (0x004e, "CREATE_VP"),
    (0x004f, "DELETE_VP"),
    (0x0050, "GET_VP_REGISTERS"),
    (0x0051, "SET_VP_REGISTERS"),
    (0x0052, "TRANSLATE_VIRTUAL_ADDRESS"),
    (0x0056, "CLEAR_VIRTUAL_INTERRUPT"),
    (0x0058, "DELETE_PORT"),
    (0x005b, "DISCONNECT_PORT"),
    (0x005c, "POST_MESSAGE"),
    (0x005d, "SIGNAL_EVENT"),
    (0x0069, "POST_DEBUG_DATA"),
    (0x006a, "RETRIEVE_DEBUG_DATA"),
    (0x006b, "RESET_DEBUG_SESSION"),
    (0x006c, "MAP_STATS_PAGE"),
    (0x006d, "UNMAP_STATS_PAGE"),
    (0x006f, "SET_SYSTEM_PROPERTY"),
    (0x0076, "ADD_LOGICAL_PROCESSOR"),
    (0x007b, "GET_SYSTEM_PROPERTY"),
    (0x007c, "MAP_DEVICE_INTERRUPT"),
    (0x007d, "UNMAP_DEVICE_INTERRUPT"),
    (0x007e, "RETARGET_INTERRUPT"),
    (0x0084, "ENTER_SLEEP_STATE"),
    (0x0087, "NOTIFY_PARTITION_EVENT"),
    (0x008b, "NOTIFY_PORT_RING_EMPTY"),
    (0x0091, "REGISTER_INTERCEPT_RESULT"),
    (0x0094, "ASSERT_VIRTUAL_INTERRUPT"),
    (0x0095, "CREATE_PORT"),
    (0x0096, "CONNECT_PORT"),
    (0x0099, "START_VP"),
    (0x009a, "GET_VP_INDEX_FROM_APIC_ID"),
    (0x00af, "FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE"),
    (0x00b0, "FLUSH_GUEST_PHYSICAL_ADDRESS_LIST"),
    (0x00c0, "SIGNAL_EVENT_DIRECT"),
    (0x00c1, "POST_MESSAGE_DIRECT"),
    (0x00c2, "DISPATCH_VP"),
    (0x00c9, "GET_GPA_PAGES_ACCESS_STATES"),
    (0x00d7, "ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS"),
    (0x00d8, "RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS"),
    (0x00db, "MODIFY_SPARSE_GPA_PAGE_HOST_VISIBILITY"),
    (0x00e1, "MAP_VP_STATE_PAGE"),
    (0x00e2, "UNMAP_VP_STATE_PAGE"),
    (0x00e3, "GET_VP_STATE"),
    (0x00e4, "SET_VP_STATE"),
    (0x00f4, "GET_VP_CPUID_VALUES"),
    (0x0101, "GET_PARTITION_PROPERTY_EX"),
    (0x0106, "MMIO_READ"),
    (0x0107, "MMIO_WRITE"),
    (0x010f, "DISABLE_HYP_EX"),
    (0x0131, "MAP_STATS_PAGE2"),
    (0x8001, "QUERY_CAPABILITIES"),
];

/// Ascending by code.
const STATUSES: &[(u16, &str)] = &[
    (0x00, "SUCCESS"),
    (0x02, "INVALID_HYPERCALL_CODE"),
    (0x03, "INVALID_HYPERCALL_INPUT"),
    (0x04, "INVALID_ALIGNMENT"),
    (0x05, "INVALID_PARAMETER"),
    (0x06, "ACCESS_DENIED"),
    (0x07, "INVALID_PARTITION_STATE"),
    (0x08, "OPERATION_DENIED"),
    (0x09, "UNKNOWN_PROPERTY"),
    (0x0a, "PROPERTY_VALUE_OUT_OF_RANGE"),
    (0x0b, "INSUFFICIENT_MEMORY"),
    (0x0d, "INVALID_PARTITION_ID"),
    (0x0e, "INVALID_VP_INDEX"),
    (0x10, "NOT_FOUND"),
    (0x11, "INVALID_PORT_ID"),
    (0x12, "INVALID_CONNECTION_ID"),
    (0x13, "INSUFFICIENT_BUFFERS"),
    (0x14, "NOT_ACKNOWLEDGED"),
    (0x15, "INVALID_VP_STATE"),
    (0x18, "INVALID_SYNIC_STATE"),
    (0x19, "OBJECT_IN_USE"),
    (0x1d, "NO_RESOURCES"),
    (0x20, "PROCESSOR_FEATURE_NOT_SUPPORTED"),
    (0x41, "INVALID_LP_INDEX"),
    (0x50, "INVALID_REGISTER_VALUE"),
    (0x71, "OPERATION_FAILED"),
    (0x73, "INSUFFICIENT_ROOT_MEMORY"),
    (0x75, "INSUFFICIENT_CONTIGUOUS_MEMORY"),
    (0x78, "TIME_OUT"),
    (0x79, "CALL_PENDING"),
    (0x83, "INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY"),
    (0x86, "VTL_ALREADY_ENABLED"),
];

/// Name of a hypercall, `?` if it has none here.
pub fn hypercall(code: u16) -> &'static str {
    find(HYPERCALLS, code).unwrap_or("?")
}

/// Name and number of a status.
pub fn status(code: u16) -> String {
    format!("{} ({code:#06x})", find(STATUSES, code).unwrap_or("unknown status"))
}

fn find(names: &[(u16, &'static str)], code: u16) -> Option<&'static str> {
    let index = names.binary_search_by_key(&code, |&(known, _)| known).ok()?;
    names.get(index).map(|&(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_so_that_every_name_is_found() {
        assert!(HYPERCALLS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(STATUSES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(hypercall(0x0101), "GET_PARTITION_PROPERTY_EX");
        assert_eq!(hypercall(0xFFFF), "?");
        assert_eq!(status(0x0B), "INSUFFICIENT_MEMORY (0x000b)");
    }
}
