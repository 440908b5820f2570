//! Pages of the hypervisor that a child places over its own memory: hypercall page, reference TSC page, VP assist page and
//! the pages of the SynIC (TLFS, "GPA Overlay Pages").
//!
//! An overlay page comes out of the child's pool. When the child takes the overlay away, the address belongs to the parent
//! again: it is marked, so that the next access brings the parent's page back.

use super::msr::Fault;
use crate::children::ChildFrames;
use crate::mem::{PAGE, phys};
use crate::partition::Partition;
use crate::vp::{State, Vp};
use core::sync::atomic::Ordering;
use hvdef::msr as hv;
use page_table::{Change, Frames, PageSize, flags};

/// Enable bit of every page MSR.
const ENABLE: u64 = 1;

/// Access to an overlay page.
const ACCESS: u64 = flags::PRESENT | flags::WRITE | flags::USER;

/// Writes one of the page MSRs of the partition, or the VP assist page's.
pub fn write(vp: &Vp, state: &mut State, index: u32, value: u64) -> Result<(), Fault> {
    let partition = vp.partition;
    match index {
        hv::HYPERCALL => {
            place(partition, &partition.hypercall_msr, value, fill_hypercall_page).map(|_| ())
        }
        hv::REFERENCE_TSC => {
            place(partition, &partition.reference_tsc_msr, value, crate::boot::fill_reference_page)
                .map(|_| ())
        }
        _ => {
            state.settle_skipped_eoi();
            let msr = core::sync::atomic::AtomicU64::new(state.assist_msr);
            let page = place(partition, &msr, value, |_| ())?;
            state.assist_msr = if page.is_some() { value } else { value & !ENABLE };
            state.assist_page = page.unwrap_or(0);
            Ok(())
        }
    }
}

/// Backs a page of the SynIC.
pub fn synic_page(vp: &Vp, state: &mut State, index: u32, value: u64) -> Result<(), Fault> {
    let previous = core::sync::atomic::AtomicU64::new(state.synic.overlay(index));
    let page = place(vp.partition, &previous, value, |_| ())?;
    state.synic.set_overlay(index, value, page.unwrap_or(0));
    Ok(())
}

/// Moves an overlay to where `value` says. The address of its page if it is enabled.
fn place(
    partition: &Partition,
    msr: &core::sync::atomic::AtomicU64,
    value: u64,
    fill: impl Fn(u64),
) -> Result<Option<u64>, Fault> {
    let old = msr.load(Ordering::Relaxed);
    let _serialized = partition.slat_lock.lock();
    let slat = partition.slat().ok_or(Fault)?;
    let mut frames = ChildFrames(partition);
    let gpa = value & !(PAGE - 1);
    if gpa >= 1 << 48 {
        return Err(Fault);
    }
    let mut page = None;
    if old & ENABLE != 0 {
        let old_gpa = old & !(PAGE - 1);
        page = slat.translate(&frames, old_gpa).map(|leaf| leaf.address);
        // A mark needs no frame where a single page was mapped.
        let _ = slat.change(&mut frames, old_gpa, PAGE, Change::Mark { keep_dirty: false });
        partition.forget_overlay(old_gpa);
    }
    if value & ENABLE != 0 {
        let fresh = page.is_none();
        let address = match page.or_else(|| frames.alloc()) {
            Some(address) => address,
            None => return Err(Fault),
        };
        if fresh {
            fill(address);
        }
        if !partition.remember_overlay(gpa, address)
            || slat.map(&mut frames, gpa, address, PAGE, ACCESS, PageSize::Small).is_err()
        {
            return Err(Fault);
        }
        page = Some(address);
    } else if let Some(address) = page.take() {
        frames.free(address);
    }
    msr.store(value, Ordering::Relaxed);
    Ok(page)
}

/// VMMCALL; RET, and INT3 for the rest.
fn fill_hypercall_page(page: u64) {
    phys::write(page, &crate::boot::hypercall_page());
}
