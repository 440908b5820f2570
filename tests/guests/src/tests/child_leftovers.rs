//! What a parent leaves in a child, or puts into it while it ends, does not keep one page of it.

use super::children::{DEPOSIT, create, deposit, fast, state_page, withdraw};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::cpu::peek;
use guests::hypercall::{SELF, with_input};
use guests::report::Checks;
use guests::{check, equal, memory, smp};
use hvdef::hypercall::synic::PortType;
use hvdef::{HvStatus, HypercallCode as C};

/// Children that end while another processor puts things into them.
const RACES: u64 = 40;
/// Limit for that processor to end, in milliseconds.
const LIMIT: u64 = 60_000;
/// Id of every port and connection here.
const ID: u64 = 7;
/// SINT of the parent's that doorbells ring.
const DOORBELL_SINT: u64 = 5;

static OVER: AtomicBool = AtomicBool::new(false);
static DONE: AtomicU64 = AtomicU64::new(0);

/// All of it.
pub fn run(t: &Checks) {
    let pages = memory::pages(DEPOSIT);
    // For a partition, and the table of the parent's doorbells.
    equal!(t, deposit(SELF, memory::pages(2), 2).status(), HvStatus::SUCCESS, "deposit");
    never_initialized(t, pages);
    left_in_use(t, pages);
    if smp::count() > 1 {
        for round in 0..RACES {
            filled_while_it_ends(t, pages, round);
        }
        check!(t, DONE.load(Ordering::SeqCst) != 0, "nothing was put into a child while it ended");
    }
}

/// An event port of `owner`, which `connector` may connect to.
fn event_port(owner: u64, connector: u64) -> HvStatus {
    let kind = u64::from(PortType::EVENT.0);
    let input = [owner, ID, connector, kind, 2, 1 << 16, 0];
    with_input(C::CREATE_PORT.0.into(), &input).status()
}

/// A doorbell of the parent's for `connector`, and the connection to it.
fn doorbell(connector: u64) -> (HvStatus, HvStatus) {
    let kind = u64::from(PortType::DOORBELL.0);
    let input = [SELF, ID, connector, kind, DOORBELL_SINT, 0, 0];
    let port = with_input(C::CREATE_PORT.0.into(), &input).status();
    let input = [connector, ID, SELF, ID, kind, 0x5000, 0, 0, 0];
    (port, with_input(C::CONNECT_PORT.0.into(), &input).status())
}

fn delete_doorbell() -> HvStatus {
    with_input(C::DELETE_PORT.0.into(), &[SELF, ID, 0]).status()
}

fn make_vp(id: u64) -> HvStatus {
    with_input(C::CREATE_VP.0.into(), &[id, 0, 0, 0, 0]).status()
}

/// Ports and connections are for partitions that will be finalized.
fn never_initialized(t: &Checks, pages: u64) {
    let Some(id) = create(t) else { return };
    equal!(t, deposit(id, pages, DEPOSIT).status(), HvStatus::SUCCESS, "deposit");
    let refused = HvStatus::INVALID_PARTITION_STATE;
    equal!(t, event_port(id, SELF), refused, "a port of a partition without memory");
    equal!(t, doorbell(id), (refused, refused), "a doorbell for a partition without memory");
    withdraw(t, id, pages);
    equal!(t, fast(C::DELETE_PARTITION, id).status(), HvStatus::SUCCESS, "delete");
}

/// A VP ends with its state pages mapped, then another with its partition, which has ports and connections.
fn left_in_use(t: &Checks, pages: u64) {
    let Some(id) = create(t) else { return };
    equal!(t, deposit(id, pages, DEPOSIT).status(), HvStatus::SUCCESS, "deposit");
    equal!(t, fast(C::INITIALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "initialize");
    equal!(t, make_vp(id), HvStatus::SUCCESS, "VP");
    let both = [0, 1].map(|kind| state_page(t, id, kind));
    both.iter().for_each(|&page| _ = peek(page));
    let again = with_input(C::MAP_VP_STATE_PAGE.0.into(), &[id, 0, 0]).status();
    equal!(t, again, HvStatus::OBJECT_IN_USE, "a state page, twice");
    let ended = with_input(C::DELETE_VP.0.into(), &[id, 0]).status();
    equal!(t, ended, HvStatus::SUCCESS, "end of the VP");
    equal!(t, make_vp(id), HvStatus::SUCCESS, "another VP");
    let _ = [0, 1].map(|kind| state_page(t, id, kind));
    equal!(t, event_port(id, SELF), HvStatus::SUCCESS, "its port");
    equal!(t, doorbell(id), (HvStatus::SUCCESS, HvStatus::SUCCESS), "doorbell");
    equal!(t, fast(C::FINALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "finalize");
    equal!(t, delete_doorbell(), HvStatus::SUCCESS, "end of the doorbell");
    let refused = HvStatus::INVALID_PARTITION_STATE;
    equal!(t, event_port(id, SELF), refused, "a port of a finalized partition");
    equal!(t, doorbell(id), (refused, refused), "a doorbell for a finalized partition");
    withdraw(t, id, pages);
    equal!(t, fast(C::DELETE_PARTITION, id).status(), HvStatus::SUCCESS, "delete");
}

/// A partition is finalized while another processor puts everything into it that takes a page.
fn filled_while_it_ends(t: &Checks, pages: u64, round: u64) {
    let Some(id) = create(t) else { return };
    equal!(t, deposit(id, pages, DEPOSIT).status(), HvStatus::SUCCESS, "deposit");
    equal!(t, fast(C::INITIALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "initialize");
    equal!(t, make_vp(id), HvStatus::SUCCESS, "VP");
    OVER.store(false, Ordering::SeqCst);
    smp::begin(1, fill_until_over, id);
    // Each round ends at another moment of what the other one does.
    guests::clock::delay_us(200 + 37 * round);
    equal!(t, fast(C::FINALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "finalize");
    withdraw(t, id, pages);
    OVER.store(true, Ordering::SeqCst);
    equal!(t, smp::finish(1, LIMIT), Ok(()), "the processor that fills");
    equal!(t, fast(C::DELETE_PARTITION, id).status(), HvStatus::SUCCESS, "round {round}: delete");
    let _ = delete_doorbell();
}

/// What the other processor does.
fn fill_until_over(id: u64) {
    while !OVER.load(Ordering::SeqCst) {
        let mapped = with_input(C::MAP_VP_STATE_PAGE.0.into(), &[id, 0, 0]).status();
        let made = [mapped, event_port(id, SELF), doorbell(id).1];
        let done = made.iter().filter(|status| **status == HvStatus::SUCCESS).count();
        DONE.fetch_add(done as u64, Ordering::SeqCst);
        // Emptied tables take pages anew.
        let _ = with_input(C::DELETE_PORT.0.into(), &[id, ID, 0]);
        let _ = with_input(C::DISCONNECT_PORT.0.into(), &[id, ID]);
        let _ = delete_doorbell();
        let _ = with_input(C::UNMAP_VP_STATE_PAGE.0.into(), &[id, 0]);
    }
}
