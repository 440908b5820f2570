//! VPs of children: making them, sharing their state pages, their registers, their interrupts.

use super::{Call, registers, tlb};
use crate::children;
use crate::deposits;
use crate::exit::deliver_to_child;
use crate::intercepts;
use crate::mem::{PAGE, phys};
use crate::partition::{Partition, ROOT};
use crate::vp::{EXPLICIT, INTERCEPT, State, Vp};
use crate::vps;
use core::sync::atomic::{AtomicU64, Ordering};
use hvdef::hypercall::interrupt::{AssertVirtualInterrupt, InterruptType};
use hvdef::hypercall::vp as abi;
use hvdef::register::RegisterName;
use hvdef::vp::VpStatePageType;
use hvdef::{Gpn, HvStatus, PartitionId, VpIndex};
use hypercall::Outcome;
use lapic::{DeliveryMode, Destination};

/// A VP of a child, and the child, which stays as long as the first is used.
pub fn find(id: PartitionId, index: VpIndex) -> Result<(children::InUse, &'static Vp), HvStatus> {
    let partition = children::find_child(id)?;
    let vp = partition.vp(index.0).ok_or(HvStatus::INVALID_VP_INDEX)?;
    Ok((partition, vp))
}

/// CREATE_VP.
pub fn create(call: &Call) -> Outcome {
    Outcome::from(call.input::<abi::CreateVp>().and_then(|input| {
        let partition = children::find_child(input.partition_id)?;
        vps::create(&partition, input.vp_index.0)
    }))
}

/// DELETE_VP.
pub fn delete(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(call.input::<abi::DeleteVp>().and_then(|input| {
        let (partition, vp) = find(input.partition_id, input.vp_index)?;
        vps::destroy(call, state, &partition, vp)
    }))
}

/// Where a VP keeps the address of a state page.
fn page_slot(vp: &Vp, kind: VpStatePageType) -> Result<&AtomicU64, HvStatus> {
    match kind {
        VpStatePageType::REGISTERS => Ok(&vp.register_page),
        VpStatePageType::INTERCEPT_MESSAGE => Ok(&vp.intercept_page),
        _ => Err(HvStatus::INVALID_PARAMETER),
    }
}

/// MAP_VP_STATE_PAGE: a page of the child's pool, lent to the parent.
pub fn map_state_page(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(call.input::<abi::MapVpStatePage>().and_then(|input| {
        let (partition, vp) = find(input.partition_id, input.vp_index)?;
        let slot = page_slot(vp, input.page_type)?;
        if slot.load(Ordering::Relaxed) != 0 {
            return Err(HvStatus::OBJECT_IN_USE);
        }
        let page = partition.pool.lock().get().ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
        phys::zero(page, PAGE);
        let lent = deposits::lend(ROOT.get(), page);
        let done = lent.and_then(|()| {
            call.output(&abi::MapVpStatePageOutput { map_location: Gpn(page / PAGE) })?;
            // Another call may have been as far.
            slot.compare_exchange(0, page, Ordering::Relaxed, Ordering::Relaxed)
                .map_err(|_| HvStatus::OBJECT_IN_USE)
        });
        if let Err(status) = done {
            take_back_pages(call, state, &partition, [page]);
            return Err(status);
        }
        if input.page_type == VpStatePageType::REGISTERS {
            intercepts::refresh_register_page(vp, &mut vp.stop());
        }
        Ok(())
    }))
}

/// UNMAP_VP_STATE_PAGE.
pub fn unmap_state_page(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(call.input::<abi::UnmapVpStatePage>().and_then(|input| {
        let (partition, vp) = find(input.partition_id, input.vp_index)?;
        let slot = page_slot(vp, input.page_type)?;
        let page = {
            // Nobody writes to the page while the VP is stopped.
            let _stopped = vp.stop();
            slot.swap(0, Ordering::Relaxed)
        };
        if page == 0 {
            return Err(HvStatus::NOT_FOUND);
        }
        take_back_pages(call, state, &partition, [page]);
        Ok(())
    }))
}

/// Ends that the parent can use pages of a child's pool, and puts them there. Zeros are no pages.
pub fn take_back_pages<const N: usize>(
    call: &Call,
    state: &mut State,
    partition: &Partition,
    pages: [u64; N],
) {
    let hidden = pages.map(|page| page != 0 && deposits::hide(ROOT.get(), page).is_ok());
    if hidden.contains(&true) {
        tlb::flush_all(call, state);
        let mut pool = partition.pool.lock();
        pages
            .iter()
            .zip(hidden)
            .filter(|(_, hidden)| *hidden)
            .for_each(|(&page, _)| pool.put(page));
    }
}

