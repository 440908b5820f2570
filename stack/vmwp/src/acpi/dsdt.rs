//! The devices, in AML.
//!
//! ```text
//!  \_SB
//!  ├─ VMOD  "ACPI0004"   module device: the windows VMBus devices take addresses from
//!  │  └─ VMBS  "VMBus"   what the guest's hv_vmbus driver binds to
//!  ├─ COM1  PNP0501      16550
//!  ├─ RTC   PNP0B00      CMOS clock
//!  └─ C000… ACPI0007     one for each VP
//!  \_S5                  power-off
//! ```
//!
//! The windows are on the parent of VMBS, as on Hyper-V itself: only then does Linux keep a boot framebuffer inside
//! them out of the way of other devices.

use super::{AcpiConfig, OEM_ID, OEM_REVISION, OEM_TABLE_ID, bytes_of};
use crate::chipset::ports;
use crate::memory::Range;
use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Name, Package,
    ResourceTemplate, Scope, ZERO,
};
use acpi_tables::sdt::Sdt;

/// `_STA`: present, enabled, shown, working.
const PRESENT: u8 = 0xF;

/// The table for `config`.
pub fn dsdt(config: &AcpiConfig) -> Sdt {
    // Revision 2 and later: integers have 64 bits.
    let mut table = Sdt::new(*b"DSDT", 36, 6, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    let [low, high] = config.layout.vmbus_windows();
    table.append_slice(&system_bus(&[module_device(low, high), com1(), rtc()]));
    for id in 0..config.cpus {
        table.append_slice(&system_bus(&[processor(id)]));
    }
    table.append_slice(&power_off());
    table
}

/// Bytes of AML that were made before, as an object.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(&self.0);
    }
}

fn system_bus(devices: &[Vec<u8>]) -> Vec<u8> {
    let raw: Vec<Raw> = devices.iter().cloned().map(Raw).collect();
    bytes_of(&Scope::new("_SB_".into(), raw.iter().map(|raw| raw as &dyn Aml).collect()))
}

fn memory(range: Range) -> AddressSpace<u64> {
    let (first, last) = (range.start, range.end - 1);
    AddressSpace::<u64>::new_memory(AddressSpaceCacheable::Cacheable, true, first, last, None)
}

fn memory_below_4_gib(range: Range) -> AddressSpace<u32> {
    let (first, last) = (range.start as u32, (range.end - 1) as u32);
    AddressSpace::<u32>::new_memory(AddressSpaceCacheable::Cacheable, true, first, last, None)
}

fn module_device(low: Range, high: Range) -> Vec<u8> {
    let (low, high, vmbus) = (memory_below_4_gib(low), memory(high), Raw(vmbus()));
    let windows = ResourceTemplate::new(vec![&low, &high]);
    bytes_of(&Device::new(
        "VMOD".into(),
        vec![
            &Name::new("_HID".into(), &"ACPI0004"),
            &Name::new("_UID".into(), &ZERO),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new("_CRS".into(), &windows),
            &vmbus,
        ],
    ))
}

fn vmbus() -> Vec<u8> {
    // Hyper-V's guests do not use this interrupt on x86; old Windows versions refuse a device without one.
    let interrupt = Interrupt::new(true, true, false, false, ports::VMBUS_IRQ);
    let resources = ResourceTemplate::new(vec![&interrupt]);
    bytes_of(&Device::new(
        "VMBS".into(),
        vec![
            &Name::new("_ADR".into(), &ZERO),
            &Name::new("_DDN".into(), &"VMBUS"),
            &Name::new("_HID".into(), &"VMBus"),
            &Name::new("_UID".into(), &ZERO),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new("_CRS".into(), &resources),
        ],
    ))
}

fn com1() -> Vec<u8> {
    let ports = IO::new(ports::COM1, ports::COM1, 8, 8);
    let interrupt = Interrupt::new(true, true, false, false, ports::COM1_IRQ);
    let resources = ResourceTemplate::new(vec![&ports, &interrupt]);
    bytes_of(&Device::new(
        "COM1".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0501")),
            &Name::new("_UID".into(), &1u8),
            &Name::new("_DDN".into(), &"COM1"),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new("_CRS".into(), &resources),
        ],
    ))
}

fn rtc() -> Vec<u8> {
    let ports = IO::new(ports::CMOS_INDEX, ports::CMOS_INDEX, 1, 2);
    let resources = ResourceTemplate::new(vec![&ports]);
    bytes_of(&Device::new(
        "RTC_".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0B00")),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new("_CRS".into(), &resources),
        ],
    ))
}

fn processor(id: u32) -> Vec<u8> {
    bytes_of(&Device::new(
        format!("C{id:03X}").as_str().into(),
        vec![
            &Name::new("_HID".into(), &"ACPI0007"),
            &Name::new("_UID".into(), &id),
            &Name::new("_STA".into(), &PRESENT),
        ],
    ))
}

/// S5 as the only sleep state: the value for the sleep control register.
fn power_off() -> Vec<u8> {
    let sleep_type = ports::SLEEP_TYPE_S5;
    bytes_of(&Name::new("_S5_".into(), &Package::new(vec![&sleep_type, &ZERO, &ZERO, &ZERO])))
}
