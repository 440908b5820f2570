//! Random machines and random bytes.

use super::load::{assert_started, carry_out};
use super::{MIB, Ram, header, image, pattern};
use crate::{
    BootInfo, Kernel, Kind, LoadError, LoadPlan, LoadRequest, MemoryMap, PAGE, PhysRange, Screen,
};
use bootdef::linux::{HEADER_OFFSET, SetupHeader};
use bootdef::{multiboot1, multiboot2};
use proptest::prelude::*;
use std::boxed::Box;
use std::vec::Vec;

const RAM: u64 = 3 * MIB;

/// A kernel and an initrd somewhere, with holes for others, between 1 and 3 MiB.
#[derive(Debug)]
struct Case {
    payload: u64,
    kernel_at: u64,
    initrd: u64,
    initrd_at: u64,
    holes: Vec<(u64, u64)>,
}

fn case() -> impl Strategy<Value = Case> {
    let holes = proptest::collection::vec((256_u64..760, 1_u64..100), 0..4);
    (1_u64..0x3000, 256_u64..700, 1_u64..400, 256_u64..360, holes).prop_map(
        |(payload, kernel_at, initrd, initrd_at, holes)| Case {
            payload: payload * 16,
            kernel_at: kernel_at * PAGE,
            initrd: initrd * PAGE - payload % 4096,
            initrd_at: initrd_at * PAGE,
            holes,
        },
    )
}

/// Of a kernel that fits into so little memory.
fn small_header() -> SetupHeader {
    let mut small = header();
    small.kernel_alignment.set(0x1_0000);
    small.pref_address.set(0x12_0000);
    small.init_size.set(0x3_0000);
    small
}

fn memory_map(case: &Case) -> MemoryMap {
    let mut map = MemoryMap::empty();
    map.add(PhysRange::new(0, RAM), Kind::Ram).unwrap();
    for (at, len) in &case.holes {
        map.add(
            PhysRange::at(at * PAGE, len * PAGE).intersection(PhysRange::new(0, RAM)),
            Kind::Hypervisor,
        )
        .unwrap();
    }
    map
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn a_plan_for_any_layout_loses_no_byte(case in case()) {
        let mut ram = Ram::new(RAM);
        let file = image(small_header(), case.payload);
        let kernel = PhysRange::at(case.kernel_at, file.len() as u64);
        let initrd = PhysRange::at(case.initrd_at, case.initrd);
        prop_assume!(!kernel.overlaps(initrd));
        ram.put(kernel.start, &file[..]);
        ram.put(initrd.start, &pattern(case.initrd, 3)[..]);
        let map = memory_map(&case);
        let request = LoadRequest {
            map: &map, kernel, initrd: Some(initrd), command_line: b"quiet", rsdp: 0, screen: Screen::Unknown, efi: false,
        };
        let mut plan = Box::new(LoadPlan::empty());
        match plan.prepare(&request, &ram) {
            Ok(()) => {
                carry_out(&plan, &mut ram);
                assert_started(&plan, &ram, case.payload, Some(case.initrd));
                let end = plan.handover.range;
                for place in [plan.kernel, plan.initrd.unwrap().page_outward(), end] {
                    prop_assert!(map.is_ram(place) && place.start >= MIB);
                }
            }
            Err(LoadError::Clobbers) => prop_assert!(false, "contradicts itself"),
            Err(LoadError::NoRoomForKernel { need, available, .. }) => prop_assert!(available < need + 0x1_0000),
            Err(LoadError::InitrdTooLarge { .. } | LoadError::NoRoomForHandover { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn random_information_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), first: bool) {
        let mut ram = Ram::new(0x1000);
        ram.put(0x100, &bytes[..]);
        // Small words make pointers that lead somewhere and counts that end.
        ram.0.iter_mut().skip(0x102).step_by(4).for_each(|byte| *byte = 0);
        let magic = if first { multiboot1::LOADER_MAGIC } else { multiboot2::LOADER_MAGIC };
        let _ = BootInfo::empty().load(magic, 0x100, &ram);
    }

    #[test]
    fn random_tags_never_panic(tags in proptest::collection::vec((0_u32..22, proptest::collection::vec(any::<u8>(), 0..90)), 0..12)) {
        let mut ram = Ram::new(0x4000);
        ram.words(0x100, &[0x2000, 0]);
        let mut at = 0x108;
        for (kind, body) in tags {
            let next = ram.words(at, &[kind, body.len() as u32 + 8]);
            at = ram.put(next, &body[..]).next_multiple_of(8);
        }
        let _ = BootInfo::empty().load(multiboot2::LOADER_MAGIC, 0x100, &ram);
    }

    #[test]
    fn random_headers_never_panic(change in proptest::collection::vec((0_usize..0x7B, any::<u8>()), 0..40), len in 0_u64..0x8000) {
        let mut ram = Ram::new(4 * MIB);
        let mut file = image(header(), 0x4000);
        for (at, byte) in change {
            file[HEADER_OFFSET + at] = byte;
        }
        ram.put(MIB, &file[..]);
        let kernel = PhysRange::at(MIB, len);
        if let Ok(found) = Kernel::inspect(kernel, &ram) {
            prop_assert!(kernel.contains(found.payload) && !found.payload.is_empty());
        }
        let mut map = MemoryMap::empty();
        map.add(PhysRange::new(0, u64::MAX), Kind::Ram).unwrap();
        let request = LoadRequest {
            map: &map, kernel, initrd: None, command_line: b"", rsdp: 0, screen: Screen::Unknown, efi: true,
        };
        let _ = LoadPlan::empty().prepare(&request, &ram);
    }
}
