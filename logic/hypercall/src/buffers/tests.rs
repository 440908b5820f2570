use super::*;
use crate::{Privileges, Registers, decode};
use hvdef::HypercallCode;
use hvdef::cpuid::PartitionPrivileges;
use hvdef::hypercall::interrupt::MapDeviceInterrupt;
use hvdef::hypercall::vp::VpRegisters;
use hvdef::register::{RegisterName, RegisterValue};
use proptest::prelude::*;
extern crate std;
use std::vec::Vec;

fn call(control: u64) -> Call {
    let root = Privileges::root(PartitionPrivileges::from_bits(u64::MAX));
    decode(&Registers::long(control, 0x1000, 0x2000), root).unwrap()
}

/// GET_VP_REGISTERS of three registers, the first one done.
fn get_registers() -> Call {
    call(1 << 48 | 3 << 32 | 0x50)
}

fn registers_input() -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[0] = 9;
    bytes[8] = 2;
    bytes[16..20].copy_from_slice(RegisterName::RAX.as_bytes());
    bytes[20..24].copy_from_slice(RegisterName::RIP.as_bytes());
    bytes[24..28].copy_from_slice(RegisterName::CR3.as_bytes());
    bytes
}

#[test]
fn header_and_remaining_elements_are_read() {
    let (call, bytes) = (get_registers(), registers_input());
    let reader = Reader::new(&call, &bytes).unwrap();
    let header: VpRegisters = reader.header().unwrap();
    assert_eq!((header.partition_id.0, header.vp_index.0), (9, 2));
    let names: Vec<_> = reader.elements::<RegisterName>().collect();
    assert_eq!(names, [(1, RegisterName::RIP), (2, RegisterName::CR3)]);
    assert_eq!(reader.element::<RegisterName>(0), Ok(RegisterName::RAX));
}

#[test]
fn nothing_beyond_the_list_is_read() {
    let (call, bytes) = (get_registers(), registers_input());
    let reader = Reader::new(&call, &bytes).unwrap();
    assert_eq!(reader.element::<RegisterName>(3), Err(HvStatus::INVALID_HYPERCALL_INPUT));
    assert_eq!(
        reader.element::<u64>(0),
        Err(HvStatus::INVALID_HYPERCALL_INPUT),
        "an element is 4 bytes"
    );
    assert!(Reader::new(&call, &bytes[..27]).is_err());
    assert!(Reader::new(&call, &[0; 4096]).is_ok());
}

#[test]
fn a_header_that_reaches_into_the_variable_part_needs_one() {
    let bytes = [0; 88];
    let (without, with) = (call(0x7C), call(2 << 17 | 0x7C));
    let reader = Reader::new(&without, &bytes).unwrap();
    assert_eq!(
        reader.header::<MapDeviceInterrupt>().unwrap_err(),
        HvStatus::INVALID_HYPERCALL_INPUT
    );
    let reader = Reader::new(&with, &bytes).unwrap();
    assert!(reader.header::<MapDeviceInterrupt>().is_ok());
    assert_eq!(reader.variable_qwords().len(), 2);
}

#[test]
fn the_variable_header_is_neither_header_nor_list() {
    // FLUSH_VIRTUAL_ADDRESS_LIST_EX, two banks, one range.
    let call = call(1 << 32 | 2 << 17 | 0x14);
    let bytes: Vec<u8> = (0..56).collect();
    let reader = Reader::new(&call, &bytes).unwrap();
    assert_eq!(reader.variable_header(), &bytes[32..48]);
    assert_eq!(
        reader.variable_qwords()[1].get(),
        u64::from_le_bytes([40, 41, 42, 43, 44, 45, 46, 47])
    );
    let list: Vec<(u16, u64)> = reader.elements().collect();
    assert_eq!(list, [(0, u64::from_le_bytes([48, 49, 50, 51, 52, 53, 54, 55]))]);
}

#[test]
fn elements_are_written_at_their_index() {
    let call = get_registers();
    let mut bytes = [0; 64];
    let mut writer = Writer::new(&call, &mut bytes).unwrap();
    writer.element(2, &RegisterValue::from_u64(7)).unwrap();
    assert!(writer.element(3, &RegisterValue::from_u64(8)).is_err());
    assert!(writer.header(&1u32).is_err(), "there is only a list");
    assert_eq!(bytes[32], 7);
    assert!(bytes[48..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_header_is_written_as_far_as_the_call_has_output() {
    let call = call(HypercallCode::MAP_STATS_PAGE.0.into());
    let mut bytes = [0; 16];
    assert!(Writer::new(&call, &mut bytes[..7]).is_err());
    let mut writer = Writer::new(&call, &mut bytes).unwrap();
    writer.header(&0x1122u64).unwrap();
    assert!(writer.header(&[0u64; 2]).is_err());
    assert_eq!(bytes[..2], [0x22, 0x11]);
}

proptest! {
    #[test]
    fn any_index_is_read_or_refused(count in 1u64..=200, index: u16, len in 0usize..5000) {
        let call = call(count << 32 | 0x50);
        let mut bytes = std::vec![0; len];
        if let Ok(reader) = Reader::new(&call, &bytes) {
            prop_assert_eq!(reader.element::<u32>(index).is_ok(), u64::from(index) < count);
        }
        if let Ok(mut writer) = Writer::new(&call, &mut bytes) {
            prop_assert_eq!(writer.element(index, &0u128).is_ok(), u64::from(index) < count);
        }
    }
}
