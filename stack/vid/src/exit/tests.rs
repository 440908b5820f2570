use super::*;

/// A message of `kind` whose payload has `fields` at their offsets.
fn message(kind: MessageType, fields: &[(usize, &[u8])]) -> Message {
    let mut payload = [0u8; 240];
    for (offset, bytes) in fields {
        payload[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    Message::new(kind, 7, &payload).unwrap()
}

/// Header at VP 3: length 2, RIP 0x1000.
const HEADER: &[(usize, &[u8])] = &[(0, &[3]), (4, &[2]), (0x18, &[0, 0x10]), (0x20, &[2])];

fn with_header<'a>(fields: &[(usize, &'a [u8])]) -> Vec<(usize, &'a [u8])> {
    [HEADER, fields].concat()
}

fn context_of_header() -> Context {
    Context {
        vp_index: 3,
        instruction_length: 2,
        rip: 0x1000,
        rflags: 2,
        interruption_pending: false,
    }
}

#[test]
fn an_out_has_its_port_size_and_rax() {
    let fields = with_header(&[
        (5, &[1]),
        (0x28, &[0xF8, 0x03]),
        (0x2A, &[1]),
        (0x2B, &[2]),
        (0x30, &[0x41]),
        (0x38, &[0xE6, 0x70]),
    ]);
    let exit = Exit::from_message(&message(MessageType::X64_IO_PORT_INTERCEPT, &fields));
    let Exit::IoPort(io) = exit else { panic!("{exit:?}") };
    assert_eq!((io.port, io.size, io.is_write, io.rax), (0x3F8, 1, true, 0x41));
    assert!(!io.string && !io.rep);
    assert_eq!(io.instruction.as_slice(), [0xE6, 0x70]);
    assert_eq!(io.context.next_rip(), 0x1002);
}

#[test]
fn a_repeated_string_input_is_recognised() {
    let fields = with_header(&[(0x28, &[0xF0, 0x01]), (0x2A, &[2 | 8 | 0x10])]);
    let exit = Exit::from_message(&message(MessageType::X64_IO_PORT_INTERCEPT, &fields));
    let Exit::IoPort(io) = exit else { panic!("{exit:?}") };
    assert!(io.string && io.rep && !io.is_write);
    assert_eq!(io.size, 2);
}

#[test]
fn an_access_of_three_bytes_is_malformed() {
    let kind = MessageType::X64_IO_PORT_INTERCEPT;
    let exit = Exit::from_message(&message(kind, &with_header(&[(0x2A, &[3])])));
    assert_eq!(exit, Exit::Malformed(kind));
}

#[test]
fn a_memory_access_has_its_gpa_and_only_a_sure_gva() {
    let fields = [
        (5usize, &[1u8] as &[u8]),
        (0x2C, &[3]),
        (0x2D, &[3]),
        (0x30, &[0, 0, 0xC0, 0xFE, 0xFF]),
        (0x38, &[0x10, 0, 0xC0, 0xFE]),
        (0x40, &[0x89, 0x02, 0x90]),
    ];
    let sure = message(MessageType::UNMAPPED_GPA, &with_header(&fields));
    let Exit::Memory(exit) = Exit::from_message(&sure) else { panic!() };
    assert_eq!(
        (exit.access, exit.gpa, exit.gva),
        (Access::Write, 0xFEC0_0010, Some(0xFF_FEC0_0000))
    );
    assert_eq!(exit.instruction.as_slice(), [0x89, 0x02, 0x90]);
    let mut unsure = sure;
    unsure.payload[0x2D] = 1;
    let Exit::Memory(exit) = Exit::from_message(&unsure) else { panic!() };
    assert_eq!(exit.gva, None);
}

#[test]
fn too_many_instruction_bytes_are_sixteen() {
    let fields = with_header(&[(0x2C, &[200])]);
    let Exit::Memory(exit) = Exit::from_message(&message(MessageType::GPA_INTERCEPT, &fields))
    else {
        panic!()
    };
    assert_eq!(exit.instruction.as_slice().len(), 16);
}

#[test]
fn an_eoi_has_a_vector_of_eight_bits() {
    let kind = MessageType::X64_APIC_EOI;
    assert_eq!(Exit::from_message(&message(kind, &[(4, &[0x31])])), Exit::ApicEoi { vector: 0x31 });
    assert_eq!(Exit::from_message(&message(kind, &[(4, &[0x31, 1])])), Exit::Malformed(kind));
}

#[test]
fn msr_writes_join_both_halves() {
    let fields = with_header(&[(5, &[1]), (40, &[0x10]), (48, &[2]), (56, &[1, 0, 0, 0, 9])]);
    assert_eq!(
        Exit::from_message(&message(MessageType::X64_MSR_INTERCEPT, &fields)),
        Exit::Msr(MsrExit { context: context_of_header(), msr: 0x10, written: Some(2 << 32 | 1) })
    );
}

#[test]
fn a_cpuid_brings_the_answer_it_would_have_had() {
    let fields = with_header(&[
        (40, &[7]),
        (48, &[1]),
        (72, &[0xA]),
        (80, &[0xC]),
        (88, &[0xD]),
        (96, &[0xB]),
    ]);
    assert_eq!(
        Exit::from_message(&message(MessageType::X64_CPUID_INTERCEPT, &fields)),
        Exit::Cpuid(CpuidExit {
            context: context_of_header(),
            leaf: 7,
            subleaf: 1,
            default: [0xA, 0xB, 0xC, 0xD]
        })
    );
}

#[test]
fn a_hypercall_of_long_mode_is_told_from_others() {
    let registers: [(usize, &[u8]); 4] = [(6, &[0x14]), (56, &[0x5D]), (64, &[9]), (72, &[8])];
    let compat = message(MessageType::HYPERCALL_INTERCEPT, &with_header(&registers));
    let Exit::Hypercall(call) = Exit::from_message(&compat) else { panic!() };
    assert!(!call.is_64_bit, "CS is no 64-bit segment");
    assert_eq!((call.control, call.input, call.output), (0x5D, 9, 8));
    let mut long = compat;
    long.payload[8 + 15] = 0xA0;
    let Exit::Hypercall(call) = Exit::from_message(&long) else { panic!() };
    assert!(call.is_64_bit);
}

#[test]
fn the_small_messages() {
    let deliverable = message(MessageType::SYNIC_SINT_DELIVERABLE, &with_header(&[(0x28, &[4])]));
    assert_eq!(Exit::from_message(&deliverable), Exit::SintDeliverable { sints: 4 });
    let triple = message(MessageType::UNRECOVERABLE_EXCEPTION, HEADER);
    assert_eq!(Exit::from_message(&triple), Exit::TripleFault(context_of_header()));
    let feature = message(MessageType::UNSUPPORTED_FEATURE, &[(4, &[1])]);
    assert_eq!(Exit::from_message(&feature), Exit::UnsupportedFeature { feature: 1 });
    let odd = MessageType(0x8123_4567);
    assert_eq!(Exit::from_message(&message(odd, &[])), Exit::Unknown(odd));
}
