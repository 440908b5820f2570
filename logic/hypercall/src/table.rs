//! The call table: every hypercall there is, ascending by code.
//!
//! A code that is not here is answered INVALID_HYPERCALL_CODE. Being here says nothing about whether the hypervisor has
//! a handler for it yet.

use crate::info::{CallInfo, Target};
use hvdef::cpuid::PartitionPrivileges as P;
use hvdef::hypercall::{intercept, interrupt, memory, partition, synic, system, tlb, vp};
use hvdef::register::{RegisterName, RegisterValue};
use hvdef::{Gpn, HypercallCode as C, VpIndex};

const CREATE: P = P::new().with_create_partitions(true);
const PARTITION_ID: P = P::new().with_access_partition_id(true);
const POOL: P = P::new().with_access_memory_pool(true);
const POST: P = P::new().with_post_messages(true);
const SIGNAL: P = P::new().with_signal_events(true);
const PORT: P = P::new().with_create_port(true);
const CONNECT: P = P::new().with_connect_port(true);
const STATS: P = P::new().with_access_stats(true);
const CPUS: P = P::new().with_cpu_management(true);
const VP_REGISTERS: P = P::new().with_access_vp_registers(true);
const START_VP: P = P::new().with_start_virtual_processor(true);
const EXTENDED: P = P::new().with_enable_extended_hypercalls(true);

/// Bytes of a device interrupt's `valid_bank_mask`, which counts as variable header.
const BANK_MASK: u16 = 8;
/// Bytes of the largest state that GET_VP_STATE returns directly, the synthetic timers.
const DIRECT_STATE: u16 = 200;
/// Bytes of the buffer of MMIO_READ.
type MmioData = [u8; 64];

const fn simple(code: C, target: Target) -> CallInfo {
    CallInfo::simple(code, target)
}

const fn rep(code: C, target: Target) -> CallInfo {
    CallInfo::rep(code, target)
}

use Target::{Caller, CallerOrChild, Child, Machine};

