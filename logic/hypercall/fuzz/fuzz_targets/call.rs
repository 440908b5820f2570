//! A partition makes any hypercall with any input: whatever passes the checks is read, answered and completed.
//!
//! The first bytes choose a caller and a call, mostly one there is, with a control word that is nearly right; the rest is
//! the input.
#![no_main]

use hvdef::cpuid::PartitionPrivileges;
use hvdef::hypercall::VpSetFormat;
use hvdef::{HvStatus, HypercallInput, PAGE_SIZE};
use hypercall::{
    Call, Completion, Outcome, Privileges, RangeFormat, Reader, Registers, TABLE, VpSet, Writer,
    decode, page_ranges,
};
use libfuzzer_sys::fuzz_target;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What the fuzzer chooses before the input begins.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
struct Choice {
    caller: u8,
    table_place: u8,
    control: u64,
    parameters: [u64; 2],
    done: u16,
    vp_count: u16,
}

fuzz_target!(|data: &[u8]| {
    let Ok((choice, input)) = Choice::read_from_prefix(data) else { return };
    let mask = PartitionPrivileges::from_bits(if choice.caller & 2 == 0 { u64::MAX } else { 0 });
    let caller =
        if choice.caller & 1 == 0 { Privileges::root(mask) } else { Privileges::child(mask) };
    let [input_parameter, output_parameter] = choice.parameters;
    if let Ok(call) =
        decode(&Registers::long(control(&choice), input_parameter, output_parameter), caller)
    {
        let mut page = [0; PAGE_SIZE];
        page.iter_mut().zip(input).for_each(|(to, from)| *to = *from);
        read(&call, &page, choice.vp_count);
        write(&call, choice.done);
        complete(&call, choice.done);
    }
});

/// Mostly a call there is, mostly without reserved bits.
fn control(choice: &Choice) -> u64 {
    let word = if choice.caller & 4 == 0 {
        choice.control & 0x0FFF_0FFF_07FF_FFFF
    } else {
        choice.control
    };
    match TABLE.get(usize::from(choice.table_place)) {
        Some(info) => HypercallInput::from_bits(word).with_code(info.code).into_bits(),
        None => word,
    }
}

fn read(call: &Call, page: &[u8; PAGE_SIZE], vp_count: u16) {
    let fast = call.fast_input();
    let reader = Reader::new(call, if call.is_fast() { &fast } else { page })
        .expect("a page holds any input");
    let steps = reader.elements::<u8>().count();
    assert!(call.info().rep_input == 0 || steps == call.reps().len());
    let ranges =
        page_ranges(&reader, RangeFormat::Extended).chain(page_ranges(&reader, RangeFormat::Plain));
    for (index, range) in ranges {
        assert!(call.reps().contains(&index));
        assert!(range.count > 0 && range.first.checked_add(range.count).is_some());
    }
    let words = reader.variable_qwords();
    for format in [VpSetFormat::SPARSE_4K, VpSetFormat::ALL] {
        let mask = words.first().map_or(0, |word| word.get());
        for set in [VpSet::parse(format, mask, words), VpSet::parse_with_mask(format, words)]
            .into_iter()
            .flatten()
        {
            let vps = set.iter(vp_count.into()).inspect(|vp| assert!(set.contains(*vp))).count();
            assert!(vps <= usize::from(vp_count));
        }
    }
}

fn write(call: &Call, done: u16) {
    if call.is_fast() {
        return;
    }
    let mut output = [0; PAGE_SIZE];
    let mut writer = Writer::new(call, &mut output).expect("a page holds any output");
    for index in call.reps() {
        if call.info().rep_output > 0 {
            writer.element(index, &1u8).expect("each element has its place");
        }
    }
    let range = call.output_range(done);
    assert!(output.get(range).is_some());
}

fn complete(call: &Call, done: u16) {
    for outcome in [
        Outcome::Done { reps: done },
        Outcome::Continue { reps: done },
        Outcome::Failed { status: HvStatus::INVALID_PARAMETER, reps: done },
    ] {
        match outcome.complete(call) {
            Completion::Return(result) => assert!(result.reps_completed() >= call.reps().start),
            Completion::Again { control } => {
                let again = HypercallInput::from_bits(control);
                assert_eq!(again.with_rep_start(call.reps().start), call.control());
                assert!(again.rep_start() >= call.reps().start);
            }
            Completion::Inject(_) => unreachable!("nothing was injected"),
        }
    }
}
