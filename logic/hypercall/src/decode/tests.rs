use super::*;
use hvdef::cpuid::PartitionPrivileges;
use hvdef::hypercall::memory::MapGpaPages;
use proptest::prelude::*;

const ROOT: Privileges = Privileges::root(PartitionPrivileges::from_bits(u64::MAX));
const CHILD: Privileges = Privileges::child(PartitionPrivileges::new());

fn control(code: HypercallCode) -> HypercallInput {
    HypercallInput::new().with_code(code)
}

fn try_call(control: HypercallInput, input: u64, output: u64) -> Result<Call, HvStatus> {
    decode(&Registers::long(control.into_bits(), input, output), ROOT)
}

fn refusal(control: HypercallInput, input: u64, output: u64) -> HvStatus {
    try_call(control, input, output).unwrap_err()
}

#[test]
fn an_unknown_code_is_refused_before_anything_else() {
    let word = control(HypercallCode(0x3F)).with_reserved_27(1);
    assert_eq!(refusal(word, 1, 1), HvStatus::INVALID_HYPERCALL_CODE);
}

#[test]
fn a_call_without_the_right_to_it_is_refused_before_its_form_is_looked_at() {
    let registers = Registers::long(
        control(HypercallCode::CREATE_PARTITION).with_reserved_44(1).into_bits(),
        1,
        1,
    );
    assert_eq!(decode(&registers, CHILD).unwrap_err(), HvStatus::ACCESS_DENIED);
    let post = Registers::long(control(HypercallCode::POST_MESSAGE).into_bits(), 0x1000, 0);
    assert_eq!(decode(&post, CHILD).unwrap_err(), HvStatus::ACCESS_DENIED);
    let allowed = Privileges::child(PartitionPrivileges::new().with_post_messages(true));
    assert!(decode(&post, allowed).is_ok());
}

#[test]
fn reserved_bits_and_the_nested_bit_are_refused() {
    let good = control(HypercallCode::ENTER_SLEEP_STATE).into_bits();
    for bit in (27..32).chain(44..48).chain(60..64) {
        let word = HypercallInput::from_bits(good | 1 << bit);
        assert_eq!(refusal(word, 0x1000, 0), HvStatus::INVALID_HYPERCALL_INPUT, "bit {bit}");
    }
}

#[test]
fn a_simple_call_takes_no_reps() {
    let word = control(HypercallCode::MAP_STATS_PAGE);
    assert!(try_call(word, 0x1000, 0x2000).is_ok());
    assert_eq!(refusal(word.with_rep_count(1), 0x1000, 0x2000), HvStatus::INVALID_HYPERCALL_INPUT);
    assert_eq!(refusal(word.with_rep_start(1), 0x1000, 0x2000), HvStatus::INVALID_HYPERCALL_INPUT);
}

#[test]
fn a_rep_call_takes_reps_and_starts_below_their_number() {
    let word = control(HypercallCode::DEPOSIT_MEMORY);
    assert_eq!(refusal(word, 0x1000, 0), HvStatus::INVALID_HYPERCALL_INPUT);
    assert_eq!(
        refusal(word.with_rep_count(3).with_rep_start(3), 0x1000, 0),
        HvStatus::INVALID_HYPERCALL_INPUT
    );
    let call = try_call(word.with_rep_count(3).with_rep_start(2), 0x1000, 0).unwrap();
    assert_eq!(call.reps(), 2..3);
    assert_eq!(call.input_bytes(), 8 + 3 * 8);
}

#[test]
fn the_calls_that_linux_makes_through_its_rep_helper_without_reps_pass() {
    let ipi = control(HypercallCode::SEND_IPI_EX).with_variable_header_qwords(1);
    assert_eq!(try_call(ipi, 0x1000, 0).unwrap().input_bytes(), 24 + 8);
    let flush =
        control(HypercallCode::FLUSH_VIRTUAL_ADDRESS_SPACE_EX).with_variable_header_qwords(0);
    assert_eq!(try_call(flush, 0x1000, 0).unwrap().input_bytes(), 32);
    let map = control(HypercallCode::MAP_DEVICE_INTERRUPT).with_variable_header_qwords(2);
    let call = try_call(map, 0x1000, 0x2000).unwrap();
    assert_eq!((call.input_bytes(), call.output_bytes()), (88, 56));
    assert!(call.reps().is_empty());
}

