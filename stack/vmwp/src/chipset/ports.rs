//! Numbers that the devices and the ACPI tables must agree on.

/// First port of COM1.
pub const COM1: u16 = 0x3F8;
/// Last port of COM1.
pub const COM1_LAST: u16 = COM1 + 7;
/// COM1's interrupt.
pub const COM1_IRQ: u32 = 4;
/// The interrupt that VMBus is said to have.
pub const VMBUS_IRQ: u32 = 5;

/// Index of the CMOS register; bit 7 is the NMI mask.
pub const CMOS_INDEX: u16 = 0x70;
/// Data of the CMOS register.
pub const CMOS_DATA: u16 = 0x71;

/// System control port B: NMI status, speaker.
pub const SYSTEM_CONTROL_B: u16 = 0x61;
/// Data of the keyboard controller.
pub const KEYBOARD_DATA: u16 = 0x60;
/// Command and status of the keyboard controller.
pub const KEYBOARD_COMMAND: u16 = 0x64;
/// Where firmware leaves progress codes, and Linux waits by writing.
pub const POST_CODE: u16 = 0x80;

/// ACPI sleep control register, one byte.
pub const SLEEP_CONTROL: u16 = 0x600;
/// ACPI sleep status register, one byte.
pub const SLEEP_STATUS: u16 = 0x601;
/// ACPI PM timer, four bytes.
pub const PM_TIMER: u16 = 0x608;
/// Sleep type that means power-off.
pub const SLEEP_TYPE_S5: u8 = 5;

/// Reset control register of PC chipsets, which is also ACPI's reset register.
pub const RESET: u16 = 0xCF9;
/// What ACPI writes there: full reset, go.
pub const RESET_VALUE: u8 = 0x06;
