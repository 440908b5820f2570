use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use vid::Gpr;
use vid::cpu::CS;

/// Device memory begins here: RAM below.
const DEVICE: u64 = 0xFEC0_0000;

/// 64 KiB of RAM, a device that remembers accesses and answers with a pattern, ports likewise.
struct TestBus {
    ram: RefCell<Vec<u8>>,
    log: RefCell<Vec<String>>,
    device: u64,
}

impl TestBus {
    fn new() -> Self {
        Self {
            ram: RefCell::new(vec![0; 0x1_0000]),
            log: RefCell::default(),
            device: 0x8877_6655_4433_2211,
        }
    }

    fn poke(&self, at: usize, bytes: &[u8]) {
        self.ram.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn peek(&self, at: usize, size: usize) -> Vec<u8> {
        self.ram.borrow()[at..at + size].to_vec()
    }

    fn log(&self) -> Vec<String> {
        self.log.take()
    }
}

impl Bus for TestBus {
    fn read(&self, gpa: u64, bytes: &mut [u8]) {
        let at = gpa as usize;
        match self.ram.borrow().get(at..at + bytes.len()) {
            Some(ram) => bytes.copy_from_slice(ram),
            None => {
                self.log.borrow_mut().push(format!("r{} {gpa:x}", bytes.len()));
                let all = self.device.to_le_bytes();
                bytes.copy_from_slice(&all[..bytes.len()]);
            }
        }
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), VidError> {
        let at = gpa as usize;
        match self.ram.borrow_mut().get_mut(at..at + bytes.len()) {
            Some(ram) => ram.copy_from_slice(bytes),
            None => self.log.borrow_mut().push(format!("w {gpa:x} {bytes:02x?}")),
        }
        Ok(())
    }

    fn read_table(&self, gpa: u64, size: usize) -> Option<u64> {
        let ram = self.ram.borrow();
        let bytes = ram.get(gpa as usize..gpa as usize + size)?;
        let mut entry = [0; 8];
        entry[..size].copy_from_slice(bytes);
        Some(u64::from_le_bytes(entry))
    }

    fn port_in(&self, port: u16, size: u8) -> u32 {
        self.log.borrow_mut().push(format!("in{size} {port:x}"));
        0xA1B2_C3D4
    }

