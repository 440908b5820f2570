//! Making and ending the VPs of children.
#![expect(unsafe_code, reason = "VPs live on deposited pages")]

use crate::boot;
use crate::exit::code::CodePages;
use crate::exit::synic::VpSynic;
use crate::hypercalls::{Call, scheduling, take_back_pages};
use crate::intercepts;
use crate::lp;
use crate::mem::{IMAGE_OFFSET, PAGE, phys};
use crate::partition::Partition;
use crate::sync::SpinLock;
use crate::vp::{Activity, GONE, Mtrrs, State, Vp};
use crate::{run, sched};
use arch_x86::vcpu::{PermissionMaps, Vcpu};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hvdef::HvStatus;
use lapic::Apic;

/// Every port and every MSR of a child exits.
static MAPS: SpinLock<PermissionMaps> = SpinLock::new(PermissionMaps::open());
static MAPS_CLOSED: AtomicBool = AtomicBool::new(false);
/// Which LP the next VP goes to.
static NEXT_LP: AtomicU32 = AtomicU32::new(0);

/// Pages of a VP: itself, its VMCB, its floating-point and vector state.
const PAGES: usize = 3;

fn maps() -> u64 {
    let mut maps = MAPS.lock();
    if !MAPS_CLOSED.swap(true, Ordering::Relaxed) {
        maps.close();
        // FS and GS base change all the time, and VMLOAD brings the right ones.
        [0xC000_0100, 0xC000_0101].into_iter().for_each(|index| maps.set_msr(index, false, false));
    }
    &raw const *maps as u64 - IMAGE_OFFSET
}

/// Makes VP `index` of a child.
pub fn create(partition: &Partition, index: u32) -> Result<(), HvStatus> {
    const { assert!(size_of::<Vp>() <= PAGE as usize) };
    if partition.vp(index).is_some() {
        return Err(HvStatus::INVALID_VP_INDEX);
    }
    let slat = partition.slat().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
    let vps = partition.vp_count().max(index.saturating_add(1));
    if !scheduling::can_reserve(partition, partition.share.reserve().0.into(), vps) {
        return Err(HvStatus::NO_RESOURCES);
    }
    let pages = take_pages(partition)?;
    let give_up = |status| {
        pages.iter().for_each(|&page| partition.pool.lock().put(page));
        status
    };
    let number = intercepts::reserve_number().ok_or_else(|| give_up(HvStatus::NO_RESOURCES))?;
    let [own, vmcb, extended] = pages;
    let lp = lp::get(NEXT_LP.fetch_add(1, Ordering::Relaxed) % lp::count())
        .ok_or(HvStatus::NO_RESOURCES)?;
    // SAFETY: a zeroed page of the child's pool, which the parent cannot reach; the maps live in the image.
    let mut vcpu = unsafe { Vcpu::new(phys::pointer(vmcb), vmcb, maps(), slat.root()) };
    vcpu.confine(&boot::FACTS.get().capabilities);
    let state = State {
        vcpu,
        apic: Apic::new(index, index == 0, partition.x2apic),
        activity: if index == 0 { Activity::Running } else { Activity::WaitForStartup },
        nmi_pending: false,
        assist_msr: 0,
        assist_page: 0,
        eoi_skippable: false,
        xcr0: 1,
        reevaluate: false,
        on_lp: false,
        extended,
        breakpoints: [0; 4],
        tsc_aux: 0,
        mtrrs: Mtrrs::new(),
        ended_level: 0,
        code: CodePages::new(),
        synic: VpSynic::for_child(),
    };
    // SAFETY: the partition outlives its VPs: it is deleted only after it was finalized, which ends them.
    let partition: &'static Partition = unsafe { &*core::ptr::from_ref(partition) };
    let memory = phys::pointer(own).cast::<Vp>();
    // SAFETY: a page of our own, large and aligned enough.
    let vp: &'static Vp = unsafe {
        let entity = sched::entity(lp, Some(number));
        memory.write(Vp::new(partition, entity, index, index, number, state));
        &*memory
    };
    {
        let mut state = vp.stop();
        state.synic.attach(vp);
        if let Some(mut area) = xsave_area::Area::new(state.extended_area()) {
            area.reset();
        }
    }
    intercepts::publish(vp);
    if !partition.place_vp(index, vp) {
        intercepts::retract(number);
        return Err(give_up(HvStatus::NO_RESOURCES));
    }
    if partition.vps_per_socket.load(Ordering::Relaxed) == 0 {
        // All VPs are in one socket, and there is one more of them.
        partition.cpuid.recompose(partition);
    }
    Ok(())
}

