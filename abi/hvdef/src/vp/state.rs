//! Parts of a VP's state as GET_VP_STATE and SET_VP_STATE move them.

use crate::msr::{STIMER_COUNT, StimerConfig};
use wire::{layout, open_enum, wire};

open_enum! {
    /// Which part. Bit 31: passed by page.
    pub struct VpStateType(u32) {
        /// [`SyntheticTimersState`].
        SYNTHETIC_TIMERS = 0x0000_0004;
        /// [`LocalApicState`].
        LAPIC = 0x8000_0000;
        /// XSAVE area, compacted.
        XSAVE = 0x8000_0001;
        /// Message page.
        SIM_PAGE = 0x8000_0002;
        /// Event flags page.
        SIEF_PAGE = 0x8000_0003;
    }
}

impl VpStateType {
    /// Whether the data is in pages that the variable header lists.
    pub const fn is_passed_by_page(self) -> bool {
        self.0 >> 31 != 0
    }
}

wire! {
    /// State of the local APIC: its registers, packed.
    pub struct LocalApicState {
        /// Id; in xAPIC mode in bits 31:24.
        pub apic_id: u32,
        /// Version.
        pub version: u32,
        /// Logical destination.
        pub ldr: u32,
        /// Destination format.
        pub dfr: u32,
        /// Spurious interrupt vector.
        pub spurious: u32,
        /// In service.
        pub isr: [u32; 8],
        /// Level-triggered.
        pub tmr: [u32; 8],
        /// Requested.
        pub irr: [u32; 8],
        /// Errors.
        pub esr: u32,
        /// Interrupt command, high.
        pub icr_high: u32,
        /// Interrupt command, low.
        pub icr_low: u32,
        /// Local vector: timer.
        pub lvt_timer: u32,
        /// Local vector: thermal sensor.
        pub lvt_thermal: u32,
        /// Local vector: performance monitor.
        pub lvt_perfmon: u32,
        /// Local vector: pin 0.
        pub lvt_lint0: u32,
        /// Local vector: pin 1.
        pub lvt_lint1: u32,
        /// Local vector: error.
        pub lvt_error: u32,
        /// Local vector: corrected machine check.
        pub lvt_cmci: u32,
        /// Errors collected but not shown yet.
        pub error_status: u32,
        /// Timer: initial count.
        pub initial_count: u32,
        /// Timer: current count.
        pub counter_value: u32,
        /// Timer: divide configuration.
        pub divide_configuration: u32,
        /// Remote read.
        pub remote_read: u32,
    }

    /// State of one synthetic timer.
    pub struct StimerState {
        /// Bit 0: it expired and its message is not delivered yet.
        pub flags: u32,
        /// 0.
        pub reserved: u32,
        /// Configuration.
        pub config: StimerConfig,
        /// Count.
        pub count: u64,
        /// What a periodic timer is late.
        pub adjustment: u64,
        /// When the undelivered message was due.
        pub undelivered_expiration_time: u64,
    }

    /// State of a VP's synthetic timers.
    pub struct SyntheticTimersState {
        /// Each timer.
        pub timers: [StimerState; STIMER_COUNT],
        /// 0.
        pub reserved: [u64; 5],
    }
}
layout!(
    LocalApicState, 176, apic_id @ 0, version @ 4, ldr @ 8, dfr @ 12, spurious @ 16, isr @ 20, tmr @ 52, irr @ 84,
    esr @ 116, icr_high @ 120, icr_low @ 124, lvt_timer @ 128, lvt_lint0 @ 140, lvt_lint1 @ 144, lvt_error @ 148,
    lvt_cmci @ 152, error_status @ 156, initial_count @ 160, counter_value @ 164, divide_configuration @ 168,
    remote_read @ 172
);
layout!(StimerState, 40, flags @ 0, config @ 8, count @ 16, adjustment @ 24, undelivered_expiration_time @ 32);
layout!(SyntheticTimersState, 200, timers @ 0, reserved @ 160);