/// Every known hypercall.
pub static TABLE: &[CallInfo] = &[
    simple(C::FLUSH_VIRTUAL_ADDRESS_SPACE, Caller).input::<tlb::FlushVirtualAddress>(),
    rep(C::FLUSH_VIRTUAL_ADDRESS_LIST, Caller)
        .input::<tlb::FlushVirtualAddress>()
        .each_input::<tlb::GvaRange>(),
    simple(C::GET_LOGICAL_PROCESSOR_RUN_TIME, Machine)
        .input::<system::GetLogicalProcessorRunTime>()
        .output::<system::LogicalProcessorRunTime>()
        .needs(CPUS)
        .root(),
    simple(C::NOTIFY_LONG_SPIN_WAIT, Caller).input::<u64>().fast(),
    simple(C::SEND_IPI, Caller).input::<interrupt::SendIpi>().fast(),
    simple(C::FLUSH_VIRTUAL_ADDRESS_SPACE_EX, Caller)
        .input::<tlb::FlushVirtualAddressEx>()
        .variable_header(),
    rep(C::FLUSH_VIRTUAL_ADDRESS_LIST_EX, Caller)
        .input::<tlb::FlushVirtualAddressEx>()
        .variable_header()
        .each_input::<tlb::GvaRange>(),
    simple(C::SEND_IPI_EX, Caller).input::<interrupt::SendIpiEx>().variable_header(),
    simple(C::CREATE_PARTITION, Caller)
        .input::<partition::CreatePartition>()
        .output::<partition::CreatePartitionOutput>()
        .needs(CREATE)
        .root(),
    simple(C::INITIALIZE_PARTITION, Child)
        .input::<partition::PartitionInput>()
        .fast()
        .needs(CREATE)
        .root(),
    simple(C::FINALIZE_PARTITION, Child)
        .input::<partition::PartitionInput>()
        .fast()
        .needs(CREATE)
        .root(),
    simple(C::DELETE_PARTITION, Child)
        .input::<partition::PartitionInput>()
        .fast()
        .needs(CREATE)
        .root(),
    simple(C::GET_PARTITION_PROPERTY, CallerOrChild)
        .input::<partition::GetPartitionProperty>()
        .output::<partition::GetPartitionPropertyOutput>()
        .needs(CREATE)
        .root(),
    simple(C::SET_PARTITION_PROPERTY, Child)
        .input::<partition::SetPartitionProperty>()
        .needs(CREATE)
        .root(),
    simple(C::GET_PARTITION_ID, Caller)
        .output::<partition::GetPartitionIdOutput>()
        .needs(PARTITION_ID),
    rep(C::DEPOSIT_MEMORY, CallerOrChild)
        .input::<memory::DepositMemory>()
        .each_input::<Gpn>()
        .needs(POOL)
        .root(),
    rep(C::WITHDRAW_MEMORY, CallerOrChild)
        .input::<memory::WithdrawMemory>()
        .each_output::<Gpn>()
        .needs(POOL)
        .root(),
    rep(C::MAP_GPA_PAGES, Child)
        .input::<memory::MapGpaPages>()
        .each_input::<Gpn>()
        .needs(CREATE)
        .root(),
    rep(C::UNMAP_GPA_PAGES, Child).input::<memory::UnmapGpaPages>().needs(CREATE).root(),
    simple(C::INSTALL_INTERCEPT, Child).input::<intercept::InstallIntercept>().needs(CREATE).root(),
    simple(C::CREATE_VP, CallerOrChild).input::<vp::CreateVp>().needs(CREATE).root(),
    simple(C::DELETE_VP, Child).input::<vp::DeleteVp>().fast().needs(CREATE).root(),
    rep(C::GET_VP_REGISTERS, CallerOrChild)
        .input::<vp::VpRegisters>()
        .each_input::<RegisterName>()
        .each_output::<RegisterValue>()
        .root_or(VP_REGISTERS),
    rep(C::SET_VP_REGISTERS, CallerOrChild)
        .input::<vp::VpRegisters>()
        .each_input::<vp::RegisterAssoc>()
        .root_or(VP_REGISTERS),
    simple(C::TRANSLATE_VIRTUAL_ADDRESS, Child)
        .input::<vp::TranslateVirtualAddress>()
        .output::<vp::TranslateVirtualAddressOutput>()
        .needs(CREATE)
        .root(),
    simple(C::CLEAR_VIRTUAL_INTERRUPT, Child)
        .input::<interrupt::ClearVirtualInterrupt>()
        .fast()
        .needs(CREATE)
        .root(),
    simple(C::DELETE_PORT, CallerOrChild).input::<synic::DeletePort>().fast().needs(PORT).root(),
    simple(C::DISCONNECT_PORT, CallerOrChild)
        .input::<synic::DisconnectPort>()
        .fast()
        .needs(CONNECT)
        .root(),
    simple(C::POST_MESSAGE, Caller).input::<synic::PostMessage>().needs(POST),
    simple(C::SIGNAL_EVENT, Caller).input::<synic::SignalEvent>().fast().needs(SIGNAL),
    simple(C::MAP_STATS_PAGE, CallerOrChild)
        .input::<system::StatsPageInput>()
        .output::<system::MapStatsPageOutput>()
        .needs(STATS)
        .root(),
    simple(C::UNMAP_STATS_PAGE, CallerOrChild)
        .input::<system::StatsPageInput>()
        .needs(STATS)
        .root(),
    simple(C::SET_SYSTEM_PROPERTY, Machine).input::<system::SetSystemProperty>().needs(CPUS).root(),
    simple(C::ADD_LOGICAL_PROCESSOR, Machine)
        .input::<system::AddLogicalProcessor>()
        .output::<system::AddLogicalProcessorOutput>()
        .needs(CPUS)
        .root(),
    simple(C::GET_SYSTEM_PROPERTY, Machine)
        .input::<system::GetSystemProperty>()
        .output::<system::GetSystemPropertyOutput>()
        .needs(CPUS)
        .root(),
    simple(C::MAP_DEVICE_INTERRUPT, CallerOrChild)
        .input_less::<interrupt::MapDeviceInterrupt>(BANK_MASK)
        .variable_header()
        .output::<interrupt::MapDeviceInterruptOutput>()
        .root(),
    simple(C::UNMAP_DEVICE_INTERRUPT, CallerOrChild)
        .input::<interrupt::UnmapDeviceInterrupt>()
        .root(),
    simple(C::RETARGET_DEVICE_INTERRUPT, Caller)
        .input_less::<interrupt::RetargetDeviceInterrupt>(BANK_MASK)
        .variable_header(),
    simple(C::ENTER_SLEEP_STATE, Machine).input::<system::EnterSleepState>().needs(CPUS).root(),
    simple(C::NOTIFY_PARTITION_EVENT, Machine)
        .input::<system::NotifyPartitionEvent>()
        .needs(CPUS)
        .root(),
    simple(C::NOTIFY_PORT_RING_EMPTY, Caller).input::<synic::NotifyPortRingEmpty>().fast().root(),
    simple(C::REGISTER_INTERCEPT_RESULT, Child)
        .input::<intercept::RegisterInterceptResult>()
        .needs(CREATE)
        .root(),
    simple(C::ASSERT_VIRTUAL_INTERRUPT, Child)
        .input::<interrupt::AssertVirtualInterrupt>()
        .needs(CREATE)
        .root(),
    simple(C::CREATE_PORT, CallerOrChild).input::<synic::CreatePort>().needs(PORT).root(),
    simple(C::CONNECT_PORT, CallerOrChild).input::<synic::ConnectPort>().needs(CONNECT).root(),
    simple(C::START_VP, Caller).input::<vp::StartVp>().needs(START_VP),
    rep(C::GET_VP_INDEX_FROM_APIC_ID, Caller)
        .input::<vp::GetVpIndexFromApicId>()
        .each_input::<u32>()
        .each_output::<VpIndex>()
        .needs(VP_REGISTERS),
    simple(C::SIGNAL_EVENT_DIRECT, Child)
        .input::<synic::SignalEventDirect>()
        .output::<synic::SignalEventDirectOutput>()
        .needs(CREATE)
        .root(),
    simple(C::POST_MESSAGE_DIRECT, Child).input::<synic::PostMessageDirect>().needs(CREATE).root(),
    simple(C::DISPATCH_VP, Child)
        .input::<vp::DispatchVp>()
        .output::<vp::DispatchVpOutput>()
        .needs(CREATE)
        .root(),
    rep(C::GET_GPA_PAGES_ACCESS_STATES, Child)
        .input::<memory::GetGpaPagesAccessStates>()
        .each_output::<memory::GpaPageAccessState>()
        .needs(CREATE)
        .root(),
    rep(C::ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS, Child)
        .input::<memory::SparsePageHostAccess>()
        .each_input::<Gpn>()
        .needs(CREATE)
        .root(),
    rep(C::RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS, Child)
        .input::<memory::SparsePageHostAccess>()
        .each_input::<Gpn>()
        .needs(CREATE)
        .root(),
    simple(C::MAP_VP_STATE_PAGE, Child)
        .input::<vp::MapVpStatePage>()
        .output::<vp::MapVpStatePageOutput>()
        .needs(CREATE)
        .root(),
    simple(C::UNMAP_VP_STATE_PAGE, Child).input::<vp::UnmapVpStatePage>().needs(CREATE).root(),
    simple(C::GET_VP_STATE, Child)
        .input::<vp::VpState>()
        .variable_header()
        .output_up_to(DIRECT_STATE)
        .needs(CREATE)
        .root(),
    simple(C::SET_VP_STATE, Child).input::<vp::VpState>().variable_header().needs(CREATE).root(),
    rep(C::GET_VP_CPUID_VALUES, CallerOrChild)
        .input::<intercept::GetVpCpuidValues>()
        .each_input::<intercept::CpuidLeaf>()
        .each_output::<intercept::CpuidRegisters>()
        .needs(CREATE)
        .root(),
    simple(C::GET_PARTITION_PROPERTY_EX, CallerOrChild)
        .input::<partition::GetPartitionPropertyEx>()
        .output_up_to(partition::PROPERTY_EX_MAX as u16)
        .needs(CREATE)
        .root(),
    simple(C::MMIO_READ, Caller).input::<intercept::MmioRead>().output::<MmioData>(),
    simple(C::MMIO_WRITE, Caller).input::<intercept::MmioWrite>(),
    simple(C::DISABLE_HYP_EX, Machine).input::<system::DisableHypEx>().needs(CPUS).root(),
    simple(C::MAP_STATS_PAGE2, CallerOrChild).input::<system::MapStatsPage2>().needs(STATS).root(),
    simple(C::QUERY_CAPABILITIES, Caller)
        .output::<system::QueryCapabilitiesOutput>()
        .needs(EXTENDED),
    rep(C::MEMORY_HEAT_HINT, Caller)
        .input::<memory::MemoryHeatHint>()
        .each_input::<tlb::ExtendedRange>()
        .needs(EXTENDED),
];

