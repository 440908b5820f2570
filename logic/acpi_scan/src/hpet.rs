//! The HPET table's contents.

use crate::error::TableFault;
use crate::table::Table;
use acpidefs::gas::space;
use acpidefs::hpet::{Hpet as Wire, TIMER_CONFIG, TIMER_STRIDE};
use boot_plan::PhysRead;

/// A block of event timers.
///
/// Its timers may be able to send MSIs past the interrupt remapping that a root partition expects. That ability is
/// read-only in the hardware: hide the table ([`crate::hide_table`]) or let reads of [`Hpet::timer_config`] show
/// [`acpidefs::hpet::TIMER_MSI_CAPABLE`] clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hpet {
    /// Physical address of its registers.
    pub address: u64,
    /// Its timers, from 1 to 32.
    pub timers: u8,
}

impl Hpet {
    /// `None` if its registers are not in memory.
    pub(crate) fn load<M: PhysRead>(table: &Table, memory: &M) -> Result<Option<Self>, TableFault> {
        let wire: Wire = table.read_start(size_of::<Wire>(), memory)?;
        let address = wire.address.address.get();
        let timers = (wire.block_id.get() >> 8 & 0x1F) as u8 + 1;
        Ok((wire.address.space == space::MEMORY && address != 0)
            .then_some(Self { address, timers }))
    }

    /// Physical address of the configuration register of timer `index`.
    pub fn timer_config(&self, index: u8) -> u64 {
        self.address.saturating_add(TIMER_CONFIG + TIMER_STRIDE * u64::from(index))
    }
}
