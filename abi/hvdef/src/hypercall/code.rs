//! TLFS `HV_CALL_CODE` (appendix A, and Linux' `HVCALL_*` for those the TLFS does not list).

use wire::open_enum;

open_enum! {
    /// Which hypercall, bits 15:0 of the control word.
    pub struct HypercallCode(u16) {
        /// Replaces CR3 and flushes what the switch needs flushed.
        SWITCH_VIRTUAL_ADDRESS_SPACE = 0x0001;
        /// Flushes an address space, or all, on some VPs of the caller's partition.
        FLUSH_VIRTUAL_ADDRESS_SPACE = 0x0002;
        /// Flushes ranges of an address space on some VPs of the caller's partition.
        FLUSH_VIRTUAL_ADDRESS_LIST = 0x0003;
        /// Run time of an LP; Linux asks whether the LP exists.
        GET_LOGICAL_PROCESSOR_RUN_TIME = 0x0004;
        /// The caller spins on a lock whose holder may not be running.
        NOTIFY_LONG_SPIN_WAIT = 0x0008;
        /// Sends a fixed interrupt to VPs 0 to 63 of the caller's partition.
        SEND_IPI = 0x000B;
        /// Turns a virtual trust level of a VP on.
        ENABLE_VP_VTL = 0x000F;
        /// [`Self::FLUSH_VIRTUAL_ADDRESS_SPACE`] with a VP set.
        FLUSH_VIRTUAL_ADDRESS_SPACE_EX = 0x0013;
        /// [`Self::FLUSH_VIRTUAL_ADDRESS_LIST`] with a VP set.
        FLUSH_VIRTUAL_ADDRESS_LIST_EX = 0x0014;
        /// [`Self::SEND_IPI`] with a VP set.
        SEND_IPI_EX = 0x0015;
        /// Makes a partition.
        CREATE_PARTITION = 0x0040;
        /// Makes a new partition usable.
        INITIALIZE_PARTITION = 0x0041;
        /// Takes a partition's VPs, memory and ports away.
        FINALIZE_PARTITION = 0x0042;
        /// Ends a partition.
        DELETE_PARTITION = 0x0043;
        /// One number about a partition.
        GET_PARTITION_PROPERTY = 0x0044;
        /// Changes one number of a partition.
        SET_PARTITION_PROPERTY = 0x0045;
        /// The caller's partition id.
        GET_PARTITION_ID = 0x0046;
        /// The next child of a partition.
        GET_NEXT_CHILD_PARTITION = 0x0047;
        /// Gives pages to a partition's pool.
        DEPOSIT_MEMORY = 0x0048;
        /// Takes pages out of a partition's pool.
        WITHDRAW_MEMORY = 0x0049;
        /// How much a partition's pool holds.
        GET_MEMORY_BALANCE = 0x004A;
        /// Maps pages of the parent into a partition.
        MAP_GPA_PAGES = 0x004B;
        /// Unmaps pages of a partition.
        UNMAP_GPA_PAGES = 0x004C;
        /// Asks to hear of something a partition does.
        INSTALL_INTERCEPT = 0x004D;
        /// Makes a VP.
        CREATE_VP = 0x004E;
        /// Ends a VP.
        DELETE_VP = 0x004F;
        /// Reads registers of a VP.
        GET_VP_REGISTERS = 0x0050;
        /// Writes registers of a VP.
        SET_VP_REGISTERS = 0x0051;
        /// Walks the page tables of a VP.
        TRANSLATE_VIRTUAL_ADDRESS = 0x0052;
        /// Reads memory of a partition.
        READ_GPA = 0x0053;
        /// Writes memory of a partition.
        WRITE_GPA = 0x0054;
        /// Withdraws a pending external interrupt.
        CLEAR_VIRTUAL_INTERRUPT = 0x0056;
        /// Ends a port.
        DELETE_PORT = 0x0058;
        /// Ends a connection.
        DISCONNECT_PORT = 0x005B;
        /// Sends a message through a connection.
        POST_MESSAGE = 0x005C;
        /// Sets an event flag through a connection.
        SIGNAL_EVENT = 0x005D;
        /// Sends to the debugger.
        POST_DEBUG_DATA = 0x0069;
        /// Receives from the debugger.
        RETRIEVE_DEBUG_DATA = 0x006A;
        /// Starts over with the debugger.
        RESET_DEBUG_SESSION = 0x006B;
        /// Shares a page of counters.
        MAP_STATS_PAGE = 0x006C;
        /// Ends [`Self::MAP_STATS_PAGE`].
        UNMAP_STATS_PAGE = 0x006D;
        /// Changes something about the machine.
        SET_SYSTEM_PROPERTY = 0x006F;
        /// Takes an LP into service.
        ADD_LOGICAL_PROCESSOR = 0x0076;
        /// Something about the machine.
        GET_SYSTEM_PROPERTY = 0x007B;
        /// Routes an interrupt of a device to a VP.
        MAP_DEVICE_INTERRUPT = 0x007C;
        /// Ends [`Self::MAP_DEVICE_INTERRUPT`].
        UNMAP_DEVICE_INTERRUPT = 0x007D;
        /// Moves an interrupt of a virtual PCI device to another VP.
        RETARGET_DEVICE_INTERRUPT = 0x007E;
        /// Switches the machine off.
        ENTER_SLEEP_STATE = 0x0084;
        /// Extended debugger protocol.
        INVOKE_HYPERVISOR_DEBUGGER = 0x0086;
        /// Tells of an event of the whole partition.
        NOTIFY_PARTITION_EVENT = 0x0087;
        /// An event ring that was full is empty.
        NOTIFY_PORT_RING_EMPTY = 0x008B;
        /// Fixes the answer to an intercepted instruction.
        REGISTER_INTERCEPT_RESULT = 0x0091;
        /// Sends an interrupt to a VP of a child.
        ASSERT_VIRTUAL_INTERRUPT = 0x0094;
        /// Makes a port.
        CREATE_PORT = 0x0095;
        /// Makes a connection to a port.
        CONNECT_PORT = 0x0096;
        /// Starts a VP with given registers.
        START_VP = 0x0099;
        /// VP indices of APIC ids.
        GET_VP_INDEX_FROM_APIC_ID = 0x009A;
        /// Flushes second-level translations.
        FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE = 0x00AF;
        /// Flushes ranges of second-level translations.
        FLUSH_GUEST_PHYSICAL_ADDRESS_LIST = 0x00B0;
        /// Sets an event flag of a child's VP.
        SIGNAL_EVENT_DIRECT = 0x00C0;
        /// Puts a message into a slot of a child's VP.
        POST_MESSAGE_DIRECT = 0x00C1;
        /// Runs a child's VP on this LP.
        DISPATCH_VP = 0x00C2;
        /// Accessed and dirty bits of a partition's pages.
        GET_GPA_PAGES_ACCESS_STATES = 0x00C9;
        /// Makes pages of an encrypted partition accessible to the host.
        ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS = 0x00D7;
        /// Ends [`Self::ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS`].
        RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS = 0x00D8;
        /// Makes pages visible to the host or hides them.
        MODIFY_SPARSE_GPA_PAGE_HOST_VISIBILITY = 0x00DB;
        /// Shares a page of a VP's state.
        MAP_VP_STATE_PAGE = 0x00E1;
        /// Ends [`Self::MAP_VP_STATE_PAGE`].
        UNMAP_VP_STATE_PAGE = 0x00E2;
        /// Saves a part of a VP's state.
        GET_VP_STATE = 0x00E3;
        /// Restores a part of a VP's state.
        SET_VP_STATE = 0x00E4;
        /// What CPUID answers on a VP.
        GET_VP_CPUID_VALUES = 0x00F4;
        /// A property of a partition that is more than a number.
        GET_PARTITION_PROPERTY_EX = 0x0101;
        /// Reads memory-mapped registers of a virtual PCI device.
        MMIO_READ = 0x0106;
        /// Writes memory-mapped registers of a virtual PCI device.
        MMIO_WRITE = 0x0107;
        /// The hypervisor leaves the machine to a crash kernel.
        DISABLE_HYP_EX = 0x010F;
        /// [`Self::MAP_STATS_PAGE`] at a place of the caller's.
        MAP_STATS_PAGE2 = 0x0131;
        /// Which extended calls there are.
        QUERY_CAPABILITIES = 0x8001;
        /// Extended: zeroed memory the guest may have at boot.
        GET_BOOT_ZEROED_MEMORY = 0x8002;
        /// Extended: pages the guest does not use now.
        MEMORY_HEAT_HINT = 0x8003;
    }
}

impl HypercallCode {
    /// First of the extended calls, which a privilege of their own allows.
    pub const FIRST_EXTENDED: Self = Self(0x8001);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_named_once() {
        assert!(HypercallCode::KNOWN.is_sorted_by(|a, b| a < b));
        assert_eq!(HypercallCode(0x7C).name(), Some("MAP_DEVICE_INTERRUPT"));
        assert_eq!(HypercallCode(0xFFFF).name(), None);
    }
}