#[test]
fn a_variable_header_is_taken_only_where_there_is_one() {
    let word = control(HypercallCode::ENTER_SLEEP_STATE).with_variable_header_qwords(1);
    assert_eq!(refusal(word, 0x1000, 0), HvStatus::INVALID_HYPERCALL_INPUT);
    let list = control(HypercallCode::FLUSH_VIRTUAL_ADDRESS_LIST_EX)
        .with_variable_header_qwords(2)
        .with_rep_count(4);
    let call = try_call(list, 0x1000, 0).unwrap();
    assert_eq!((call.list_offset(), call.input_bytes()), (48, 80));
}

#[test]
fn a_fast_call_is_one_whose_input_fits_registers() {
    let ipi = control(HypercallCode::SEND_IPI).with_is_fast(true);
    let call = try_call(ipi, 0xF0, 0b110).unwrap();
    assert!(call.is_fast());
    assert_eq!((call.input_gpa(), call.output_gpa()), (None, None));
    assert_eq!(call.fast_input()[..9], [0xF0, 0, 0, 0, 0, 0, 0, 0, 6]);
    let too_long = control(HypercallCode::FLUSH_VIRTUAL_ADDRESS_SPACE).with_is_fast(true);
    assert_eq!(refusal(too_long, 0, 0), HvStatus::INVALID_HYPERCALL_INPUT);
    let with_output = control(HypercallCode::GET_PARTITION_ID).with_is_fast(true);
    assert_eq!(refusal(with_output, 0, 0), HvStatus::INVALID_HYPERCALL_INPUT);
}

#[test]
fn a_call_that_may_be_fast_may_also_use_memory() {
    let call = try_call(control(HypercallCode::CLEAR_VIRTUAL_INTERRUPT), 0x1008, 0).unwrap();
    assert_eq!(call.input_gpa(), Some(Gpa(0x1008)));
}

#[test]
fn input_and_output_are_aligned_to_8() {
    let word = control(HypercallCode::MAP_STATS_PAGE);
    assert_eq!(refusal(word, 0x1004, 0x2000), HvStatus::INVALID_ALIGNMENT);
    assert_eq!(refusal(word, 0x1008, 0x2001), HvStatus::INVALID_ALIGNMENT);
}

#[test]
fn input_and_output_stay_within_a_page() {
    let word = control(HypercallCode::MAP_STATS_PAGE);
    assert!(try_call(word, 0x2000 - 24, 0x2000 - 8).is_ok());
    assert_eq!(refusal(word, 0x2000 - 16, 0x2000), HvStatus::INVALID_ALIGNMENT);
    let system = control(HypercallCode::GET_LOGICAL_PROCESSOR_RUN_TIME);
    assert_eq!(refusal(system, 0x1000, 0x3000 - 24), HvStatus::INVALID_ALIGNMENT);
}

#[test]
fn parameters_that_a_call_does_not_use_are_not_looked_at() {
    assert!(try_call(control(HypercallCode::GET_PARTITION_ID), 0x1234_5677, 0x1000).is_ok());
    let sleep = try_call(control(HypercallCode::ENTER_SLEEP_STATE), 0x1000, 0x3).unwrap();
    assert_eq!(sleep.output_gpa(), None);
}

