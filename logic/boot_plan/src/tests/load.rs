use super::{MIB, Ram, SETUP, header, image, pattern};
use crate::{
    BadKernel, FileKind, Framebuffer, Kernel, Kind, LoadError, LoadPlan, LoadRequest, MemoryMap,
    PAGE, PhysRange, Screen,
};
use bootdef::linux::{BootParams, HEADER_OFFSET, SetupHeader, e820, video};
use core::mem::offset_of;
use std::boxed::Box;
use std::string::ToString;
use std::vec::Vec;
use zerocopy::FromBytes;

/// A machine with files in it.
struct Machine {
    ram: Ram,
    map: MemoryMap,
    kernel: PhysRange,
    initrd: Option<PhysRange>,
    command_line: Vec<u8>,
}

const PAYLOAD: u64 = 512 << 10;

impl Machine {
    /// `mib` of RAM, all free, with a kernel of [`PAYLOAD`] bytes at `at`.
    fn new(mib: u64, at: u64, header: SetupHeader) -> Self {
        let mut ram = Ram::new(mib * MIB);
        let end = ram.put(at, &image(header, PAYLOAD)[..]);
        let mut map = MemoryMap::empty();
        map.add(PhysRange::new(0, mib * MIB), Kind::Ram).unwrap();
        Self {
            ram,
            map,
            kernel: PhysRange::new(at, end),
            initrd: None,
            command_line: b"root=/dev/vda".to_vec(),
        }
    }

    fn with_initrd(mut self, at: u64, len: u64) -> Self {
        let end = self.ram.put(at, &pattern(len, 3)[..]);
        self.initrd = Some(PhysRange::new(at, end));
        self
    }

    fn without(mut self, start: u64, end: u64) -> Self {
        self.map.carve(PhysRange::new(start, end), Kind::Hypervisor).unwrap();
        self
    }

    fn request(&self) -> LoadRequest<'_> {
        LoadRequest {
            map: &self.map,
            kernel: self.kernel,
            initrd: self.initrd,
            command_line: &self.command_line,
            rsdp: 0xF_5AA0,
            screen: Screen::VgaText,
            efi: false,
        }
    }

    fn plan(&self) -> Result<Box<LoadPlan>, LoadError> {
        let mut plan = Box::new(LoadPlan::empty());
        plan.prepare(&self.request(), &self.ram).map(|()| plan)
    }

    /// Makes a plan, carries it out and checks what it leads to.
    fn start(mut self) -> Box<LoadPlan> {
        let plan = self.plan().unwrap();
        carry_out(&plan, &mut self.ram);
        assert_started(&plan, &self.ram, PAYLOAD, self.initrd.map(|initrd| initrd.len()));
        plan
    }
}

pub(super) fn carry_out(plan: &LoadPlan, ram: &mut Ram) {
    for copy in &plan.copies {
        let from = copy.from as usize;
        ram.0.copy_within(from..from + copy.len as usize, copy.to as usize);
    }
    for zero in &plan.zero {
        ram.0[zero.start as usize..zero.end as usize].fill(0);
    }
    ram.put(plan.handover.boot_params(), &plan.boot_params);
}

/// Kernel and initrd are in place, and the zero page says where.
pub(super) fn assert_started(plan: &LoadPlan, ram: &Ram, payload: u64, initrd: Option<u64>) {
    assert_eq!(ram.bytes(PhysRange::at(plan.kernel.start, payload)), pattern(payload, 7));
    assert_eq!(plan.entry, plan.kernel.start + 0x200);
    let params = BootParams::read_from_bytes(ram.bytes(PhysRange::at(plan.rsi, PAGE))).unwrap();
    let image =
        u64::from(params.hdr.ramdisk_image.get()) | u64::from(params.ext_ramdisk_image.get()) << 32;
    let size =
        u64::from(params.hdr.ramdisk_size.get()) | u64::from(params.ext_ramdisk_size.get()) << 32;
    assert_eq!(size, initrd.unwrap_or(0));
    assert_eq!(plan.initrd.map_or(0, |initrd| initrd.start), image);
    assert_eq!(ram.bytes(PhysRange::at(image, size)), pattern(size, 3));
    assert_eq!(u64::from(params.hdr.cmd_line_ptr.get()), plan.handover.command_line());
}

fn params(plan: &LoadPlan) -> BootParams {
    BootParams::read_from_bytes(&plan.boot_params).unwrap()
}

fn error(machine: &Machine) -> LoadError {
    machine.plan().map(drop).unwrap_err()
}

