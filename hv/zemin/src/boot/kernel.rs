//! The parent's kernel and initrd: checked, planned, put in place.

use super::firmware::Firmware;
use super::input::{Input, Memory};
use super::parent::Start;
use crate::crash;
use crate::log::{Level, log};
use crate::mem::{PAGE, phys, space};
use crate::sync::SpinLock;
use boot_plan::handover::{GDT, Handover, TABLES};
use boot_plan::{Kind, LoadPlan, LoadRequest, MemoryMap, PhysRange};
use zerocopy::IntoBytes;

static PLAN: SpinLock<LoadPlan> = SpinLock::new(LoadPlan::empty());
static PARENT_MAP: SpinLock<MemoryMap> = SpinLock::new(MemoryMap::empty());

/// Puts the kernel where it starts.
pub fn load(input: &Input, firmware: &Firmware, pool: PhysRange) -> Start {
    let Some(module) = input.kernel() else {
        crash::refuse(format_args!(
            "no parent kernel was given: load a Linux kernel as the first module (QEMU: -initrd \"vmlinuz ARGUMENTS,INITRD\")"
        ));
    };
    let mut map = PARENT_MAP.lock();
    *map = input.map;
    withhold(input, &mut map, pool);
    let request = LoadRequest {
        map: &map,
        kernel: module.range,
        initrd: input.initrd().map(|module| module.range),
        command_line: module.command.arguments(),
        rsdp: firmware.rsdp(),
        screen: input.screen,
        efi: input.efi_system_table.is_some(),
    };
    let mut plan = PLAN.lock();
    if let Err(error) = plan.prepare(&request, &Memory) {
        crash::refuse(format_args!("parent kernel: {error}"));
    }
    carry_out(&plan, request.command_line);
    log!(
        Level::Info,
        "parent kernel at {:#x}, command line: \"{}\"",
        plan.kernel.start,
        request.command_line.escape_ascii()
    );
    Start {
        entry: plan.entry,
        rsi: plan.rsi,
        gdt: plan.handover.gdt(),
        page_tables: plan.handover.page_tables(),
    }
}

/// Takes out of the parent's map what it does not get.
fn withhold(input: &Input, map: &mut MemoryMap, pool: PhysRange) {
    let (start, end) = space::image_range();
    for range in [PhysRange::new(start, end), pool] {
        if let Err(error) = map.carve(range, Kind::Hypervisor) {
            crash::refuse(format_args!("memory map: {error}"));
        }
    }
    if let Some(limit) = input.options.parent_mem
        && map.withhold_above(limit).is_err()
    {
        crash::refuse(format_args!("memory map: too many regions for parent_mem="));
    }
}

fn carry_out(plan: &LoadPlan, command_line: &[u8]) {
    let mut done = true;
    for copy in plan.copies.iter() {
        done &= phys::relocate(copy.from, copy.to, copy.len);
    }
    for range in plan.zero.iter() {
        done &= phys::zero(range.start, range.len());
    }
    done &= hand_over(&plan.handover, &plan.boot_params, command_line);
    assert!(done, "the plan names only RAM, and all of it is mapped");
}

fn hand_over(handover: &Handover, boot_params: &[u8], command_line: &[u8]) -> bool {
    let mut done = phys::write(handover.boot_params(), boot_params);
    done &= phys::write(handover.gdt(), GDT.as_bytes());
    done &= phys::write(handover.command_line(), command_line);
    let mut table = [0; 512];
    for index in 0..TABLES {
        handover.fill_table(index, &mut table);
        done &= phys::write(handover.page_tables() + index * PAGE, table.as_bytes());
    }
    done
}