#[test]
fn a_list_fills_at_most_a_page() {
    let deposit = control(HypercallCode::DEPOSIT_MEMORY);
    assert!(try_call(deposit.with_rep_count(511), 0x1000, 0).is_ok());
    assert_eq!(refusal(deposit.with_rep_count(512), 0x1000, 0), HvStatus::INVALID_HYPERCALL_INPUT);
    let withdraw = control(HypercallCode::WITHDRAW_MEMORY);
    assert!(try_call(withdraw.with_rep_count(512), 0x1000, 0x2000).is_ok());
    assert_eq!(
        refusal(withdraw.with_rep_count(513), 0x1000, 0x2000),
        HvStatus::INVALID_HYPERCALL_INPUT
    );
    let states = control(HypercallCode::GET_GPA_PAGES_ACCESS_STATES).with_rep_count(4095);
    assert_eq!(try_call(states, 0x1000, 0x2000).unwrap().output_bytes(), 4095);
    let map = control(HypercallCode::MAP_GPA_PAGES).with_rep_count(509);
    assert_eq!(try_call(map, 0x1000, 0).unwrap().input_bytes(), size_of::<MapGpaPages>() + 509 * 8);
}

#[test]
fn a_rep_call_without_a_list_has_no_limit_but_the_field() {
    let unmap = control(HypercallCode::UNMAP_GPA_PAGES).with_rep_count(4095);
    assert_eq!(try_call(unmap, 0x1000, 0).unwrap().input_bytes(), 24);
}

#[test]
fn an_output_of_varying_size_gets_the_rest_of_its_page() {
    let word = control(HypercallCode::GET_PARTITION_PROPERTY_EX);
    assert_eq!(try_call(word, 0x1000, 0x2000).unwrap().output_bytes(), 4072);
    assert_eq!(try_call(word, 0x1000, 0x2FF0).unwrap().output_bytes(), 16);
    let state = control(HypercallCode::GET_VP_STATE).with_variable_header_qwords(1);
    assert_eq!(try_call(state, 0x1000, 0).unwrap().output_bytes(), 200);
}

#[test]
fn only_the_elements_of_this_invocation_are_copied_out() {
    let word = control(HypercallCode::GET_VP_REGISTERS).with_rep_count(10).with_rep_start(4);
    let call = try_call(word, 0x1000, 0x2000).unwrap();
    assert_eq!(call.output_range(7), 64..112);
    assert_eq!(call.output_range(4), 64..64);
    assert_eq!(call.output_range(2), 32..32);
    assert_eq!(call.output_range(4095), 64..160);
    let simple = try_call(control(HypercallCode::MAP_STATS_PAGE), 0x1000, 0x2000).unwrap();
    assert_eq!(simple.output_range(0), 0..8);
}

proptest! {
    #[test]
    fn whatever_is_called_stays_in_its_pages(word: u64, input: u64, output: u64, mask: u64, root: bool) {
        let mask = PartitionPrivileges::from_bits(mask);
        let caller = if root { Privileges::root(mask) } else { Privileges::child(mask) };
        // Known codes more often than chance would have it.
        let known = crate::TABLE[word as usize % crate::TABLE.len()].code;
        for control in [word, word & !0xFFFF | u64::from(known.0), word & 0x0FFF_0FFF_07FE_0000 | u64::from(known.0)] {
            if let Ok(call) = decode(&Registers::long(control, input, output), caller) {
                check(&call);
            }
        }
    }

    #[test]
    fn a_well_formed_list_passes_wherever_it_starts(count in 1u16..=509, start: u16) {
        let start = start % count;
        let word = control(HypercallCode::MAP_GPA_PAGES).with_rep_count(count).with_rep_start(start);
        let call = try_call(word, 0x1000, 0).unwrap();
        prop_assert_eq!(call.reps(), start..count);
        check(&call);
    }
}

fn check(call: &Call) {
    if call.is_fast() {
        assert!(call.input_bytes() <= FAST_INPUT_MAX);
        assert_eq!(call.output_bytes(), 0);
    }
    for (gpa, bytes) in
        [(call.input_gpa(), call.input_bytes()), (call.output_gpa(), call.output_bytes())]
    {
        if let Some(gpa) = gpa {
            assert!(gpa.page_offset() + bytes <= PAGE_SIZE);
            assert_eq!(gpa.0 % 8, 0);
        }
    }
    let reps = call.reps();
    assert_eq!(reps.is_empty(), call.info().kind == Kind::Simple);
    for done in [0, reps.start, reps.end, u16::MAX] {
        let range = call.output_range(done);
        assert!(range.start <= range.end && range.end <= call.output_bytes());
    }
}
