//! Pages of the hypervisor that a child places over its own memory: hypercall page, reference TSC page, VP assist page and
//! the pages of the SynIC (TLFS, "GPA Overlay Pages").
//!
//! An overlay page comes out of the child's pool. When the child takes the overlay away, the address belongs to the parent
//! again: it is marked, so that the next access brings the parent's page back.

use super::memory::ADDRESS_BITS;
use super::msr::Fault;
use crate::child_frames::ChildFrames;
use crate::mem::{PAGE, phys};
use crate::partition::{Overlay, Partition};
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
    check(value)?;
    let partition = vp.partition;
    match index {
        hv::HYPERCALL => {
            place(vp, state, &partition.hypercall_overlay, value, &fill_hypercall_page)?;
            partition.hypercall_msr.store(value, Ordering::Relaxed);
            Ok(())
        }
        hv::REFERENCE_TSC => {
            let fill = |page| partition.clock.fill_page(page);
            place(vp, state, &partition.reference_overlay, value, &fill)?;
            partition.reference_tsc_msr.store(value, Ordering::Relaxed);
            Ok(())
        }
        _ => {
            state.settle_skipped_eoi();
            let overlay = Overlay::new(state.assist_msr, state.assist_page);
            let done = place(vp, state, &overlay, value, &|_| ());
            state.assist_page = overlay.page();
            state.assist_msr = if state.assist_page != 0 { value } else { value & !ENABLE };
            done
        }
    }
}

/// Refuses an address that no table translates. Who is refused finds the register as it was.
pub fn check(value: u64) -> Result<(), Fault> {
    if value >> ADDRESS_BITS == 0 { Ok(()) } else { Err(Fault) }
}

/// Backs a page of the SynIC, whose MSR [`check`] has let pass.
pub fn synic_page(vp: &Vp, state: &mut State, index: u32, value: u64) -> Result<(), Fault> {
    let (previous, page) = state.synic.overlay(index);
    let overlay = Overlay::new(previous, page);
    // Nobody else writes to the page while it moves, nor after it was given up.
    state.synic.set_overlay(index, previous, 0);
    let done = place(vp, state, &overlay, value, &|_| ());
    state.synic.set_overlay(index, value, overlay.page());
    done
}

/// Moves an overlay to where `value` says, or takes it away. On failure it is away.
///
/// A page that is given up goes back to the pool only when no VP can reach it any more.
fn place(
    vp: &Vp,
    state: &mut State,
    overlay: &Overlay,
    value: u64,
    fill: &dyn Fn(u64),
) -> Result<(), Fault> {
    let partition = vp.partition;
    let (done, given_up) = exchange(partition, overlay, value, fill)?;
    crate::hypercalls::flush_own(vp, state);
    if given_up != 0 {
        partition.pool.lock().put(given_up);
    }
    done
}

/// The change itself: how it went, and the page that is not used any more (0 for none).
fn exchange(
    partition: &Partition,
    overlay: &Overlay,
    value: u64,
    fill: &dyn Fn(u64),
) -> Result<(Result<(), Fault>, u64), Fault> {
    let _serialized = partition.slat_lock.lock();
    let slat = partition.slat().ok_or(Fault)?;
    let mut frames = ChildFrames(partition);
    let mut page = overlay.page();
    if page != 0 && overlay.is_enabled() {
        // A mark needs no frame where a single page was mapped.
        let mark = Change::Mark { keep_dirty: false };
        let _ = slat.change(&mut frames, overlay.gpa(), PAGE, mark);
        partition.forget_overlay(page);
    }
    overlay.set(value, 0);
    if value & ENABLE == 0 {
        return Ok((Ok(()), page));
    }
    if page == 0 {
        let Some(fresh) = frames.alloc() else { return Ok((Err(Fault), 0)) };
        page = fresh;
        fill(page);
    }
    let gpa = value & !(PAGE - 1);
    let placed = partition.remember_overlay(gpa, page)
        && slat.map(&mut frames, gpa, page, PAGE, ACCESS, PageSize::Small).is_ok();
    if !placed {
        partition.forget_overlay(page);
        return Ok((Err(Fault), page));
    }
    overlay.set(value, page);
    Ok((Ok(()), 0))
}

/// VMMCALL; RET, and INT3 for the rest.
fn fill_hypercall_page(page: u64) {
    phys::write(page, &crate::boot::hypercall_page());
}
