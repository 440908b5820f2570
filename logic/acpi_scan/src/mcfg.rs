//! The MCFG table's contents.

use crate::error::{Fault, TableFault};
use crate::table::Table;
use acpidefs::mcfg::{Allocation, Mcfg};
use boot_plan::{List, PhysRange, PhysRead};

/// Most ranges of configuration space kept.
pub const MAX_SEGMENTS: usize = 16;
/// Bytes of configuration space of one bus, as a shift.
const BUS_SHIFT: u32 = 20;

/// Memory-mapped configuration space of some buses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigSpace {
    /// Address of bus 0, even if `first_bus` is not 0.
    pub base: u64,
    /// PCI segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
}

impl ConfigSpace {
    pub(crate) const NONE: Self = Self { base: 0, segment: 0, first_bus: 0, last_bus: 0 };

    /// The memory of its buses.
    pub fn range(&self) -> PhysRange {
        let bus = |number: u64| self.base.saturating_add(number << BUS_SHIFT);
        PhysRange::new(bus(self.first_bus.into()), bus(u64::from(self.last_bus) + 1))
    }
}

/// All of it.
pub(crate) type ConfigSpaces = List<ConfigSpace, MAX_SEGMENTS>;

pub(crate) fn load<M: PhysRead>(table: &Table, memory: &M) -> Result<ConfigSpaces, TableFault> {
    let mut spaces = List::new(ConfigSpace::NONE);
    let mut offset = size_of::<Mcfg>() as u32;
    while let Some(wire) = table.read::<Allocation>(offset, memory)? {
        let space = ConfigSpace {
            base: wire.base.get(),
            segment: wire.segment.get(),
            first_bus: wire.start_bus,
            last_bus: wire.end_bus,
        };
        let fault = table.fault(Fault::TooMany { what: "PCI segments", kept: MAX_SEGMENTS });
        spaces.push(space).map_err(|_| fault)?;
        offset = offset.saturating_add(size_of::<Allocation>() as u32);
    }
    Ok(spaces)
}
