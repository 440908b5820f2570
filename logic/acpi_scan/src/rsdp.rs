//! Finding the RSDP.
//!
//! On BIOS machines it is searched for where ACPI 5.2.5.1 says; EFI machines name it in the configuration table of
//! their system table (5.2.5.2). A copy from the loader is the last resort, for it does not tell the address that the
//! parent's kernel has to be given.

use crate::table::checksum;
use acpidefs::rsdp::{
    ALIGN, BIOS_AREA, EBDA_SEARCH, EBDA_SEGMENT, EFI_GUID_1, EFI_GUID_2, Rsdp1, Rsdp2, SIGNATURE,
};
use boot_plan::{BootInfo, PhysRange, PhysRead, RsdpCopy, read_as};
use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U64};

/// First revision with an XSDT.
const REVISION_2: u8 = 2;
/// The EBDA lies between these addresses, if there is one.
const EBDA_LIMITS: PhysRange = PhysRange::new(0x400, 0xA_0000);
/// `EFI_SYSTEM_TABLE`: signature "IBI SYST", and where the configuration table's count and address are (UEFI 4.3).
const EFI_SIGNATURE: [u8; 8] = *b"IBI SYST";
const EFI_COUNT: u64 = 104;
const EFI_TABLES: u64 = 112;
/// Entries of the configuration table that we look at.
const EFI_MAX_TABLES: u64 = 256;
/// Bytes of such an entry: GUID and address.
const EFI_ENTRY: u64 = 24;

/// A valid RSDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rsdp {
    /// Where the firmware keeps it; `None` if only the loader's copy is known.
    pub address: Option<u64>,
    /// 0 for ACPI 1.0, 2 for later ones.
    pub revision: u8,
    /// Address of the RSDT, or 0.
    pub rsdt: u64,
    /// Address of the XSDT, or 0.
    pub xsdt: u64,
}

/// What the loader knows of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RsdpHints {
    /// Address of the 64-bit EFI system table.
    pub efi_system_table: Option<u64>,
    /// A copy.
    pub copy: Option<RsdpCopy>,
}

impl RsdpHints {
    /// What `info` knows.
    pub fn of(info: &BootInfo) -> Self {
        Self { efi_system_table: info.efi_system_table, copy: info.rsdp }
    }
}

/// Finds the RSDP: through EFI, else by searching, else from the loader's copy.
pub fn find_rsdp(hints: &RsdpHints, memory: &impl PhysRead) -> Option<Rsdp> {
    let efi = hints.efi_system_table.and_then(|table| from_efi(table, memory));
    efi.or_else(|| from_bios(memory)).or_else(|| hints.copy.as_ref().and_then(from_copy))
}

fn from_efi(system_table: u64, memory: &impl PhysRead) -> Option<Rsdp> {
    let signature: [u8; 8] = read_as(memory, system_table).ok()?;
    if signature != EFI_SIGNATURE {
        return None;
    }
    let field =
        |offset| read_as::<U64>(memory, system_table.checked_add(offset)?).ok().map(U64::get);
    let (count, tables) = (field(EFI_COUNT)?, field(EFI_TABLES)?);
    let find = |wanted: [u8; 16]| {
        (0..count.min(EFI_MAX_TABLES)).find_map(|index| {
            let entry = tables.checked_add(index * EFI_ENTRY)?;
            let guid: [u8; 16] = read_as(memory, entry).ok()?;
            let address: U64 = read_as(memory, entry.checked_add(16)?).ok()?;
            if guid == wanted { validate(address.get(), memory) } else { None }
        })
    };
    find(EFI_GUID_2).or_else(|| find(EFI_GUID_1))
}

fn from_bios(memory: &impl PhysRead) -> Option<Rsdp> {
    let segment: Option<U16> = read_as(memory, EBDA_SEGMENT).ok();
    let ebda = segment.map(|segment| PhysRange::at(u64::from(segment.get()) << 4, EBDA_SEARCH));
    let ebda = ebda.map_or(PhysRange::EMPTY, |ebda| ebda.intersection(EBDA_LIMITS));
    search(ebda, memory).or_else(|| search(PhysRange::new(BIOS_AREA.0, BIOS_AREA.1), memory))
}

fn search(range: PhysRange, memory: &impl PhysRead) -> Option<Rsdp> {
    let steps = (range.start..range.end).step_by(ALIGN as usize);
    steps.filter(|at| is_signature(*at, memory)).find_map(|at| validate(at, memory))
}

fn is_signature(at: u64, memory: &impl PhysRead) -> bool {
    read_as::<[u8; 8]>(memory, at).is_ok_and(|bytes| bytes == SIGNATURE)
}

/// The RSDP at `address`, if there is a valid one. A later revision whose second half is broken counts as the first.
fn validate(address: u64, memory: &impl PhysRead) -> Option<Rsdp> {
    let first: Rsdp1 = read_as(memory, address).ok()?;
    if first.signature != SIGNATURE || checksum(address, size_of::<Rsdp1>() as u64, memory) != Ok(0)
    {
        return None;
    }
    let old = Rsdp { address: Some(address), revision: 0, rsdt: first.rsdt.get().into(), xsdt: 0 };
    Some(validate_second(address, &first, memory).unwrap_or(old))
}

fn validate_second(address: u64, first: &Rsdp1, memory: &impl PhysRead) -> Option<Rsdp> {
    if first.revision < REVISION_2 {
        return None;
    }
    let whole: Rsdp2 = read_as(memory, address).ok()?;
    let length = whole.length.get();
    let sane = (size_of::<Rsdp2>() as u32..=4096).contains(&length);
    if !sane || checksum(address, length.into(), memory) != Ok(0) {
        return None;
    }
    Some(Rsdp {
        address: Some(address),
        revision: first.revision,
        rsdt: first.rsdt.get().into(),
        xsdt: whole.xsdt.get(),
    })
}

fn from_copy(copy: &RsdpCopy) -> Option<Rsdp> {
    let sum =
        |len: usize| copy.bytes.iter().take(len).fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    let whole = Rsdp2::read_from_bytes(&copy.bytes).ok()?;
    if whole.v1.signature != SIGNATURE || sum(size_of::<Rsdp1>()) != 0 {
        return None;
    }
    let second = copy.len >= size_of::<Rsdp2>()
        && whole.v1.revision >= REVISION_2
        && sum(size_of::<Rsdp2>()) == 0;
    Some(Rsdp {
        address: None,
        revision: if second { whole.v1.revision } else { 0 },
        rsdt: whole.v1.rsdt.get().into(),
        xsdt: if second { whole.xsdt.get() } else { 0 },
    })
}
