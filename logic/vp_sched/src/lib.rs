//! The classic scheduler (TLFS scheduler type 1): which VP runs on which LP, and until when, as pure logic.
//!
//! One [`RunQueue`] per LP, one [`Entity`] per VP, one [`Share`] per partition, and one [`Board`] on which the LPs tell
//! each other how busy they are. The functions of [`ops`] are the whole face towards the hypervisor: they take the
//! run queues through [`Queues`], which is where the locks are, and time as a parameter.
//!
//! ```text
//!   an LP's exit loop                      anybody who makes a VP runnable
//!   ops::reschedule ──> Decision           ops::wake ──> which LP to interrupt
//!        │ run `vp` until `until`,              │
//!        │ interrupt `nudge`                    └─ RunQueue::wake at home, or accept at an idle LP
//!        └─ RunQueue::give at a busier LP, accept here, pick
//!   ops::block (HLT, until a timer)        ops::remove (suspend, delete)
//! ```
//!
//! # Who goes first
//!
//! A runnable VP is in one class at a time; within a class the smallest *virtual time* goes first. Virtual time is time
//! run, divided by the VP's part of its partition's weight (the weight over the partition's runnable VPs), so that
//! partitions with something to do share the machine by weight, and the VPs of each share equally.
//!
//! | Class | Who |
//! |---|---|
//! | `High` | the parent's VPs, while their boost lasts |
//! | `Reserved` | VPs that have not had their reserve in this accounting period (10 ms) |
//! | `Fair` | everybody else |
//! | `Bound` | like `Fair`, competing with it on equal terms, but may not leave the LP |
//! | parked | VPs that have used up their limit of the period; they do not run at all |
//!
//! **The parent** is high priority because an interrupt it does not take is I/O that everybody waits for. A parent's VP
//! that wakes up preempts any child at once. It keeps that right for half of each period ([`params::BOOST`]); what it
//! runs beyond competes by its weight, and an interrupt that finds it waiting there brings it back to the front for
//! 200 µs, ten times per period. And a child's reserve stands above even that: when the reserves still owed on an LP
//! need all that is left of the period, they go before the parent. So a spinning parent takes what nobody reserved and
//! no more, and children with a reserve of everything leave the parent 5 % of the LP ([`params::RESERVABLE`]).
//!
//! **Reserve and limit** are fractions of one LP for each VP of the partition, in units of 1/65536. The limit is a
//! token bucket per VP that is filled once per period and may go into debt, so that overruns are paid back and the
//! average is exact.
//!
//! # Between LPs
//!
//! Virtual times of different LPs are comparable. An LP takes the neediest waiting VP of another LP when it is idle, or
//! when, once per period, it finds one that is further behind than its own by more than two slices; an LP on which VPs
//! wait too long interrupts an idle one. VPs that ran within the last 500 µs stay where their cache is. A VP that runs
//! without competition has its virtual time kept near the machine's ([`Board`]'s clock): what was free is not charged.
//!
//! # What must always hold
//!
//! * A VP is in at most one place: blocked, queued on, parked on or running on its home LP, or in transit to it.
//! * Everything here is bounded: O(log n) for queue operations; O(LPs) for balancing, which happens once per period, when
//!   an LP has nothing to do while VPs wait elsewhere, and when a VP finds its LP busy and others idle; 64 parked VPs
//!   looked at per call.
//! * An [`Entity`] is touched only under the lock of its home LP's queue. The exceptions, `home` and a share's numbers,
//!   are atomics in earnest. No two queue locks are ever held at once.
//! * A blocked VP that has a timer sleeps on its home LP, which wakes it; it may wake elsewhere only by [`ops::wake`].
//! * Nobody waits for a clock that does not tick: whenever a waiting VP depends on time, `until` says when to look again.
#![no_std]
#![forbid(unsafe_code)]

mod board;
mod budget;
mod class;
mod entity;
mod field;
mod heap;
mod list;
pub mod ops;
pub mod params;
mod pick;
mod queue;
mod share;
mod transfer;
mod vtime;

#[cfg(test)]
mod tests;

pub use board::{Board, LpNotice, Shared};
pub use entity::{Entity, Env, ShareRef, State, VpRef, Vps};
pub use ops::{Queues, Removed, Woken};
pub use queue::{Decision, RunQueue};
pub use share::{Fraction, Role, Share};
pub use vtime::VTime;
