//! The machine: LPs, system properties, sleep, statistics pages, extended capabilities (TLFS, "Logical Processors",
//! "Statistics"; Linux `hvhdk_mini.h`).

use crate::id::ProximityDomain;
use crate::property::SystemProperty;
use crate::stats::{StatsIdentity, StatsObjectType};
use crate::{Gpn, LpIndex};
use wire::{layout, open_enum, wire};

wire! {
    /// [`GET_LOGICAL_PROCESSOR_RUN_TIME`](super::HypercallCode::GET_LOGICAL_PROCESSOR_RUN_TIME).
    pub struct GetLogicalProcessorRunTime {
        /// Which LP.
        pub lp_index: LpIndex,
    }

    /// Output of [`GetLogicalProcessorRunTime`], in units of 100 ns.
    pub struct LogicalProcessorRunTime {
        /// Since the machine started.
        pub global_time: u64,
        /// Running anything at all.
        pub local_run_time: u64,
        /// 0.
        pub reserved: u64,
        /// Running the hypervisor.
        pub hypervisor_time: u64,
    }

    /// [`ADD_LOGICAL_PROCESSOR`](super::HypercallCode::ADD_LOGICAL_PROCESSOR).
    pub struct AddLogicalProcessor {
        /// Index for the new LP.
        pub lp_index: LpIndex,
        /// Its APIC id.
        pub apic_id: u32,
        /// Where it is.
        pub proximity: ProximityDomain,
    }

    /// Output of [`AddLogicalProcessor`]: what start-up said, ignored by Linux.
    pub struct AddLogicalProcessorOutput {
        /// Start-up status of the LP.
        pub startup_status: [u64; 7],
    }

    /// [`NOTIFY_PARTITION_EVENT`](super::HypercallCode::NOTIFY_PARTITION_EVENT).
    pub struct NotifyPartitionEvent {
        /// What happened.
        pub event: PartitionEvent,
        /// What to do: of a crash dump 1 suspends all VPs, 4 is its start.
        pub action: u32,
    }

    /// [`GET_SYSTEM_PROPERTY`](super::HypercallCode::GET_SYSTEM_PROPERTY).
    pub struct GetSystemProperty {
        /// Which.
        pub property: SystemProperty,
        /// 0.
        pub padding: u32,
        /// Argument of the property.
        pub argument: u64,
    }

    /// Output of [`GetSystemProperty`]: a u32 in the low half for those that are one.
    pub struct GetSystemPropertyOutput {
        /// Value.
        pub value: u64,
    }

    /// [`SET_SYSTEM_PROPERTY`](super::HypercallCode::SET_SYSTEM_PROPERTY).
    pub struct SetSystemProperty {
        /// Which.
        pub property: SystemProperty,
        /// 0.
        pub reserved: u32,
        /// Value; for [`SystemProperty::SLEEP_STATE`] it begins with a [`SleepStateInfo`].
        pub value: [u8; 64],
    }

    /// Value of [`SystemProperty::SLEEP_STATE`]: what to write where when the time comes.
    pub struct SleepStateInfo {
        /// Which state the values are for.
        pub sleep_state: SleepState,
        /// SLP_TYP of PM1a control.
        pub pm1a_slp_typ: u8,
        /// SLP_TYP of PM1b control.
        pub pm1b_slp_typ: u8,
        /// 0.
        pub reserved: [u8; 2],
    }

    /// [`ENTER_SLEEP_STATE`](super::HypercallCode::ENTER_SLEEP_STATE). Does not return.
    pub struct EnterSleepState {
        /// Which.
        pub sleep_state: SleepState,
    }

    /// [`MAP_STATS_PAGE`](super::HypercallCode::MAP_STATS_PAGE) and
    /// [`UNMAP_STATS_PAGE`](super::HypercallCode::UNMAP_STATS_PAGE).
    pub struct StatsPageInput {
        /// Kind of object.
        pub object_type: StatsObjectType,
        /// 0.
        pub padding: u32,
        /// Which object, and which area.
        pub identity: StatsIdentity,
    }

    /// Output of [`MAP_STATS_PAGE`](super::HypercallCode::MAP_STATS_PAGE).
    pub struct MapStatsPageOutput {
        /// The page. 0 would be taken for page 0.
        pub map_location: Gpn,
    }

    /// [`MAP_STATS_PAGE2`](super::HypercallCode::MAP_STATS_PAGE2).
    pub struct MapStatsPage2 {
        /// As in [`StatsPageInput`].
        pub page: StatsPageInput,
        /// Where the caller wants it.
        pub map_location: Gpn,
    }

    /// [`DISABLE_HYP_EX`](super::HypercallCode::DISABLE_HYP_EX).
    pub struct DisableHypEx {
        /// Below 4 GiB, entered in 32-bit protected mode.
        pub rip: u64,
        /// For the code there.
        pub argument: u64,
    }

    /// Output of [`QUERY_CAPABILITIES`](super::HypercallCode::QUERY_CAPABILITIES).
    pub struct QueryCapabilitiesOutput {
        /// Bit 8: memory heat hints.
        pub capabilities: u64,
    }
}

layout!(GetLogicalProcessorRunTime, 4);
layout!(LogicalProcessorRunTime, 32, global_time @ 0, local_run_time @ 8, hypervisor_time @ 24);
layout!(AddLogicalProcessor, 16, lp_index @ 0, apic_id @ 4, proximity @ 8);
layout!(AddLogicalProcessorOutput, 56);
layout!(NotifyPartitionEvent, 8, event @ 0, action @ 4);
layout!(GetSystemProperty, 16, property @ 0, argument @ 8);
layout!(GetSystemPropertyOutput, 8);
layout!(SetSystemProperty, 72, property @ 0, value @ 8);
layout!(SleepStateInfo, 8, sleep_state @ 0, pm1a_slp_typ @ 4, pm1b_slp_typ @ 5);
layout!(EnterSleepState, 4);
layout!(StatsPageInput, 24, object_type @ 0, identity @ 8);
layout!(MapStatsPageOutput, 8);
layout!(MapStatsPage2, 32, page @ 0, map_location @ 24);
layout!(DisableHypEx, 16, rip @ 0, argument @ 8);
layout!(QueryCapabilitiesOutput, 8);

open_enum! {
    /// TLFS `HV_SLEEP_STATE`, as in ACPI.
    pub struct SleepState(u32) {
        /// Standby.
        S1 = 1;
        /// Standby.
        S2 = 2;
        /// Suspend to memory.
        S3 = 3;
        /// Suspend to disk.
        S4 = 4;
        /// Off.
        S5 = 5;
    }
}

open_enum! {
    /// Events of [`NotifyPartitionEvent`].
    pub struct PartitionEvent(u32) {
        /// The root is writing a crash dump.
        ROOT_CRASHDUMP = 2;
        /// The root has added all LPs.
        ALL_LOGICAL_PROCESSORS_STARTED = 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    #[test]
    fn the_power_off_property_is_read_at_its_documented_offsets() {
        let mut bytes = [0u8; 72];
        bytes[0] = 3;
        bytes[8] = 5;
        bytes[12] = 7;
        bytes[13] = 6;
        let input = SetSystemProperty::read_from_bytes(&bytes).unwrap();
        assert_eq!(input.property, SystemProperty::SLEEP_STATE);
        let (info, _) = SleepStateInfo::read_from_prefix(&input.value).unwrap();
        assert_eq!(
            (info.sleep_state, info.pm1a_slp_typ, info.pm1b_slp_typ),
            (SleepState::S5, 7, 6)
        );
        assert_eq!(input.as_bytes(), bytes);
    }
}