/// GET_VP_REGISTERS.
pub fn get_registers(call: &Call) -> Outcome {
    with_vp(call, |vp, rep| {
        let name: RegisterName = call.rep(rep)?;
        let value = match name {
            RegisterName::EXPLICIT_SUSPEND => u64::from(vp.suspended() & EXPLICIT != 0).into(),
            RegisterName::INTERCEPT_SUSPEND => u64::from(vp.suspended() & INTERCEPT != 0).into(),
            _ => registers::get(vp, &mut intercepts::stop(vp), name)?,
        };
        call.output_rep(rep, &value)
    })
}

/// SET_VP_REGISTERS.
pub fn set_registers(call: &Call) -> Outcome {
    with_vp(call, |vp, rep| {
        let element: abi::RegisterAssoc = call.rep(rep)?;
        let on = element.value.low & 1 != 0;
        match element.name {
            RegisterName::EXPLICIT_SUSPEND if on => suspend(vp, EXPLICIT),
            RegisterName::EXPLICIT_SUSPEND => resume(vp, EXPLICIT),
            RegisterName::INTERCEPT_SUSPEND if on => suspend(vp, INTERCEPT),
            RegisterName::INTERCEPT_SUSPEND => resume(vp, INTERCEPT),
            name => {
                let mut state = intercepts::stop(vp);
                registers::set(vp, &mut state, name, element.value)?;
                intercepts::refresh_register_page(vp, &mut state);
            }
        }
        Ok(())
    })
}

/// Suspends a VP. When this returns it has left its LP, and takes no intercept any more.
fn suspend(vp: &Vp, reason: u32) {
    let was_running = vp.suspended() == 0;
    vp.suspend(reason);
    let mut state = vp.stop();
    // An intercept that came first has filled the page, and the parent may have written to it already.
    if was_running && vp.suspended() & !reason == 0 {
        intercepts::refresh_register_page(vp, &mut state);
    }
}

/// Takes a reason to be suspended away, and in what the parent wrote to the register page.
fn resume(vp: &Vp, reason: u32) {
    if vp.suspended() != 0 {
        drop(intercepts::stop(vp));
    }
    vp.resume(reason);
}

/// Does one element after the other for the VP that the call names.
fn with_vp(call: &Call, action: impl Fn(&'static Vp, u16) -> Result<(), HvStatus>) -> Outcome {
    let found =
        call.input::<abi::VpRegisters>().and_then(|input| find(input.partition_id, input.vp_index));
    let (_partition, vp) = match found {
        Ok(found) => found,
        Err(status) => return Outcome::failed(status),
    };
    for rep in call.reps() {
        if let Err(status) = action(vp, rep) {
            return Outcome::Failed { status, reps: rep };
        }
    }
    Outcome::Done { reps: call.reps().end }
}

/// ASSERT_VIRTUAL_INTERRUPT.
pub fn assert_interrupt(call: &Call) -> Outcome {
    Outcome::from(call.input::<AssertVirtualInterrupt>().and_then(|input| {
        let partition = children::find_child(input.partition_id)?;
        let vector = u8::try_from(input.vector).map_err(|_| HvStatus::INVALID_PARAMETER)?;
        let mode = match input.control.kind() {
            InterruptType::FIXED => DeliveryMode::Fixed,
            InterruptType::LOWEST_PRIORITY => DeliveryMode::LowestPriority,
            InterruptType::NMI => DeliveryMode::Nmi,
            InterruptType::INIT => DeliveryMode::Init,
            InterruptType::SIPI => DeliveryMode::Sipi,
            InterruptType::EXT_INT => return assert_ext_int(&partition, vector),
            _ => return Err(HvStatus::INVALID_PARAMETER),
        };
        let destination =
            u8::try_from(input.destination).map_err(|_| HvStatus::INVALID_PARAMETER)?;
        let destination = Destination::from_xapic(destination, input.control.logical_destination());
        for vp in partition.vps().filter(|vp| vp.address().matches(destination)) {
            deliver_to_child(vp, mode, vector, input.control.level_triggered());
            if mode == DeliveryMode::LowestPriority {
                break;
            }
        }
        Ok(())
    }))
}

/// An interrupt of the legacy controller, for the VP that boots: it goes past the APIC.
fn assert_ext_int(partition: &Partition, vector: u8) -> Result<(), HvStatus> {
    let vp = partition.vp(0).ok_or(HvStatus::INVALID_VP_INDEX)?;
    vp.ext_int.store(1 << 8 | u32::from(vector), Ordering::Release);
    vp.reconsider();
    Ok(())
}

/// CLEAR_VIRTUAL_INTERRUPT: takes back what was asserted and not delivered.
pub fn clear_interrupt(call: &Call) -> Outcome {
    Outcome::from(call.input::<PartitionId>().and_then(|id| {
        let partition = children::find_child(id)?;
        let vp = partition.vp(0).ok_or(HvStatus::INVALID_VP_INDEX)?;
        vp.ext_int.store(0, Ordering::Release);
        Ok(())
    }))
}
