//! Behaviour of the whole APIC, one file per topic.

mod access;
mod addressing;
mod modes;
mod priority;
mod state;
mod timer;

use crate::{Apic, Effect};

/// An APIC as a running guest has it: xAPIC mode, software-enabled.
fn enabled(id: u32) -> Apic {
    let mut apic = Apic::new(id, id == 0, true).with_tsc_deadline();
    assert_eq!(apic.write_mmio(0xf0, 0x1ff, 0), Effect::None);
    apic
}

/// The same in x2APIC mode.
fn enabled_x2apic(id: u32) -> Apic {
    let mut apic = enabled(id);
    assert_eq!(apic.write_msr(0x1b, 0xfee0_0c00, 0), Ok(Effect::ModeChanged));
    apic
}
