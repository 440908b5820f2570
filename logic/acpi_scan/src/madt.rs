//! The MADT's contents: logical processors and interrupt controllers.

use crate::error::{Fault, TableFault};
use crate::table::Table;
use acpidefs::madt::{
    EntryHeader, IoApic as IoApicEntry, LocalApic, LocalApicNmi, LocalApicOverride, LocalX2Apic,
    Madt as Header, NmiSource, PCAT_COMPAT, SourceOverride, entry, lapic,
};
use boot_plan::{Full, List, PhysRead};
use zerocopy::{FromBytes, IntoBytes};

/// Most logical processors kept.
pub const MAX_LPS: usize = 256;
/// Most I/O APICs kept.
pub const MAX_IO_APICS: usize = 32;
/// Most overrides kept: there are 16 ISA interrupts.
pub const MAX_OVERRIDES: usize = 16;
/// Most NMI inputs kept.
pub const MAX_NMIS: usize = 32;
/// APIC id in entries for processors that are not there.
pub(crate) const NO_APIC: u32 = 0xFF;
/// The same, for x2APIC entries.
pub(crate) const NO_X2APIC: u32 = u32::MAX;
/// `acpi_id` for all processors in a [`LocalApicNmi`].
const ALL: u8 = 0xFF;

/// A logical processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogicalProcessor {
    /// Local APIC id.
    pub apic_id: u32,
    /// Name of its object in AML.
    pub acpi_id: u32,
    /// Usable now.
    pub enabled: bool,
    /// May be plugged in later.
    pub online_capable: bool,
}

/// An I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApic {
    /// Its APIC id.
    pub id: u8,
    /// Physical address of its registers.
    pub address: u64,
    /// Global system interrupt of its pin 0.
    pub gsi_base: u32,
}

/// An ISA interrupt that is wired otherwise than one to one, edge, active high.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Override {
    /// ISA interrupt.
    pub source: u8,
    /// Global system interrupt.
    pub gsi: u32,
    /// Active low.
    pub active_low: bool,
    /// Level-triggered.
    pub level: bool,
}

/// Where an NMI comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NmiInput {
    /// A pin of an I/O APIC.
    Gsi(u32),
    /// LINT0 or LINT1 of one processor's local APIC, named by its `acpi_id`, or of all.
    Lint {
        /// `None`: all processors.
        acpi_id: Option<u8>,
        /// 0 or 1.
        pin: u8,
    },
}

/// An NMI input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nmi {
    /// Where it comes in.
    pub input: NmiInput,
    /// Active low.
    pub active_low: bool,
    /// Level-triggered.
    pub level: bool,
}

/// What the MADT says.
#[derive(Clone, Copy, Debug)]
pub struct Madt {
    /// Logical processors in the firmware's order, each APIC id once.
    pub lps: List<LogicalProcessor, MAX_LPS>,
    /// I/O APICs.
    pub io_apics: List<IoApic, MAX_IO_APICS>,
    /// ISA interrupts that are wired differently.
    pub overrides: List<Override, MAX_OVERRIDES>,
    /// NMI inputs.
    pub nmis: List<Nmi, MAX_NMIS>,
    /// Physical address of the local APICs' registers.
    pub local_apic: u64,
    /// Whether there are 8259s to be masked.
    pub has_8259: bool,
}

impl Madt {
    pub(crate) const fn empty() -> Self {
        let lp = LogicalProcessor { apic_id: 0, acpi_id: 0, enabled: false, online_capable: false };
        let nmi = Nmi { input: NmiInput::Gsi(0), active_low: false, level: false };
        Self {
            lps: List::new(lp),
            io_apics: List::new(IoApic { id: 0, address: 0, gsi_base: 0 }),
            overrides: List::new(Override { source: 0, gsi: 0, active_low: false, level: false }),
            nmis: List::new(nmi),
            local_apic: 0,
            has_8259: false,
        }
    }

    /// Treats all but the first `limit` usable processors as if they were not there; `first` is among those kept.
    pub fn keep_lps(&mut self, limit: usize, first: u32) {
        let mut left = limit.saturating_sub(1);
        for lp in self.lps.iter_mut().filter(|lp| lp.enabled && lp.apic_id != first) {
            lp.enabled = left > 0;
            left = left.saturating_sub(1);
        }
    }

    /// Treats the processor with this APIC id as if it were not there, and gives the first of the others. Without others it stays.
    pub fn leave_out(&mut self, apic_id: u32) -> Option<u32> {
        let other = self.enabled_lps().map(|lp| lp.apic_id).find(|&id| id != apic_id)?;
        let ones = self.lps.iter_mut().filter(|lp| lp.apic_id == apic_id);
        ones.for_each(|lp| lp.enabled = false);
        Some(other)
    }

    /// The logical processors that can be started.
    pub fn enabled_lps(&self) -> impl Iterator<Item = &LogicalProcessor> {
        self.lps.iter().filter(|lp| lp.enabled)
    }

    pub(crate) fn clear(&mut self) {
        self.lps.clear();
        self.io_apics.clear();
        self.overrides.clear();
        self.nmis.clear();
        self.local_apic = 0;
        self.has_8259 = false;
    }

