//! DEPOSIT_MEMORY and WITHDRAW_MEMORY.

use super::{Call, tlb};
use crate::children;
use crate::deposits::{self, RETURNED, Returns};
use crate::mem::{PAGE, phys};
use crate::partition::{Partition, ROOT};
use crate::vp::State;
use hvdef::HvStatus;
use hvdef::hypercall::memory::{DepositMemory, WithdrawMemory};
use hypercall::Outcome;

/// Pages withdrawn in one go: each is zeroed, so that nothing of the hypervisor's leaves with it.
const WITHDRAW_BATCH: u16 = RETURNED as u16;

/// Pages the parent has deposited for itself and not withdrawn.
pub fn root_deposited() -> usize {
    ROOT.get().pool.lock().owned()
}

/// A zeroed page of the parent's pool, lent back to the parent.
pub fn take_lent_page(parent: &Partition) -> Result<u64, HvStatus> {
    let page = parent.pool.lock().get().ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
    phys::zero(page, PAGE);
    if let Err(status) = deposits::lend(parent, page) {
        parent.pool.lock().put(page);
        return Err(status);
    }
    Ok(page)
}

/// Takes a page back from the parent's use. It is free for another use when the parent cannot reach it any more.
pub fn return_lent_page(call: &Call, state: &mut State, page: u64) -> Result<(), HvStatus> {
    let parent = call.vp.partition;
    deposits::hide(parent, page)?;
    tlb::flush_all(call, state);
    parent.pool.lock().put(page);
    Ok(())
}

/// DEPOSIT_MEMORY: all pages of the call, or none.
pub fn deposit(call: &Call, state: &mut State) -> Outcome {
    match try_deposit(call, state) {
        Ok(()) => {
            // From here on nobody but the hypervisor reaches the pages.
            tlb::flush_all(call, state);
            Outcome::Done { reps: call.reps().end }
        }
        Err(status) => Outcome::failed(status),
    }
}

fn try_deposit(call: &Call, state: &mut State) -> Result<(), HvStatus> {
    let input: DepositMemory = call.input()?;
    let owner = children::find(input.partition_id)?;
    let parent = call.vp.partition;
    // The list is read once: what was taken is what is given, whatever another VP writes meanwhile.
    let mut pages = [0u64; MAX_PAGES];
    let reps = call.reps();
    let pages = pages.get_mut(..reps.len()).ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?;
    for (page, rep) in pages.iter_mut().zip(reps) {
        let number: u64 = call.rep(rep)?;
        *page = number.checked_mul(PAGE).ok_or(HvStatus::INVALID_PARAMETER)?;
    }
    for (index, &page) in pages.iter().enumerate() {
        if let Err(status) = deposits::take(parent, page) {
            drop(owner);
            give_back(call, state, pages.get(..index).unwrap_or_default());
            return Err(status);
        }
    }
    let mut pool = owner.pool.lock();
    pages.iter().for_each(|&page| pool.add(page));
    Ok(())
}

/// Returns pages that were taken a moment ago.
fn give_back(call: &Call, state: &mut State, pages: &[u64]) {
    for pages in pages.chunks(RETURNED) {
        let mut returns = Returns::new();
        pages.iter().for_each(|&page| _ = returns.give_back(call.vp.partition, page));
        end(call, state, returns);
    }
}

/// Makes leaves whole in which all pages are back. The caller uses no partition that could be deleted: who does that waits
/// for its users, and this waits for all LPs.
fn end(call: &Call, state: &mut State, mut returns: Returns) {
    if returns.fold(call.vp.partition) {
        tlb::flush_all(call, state);
    }
    returns.end();
}

/// Most pages of one call: a page of input less its header.
const MAX_PAGES: usize = 511;

/// WITHDRAW_MEMORY: as many unused pages as were asked for; NO_RESOURCES when they run out.
pub fn withdraw(call: &Call, state: &mut State) -> Outcome {
    let mut returns = Returns::new();
    let outcome = withdraw_some(call, &mut returns);
    end(call, state, returns);
    outcome
}

fn withdraw_some(call: &Call, returns: &mut Returns) -> Outcome {
    let owner =
        match call.input::<WithdrawMemory>().and_then(|input| children::find(input.partition_id)) {
            Ok(owner) => owner,
            Err(status) => return Outcome::failed(status),
        };
    let reps = call.reps();
    let end = reps.end.min(reps.start.saturating_add(WITHDRAW_BATCH));
    for rep in reps.start..end {
        if let Err(status) = withdraw_one(call, &owner, rep, returns) {
            return Outcome::Failed { status, reps: rep };
        }
    }
    Outcome::Continue { reps: end }
}

fn withdraw_one(
    call: &Call,
    owner: &Partition,
    rep: u16,
    returns: &mut Returns,
) -> Result<(), HvStatus> {
    let page = owner.pool.lock().remove().ok_or(HvStatus::NO_RESOURCES)?;
    phys::zero(page, PAGE);
    let done = call
        .output_rep(rep, &(page / PAGE))
        .and_then(|()| returns.give_back(call.vp.partition, page));
    if done.is_err() {
        owner.pool.lock().add(page);
    }
    done
}
