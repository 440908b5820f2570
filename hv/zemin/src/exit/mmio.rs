//! The local APIC's register page, for a parent in xAPIC mode.

use crate::lp::Lp;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{Event, LpContext, NestedFault};

/// Handles an access to the page.
pub fn handle(lp: &'static Lp, _vp: &'static Vp, state: &mut State, _context: &LpContext, _fault: NestedFault) {
    super::inject(lp, state, Event::PROTECTION);
}
