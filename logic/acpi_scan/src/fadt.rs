//! The FADT's contents: the fixed registers that hypervisor and parent share.

use crate::error::TableFault;
use crate::table::Table;
use acpidefs::fadt::{Fadt, LENGTH_1_0, flags};
use acpidefs::gas::{GenericAddress, space};
use boot_plan::PhysRead;
use zerocopy::little_endian::U32;

/// A register somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register {
    /// Address space: [`acpidefs::gas::space`].
    pub space: u8,
    /// Bits.
    pub width: u8,
    /// Address in that space.
    pub address: u64,
}

impl Register {
    /// Its I/O port, if it is one.
    pub fn port(&self) -> Option<u16> {
        if self.space == space::IO { u16::try_from(self.address).ok() } else { None }
    }
}

/// How to reset the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// Where to write.
    pub register: Register,
    /// What to write.
    pub value: u8,
}

/// What the FADT says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fixed {
    /// Interrupt of ACPI events.
    pub sci_interrupt: u16,
    /// Counts at 3.579545 MHz.
    pub pm_timer: Option<Register>,
    /// Whether the PM timer has 32 bits; otherwise 24.
    pub pm_timer_32bit: bool,
    /// `PM1a_CNT`: sleep type and sleep enable.
    pub pm1a_control: Option<Register>,
    /// `PM1b_CNT`, on machines that split the register.
    pub pm1b_control: Option<Register>,
    /// Reset register, if it works.
    pub reset: Option<Reset>,
    /// Address of the DSDT, or 0.
    pub dsdt: u64,
    /// There is no fixed hardware.
    pub hardware_reduced: bool,
}

impl Fixed {
    pub(crate) const fn empty() -> Self {
        Self {
            sci_interrupt: 0,
            pm_timer: None,
            pm_timer_32bit: false,
            pm1a_control: None,
            pm1b_control: None,
            reset: None,
            dsdt: 0,
            hardware_reduced: false,
        }
    }

    pub(crate) fn load<M: PhysRead>(table: &Table, memory: &M) -> Result<Self, TableFault> {
        let fadt: Fadt = table.read_start(LENGTH_1_0, memory)?;
        let has = |flag| fadt.flags.get() & flag != 0;
        let control_bits = fadt.pm1_control_length.saturating_mul(8);
        let timer_bits = fadt.pm_timer_length.saturating_mul(8);
        let reset = generic(&fadt.reset_register).filter(|_| has(flags::RESET_REG_SUP));
        Ok(Self {
            sci_interrupt: fadt.sci_interrupt.get(),
            pm_timer: either(&fadt.x_pm_timer, fadt.pm_timer, timer_bits),
            pm_timer_32bit: has(flags::TMR_VAL_EXT),
            pm1a_control: either(&fadt.x_pm1a_control, fadt.pm1a_control, control_bits),
            pm1b_control: either(&fadt.x_pm1b_control, fadt.pm1b_control, control_bits),
            reset: reset.map(|register| Reset { register, value: fadt.reset_value }),
            dsdt: if fadt.x_dsdt.get() != 0 { fadt.x_dsdt.get() } else { fadt.dsdt.get().into() },
            hardware_reduced: has(flags::HW_REDUCED_ACPI),
        })
    }
}

fn generic(address: &GenericAddress) -> Option<Register> {
    let register =
        Register { space: address.space, width: address.bit_width, address: address.address.get() };
    (register.address != 0).then_some(register)
}

/// The extended address if it is there, else the port of ACPI 1.0.
fn either(extended: &GenericAddress, port: U32, width: u8) -> Option<Register> {
    let port = Register { space: space::IO, width, address: port.get().into() };
    generic(extended).or(Some(port)).filter(|register| register.address != 0)
}