#[test]
fn a_kernel_goes_where_it_prefers_and_the_rest_stays_out_of_its_way() {
    let plan = Machine::new(16, 8 * MIB, header()).with_initrd(9 * MIB, 0x12_3456).start();
    assert_eq!(plan.kernel, PhysRange::at(2 * MIB, MIB));
    assert_eq!(plan.initrd, Some(PhysRange::at(9 * MIB, 0x12_3456)), "it may stay");
    assert_eq!(plan.copies.len(), 1);
    assert_eq!(plan.handover.range.start, MIB, "not below 1 MiB");
}

#[test]
fn an_initrd_in_the_kernels_place_moves_to_the_top_first() {
    let plan = Machine::new(16, 8 * MIB, header()).with_initrd(2 * MIB, MIB).start();
    assert_eq!(plan.initrd, Some(PhysRange::at(15 * MIB, MIB)));
    assert_eq!(plan.copies[0].to, 15 * MIB);
}

#[test]
fn a_file_may_lie_on_its_own_destination() {
    for kernel in [2 * MIB, 2 * MIB - SETUP, 2 * MIB + 0x1000, 2 * MIB - 0x8000] {
        Machine::new(16, kernel, header()).with_initrd(3 * MIB - 0x1000, 2 * MIB).start();
    }
}

#[test]
fn files_in_each_others_place_are_untangled() {
    // Free RAM besides the kernel's window: 3..6 MiB, and the files fill much of it.
    let machine = Machine::new(6, 5 * MIB, header()).with_initrd(2 * MIB, 2 * MIB - 0x4000);
    let plan = machine.start();
    assert_eq!(plan.kernel.start, 2 * MIB);
    // Only room on top of the kernel's file: so the kernel goes first.
    let machine = Machine::new(7, 6 * MIB + 0x800, header());
    let machine = machine.with_initrd(3 * MIB + 0x1800, 3 * MIB - 0x1000);
    let plan = machine.without(3 * MIB, 3 * MIB + 0x2000).start();
    assert_eq!(plan.copies[0].to, 2 * MIB);
    assert_eq!(plan.initrd, Some(PhysRange::at(4 * MIB + 0x1000, 3 * MIB - 0x1000)));
}

#[test]
fn a_kernel_whose_place_is_taken_goes_above_it() {
    let plan = Machine::new(16, 12 * MIB, header()).without(2 * MIB, 3 * MIB).start();
    assert_eq!(plan.kernel.start, 4 * MIB);
}

#[test]
fn a_kernel_bound_to_its_place_says_so() {
    let mut fixed = header();
    fixed.relocatable_kernel = 0;
    let machine = Machine::new(16, 12 * MIB, fixed).without(2 * MIB, 3 * MIB);
    let message = error(&machine).to_string();
    assert!(message.contains("needs 1024 KiB of RAM in a row at its fixed address"), "{message}");
}

#[test]
fn the_zero_page_holds_header_map_and_answers() {
    let machine =
        Machine::new(16, 8 * MIB, header()).with_initrd(9 * MIB, MIB).without(14 * MIB, 15 * MIB);
    let params = params(&machine.plan().unwrap());
    assert_eq!(params.hdr.type_of_loader, 0xFF);
    assert_eq!(params.hdr.loadflags, 1);
    assert_eq!(params.hdr.version.get(), 0x020F);
    assert_eq!(params.hdr.code32_start.get(), 2 << 20);
    assert_eq!(params.acpi_rsdp_addr.get(), 0xF_5AA0);
    assert_eq!(params.sentinel, 0);
    assert_eq!(params.efi_info, [0; 32]);
    assert_eq!(
        (params.screen_info.is_vga, params.screen_info.orig_video_cols),
        (video::VGA_TEXT, 80)
    );
    assert_eq!(params.e820_entries, 3);
    let hidden = params.e820_table[1];
    assert_eq!(
        (hidden.base.get(), hidden.length.get(), hidden.kind.get()),
        (14 * MIB, MIB, e820::RESERVED)
    );
    assert_eq!(params.e820_table[3].length.get(), 0);
}

#[test]
fn the_parent_sees_one_reserved_entry_for_all_that_is_not_its_own() {
    let mut machine = Machine::new(16, 8 * MIB, header()).without(10 * MIB, 11 * MIB);
    machine.map.carve(PhysRange::new(11 * MIB, 11 * MIB + PAGE), Kind::Shared).unwrap();
    machine.map.add(PhysRange::new(16 * MIB, 17 * MIB), Kind::AcpiNvs).unwrap();
    machine.map.withhold_above(11 * MIB + PAGE).unwrap();
    let params = params(&machine.plan().unwrap());
    let kinds: Vec<_> = params
        .e820_table
        .iter()
        .take(params.e820_entries.into())
        .map(|entry| entry.kind.get())
        .collect();
    assert_eq!(kinds, [e820::RAM, e820::RESERVED, e820::RAM, e820::RESERVED, e820::NVS]);
}

