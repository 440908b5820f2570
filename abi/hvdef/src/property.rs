//! Properties of the system and of partitions (Linux `hvhdk_mini.h`; the rest from the published VMM crates).

use crate::macros::open_enum;

open_enum! {
    /// Properties of GET_SYSTEM_PROPERTY and SET_SYSTEM_PROPERTY.
    pub struct SystemProperty(u32) {
        /// Set: [`SleepStateInfo`](crate::hypercall::system::SleepStateInfo), what to write for a sleep state.
        SLEEP_STATE = 3;
        /// Get: [`SchedulerType`].
        SCHEDULER_TYPE = 15;
        /// Get: which processor features can be switched.
        DYNAMIC_PROCESSOR_FEATURES = 21;
        /// Get: page range of the crash dump area, base in bits 39:0, further pages in bits 63:40.
        CRASH_DUMP_AREA = 47;
    }
}

open_enum! {
    /// Value of [`SystemProperty::SCHEDULER_TYPE`].
    pub struct SchedulerType(u32) {
        /// The hypervisor schedules VPs on LPs, without regard to hardware threads.
        CLASSIC = 1;
        /// The hypervisor schedules VPs on LPs.
        CLASSIC_SMT = 2;
        /// The hypervisor schedules VPs on cores.
        CORE = 3;
        /// The root dispatches VPs.
        ROOT = 4;
    }
}
