//! The walk over all tables.

use crate::error::{Fault, ScanError, TableFault};
use crate::fadt::Fixed;
use crate::hpet::Hpet;
use crate::madt::Madt;
use crate::mcfg::{self, ConfigSpace, ConfigSpaces};
use crate::root::Root;
use crate::rsdp::{Rsdp, RsdpHints, find_rsdp};
use crate::table::Table;
use acpidefs::sdt::Signature;
use boot_plan::{List, PhysRead};

/// Most tables listed.
pub const MAX_TABLES: usize = 128;
/// Most remarks kept.
pub const MAX_FAULTS: usize = 16;

/// What the firmware says. Some 10 KiB: keep it in a static and fill it in place.
#[derive(Clone, Copy, Debug)]
pub struct Acpi {
    /// Where it all starts.
    pub rsdp: Option<Rsdp>,
    /// Every table that the root table lists.
    pub tables: List<Table, MAX_TABLES>,
    /// Processors and interrupt controllers.
    pub madt: Madt,
    /// Fixed registers; all absent if the FADT was corrupt or missing.
    pub fixed: Fixed,
    /// Event timers.
    pub hpet: Option<Hpet>,
    /// PCI Express configuration space.
    pub config_spaces: ConfigSpaces,
    /// What is wrong but does not stop the boot, in the order found. Each prints as one line.
    pub faults: List<TableFault, MAX_FAULTS>,
}

impl Acpi {
    /// Nothing known yet.
    pub const fn empty() -> Self {
        let no_fault =
            TableFault { signature: Signature([0; 4]), address: 0, fault: Fault::Unreadable };
        Self {
            rsdp: None,
            tables: List::new(Table::NONE),
            madt: Madt::empty(),
            fixed: Fixed::empty(),
            hpet: None,
            config_spaces: NO_CONFIG_SPACES,
            faults: List::new(no_fault),
        }
    }

    /// Finds and reads the tables. Only a missing or corrupt root table or MADT is an error: without them there are no
    /// processors to start.
    pub fn scan(&mut self, hints: &RsdpHints, memory: &impl PhysRead) -> Result<(), ScanError> {
        self.forget();
        let rsdp = find_rsdp(hints, memory).ok_or(ScanError::NoRsdp)?;
        self.rsdp = Some(rsdp);
        let root = Root::open(&rsdp, memory)?;
        self.list_tables(&root, memory)?;
        self.read_madt(memory)?;
        self.fixed = self.optional(Signature::FADT, memory, Fixed::load).unwrap_or_default();
        self.hpet = self.optional(Signature::HPET, memory, Hpet::load).flatten();
        self.config_spaces =
            self.optional(Signature::MCFG, memory, mcfg::load).unwrap_or(NO_CONFIG_SPACES);
        Ok(())
    }

    /// The first table with this signature.
    pub fn find(&self, signature: Signature) -> Option<&Table> {
        self.tables.iter().find(|table| table.signature == signature)
    }

    fn forget(&mut self) {
        self.rsdp = None;
        self.tables.clear();
        self.madt.clear();
        self.fixed = Fixed::empty();
        self.hpet = None;
        self.config_spaces.clear();
        self.faults.clear();
    }

    fn remark(&mut self, fault: TableFault) {
        // A firmware with more faults than we keep has been complained about enough.
        let _ = self.faults.push(fault);
    }

    fn list_tables(&mut self, root: &Root, memory: &impl PhysRead) -> Result<(), ScanError> {
        for index in 0.. {
            let Some(address) = root.entry(index, memory).map_err(ScanError::Corrupt)? else {
                break;
            };
            if address == 0 {
                continue;
            }
            match Table::open(address, memory) {
                Ok(table) if self.tables.push(table).is_err() => {
                    let fault = Fault::TooMany { what: "tables", kept: MAX_TABLES };
                    self.remark(root.table().fault(fault));
                    break;
                }
                Ok(_) => {}
                Err(fault) => self.remark(fault),
            }
        }
        Ok(())
    }

    fn read_madt(&mut self, memory: &impl PhysRead) -> Result<(), ScanError> {
        let Some(table) = self.find(Signature::MADT).copied() else {
            // If its header was unreadable or its length absurd, say so rather than that there is none.
            let broken = self.faults.iter().find(|fault| fault.signature == Signature::MADT);
            return Err(broken
                .map_or(ScanError::Missing(Signature::MADT), |fault| ScanError::Corrupt(*fault)));
        };
        table.check(memory).map_err(ScanError::Corrupt)?;
        let faults = &mut self.faults;
        let remark = |fault| {
            let _ = faults.push(fault);
        };
        self.madt.load(&table, memory, remark).map_err(ScanError::Corrupt)
    }

    /// What `load` makes of a table that the boot can do without; a fault in it is a remark.
    fn optional<M: PhysRead, T>(
        &mut self,
        signature: Signature,
        memory: &M,
        load: fn(&Table, &M) -> Result<T, TableFault>,
    ) -> Option<T> {
        let table = *self.find(signature)?;
        let loaded = table.check(memory).and_then(|()| load(&table, memory));
        loaded.map_err(|fault| self.remark(fault)).ok()
    }
}

const NO_CONFIG_SPACES: ConfigSpaces = List::new(ConfigSpace::NONE);
