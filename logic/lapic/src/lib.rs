//! The virtual local APIC of one VP, as pure logic.
//!
//! One [`Apic`] per VP, root and child alike. Guests reach it by MMIO (xAPIC), by MSRs (x2APIC) or through the
//! Hyper-V MSRs EOI, ICR and TPR; the hypervisor reaches it through [`Apic::accept`], [`Apic::pending`],
//! [`Apic::ack`] and [`Apic::eoi`]. Nothing here touches hardware: writes answer with an [`Effect`] that the
//! hypervisor carries out, and time arrives as a parameter.
//!
//! ```text
//!  device, IPI, timer, SINT --accept--> IRR --pending (above PPR)--> ack --> ISR --eoi--> EoiResult
//! ```
//!
//! What always holds:
//! * IRR, ISR and TMR never contain a vector below 16;
//! * the cached highest in-service vector equals the highest bit of the ISR;
//! * a disabled APIC (APIC_BASE bit 11 clear) holds no vector at all;
//! * no input of a guest or of a VMM panics.
//!
//! Decisions:
//! * The MMIO page stays at 0xFEE0_0000: moving it is refused with #GP (no known guest does it).
//! * The APIC id is read-only, as on current processors. There is no CMCI entry and no suppression of EOI
//!   broadcasts; the version register says so.
//! * Time is the guest's TSC clock; the timer's input clock is that clock shifted right by
//!   [`Apic::with_clock_shift`], so APIC_FREQUENCY = clock / 2^shift. TSC deadlines are in unshifted ticks.
//! * Periods of the timer that pass unseen coalesce into one interrupt; the next one stays on the original grid.
//! * IPIs are edge-triggered whatever the ICR's trigger mode says (as since the Pentium 4).
//!
//! Sources: Intel SDM volume 3 chapter 12, AMD APM volume 2 chapter 16, TLFS chapters 10 and 11.
#![no_std]
#![forbid(unsafe_code)]

mod access;
mod address;
mod apic;
mod base;
mod deliver;
mod icr;
mod lvt;
mod priority;
mod regs;
mod state;
#[cfg(test)]
mod tests;
mod timer;
mod vector_set;

pub use address::Address;
pub use apic::{Apic, Effect, EoiResult, Gp, Mode, ResetKind};
pub use deliver::{Delivery, LowestPriority};
pub use icr::{DeliveryMode, Destination, Ipi, Shorthand};
pub use lvt::Lvt;
pub use regs::{APIC_BASE_ADDRESS, msr};
pub use state::STATE_WORDS;
pub use vector_set::VectorSet;