    /// Takes in `table`. `remark` hears of what does not stop the boot.
    pub(crate) fn load(
        &mut self,
        table: &Table,
        memory: &impl PhysRead,
        mut remark: impl FnMut(TableFault),
    ) -> Result<(), TableFault> {
        let header: Header = table.read_start(size_of::<Header>(), memory)?;
        self.local_apic = header.local_apic.get().into();
        self.has_8259 = header.flags.get() & PCAT_COMPAT != 0;
        let mut offset = size_of::<Header>() as u32;
        let mut told = None;
        while let Some(head) = table.read::<EntryHeader>(offset, memory)? {
            let entry = Entry { table, offset, head };
            let end = offset.saturating_add(head.length.into());
            if usize::from(head.length) < size_of::<EntryHeader>() || end > table.length {
                return Err(entry.malformed());
            }
            match self.take(&entry, memory) {
                Ok(()) => {}
                Err(fault @ TableFault { fault: Fault::TooMany { .. }, .. }) => {
                    if told != Some(fault) {
                        remark(fault);
                    }
                    told = Some(fault);
                }
                Err(fault) => return Err(fault),
            }
            offset = end;
        }
        if self.enabled_lps().next().is_none() {
            return Err(table.fault(Fault::Nothing("enabled processor")));
        }
        Ok(())
    }

    fn take(&mut self, entry: &Entry<'_>, memory: &impl PhysRead) -> Result<(), TableFault> {
        match entry.head.kind {
            entry::LOCAL_APIC => {
                let lapic: LocalApic = entry.read(memory)?;
                let id = u32::from(lapic.apic_id);
                let absent = id == NO_APIC;
                self.add_lp(entry, id, lapic.acpi_id.into(), lapic.flags.get(), absent)
            }
            entry::LOCAL_X2APIC => {
                let lapic: LocalX2Apic = entry.read(memory)?;
                let id = lapic.apic_id.get();
                self.add_lp(entry, id, lapic.acpi_id.get(), lapic.flags.get(), id == NO_X2APIC)
            }
            entry::IO_APIC => {
                let io: IoApicEntry = entry.read(memory)?;
                let io = IoApic {
                    id: io.id,
                    address: io.address.get().into(),
                    gsi_base: io.gsi_base.get(),
                };
                entry.kept(self.io_apics.push(io), "I/O APICs", MAX_IO_APICS)
            }
            entry::SOURCE_OVERRIDE => self.add_override(entry, memory),
            entry::NMI_SOURCE | entry::LOCAL_APIC_NMI => {
                let nmi = entry.nmi(memory)?;
                entry.kept(self.nmis.push(nmi), "NMI inputs", MAX_NMIS)
            }
            entry::LOCAL_APIC_OVERRIDE => {
                self.local_apic = entry.read::<LocalApicOverride>(memory)?.address.get();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Firmware may list a processor twice, once for each kind of APIC id.
    fn add_lp(
        &mut self,
        entry: &Entry<'_>,
        apic_id: u32,
        acpi_id: u32,
        flags: u32,
        absent: bool,
    ) -> Result<(), TableFault> {
        let enabled = flags & lapic::ENABLED != 0;
        let online_capable = flags & lapic::ONLINE_CAPABLE != 0;
        let useless = absent || !enabled && !online_capable;
        if useless || self.lps.iter().any(|lp| lp.apic_id == apic_id) {
            return Ok(());
        }
        let lp = LogicalProcessor { apic_id, acpi_id, enabled, online_capable };
        entry.kept(self.lps.push(lp), "processors", MAX_LPS)
    }

    fn add_override(
        &mut self,
        entry: &Entry<'_>,
        memory: &impl PhysRead,
    ) -> Result<(), TableFault> {
        let raw: SourceOverride = entry.read(memory)?;
        let (active_low, level) = polarity_and_trigger(raw.flags.get());
        let wired = Override { source: raw.source, gsi: raw.gsi.get(), active_low, level };
        entry.kept(self.overrides.push(wired), "interrupt overrides", MAX_OVERRIDES)
    }
}

/// An entry in its table.
struct Entry<'a> {
    table: &'a Table,
    offset: u32,
    head: EntryHeader,
}

impl Entry<'_> {
    fn malformed(&self) -> TableFault {
        let EntryHeader { kind, length } = self.head;
        self.table.fault(Fault::BadEntry { offset: self.offset, kind, length })
    }

    /// The entry as a `T`, which must not be longer than it.
    fn read<T: FromBytes + IntoBytes>(&self, memory: &impl PhysRead) -> Result<T, TableFault> {
        if usize::from(self.head.length) < size_of::<T>() {
            return Err(self.malformed());
        }
        self.table.read(self.offset, memory)?.ok_or(self.malformed())
    }

    fn kept(
        &self,
        result: Result<(), Full>,
        what: &'static str,
        kept: usize,
    ) -> Result<(), TableFault> {
        result.map_err(|Full| self.table.fault(Fault::TooMany { what, kept }))
    }

    fn nmi(&self, memory: &impl PhysRead) -> Result<Nmi, TableFault> {
        let (input, flags) = if self.head.kind == entry::NMI_SOURCE {
            let source: NmiSource = self.read(memory)?;
            (NmiInput::Gsi(source.gsi.get()), source.flags)
        } else {
            let local: LocalApicNmi = self.read(memory)?;
            let acpi_id = (local.acpi_id != ALL).then_some(local.acpi_id);
            (NmiInput::Lint { acpi_id, pin: local.lint }, local.flags)
        };
        let (active_low, level) = polarity_and_trigger(flags.get());
        Ok(Nmi { input, active_low, level })
    }
}

/// MPS INTI flags: 3 in either field is low or level, 1 high or edge, and 0 what ISA does, which is the same as 1.
fn polarity_and_trigger(flags: u16) -> (bool, bool) {
    (flags & 0b11 == 0b11, flags >> 2 & 0b11 == 0b11)
}
