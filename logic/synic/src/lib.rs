//! The synthetic interrupt controller (SynIC) of one VP, its synthetic timers, and reference time, as pure logic.
//!
//! One set of types for root and children. MSR writes answer with an effect; pages shared with the guest are reached
//! through small traits which the hypervisor implements with atomics on the page; time arrives as a parameter.
//!
//! ```text
//!  Stimers --expire--> Direct vector ------------------------------> APIC
//!     '--------------> message --.
//!  RootQueue, MessageQueue ------+--> slot n of the SIM page --Synic::signal(n)--> APIC vector
//!  signal_event ---------------------> flag in the SIEF page --Synic::signal(n)--> APIC vector
//!  EventRing (doorbells) ------------> ring n of the SIRB page --> RootQueue: SYNIC_SINT_INTERCEPT
//! ```
//!
//! What must always hold:
//! * a slot is written only while its message type is 0, the type last; what waits behind it makes the slot's pending
//!   flag be set, so that the guest writes EOM and delivery goes on;
//! * who stores into one slot, or one ring, is serialized by the caller (a lock per VP, or the LP the VP runs on); the
//!   guest is the only other party;
//! * nothing a guest or a VMM writes panics, and nothing here allocates: what waits is bits and fixed arrays.
//!
//! Register numbers and formats are those of `hvdef::msr`.
//!
//! Sources: TLFS chapters 11 (inter-partition communication, SynIC) and 12 (timers), `include/hyperv/hvgdk_mini.h`.
#![no_std]
#![forbid(unsafe_code)]

mod event_flags;
mod event_ring;
mod message;
mod partition_time;
mod pending_set;
pub mod reftime;
mod registers;
mod root_queue;
pub mod scale;
mod sint;
mod stimer;
mod stimer_state;

pub use event_flags::{EventSignal, FlagPage, signal_event};
pub use event_ring::{EventRing, Overflow, RingPage};
pub use message::{MessageQueue, MessageSlot, QueueFull, post};
pub use partition_time::PartitionTime;
pub use pending_set::PendingSet;
pub use registers::{Effect, Gp, Page, Synic};
pub use root_queue::{RootMessage, RootQueue};
pub use sint::{Blocked, Signal};
pub use stimer::{Actions, MAX_CATCH_UP, MIN_PERIOD, Stimers, TimerAction};
pub use stimer_state::STIMER_STATE_WORDS;
