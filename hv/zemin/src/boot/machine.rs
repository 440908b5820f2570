//! Ending it: reset and power off, with what the firmware's tables say about how.
#![expect(unsafe_code, reason = "writes reset and sleep registers")]

use crate::log::{Level, log};
use crate::sync::Once;
use arch_x86::{cpu, port};
use core::sync::atomic::{AtomicU8, Ordering};

/// The registers that end a run, from the FADT.
#[derive(Clone, Copy, Default, Debug)]
pub struct PowerRegisters {
    /// PM1a control port; 0 if there is none.
    pub pm1a_control: u16,
    /// PM1b control port; 0 if there is none.
    pub pm1b_control: u16,
    /// Reset register in I/O space, and the value that resets.
    pub reset: Option<(u16, u8)>,
}

/// Set once at boot.
pub static POWER: Once<PowerRegisters> = Once::new();

/// Sleep types for S5 that the parent announced.
static SLEEP_TYPES: [AtomicU8; 2] = [const { AtomicU8::new(0) }; 2];

/// Sleep enable in a PM1 control register (ACPI 4.8.3.2.1).
const SLEEP_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE_SHIFT: u16 = 10;

/// Remembers the parent's sleep types for [`power_off`].
pub fn set_sleep_types(a: u8, b: u8) {
    SLEEP_TYPES[0].store(a, Ordering::Relaxed);
    SLEEP_TYPES[1].store(b, Ordering::Relaxed);
}

/// Switches the machine off; returns only if it does not let itself be.
pub fn power_off() {
    let power = POWER.try_get().copied().unwrap_or_default();
    log!(Level::Info, "the parent powers the machine off");
    for (control, sleep_type) in
        [power.pm1a_control, power.pm1b_control].into_iter().zip(&SLEEP_TYPES)
    {
        if control != 0 {
            let value = u16::from(sleep_type.load(Ordering::Relaxed) & 7) << SLEEP_TYPE_SHIFT;
            // SAFETY: firmware says that this is the control register; the machine ends here, as the parent asked.
            unsafe {
                let keep = port::read_u16(control) & !(7 << SLEEP_TYPE_SHIFT);
                port::write_u16(control, keep | value);
                port::write_u16(control, keep | value | SLEEP_ENABLE);
            }
        }
    }
    for _ in 0..1_000_000 {
        cpu::pause();
    }
    log!(Level::Error, "the machine did not power off");
}

/// Resets the machine by whatever works.
pub fn reset_machine() -> ! {
    if let Some((register, value)) = POWER.try_get().and_then(|power| power.reset) {
        // SAFETY: the machine ends here.
        unsafe { port::write_u8(register, value) };
        wait();
    }
    // SAFETY: the chipset's reset control and the keyboard controller: the machine ends here.
    unsafe {
        port::write_u8(0xCF9, 0x02);
        port::write_u8(0xCF9, 0x06);
        wait();
        port::write_u8(0x64, 0xFE);
    }
    wait();
    cpu::triple_fault()
}

fn wait() {
    for _ in 0..10_000 {
        cpu::pause();
    }
}
