//! Memory that the parent gives to the hypervisor, and takes back.
//!
//! Only the parent's own pool so far: its pages become statistics pages. The list of pages is the hypervisor's own
//! memory; what is on the pages is never trusted.

use super::Call;
use super::interrupt::own_partition;
use crate::mem::PAGE;
use crate::sync::SpinLock;
use hvdef::HvStatus;
use hvdef::hypercall::memory::{DepositMemory, WithdrawMemory};
use hypercall::Outcome;

/// Most pages the parent's pool holds.
const POOL_MAX: usize = 2048;

struct Pool {
    pages: [u64; POOL_MAX],
    count: usize,
    /// Pages deposited and not withdrawn, in use or not.
    owned: usize,
}

static POOL: SpinLock<Pool> = SpinLock::new(Pool { pages: [0; POOL_MAX], count: 0, owned: 0 });

/// Pages the parent has deposited for itself and not withdrawn.
pub fn root_deposited() -> usize {
    POOL.lock().owned
}

/// Takes a page of the parent's pool.
pub fn take_page() -> Option<u64> {
    let mut pool = POOL.lock();
    pool.count = pool.count.checked_sub(1)?;
    pool.pages.get(pool.count).copied()
}

/// Puts a page taken by [`take_page`] back.
pub fn return_page(page: u64) {
    let mut pool = POOL.lock();
    let count = pool.count;
    if let Some(slot) = pool.pages.get_mut(count) {
        *slot = page;
        pool.count += 1;
    }
}

/// DEPOSIT_MEMORY: all pages of the call, or none.
pub fn deposit(call: &Call) -> Outcome {
    match try_deposit(call) {
        Ok(()) => Outcome::Done { reps: call.reps().end },
        Err(status) => Outcome::failed(status),
    }
}

fn try_deposit(call: &Call) -> Result<(), HvStatus> {
    let input: DepositMemory = call.input()?;
    let partition = own_partition(call, input.partition_id)?;
    let mut pool = POOL.lock();
    let start = pool.count;
    let reps = call.reps();
    if pool.owned + reps.len() > POOL_MAX {
        return Err(HvStatus::NO_RESOURCES);
    }
    for (offset, rep) in reps.clone().enumerate() {
        let page: u64 = call.rep(rep)?;
        let address = page.checked_mul(PAGE).ok_or(HvStatus::INVALID_PARAMETER)?;
        let known = pool.pages.get(..start + offset).is_some_and(|pages| pages.contains(&address));
        // RAM of the caller, given once: the check of the last byte is the check of the page.
        let readable = partition.read(address, &mut [0; 1]).is_ok();
        if known || !readable {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        if let Some(slot) = pool.pages.get_mut(start + offset) {
            *slot = address;
        }
    }
    // Only now they are ours: an error above left the count as it was.
    pool.count = start + reps.len();
    pool.owned += reps.len();
    Ok(())
}

/// WITHDRAW_MEMORY: as many unused pages as were asked for; NO_RESOURCES when they run out.
pub fn withdraw(call: &Call) -> Outcome {
    let partition =
        call.input::<WithdrawMemory>().and_then(|input| own_partition(call, input.partition_id));
    if let Err(status) = partition {
        return Outcome::failed(status);
    }
    for rep in call.reps() {
        let Some(page) = take_page() else {
            return Outcome::Failed { status: HvStatus::NO_RESOURCES, reps: rep };
        };
        if let Err(status) = call.output_rep(rep, &(page / PAGE)) {
            return_page(page);
            return Outcome::Failed { status, reps: rep };
        }
        POOL.lock().owned -= 1;
    }
    Outcome::Done { reps: call.reps().end }
}