#[test]
fn a_full_map_fills_the_table() {
    let mut machine = Machine::new(16, 8 * MIB, header());
    for index in 0..MemoryMap::MAX as u64 - 1 {
        machine
            .map
            .add(PhysRange::at(0x1_0000_0000 + index * 2 * PAGE, PAGE), Kind::AcpiReclaim)
            .unwrap();
    }
    let params = params(&machine.plan().unwrap());
    assert_eq!(usize::from(params.e820_entries), e820::MAX_ENTRIES);
    assert_eq!(params.e820_table[127].kind.get(), e820::ACPI);
    assert_eq!(params.pad_cd0, [0; 0x330]);
}

#[test]
fn a_frame_buffer_is_described_as_the_firmware_made_it() {
    let machine = Machine::new(16, 8 * MIB, header());
    let buffer = Framebuffer {
        address: 0x40_8000_0000,
        pitch: 4096,
        width: 1024,
        height: 768,
        bpp: 32,
        colors: [16, 8, 8, 8, 0, 8],
    };
    let describe = |buffer, efi| {
        let mut plan = LoadPlan::empty();
        let request = LoadRequest { screen: Screen::Framebuffer(buffer), efi, ..machine.request() };
        plan.prepare(&request, &machine.ram).unwrap();
        params(&plan).screen_info
    };
    let efi = describe(buffer, true);
    assert_eq!((efi.is_vga, efi.lfb_size.get()), (video::EFI, 4096 * 768));
    assert_eq!(
        (efi.lfb_base.get(), efi.ext_lfb_base.get(), efi.capabilities.get()),
        (0x8000_0000, 0x40, 2)
    );
    assert_eq!(efi.colors, [8, 16, 8, 8, 8, 0, 0, 0]);
    let vesa = describe(buffer, false);
    assert_eq!((vesa.is_vga, vesa.lfb_size.get()), (video::VESA_LFB, 48));
    assert_eq!(describe(Framebuffer { pitch: 1 << 20, ..buffer }, true).is_vga, 0);
}

#[test]
fn an_initrd_too_large_says_what_it_needs_and_what_there_is() {
    let machine = Machine::new(16, 8 * MIB, header()).with_initrd(2 * MIB + 1, 6 * MIB - 1);
    let machine = machine.without(9 * MIB, 16 * MIB);
    assert_eq!(error(&machine), LoadError::InitrdTooLarge { need: 6 * MIB, available: 5 * MIB });
    let message = error(&machine).to_string();
    let expected = "initrd too large: needs 6 MiB of RAM in a row, largest run is 5 MiB";
    assert_eq!(message, expected);
}

#[test]
fn an_initrd_goes_no_higher_than_an_old_kernel_allows() {
    let mut old = header();
    old.xloadflags.set(1);
    old.initrd_addr_max.set(8 * MIB as u32 - 1);
    let plan = Machine::new(16, 12 * MIB, old).with_initrd(9 * MIB, MIB).start();
    assert_eq!(plan.initrd, Some(PhysRange::at(7 * MIB, MIB)));
}

#[test]
fn a_machine_too_small_says_what_the_kernel_needs() {
    let mut large = header();
    large.init_size.set(32 << 20);
    let message = error(&Machine::new(16, 8 * MIB, large)).to_string();
    let expected = "needs 32 MiB of RAM in a row below 4 GiB, largest run is 14 MiB";
    assert_eq!(message, expected);
}

#[test]
fn a_command_line_too_long_is_refused() {
    let mut machine = Machine::new(16, 8 * MIB, header());
    machine.command_line = std::vec![b'x'; 2047];
    assert_eq!(machine.plan().unwrap().handover.range.len(), 9 * PAGE);
    machine.command_line.push(b'x');
    assert_eq!(error(&machine), LoadError::CommandLineTooLong { len: 2048, max: 2047 });
}

fn inspect(change: impl FnOnce(&mut SetupHeader)) -> Result<Kernel, BadKernel> {
    let mut header = header();
    change(&mut header);
    let machine = Machine::new(4, MIB, header);
    Kernel::inspect(machine.kernel, &machine.ram)
}