fn take_pages(partition: &Partition) -> Result<[u64; PAGES], HvStatus> {
    let mut pool = partition.pool.lock();
    let mut pages = [0; PAGES];
    for index in 0..PAGES {
        let Some(page) = pool.get() else {
            pages.into_iter().take(index).for_each(|page| pool.put(page));
            return Err(HvStatus::INSUFFICIENT_MEMORY);
        };
        phys::zero(page, PAGE);
        if let Some(slot) = pages.get_mut(index) {
            *slot = page;
        }
    }
    Ok(pages)
}

/// Ends a VP: it leaves its LP, every queue forgets it, and its pages go back to the pool.
///
/// INVALID_VP_INDEX: somebody else is ending it.
pub fn destroy(
    call: &Call,
    state: &mut State,
    partition: &Partition,
    vp: &'static Vp,
) -> Result<(), HvStatus> {
    if !take_out(partition, vp) {
        return Err(HvStatus::INVALID_VP_INDEX);
    }
    run::quiesce(call.lp, call.vp, state);
    give_back(call, state, partition, vp);
    Ok(())
}

/// VPs that end together.
const BATCH: usize = 32;

/// Ends all VPs of a partition in which none is made any more.
pub fn destroy_all(call: &Call, state: &mut State, partition: &Partition) {
    // Calls that found the partition active are over after this.
    run::quiesce(call.lp, call.vp, state);
    loop {
        let mut batch = [None; BATCH];
        let ours = partition.vps().filter(|vp| take_out(partition, vp));
        batch.iter_mut().zip(ours).for_each(|(slot, vp)| *slot = Some(vp));
        if batch.iter().all(Option::is_none) {
            return;
        }
        run::quiesce(call.lp, call.vp, state);
        batch.into_iter().flatten().for_each(|vp| give_back(call, state, partition, vp));
    }
}

/// Takes a VP from its partition and from the scheduler, for good. `false` if somebody else did.
///
/// Who found it before may still be at it, and wake it once more.
fn take_out(partition: &Partition, vp: &'static Vp) -> bool {
    if !partition.remove_vp(vp) {
        return false;
    }
    vp.suspend(GONE);
    drop(vp.stop());
    sched::remove(vp);
    // It raises no intercept any more. An LP that is just telling the parent of one is done before its page is given up.
    lp::all().for_each(|lp| _ = lp.root_queue.discard_intercept(vp.number as usize));
    true
}

/// Gives back the pages of a VP that nobody can find, after all LPs have been in their run loops.
fn give_back(call: &Call, state: &mut State, partition: &Partition, vp: &'static Vp) {
    sched::remove(vp);
    let lent = [&vp.register_page, &vp.intercept_page].map(|page| page.swap(0, Ordering::Relaxed));
    take_back_pages(call, state, partition, lent);
    let owned = vp.stop();
    intercepts::retract(vp.number);
    let [messages, events] = owned.synic.spare_pages();
    let pages = [
        messages,
        events,
        core::ptr::from_ref(vp) as u64 - phys::DIRECT,
        owned.vcpu.control_page(),
        owned.extended,
        vp.cpuid_results.load(Ordering::Relaxed),
    ];
    // The guard would touch the VP after its page is gone.
    core::mem::forget(owned);
    pages.into_iter().filter(|&page| page != 0).for_each(|page| partition.pool.lock().put(page));
}
