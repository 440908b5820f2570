//! Kernels with damaged headers on machines of any shape: a plan either is refused or loses no byte.
#![no_main]

use boot_plan::{
    Kind, LoadError, LoadPlan, LoadRequest, MemoryMap, OutOfRange, PAGE, PhysRange, PhysRead,
    Screen,
};
use bootdef::linux::{BOOT_FLAG, BootParams, HEADER_MAGIC, HEADER_OFFSET, SetupHeader};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Half a MiB above the first MiB, where nothing may be put: little, to be quick and to be crowded.
const SIZE: u64 = 0x18_0000;
const SETUP: usize = 4 * 512;

struct Ram(Vec<u8>);

impl PhysRead for Ram {
    fn read(&self, phys: u64, buf: &mut [u8]) -> Result<(), OutOfRange> {
        let start = usize::try_from(phys).map_err(|_| OutOfRange)?;
        let end = start.checked_add(buf.len()).ok_or(OutOfRange)?;
        buf.copy_from_slice(self.0.get(start..end).ok_or(OutOfRange)?);
        Ok(())
    }
}

impl Ram {
    fn slice(&mut self, range: PhysRange) -> &mut [u8] {
        &mut self.0[range.start as usize..range.end as usize]
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    payload: u16,
    kernel_at: u32,
    initrd: u32,
    initrd_at: u32,
    holes: Vec<(u16, u8)>,
    cap: Option<u32>,
    line: Vec<u8>,
    damage: Vec<(u8, u8)>,
    cut: u8,
}

fn header(payload: usize) -> SetupHeader {
    let mut header = SetupHeader::new_zeroed();
    header.setup_sects = 3;
    header.syssize.set((payload / 16) as u32);
    header.boot_flag.set(BOOT_FLAG);
    header.jump = [0xEB, 0x6A];
    header.magic.set(HEADER_MAGIC);
    header.version.set(0x020F);
    header.loadflags = 1;
    header.initrd_addr_max.set(0x7FFF_FFFF);
    header.kernel_alignment.set(0x1_0000);
    header.relocatable_kernel = 1;
    header.xloadflags.set(3);
    header.cmdline_size.set(2047);
    header.pref_address.set(0x11_0000);
    header.init_size.set(0x1_8000);
    header
}

fn pattern(len: usize, seed: u8) -> impl Iterator<Item = u8> {
    (0..len).map(move |at| (at ^ at >> 8 ^ at >> 16) as u8 ^ seed)
}

impl Input {
    fn image(&self) -> Vec<u8> {
        let payload = usize::from(self.payload) / 16 * 16;
        let mut image = vec![0; SETUP];
        image[HEADER_OFFSET..][..size_of::<SetupHeader>()]
            .copy_from_slice(header(payload).as_bytes());
        image.extend(pattern(payload, 0x5A));
        for (at, byte) in &self.damage {
            image[HEADER_OFFSET + usize::from(*at) % size_of::<SetupHeader>()] = *byte;
        }
        image.truncate(image.len() - usize::from(self.cut / 16));
        image
    }

    fn map(&self) -> Option<MemoryMap> {
        let mut map = MemoryMap::empty();
        let all = PhysRange::new(0, SIZE);
        map.add(all, Kind::Ram).ok()?;
        for (at, len) in &self.holes {
            let hole = PhysRange::at(u64::from(*at) * PAGE / 16, u64::from(*len) * PAGE / 4);
            map.add(hole.intersection(all), Kind::Hypervisor).ok()?;
        }
        if let Some(cap) = self.cap {
            map.withhold_above(cap.into()).ok()?;
        }
        Some(map)
    }
}

fn carry_out(plan: &LoadPlan, ram: &mut Ram) {
    for copy in &plan.copies {
        let from = copy.from as usize;
        ram.0.copy_within(from..from + copy.len as usize, copy.to as usize);
    }
    for zero in &plan.zero {
        ram.slice(*zero).fill(0);
    }
    ram.slice(PhysRange::at(plan.rsi, PAGE)).copy_from_slice(&plan.boot_params);
}

fuzz_target!(|input: Input| {
    let image = input.image();
    let within = |at: u32, len: u64| {
        PhysRange::at(0x10_0000 + u64::from(at) % (SIZE - len - 0x10_0000), len)
    };
    let kernel = within(input.kernel_at, image.len() as u64);
    let initrd = within(input.initrd_at, u64::from(input.initrd) % 0x6_0000);
    let Some(map) = input.map().filter(|_| !kernel.overlaps(initrd)) else { return };
    let mut ram = Ram(vec![0; SIZE as usize]);
    ram.slice(kernel).copy_from_slice(&image);
    ram.slice(initrd)
        .iter_mut()
        .zip(pattern(initrd.len() as usize, 0xA5))
        .for_each(|(to, byte)| *to = byte);
    let request = LoadRequest {
        map: &map,
        kernel,
        initrd: Some(initrd),
        command_line: &input.line,
        rsdp: 0,
        screen: Screen::VgaText,
        efi: false,
    };
    let mut plan = LoadPlan::empty();
    if let Err(error) = plan.prepare(&request, &ram) {
        assert!(error != LoadError::Clobbers, "the plan contradicts itself");
        assert!(!error.to_string().contains('\n'));
        return;
    }
    carry_out(&plan, &mut ram);
    let params = BootParams::read_from_bytes(&plan.boot_params).unwrap();
    let setup = match params.hdr.setup_sects {
        0 => 5 * 512,
        sectors => (usize::from(sectors) + 1) * 512,
    };
    let loaded = PhysRange::at(plan.kernel.start, (image.len() - setup) as u64);
    assert_eq!(ram.slice(loaded), &image[setup..]);
    if let Some(at) = plan.initrd {
        assert!(ram.slice(at).iter().copied().eq(pattern(initrd.len() as usize, 0xA5)));
    }
    let initrd_pages = plan.initrd.map_or(PhysRange::EMPTY, PhysRange::page_outward);
    for place in [plan.kernel, initrd_pages, plan.handover.range] {
        assert!(map.is_ram(place));
    }
});
