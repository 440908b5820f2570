//! What the VPs' registers hold when the VM starts.
//!
//! The first VP stands at the kernel's entry. The others wait in the hypervisor's local APIC for a start-up IPI and
//! get nothing but their memory types: everything else is as after reset.

use super::tables::{CODE_SELECTOR, DATA_SELECTOR, GDT_LIMIT, TASK_SELECTOR};
use super::{Entry, GDT, PAGE_TABLES, START_INFO, ZERO_PAGE};
use vid::{RegisterName, RegisterValue, SegmentRegister, TableRegister};

/// Registers to write.
pub type Registers = Vec<(RegisterName, RegisterValue)>;

/// MTRRs on, everything write-back unless a guest says otherwise.
const MTRR_WRITE_BACK: u64 = 0x806;

const CR0_PROTECTED: u64 = 0x11; // PE, ET
const CR0_PAGING: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LONG_MODE: u64 = 0x500; // LME, LMA
const RFLAGS_FIXED: u64 = 2;

const CODE_64: u16 = 0xA09B;
const CODE_32: u16 = 0xC09B;
const DATA: u16 = 0xC093;
const TASK: u16 = 0x008B;
const NO_LDT: u16 = 0x0082;

/// For the VP that starts the kernel.
pub fn boot_processor(entry: Entry) -> Registers {
    let mut registers = application_processor();
    match entry {
        Entry::Linux64 { entry } => {
            registers.extend(segments(CODE_64));
            registers.extend(long_mode());
            registers
                .extend(numbers(&[(RegisterName::RIP, entry), (RegisterName::RSI, ZERO_PAGE)]));
        }
        Entry::Pvh { entry } => {
            registers.extend(segments(CODE_32));
            registers.extend(protected_mode());
            registers
                .extend(numbers(&[(RegisterName::RIP, entry), (RegisterName::RBX, START_INFO)]));
        }
    }
    registers.push((RegisterName::RFLAGS, RFLAGS_FIXED.into()));
    registers
}

/// For a VP that waits for its start-up IPI.
pub fn application_processor() -> Registers {
    numbers(&[(RegisterName::MTRR_DEF_TYPE, MTRR_WRITE_BACK)])
}

fn numbers(list: &[(RegisterName, u64)]) -> Registers {
    list.iter().map(|(name, value)| (*name, (*value).into())).collect()
}

/// Flat segments; the 64-bit boot protocol asks for these selectors, PVH for none.
fn segments(code: u16) -> Registers {
    let flat = |selector, attributes| segment(selector, u32::MAX, attributes);
    let mut list = vec![(RegisterName::CS, flat(CODE_SELECTOR, code).into())];
    let data =
        [RegisterName::DS, RegisterName::ES, RegisterName::SS, RegisterName::FS, RegisterName::GS];
    list.extend(data.map(|name| (name, flat(DATA_SELECTOR, DATA).into())));
    list.push((RegisterName::TR, segment(TASK_SELECTOR, 0x67, TASK).into()));
    list.push((RegisterName::LDTR, segment(0, 0xFFFF, NO_LDT).into()));
    list
}

fn segment(selector: u16, limit: u32, attributes: u16) -> SegmentRegister {
    SegmentRegister { base: 0, limit, selector, attributes: attributes.into() }
}

/// Paging on. EFER and CR4 come before CR0, as a processor wants it.
fn long_mode() -> Registers {
    let gdt = TableRegister { padding: [0; 3], limit: GDT_LIMIT, base: GDT };
    let mut list = vec![(RegisterName::GDTR, gdt.into())];
    list.extend(numbers(&[
        (RegisterName::EFER, EFER_LONG_MODE),
        (RegisterName::CR4, CR4_PAE),
        (RegisterName::CR3, PAGE_TABLES),
        (RegisterName::CR0, CR0_PAGING | CR0_PROTECTED),
    ]));
    list
}

fn protected_mode() -> Registers {
    numbers(&[
        (RegisterName::EFER, 0),
        (RegisterName::CR4, 0),
        (RegisterName::CR3, 0),
        (RegisterName::CR0, CR0_PROTECTED),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(registers: &Registers, name: RegisterName) -> RegisterValue {
        registers.iter().find(|(other, _)| *other == name).unwrap().1
    }

    #[test]
    fn a_bzimage_starts_in_long_mode_with_the_zero_page_in_rsi() {
        let registers = boot_processor(Entry::Linux64 { entry: 0x100_0200 });
        assert_eq!(get(&registers, RegisterName::RIP).low, 0x100_0200);
        assert_eq!(get(&registers, RegisterName::RSI).low, ZERO_PAGE);
        let code = get(&registers, RegisterName::CS).as_segment();
        assert!(code.attributes.long() && code.selector == 0x10);
        assert_eq!(get(&registers, RegisterName::DS).as_segment().selector, 0x18);
        assert_eq!(get(&registers, RegisterName::EFER).low, 0x500);
        assert_eq!(get(&registers, RegisterName::RFLAGS).low, 2, "interrupts are off");
    }

    #[test]
    fn pvh_starts_in_protected_mode_with_the_start_info_in_ebx() {
        let registers = boot_processor(Entry::Pvh { entry: 0x100_0000 });
        assert_eq!(get(&registers, RegisterName::RBX).low, START_INFO);
        assert_eq!(get(&registers, RegisterName::CR0).low, 0x11);
        let code = get(&registers, RegisterName::CS).as_segment();
        assert!(code.attributes.default() && !code.attributes.long());
        let task = get(&registers, RegisterName::TR).as_segment();
        assert_eq!((task.limit, task.attributes.segment_type()), (0x67, 0xB));
    }

    #[test]
    fn control_registers_are_written_in_an_order_a_processor_accepts() {
        let registers = boot_processor(Entry::Linux64 { entry: 0 });
        let place = |name| registers.iter().position(|(other, _)| *other == name).unwrap();
        assert!(place(RegisterName::EFER) < place(RegisterName::CR0));
        assert!(place(RegisterName::CR4) < place(RegisterName::CR0));
        assert!(place(RegisterName::CR3) < place(RegisterName::CR0));
    }
}