#[test]
fn files_that_are_no_kernel_are_told_apart() {
    for (start, kind) in [
        (&b"\x7fELF\x02\x01"[..], FileKind::Elf),
        (b"\x1f\x8b\x08\0", FileKind::Gzip),
        (b"070701", FileKind::Cpio),
        (b"hello", FileKind::Unknown),
    ] {
        let mut ram = Ram::new(MIB);
        ram.put(0x1000, start);
        let found = Kernel::inspect(PhysRange::at(0x1000, 0x4000), &ram).unwrap_err();
        assert_eq!(found, BadKernel::NotAKernel(kind));
    }
}

#[test]
fn a_truncated_kernel_says_how_much_is_missing() {
    let machine = Machine::new(4, MIB, header());
    let short = PhysRange::new(MIB, machine.kernel.end - 1);
    let error = Kernel::inspect(short, &machine.ram).unwrap_err();
    assert_eq!(error, BadKernel::Truncated { need: PAYLOAD + SETUP, have: PAYLOAD + SETUP - 1 });
    assert_eq!(error.to_string(), "truncated: 514 KiB needed, 514 KiB there");
    for len in [0, 1, 0x1F1, 0x263] {
        let error = Kernel::inspect(PhysRange::at(MIB, len), &machine.ram).unwrap_err();
        assert_eq!(error, BadKernel::Truncated { need: 0x264, have: len });
    }
}

#[test]
fn kernels_that_cannot_be_started_are_refused_with_the_reason() {
    assert_eq!(
        inspect(|h| h.version.set(0x020B)).unwrap_err(),
        BadKernel::TooOld { version: 0x020B }
    );
    assert_eq!(inspect(|h| h.xloadflags.set(2)).unwrap_err(), BadKernel::No64BitEntry);
    assert_eq!(inspect(|h| h.loadflags = 0).unwrap_err(), BadKernel::LoadsLow);
    assert_eq!(
        inspect(|h| h.boot_flag.set(0)).unwrap_err(),
        BadKernel::NotAKernel(FileKind::Unknown)
    );
    let bad = |name, value| BadKernel::BadField { name, value };
    assert_eq!(inspect(|h| h.kernel_alignment.set(3)).unwrap_err(), bad("kernel_alignment", 3));
    assert_eq!(inspect(|h| h.kernel_alignment.set(16)).unwrap_err(), bad("kernel_alignment", 16));
    assert_eq!(inspect(|h| h.init_size.set(0)).unwrap_err(), bad("init_size", 0));
    assert_eq!(inspect(|h| h.pref_address.set(0x1000)).unwrap_err(), bad("pref_address", 0x1000));
    assert_eq!(inspect(|h| h.jump[1] = 0x10).unwrap_err(), bad("jump", 0x10));
    let outside = PhysRange::at(1 << 40, MIB);
    assert_eq!(Kernel::inspect(outside, &Ram::new(MIB)).unwrap_err(), BadKernel::Unreadable);
}

#[test]
fn what_lies_behind_the_header_is_not_taken_for_it() {
    // A 2.12 header ends before handover_offset; what follows in the file is code.
    let kernel = inspect(|header| {
        header.version.set(0x020C);
        header.jump[1] = 0x62;
        header.handover_offset.set(0xDEAD_BEEF);
        header.kernel_info_offset.set(0xDEAD_BEEF);
    });
    let header = kernel.unwrap().header;
    assert_eq!((header.handover_offset.get(), header.kernel_info_offset.get()), (0, 0));
    assert_eq!(0x202 + 0x62, HEADER_OFFSET + offset_of!(SetupHeader, handover_offset));
}

/// Set `ZEMIN_TEST_BZIMAGE` to a kernel's file name to see whether it would be accepted.
#[test]
fn a_real_kernel_is_accepted_if_one_is_named() {
    let Some(path) = std::env::var_os("ZEMIN_TEST_BZIMAGE") else {
        // Not silently: the synthetic images above are what is tested without it.
        std::eprintln!("note: ZEMIN_TEST_BZIMAGE is not set, no real kernel was looked at");
        return;
    };
    let file = std::fs::read(path).unwrap();
    let mut ram = Ram::new(128 * MIB);
    let end = ram.put(64 * MIB, &file[..]);
    let mut machine = Machine::new(128, MIB, header());
    machine.ram = ram;
    machine.kernel = PhysRange::new(64 * MIB, end);
    let plan = machine.plan().unwrap();
    carry_out(&plan, &mut machine.ram);
    let setup = (u64::from(params(&plan).hdr.setup_sects) + 1) * 512;
    let payload = &file[setup as usize..];
    assert_eq!(machine.ram.bytes(PhysRange::at(plan.kernel.start, payload.len() as u64)), payload);
}
