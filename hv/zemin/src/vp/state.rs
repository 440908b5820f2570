//! What only the LP that runs a VP does with it: deciding what the guest gets next.

use super::{Activity, State, Vp};
use crate::lp::Lp;
use crate::mem::phys;
use arch_x86::vcpu::{Event, SystemReg};
use core::sync::atomic::{AtomicU64, Ordering};
use lapic::{Delivery, ResetKind};
use zemindef::counters::Counter;

impl State {
    /// INIT: registers and APIC start afresh, and the VP waits for a startup IPI.
    pub(super) fn reset(&mut self) {
        self.vcpu.reset();
        self.code.clear();
        self.apic.reset(ResetKind::Init);
        (self.activity, self.nmi_pending) = (Activity::WaitForStartup, false);
        (self.eoi_skippable, self.reevaluate) = (false, true);
        self.xcr0 = 1;
        self.set_xcr0(1);
    }

    /// Drops every translation of the guest before it runs again, the hypervisor's notes among them.
    pub fn flush_translations(&mut self) {
        self.vcpu.flush_translations();
        self.code.clear();
    }

    /// Whether an interrupt waits that could be delivered if the guest takes interrupts.
    pub fn has_interrupt(&self) -> bool {
        self.nmi_pending || self.apic.pending().is_some() || self.ext_int().is_some()
    }

    /// Time-stamp counter value at which the next of its timers is due, `u64::MAX` for none.
    pub fn next_deadline(&self) -> u64 {
        let apic = self.apic.timer_deadline().unwrap_or(u64::MAX);
        apic.min(self.next_synthetic_deadline())
    }

    /// Whether anything could make the VP run now.
    pub fn is_runnable(&self) -> bool {
        match self.activity {
            Activity::Running => true,
            Activity::Halted => {
                let nmi = self.nmi_pending && !self.vcpu.are_nmis_blocked();
                nmi || self.is_interruptible_by_pending()
            }
            Activity::Idle => self.is_woken_from_idle(),
            Activity::WaitForStartup | Activity::Dead => false,
        }
    }

    /// Whether anything waits, deliverable or not: whoever waits for a lock with the priority raised is woken as well. To wake
    /// too early is allowed.
    fn is_woken_from_idle(&self) -> bool {
        self.nmi_pending
            || !self.apic.irr().is_empty()
            || self.ext_int().is_some()
            || self.vcpu.has_event()
    }

    /// Whether an interrupt waits that the flags let in.
    fn is_interruptible_by_pending(&self) -> bool {
        self.vcpu.are_interrupts_open() && self.apic.pending().is_some()
    }

    /// Puts a waiting interrupt or NMI in front of the guest, or asks for the moment when that is possible.
    pub fn deliver_pending(&mut self, lp: &Lp) {
        self.reevaluate = false;
        if self.nmi_pending && self.deliver_nmi(lp) {
            return;
        }
        self.settle_skipped_eoi();
        let Some(vector) = self.apic.pending() else {
            self.vcpu.watch_priority(self.apic.is_held_by_priority());
            return self.deliver_ext_int(lp);
        };
        if !self.vcpu.can_take_interrupt() {
            self.vcpu.request_window(true);
            self.vcpu.watch_priority(true);
            return;
        }
        self.vcpu.request_window(false);
        if self.synic.is_auto_eoi(vector) {
            self.apic.ack_auto_eoi(vector);
        } else {
            self.apic.ack(vector);
        }
        self.vcpu.inject(Event::Interrupt(vector));
        lp.count(Counter::InjectedInterrupts);
        self.offer_to_skip_eoi();
        // Another one may wait behind it.
        let quiet = self.apic.is_quiet();
        let more = !quiet && self.apic.pending().is_some();
        self.vcpu.request_window(more);
        self.vcpu.watch_priority(more || !quiet && self.apic.is_held_by_priority());
        self.reevaluate = more;
    }

    /// Puts an NMI in front of the guest, or asks for the moment when that is possible. Whether nothing else may be
    /// delivered before that.
    fn deliver_nmi(&mut self, lp: &Lp) -> bool {
        if self.vcpu.can_take_nmi() {
            self.nmi_pending = false;
            self.vcpu.inject(Event::Nmi);
            lp.count(Counter::InjectedNmi);
            return false;
        }
        // Another event goes first.
        self.reevaluate = self.vcpu.has_event();
        self.vcpu.request_nmi_window()
    }

    /// Delivers an interrupt that does not go through the APIC. Behind those of the APIC, to keep their path short.
    fn deliver_ext_int(&mut self, lp: &Lp) {
        let Some((vp, vector)) = self.ext_int() else { return self.vcpu.request_window(false) };
        if !self.vcpu.can_take_interrupt() {
            return self.vcpu.request_window(true);
        }
        vp.ext_int.store(0, Ordering::Relaxed);
        self.vcpu.request_window(false);
        self.vcpu.inject(Event::Interrupt(vector));
        lp.count(Counter::InjectedInterrupts);
    }

    fn ext_int(&self) -> Option<(&'static Vp, u8)> {
        let vp = self.synic.owner()?;
        let waiting = vp.ext_int.load(Ordering::Acquire);
        (waiting != 0).then_some((vp, waiting as u8))
    }

    /// Tells the guest, if it listens, that this interrupt needs no end-of-interrupt exit (TLFS, "EOI assist").
    fn offer_to_skip_eoi(&mut self) {
        if self.assist_msr & 1 != 0 && self.apic.can_skip_eoi() {
            assist_word(self.assist_page).fetch_or(1, Ordering::Relaxed);
            self.eoi_skippable = true;
        }
    }

    /// Takes the offer back. If the guest has accepted it, the interrupt ends here. Also takes in what the guest made of
    /// CR8 meanwhile.
    ///
    /// This comes before every look at the APIC's priorities.
    #[inline]
    pub fn settle_skipped_eoi(&mut self) {
        if self.apic.cr8() != self.vcpu.cr8() {
            self.apic.set_cr8(self.vcpu.cr8());
        }
        if self.eoi_skippable {
            self.end_skipped();
        }
    }

    fn end_skipped(&mut self) {
        self.eoi_skippable = false;
        if assist_word(self.assist_page).fetch_and(!1, Ordering::AcqRel) & 1 == 0 {
            let _ = self.apic.eoi();
            crate::lp::current().count(Counter::EoiSkipped);
        }
    }

    /// Raises an interrupt of the VP's own: its timer, a SINT.
    pub fn raise(&mut self, vector: u8) {
        self.settle_skipped_eoi();
        self.apic.accept(vector, false);
        self.reevaluate = true;
    }

    /// Fires the APIC timer if it is due.
    pub fn expire_apic_timer(&mut self, now: u64) {
        if self.apic.timer_deadline().is_some_and(|deadline| deadline <= now) {
            self.settle_skipped_eoi();
            self.reevaluate |= self.apic.expire_timer(now);
        }
    }

    /// Carries out what an LVT entry or a message to the VP itself asked for.
    pub fn apply(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Requested => self.reevaluate = true,
            Delivery::Nmi => self.nmi_pending = true,
            Delivery::None
            | Delivery::Smi
            | Delivery::Init
            | Delivery::Sipi { .. }
            | Delivery::ExtInt => {}
        }
    }

    /// A system register that only the vCPU knows; short form.
    pub fn efer(&self) -> u64 {
        self.vcpu.system(SystemReg::Efer)
    }
}

/// First word of a VP assist page: bit 0 is "no EOI required".
fn assist_word(page: u64) -> &'static AtomicU64 {
    &phys::shared_words(page)[0]
}