    fn port_out(&self, port: u16, size: u8, value: u32) {
        self.log.borrow_mut().push(format!("out{size} {port:x} {value:x}"));
    }
}

/// 64-bit code, paging off for once: linear is physical.
fn long() -> CpuState {
    let mut cpu = CpuState { efer: 0x500, rip: 0x100, ..Default::default() };
    cpu.segments[CS].attributes = 0xA09B.into();
    cpu
}

fn protected() -> CpuState {
    let mut cpu = CpuState { cr0: 1, rip: 0x100, ..Default::default() };
    cpu.segments[CS].attributes = 0xC09B.into();
    cpu
}

fn with(mut cpu: CpuState, registers: &[(Gpr, u64)]) -> CpuState {
    registers.iter().for_each(|(register, value)| cpu.set(*register, *value));
    cpu
}

#[test]
fn the_moves_of_readl_and_writel() {
    let bus = TestBus::new();
    let cpu =
        with(long(), &[(Gpr::Rdi, DEVICE), (Gpr::Rax, u64::MAX), (Gpr::Rcx, 0xAABB_CCDD_EEFF)]);
    // mov eax, [rdi+0x10]
    let after = Emulator::step(cpu, &[0x8B, 0x47, 0x10], &bus).unwrap();
    assert_eq!((after.get(Gpr::Rax), after.rip), (0x4433_2211, 0x103), "the upper half is cleared");
    // mov [rdi], ecx
    let after = Emulator::step(cpu, &[0x89, 0x0F], &bus).unwrap();
    assert_eq!(after.rip, 0x102);
    assert_eq!(bus.log(), ["r4 fec00010", "w fec00000 [ff, ee, dd, cc]"]);
}

#[test]
fn sizes_and_extensions() {
    let bus = TestBus { device: 0xF0F1_F2F3_F4F5_F6F7, ..TestBus::new() };
    let cpu = with(long(), &[(Gpr::Rsi, DEVICE), (Gpr::Rax, 0x1111_1111_1111_1111)]);
    let cases: [(&[u8], u64); 9] = [
        (&[0x8A, 0x06], 0x1111_1111_1111_11F7),       // mov al, [rsi]
        (&[0x8A, 0x26], 0x1111_1111_1111_F711),       // mov ah, [rsi]
        (&[0x66, 0x8B, 0x06], 0x1111_1111_1111_F6F7), // mov ax, [rsi]
        (&[0x48, 0x8B, 0x06], 0xF0F1_F2F3_F4F5_F6F7), // mov rax, [rsi]
        (&[0x0F, 0xB6, 0x06], 0xF7),                  // movzx eax, byte [rsi]
        (&[0x0F, 0xB7, 0x06], 0xF6F7),                // movzx eax, word [rsi]
        (&[0x0F, 0xBE, 0x06], 0xFFFF_FFF7),           // movsx eax, byte [rsi]
        (&[0x48, 0x0F, 0xBF, 0x06], 0xFFFF_FFFF_FFFF_F6F7), // movsx rax, word [rsi]
        (&[0x48, 0x63, 0x06], 0xFFFF_FFFF_F4F5_F6F7), // movsxd rax, dword [rsi]
    ];
    for (bytes, expected) in cases {
        let after = Emulator::step(cpu, bytes, &bus).unwrap();
        assert_eq!(after.get(Gpr::Rax), expected, "{bytes:02x?}");
    }
}

#[test]
fn constants_and_far_addresses() {
    let bus = TestBus::new();
    // mov dword [rip+0x10], 0x12345678: relative to the next instruction
    let mut cpu = long();
    cpu.rip = DEVICE;
    Emulator::step(cpu, &[0xC7, 0x05, 0x10, 0, 0, 0, 0x78, 0x56, 0x34, 0x12], &bus).unwrap();
    // mov qword [rbx], -1
    let cpu = with(long(), &[(Gpr::Rbx, DEVICE)]);
    Emulator::step(cpu, &[0x48, 0xC7, 0x03, 0xFF, 0xFF, 0xFF, 0xFF], &bus).unwrap();
    // mov eax, gs:[rcx*4+8]
    let mut cpu = with(long(), &[(Gpr::Rcx, 2)]);
    cpu.segments[5].base = DEVICE;
    Emulator::step(cpu, &[0x65, 0x8B, 0x04, 0x8D, 8, 0, 0, 0], &bus).unwrap();
    // movabs [DEVICE], al
    Emulator::step(long(), &[0xA2, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0], &bus).unwrap();
    assert_eq!(
        bus.log(),
        [
            "w fec0001a [78, 56, 34, 12]",
            "w fec00000 [ff, ff, ff, ff, ff, ff, ff, ff]",
            "r4 fec00010",
            "w fec00000 [00]",
        ]
    );
}

#[test]
fn arithmetic_reads_writes_and_sets_flags() {
    let bus = TestBus { device: 0x80, ..TestBus::new() };
    let cpu = with(long(), &[(Gpr::Rbx, DEVICE), (Gpr::Rax, 0x7F)]);
    let step = |bytes: &[u8]| Emulator::step(cpu, bytes, &bus).unwrap();
    let after = step(&[0x80, 0x0B, 0x01]); // or byte [rbx], 1
    assert_eq!(after.rflags & alu::STATUS, alu::SF | alu::PF);
    let after = step(&[0x22, 0x03]); // and al, [rbx]
    assert_eq!((after.get(Gpr::Rax), after.rflags & alu::ZF), (0, alu::ZF));
    let after = step(&[0xF6, 0x03, 0x80]); // test byte [rbx], 0x80
    assert_eq!(after.rflags & (alu::ZF | alu::SF), alu::SF);
    let after = step(&[0x38, 0x03]); // cmp [rbx], al
    assert_eq!(after.rflags & (alu::OF | alu::CF), alu::OF);
    step(&[0xFE, 0x03]); // inc byte [rbx]
    step(&[0xF6, 0x13]); // not byte [rbx]
    let after = step(&[0x86, 0x03]); // xchg [rbx], al
    assert_eq!(after.get(Gpr::Rax), 0x80);
    let writes: Vec<_> = bus.log().into_iter().filter(|entry| entry.starts_with('w')).collect();
    assert_eq!(
        writes,
        ["w fec00000 [81]", "w fec00000 [81]", "w fec00000 [7f]", "w fec00000 [7f]"]
    );
}

#[test]
fn a_repeated_move_from_ram_to_a_device() {
    let bus = TestBus::new();
    bus.poke(0x2000, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let cpu = with(long(), &[(Gpr::Rsi, 0x2000), (Gpr::Rdi, DEVICE), (Gpr::Rcx, 2)]);
    let after = Emulator::step(cpu, &[0xF3, 0xA5], &bus).unwrap(); // rep movsd
    assert_eq!(
        (after.get(Gpr::Rsi), after.get(Gpr::Rdi), after.get(Gpr::Rcx), after.rip),
        (0x2008, DEVICE + 8, 0, 0x102)
    );
    assert_eq!(bus.log(), ["w fec00000 [01, 02, 03, 04]", "w fec00004 [05, 06, 07, 08]"]);
}

#[test]
fn strings_go_backwards_too_and_a_count_of_zero_does_nothing() {
    let bus = TestBus::new();
    let mut cpu = with(long(), &[(Gpr::Rdi, 0x2001), (Gpr::Rcx, 2), (Gpr::Rax, 9)]);
    cpu.rflags |= alu::DF;
    let after = Emulator::step(cpu, &[0xF3, 0xAA], &bus).unwrap(); // rep stosb
    assert_eq!((bus.peek(0x2000, 2), after.get(Gpr::Rdi)), (vec![9, 9], 0x1FFF));
    let cpu = with(long(), &[(Gpr::Rdi, 0x3000)]);
    let after = Emulator::step(cpu, &[0xF3, 0xAA], &bus).unwrap();
    assert_eq!((after.get(Gpr::Rdi), after.rip), (0x3000, 0x102));
}

#[test]
fn a_long_repetition_is_done_in_parts() {
    let bus = TestBus::new();
    let mut cpu = with(long(), &[(Gpr::Rdi, 0x2000), (Gpr::Rcx, 3000), (Gpr::Rax, 7)]);
    let mut goes = 0;
    while cpu.rip == 0x100 {
        cpu = Emulator::step(cpu, &[0xF3, 0xAA], &bus).unwrap();
        goes += 1;
    }
    assert_eq!((goes, cpu.get(Gpr::Rcx)), (3, 0));
    assert!(bus.peek(0x2000, 3000).iter().all(|byte| *byte == 7));
}

#[test]
fn string_io_moves_between_ports_and_memory() {
    let bus = TestBus::new();
    bus.poke(0x2000, b"ok");
    let cpu = with(long(), &[(Gpr::Rsi, 0x2000), (Gpr::Rcx, 2), (Gpr::Rdx, 0x3F8)]);
    Emulator::step(cpu, &[0xF3, 0x6E], &bus).unwrap(); // rep outsb
    let cpu = with(long(), &[(Gpr::Rdi, 0x2000), (Gpr::Rdx, 0x1F0)]);
    let after = Emulator::step(cpu, &[0x66, 0x6D], &bus).unwrap(); // insw
    assert_eq!((bus.peek(0x2000, 2), after.get(Gpr::Rdi)), (vec![0xD4, 0xC3], 0x2002));
    assert_eq!(bus.log(), ["out1 3f8 6f", "out1 3f8 6b", "in2 1f0"]);
}

#[test]
fn plain_in_and_out() {
    let bus = TestBus::new();
    let cpu = with(long(), &[(Gpr::Rax, 0x1_1111_1111), (Gpr::Rdx, 0x3F8)]);
    let after = Emulator::step(cpu, &[0xE4, 0x71], &bus).unwrap(); // in al, 0x71
    assert_eq!(after.get(Gpr::Rax), 0x1_1111_11D4);
    let after = Emulator::step(cpu, &[0xED], &bus).unwrap(); // in eax, dx
    assert_eq!(after.get(Gpr::Rax), 0xA1B2_C3D4);
    Emulator::step(cpu, &[0x66, 0xEF], &bus).unwrap(); // out dx, ax
    assert_eq!(bus.log(), ["in1 71", "in4 3f8", "out2 3f8 1111"]);
}

#[test]
fn real_and_protected_mode_use_segment_bases_and_short_addresses() {
    let bus = TestBus::new();
    // 16 bit: mov [bx+si], al with DS at 0x1000
    let mut real =
        with(CpuState::default(), &[(Gpr::Rbx, 0xFFFF), (Gpr::Rsi, 2), (Gpr::Rax, 0x55)]);
    real.segments[3].base = 0x1000;
    let after = Emulator::step(real, &[0x88, 0x00], &bus).unwrap();
    assert_eq!(bus.peek(0x1001, 1), [0x55], "offsets wrap at 64 KiB");
    assert_eq!(after.rip, 2);
    // 32 bit: rep stosd counts ECX and leaves nothing above it
    let cpu = with(protected(), &[(Gpr::Rdi, 0x2000), (Gpr::Rcx, 1), (Gpr::Rax, 0x0102_0304)]);
    let after = Emulator::step(cpu, &[0xF3, 0xAB], &bus).unwrap();
    assert_eq!((bus.peek(0x2000, 4), after.get(Gpr::Rcx)), (vec![4, 3, 2, 1], 0));
}

/// Four-level tables in RAM that map page 0 to itself, 0x7000 to the device and nothing else.
fn paged(bus: &TestBus) -> CpuState {
    for (at, entry) in [
        (0x8000usize, 0x9003u64),
        (0x9000, 0xA003),
        (0xA000, 0xB003),
        (0xB000, 0x0003),
        (0xB000 + 7 * 8, DEVICE | 3),
    ] {
        bus.poke(at, &entry.to_le_bytes());
    }
    CpuState { cr0: 1 << 31 | 1, cr3: 0x8000, cr4: 1 << 5, ..long() }
}

#[test]
fn addresses_go_through_the_guests_tables() {
    let bus = TestBus::new();
    let cpu = with(paged(&bus), &[(Gpr::Rdi, 0x7010), (Gpr::Rax, 5)]);
    Emulator::step(cpu, &[0x89, 0x07], &bus).unwrap();
    assert_eq!(bus.log(), ["w fec00010 [05, 00, 00, 00]"]);
}

#[test]
fn bytes_that_are_not_known_are_fetched() {
    let bus = TestBus::new();
    let cpu = with(paged(&bus), &[(Gpr::Rdi, 0x7000)]);
    bus.poke(0x100, &[0xC7, 0x07, 1, 0, 0, 0]);
    for known in [&[][..], &[0xC7, 0x07]] {
        Emulator::step(cpu, known, &bus).unwrap();
        assert_eq!(bus.log(), ["w fec00000 [01, 00, 00, 00]"]);
    }
}

#[test]
fn a_missing_page_is_the_guests_page_fault() {
    let bus = TestBus::new();
    let cpu = with(paged(&bus), &[(Gpr::Rsi, 0x7000), (Gpr::Rdi, 0x5000), (Gpr::Rcx, 4)]);
    let error = Emulator::step(cpu, &[0xF3, 0xA4], &bus).unwrap_err();
    let EmulationError::PageFault { linear, error_code } = error else { panic!("{error}") };
    assert_eq!((linear, error_code), (0x5000, 2));
    // In the middle: what is done stays done, RIP stays, the rest faults at its turn.
    let cpu = with(cpu, &[(Gpr::Rdi, 0xFFE)]);
    let after = Emulator::step(cpu, &[0xF3, 0xA4], &bus).unwrap();
    assert_eq!((after.get(Gpr::Rcx), after.get(Gpr::Rdi), after.rip), (2, 0x1000, 0x100));
    assert!(matches!(
        Emulator::step(after, &[0xF3, 0xA4], &bus),
        Err(EmulationError::PageFault { linear: 0x1000, .. })
    ));
    // INS asks for the page before it takes the datum.
    let cpu = with(cpu, &[(Gpr::Rdi, 0x5000), (Gpr::Rdx, 0x1F0)]);
    bus.log();
    assert!(Emulator::step(cpu, &[0x6C], &bus).is_err());
    assert_eq!(bus.log(), [""; 0]);
}

#[test]
fn an_access_over_a_page_boundary_is_split() {
    let bus = TestBus::new();
    let cpu = with(paged(&bus), &[(Gpr::Rdi, 0xFFE)]);
    assert!(Emulator::step(cpu, &[0x8B, 0x07], &bus).is_err(), "the second page is missing");
    bus.poke(0xB008, &(DEVICE | 3).to_le_bytes());
    bus.poke(0xFFE, &[0xAA, 0xBB]);
    let after = Emulator::step(cpu, &[0x8B, 0x07], &bus).unwrap();
    assert_eq!(after.get(Gpr::Rax), 0x2211_BBAA);
    assert_eq!(bus.log(), ["r2 fec00000"]);
}

#[test]
fn what_is_not_understood_is_an_error() {
    let bus = TestBus::new();
    let cases: BTreeMap<&str, &[u8]> = BTreeMap::from([
        ("fxsave", &[0x0F, 0xAE, 0x00][..]),
        ("movups", &[0x0F, 0x10, 0x00]),
        ("mov sreg", &[0x8C, 0x18]),
        ("jmp", &[0xEB, 0x00]),
        ("scas", &[0xF2, 0xAE]),
        ("push", &[0xFF, 0x30]),
    ]);
    for (name, bytes) in cases {
        let result = Emulator::step(long(), bytes, &bus);
        assert!(matches!(result, Err(EmulationError::Unsupported { .. })), "{name}: {result:?}");
    }
    let result = Emulator::step(long(), &[0x06; 15], &bus);
    assert!(matches!(result, Err(EmulationError::Invalid { .. })), "{result:?}");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..15),
        gpr in proptest::array::uniform16(proptest::num::u64::ANY),
        mode in 0u8..3,
    ) {
        let mut cpu = match mode { 0 => CpuState::default(), 1 => protected(), _ => long() };
        cpu.gpr = gpr;
        let _ = Emulator::step(cpu, &bytes, &HugeBus);
    }
}

/// Accepts every address.
struct HugeBus;

impl Bus for HugeBus {
    fn read(&self, _gpa: u64, bytes: &mut [u8]) {
        bytes.fill(0x5A);
    }

    fn write(&self, _gpa: u64, _bytes: &[u8]) -> Result<(), VidError> {
        Ok(())
    }

    fn read_table(&self, _gpa: u64, _size: usize) -> Option<u64> {
        None
    }

    fn port_in(&self, _port: u16, _size: u8) -> u32 {
        0
    }

    fn port_out(&self, _port: u16, _size: u8, _value: u32) {}
}
