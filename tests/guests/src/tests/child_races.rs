//! Hypercalls and children that wait for each other in the hypervisor, and must not for ever.

use super::children::{DEPOSIT, create, deposit, fast, withdraw};
use super::sched_child::{Child, Work};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::hypercall::{Answer, with_input};
use guests::report::Checks;
use guests::{check, equal, memory, smp};
use hvdef::hypercall::intercept::{
    CpuidInterceptResult, InterceptType, MaskedValue, RegisterInterceptResult,
};
use hvdef::{HvStatus, HypercallCode as C, PartitionId, VpIndex};
use zerocopy::IntoBytes;

/// Children that come and go, and VPs of each that do.
const CHILDREN: u32 = 4;
const VPS: u32 = 50;
/// For how long, in milliseconds, the deleting processor may still be at its last call.
const LIMIT: u64 = 60_000;

static OVER: AtomicBool = AtomicBool::new(false);
static REFUSED: AtomicU64 = AtomicU64::new(0);
static OTHER: AtomicU64 = AtomicU64::new(0);

/// Rounds of the child whose CPUID changes, and changes at most.
const ROUNDS: u64 = 1000;
const CHANGES: u32 = 1_000_000;

/// All of it.
pub fn run(t: &Checks) {
    let pages = memory::pages(DEPOSIT);
    for _ in 0..CHILDREN {
        life(t, pages);
    }
    cpuid_changes(t);
}

/// CPUID changes, for which a child's VP has to leave its LP, while that VP changes the second-level tables.
fn cpuid_changes(t: &Checks) {
    let Some(child) = Child::new(t, Work::MovePage) else { return };
    child.start(t);
    for value in (0..CHANGES).take_while(|_| child.progress().rounds < ROUNDS) {
        equal!(t, register(child.id(), value).status(), HvStatus::SUCCESS, "result {value}");
    }
    let rounds = child.progress().rounds;
    check!(t, rounds >= ROUNDS, "the child did only {rounds} rounds meanwhile");
    child.stop(t);
    child.end(t);
}

/// Registers a result of leaf 1 for all VPs.
fn register(id: u64, value: u32) -> Answer {
    let nothing = MaskedValue { value: 0, mask: 0 };
    let result = CpuidInterceptResult {
        eax: 1,
        ecx: 0,
        subleaf_specific: 0,
        always_override: 1,
        padding: 0,
        registers: [MaskedValue { value, mask: u32::MAX }, nothing, nothing, nothing],
    };
    let mut parameters = [0; 44];
    parameters.copy_from_slice(result.as_bytes());
    let input = RegisterInterceptResult {
        partition_id: PartitionId(id),
        vp_index: VpIndex::ANY,
        intercept_type: InterceptType::X64_CPUID,
        parameters,
    };
    let mut words = [0u64; 8];
    words.as_mut_bytes()[..size_of_val(&input)].copy_from_slice(input.as_bytes());
    with_input(C::REGISTER_INTERCEPT_RESULT.0.into(), &words)
}

/// One processor takes a child apart while another tries to delete it all the time.
fn life(t: &Checks, pages: u64) {
    let Some(id) = create(t) else { return };
    equal!(t, deposit(id, pages, DEPOSIT).status(), HvStatus::SUCCESS, "deposit");
    equal!(t, fast(C::INITIALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "initialize");
    OVER.store(false, Ordering::SeqCst);
    REFUSED.store(0, Ordering::SeqCst);
    smp::begin(1, delete_until_over, id);
    for round in 0..VPS {
        let made = with_input(C::CREATE_VP.0.into(), &[id, 0, 0, 0, 0]).status();
        equal!(t, made, HvStatus::SUCCESS, "VP {round}");
        let ended = with_input(C::DELETE_VP.0.into(), &[id, 0]).status();
        equal!(t, ended, HvStatus::SUCCESS, "end of VP {round}");
    }
    equal!(t, fast(C::FINALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "finalize");
    OVER.store(true, Ordering::SeqCst);
    equal!(t, smp::finish(1, LIMIT), Ok(()), "the processor that deletes");
    check!(t, REFUSED.load(Ordering::SeqCst) != 0, "nobody tried to delete it meanwhile");
    equal!(t, OTHER.load(Ordering::SeqCst), 0, "answers that are not INVALID_PARTITION_STATE");
    withdraw(t, id, pages);
    equal!(t, fast(C::DELETE_PARTITION, id).status(), HvStatus::SUCCESS, "delete");
}

/// What the other processor does. Each call is refused: the partition is active, or has pages yet.
fn delete_until_over(id: u64) {
    while !OVER.load(Ordering::SeqCst) {
        match fast(C::DELETE_PARTITION, id).status() {
            HvStatus::INVALID_PARTITION_STATE => REFUSED.fetch_add(1, Ordering::SeqCst),
            _ => OTHER.fetch_add(1, Ordering::SeqCst),
        };
    }
}