/// Codes below this are looked up directly; the few above are the extended ones, at the end of the table.
const DIRECT: usize = 0x140;
/// How many of those there are.
const EXTENDED_CALLS: usize = 2;
const NONE: u8 = u8::MAX;

/// Place in the table by code.
static SLOTS: [u8; DIRECT] = slots();

const fn slots() -> [u8; DIRECT] {
    assert!(TABLE.len() < NONE as usize);
    let mut slots = [NONE; DIRECT];
    let mut place = 0;
    while place < TABLE.len() - EXTENDED_CALLS {
        slots[TABLE[place].code.0 as usize] = place as u8;
        place += 1;
    }
    slots
}

/// The call's place in [`TABLE`], dense from 0: an index for counters.
pub fn slot(code: C) -> Option<usize> {
    match SLOTS.get(usize::from(code.0)) {
        Some(&NONE) => None,
        Some(&place) => Some(usize::from(place)),
        None => TABLE.iter().rposition(|info| info.code == code),
    }
}

/// What is known of a call; `None` if there is no such call.
pub fn find(code: C) -> Option<&'static CallInfo> {
    TABLE.get(slot(code)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::{Kind, Scope};
    use hvdef::PAGE_SIZE;

    #[test]
    fn every_call_is_found_at_its_place_and_no_other_code_is() {
        let mut found = 0;
        for code in 0..=u16::MAX {
            if let Some(info) = find(C(code)) {
                assert_eq!(info.code, C(code));
                assert_eq!(slot(C(code)), Some(found));
                assert!(info.code.name().is_some());
                found += 1;
            }
        }
        assert_eq!(found, TABLE.len());
    }

    #[test]
    fn sizes_are_those_of_the_document() {
        let sizes =
            |code| find(code).map(|i| (i.input, i.rep_input, i.output, i.rep_output)).unwrap();
        assert_eq!(sizes(C::FLUSH_VIRTUAL_ADDRESS_LIST), (24, 8, 0, 0));
        assert_eq!(sizes(C::GET_LOGICAL_PROCESSOR_RUN_TIME), (4, 0, 32, 0));
        assert_eq!(sizes(C::CREATE_PARTITION), (56, 0, 8, 0));
        assert_eq!(sizes(C::WITHDRAW_MEMORY), (16, 0, 0, 8));
        assert_eq!(sizes(C::MAP_GPA_PAGES), (24, 8, 0, 0));
        assert_eq!(sizes(C::UNMAP_GPA_PAGES), (24, 0, 0, 0));
        assert_eq!(sizes(C::GET_VP_REGISTERS), (16, 4, 0, 16));
        assert_eq!(sizes(C::SET_VP_REGISTERS), (16, 32, 0, 0));
        assert_eq!(sizes(C::SET_SYSTEM_PROPERTY), (72, 0, 0, 0));
        assert_eq!(sizes(C::ADD_LOGICAL_PROCESSOR), (16, 0, 56, 0));
        assert_eq!(sizes(C::MAP_DEVICE_INTERRUPT), (72, 0, 56, 0));
        assert_eq!(sizes(C::UNMAP_DEVICE_INTERRUPT), (36, 0, 0, 0));
        assert_eq!(sizes(C::RETARGET_DEVICE_INTERRUPT), (56, 0, 0, 0));
        assert_eq!(sizes(C::REGISTER_INTERCEPT_RESULT), (60, 0, 0, 0));
        assert_eq!(sizes(C::CREATE_PORT), (56, 0, 0, 0));
        assert_eq!(sizes(C::CONNECT_PORT), (72, 0, 0, 0));
        assert_eq!(sizes(C::POST_MESSAGE_DIRECT), (280, 0, 0, 0));
        assert_eq!(sizes(C::GET_GPA_PAGES_ACCESS_STATES), (24, 0, 0, 1));
        assert_eq!(sizes(C::GET_VP_STATE), (40, 0, 200, 0));
        assert_eq!(sizes(C::GET_VP_CPUID_VALUES), (24, 24, 0, 16));
        assert_eq!(sizes(C::GET_PARTITION_PROPERTY_EX), (24, 0, 4072, 0));
        assert_eq!(sizes(C::MEMORY_HEAT_HINT), (8, 8, 0, 0));
    }

    #[test]
    fn the_table_is_consistent() {
        for info in TABLE {
            let name = info.name();
            assert!(usize::from(info.input.max(info.output)) <= PAGE_SIZE, "{name}");
            if info.kind == Kind::Simple {
                assert_eq!((info.rep_input, info.rep_output), (0, 0), "{name}");
            } else {
                assert_eq!(info.output, 0, "{name}");
            }
            if info.fast {
                assert!(info.input <= 16 && info.output == 0 && !info.variable_header, "{name}");
            }
        }
    }

    #[test]
    fn a_guest_reaches_only_what_guests_need() {
        let open: std::vec::Vec<_> =
            TABLE.iter().filter(|info| info.scope != Scope::Root).map(|i| i.code.0).collect();
        let documented = [
            0x02, 0x03, 0x08, 0x0B, 0x13, 0x14, 0x15, 0x46, 0x50, 0x51, 0x5C, 0x5D, 0x7E, 0x99,
            0x9A, 0x106, 0x107, 0x8001, 0x8003,
        ];
        assert_eq!(open, documented);
    }

    extern crate std;
}
