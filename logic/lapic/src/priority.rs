//! The hot path: request, arbitration, delivery, end of interrupt.

use crate::apic::{Apic, EoiResult};
use crate::regs::ESR_RECEIVE_ILLEGAL_VECTOR;
use crate::vector_set::VectorSet;

impl Apic {
    /// Requests an interrupt. True if the vector was not yet pending, so that the VP may have to be woken.
    ///
    /// Refused while the APIC is disabled. Vectors below 16 raise the error "receive illegal vector".
    #[inline]
    pub fn accept(&mut self, vector: u8, level: bool) -> bool {
        if !self.is_enabled() {
            return false;
        }
        if vector < 16 {
            self.raise_error(ESR_RECEIVE_ILLEGAL_VECTOR);
            return false;
        }
        if level {
            self.tmr.insert(vector);
        } else {
            self.tmr.remove(vector);
        }
        self.irr.insert(vector)
    }

    /// Takes over edge-triggered requests collected elsewhere (posted interrupts). True if there were any.
    #[inline]
    pub fn merge_posted(&mut self, posted: &[u64; 4]) -> bool {
        if !self.is_enabled() {
            return false;
        }
        let mut any = 0;
        for (i, &word) in posted.iter().enumerate() {
            let word = if i == 0 { word & !0xffff } else { word };
            any |= word;
            if let (Some(irr), Some(tmr)) = (self.irr.0.get_mut(i), self.tmr.0.get_mut(i)) {
                *irr |= word;
                *tmr &= !word;
            }
        }
        any != 0
    }

    /// The processor priority: the higher of TPR and the class in service.
    #[inline]
    pub fn ppr(&self) -> u8 {
        let in_service = self.highest_isr & 0xf0;
        if self.tpr & 0xf0 >= in_service { self.tpr } else { in_service }
    }

    /// The vector to deliver as soon as the CPU takes interrupts: the highest request of a class above PPR's.
    #[inline]
    pub fn pending(&self) -> Option<u8> {
        let vector = self.irr.highest();
        (vector & 0xf0 > self.ppr() & 0xf0).then_some(vector)
    }

    /// Whether nothing is requested.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.irr.is_empty()
    }

    /// Whether it is only the task priority that keeps a request from being delivered.
    pub fn is_held_by_priority(&self) -> bool {
        let class = self.irr.highest() & 0xf0;
        class > self.highest_isr & 0xf0 && class <= self.tpr & 0xf0
    }

    /// The vector that [`Apic::pending`] named was delivered to the CPU: it moves from IRR to ISR.
    #[inline]
    pub fn ack(&mut self, vector: u8) {
        if vector < 16 {
            return;
        }
        self.irr.remove(vector);
        self.isr.insert(vector);
        self.highest_isr = self.highest_isr.max(vector);
    }

    /// As [`Apic::ack`] for a SINT with auto-EOI: the interrupt is never in service (TLFS 10.6).
    #[inline]
    pub fn ack_auto_eoi(&mut self, vector: u8) {
        self.irr.remove(vector);
    }

    /// Ends the highest interrupt in service, whether the guest said so or its "no EOI required" bit did.
    #[inline]
    pub fn eoi(&mut self) -> Option<EoiResult> {
        let vector = self.highest_isr;
        if vector == 0 {
            return None;
        }
        self.isr.remove(vector);
        self.highest_isr = self.isr.highest();
        Some(EoiResult { vector, level: self.tmr.contains(vector) })
    }

    /// May the "no EOI required" bit of the VP assist page be set for the interrupt just delivered?
    ///
    /// Yes if it is the only one in service, edge-triggered, and nothing waits that its EOI could release. The
    /// hypervisor that sets the bit owes this: before it next calls [`Apic::accept`], [`Apic::pending`] or
    /// [`Apic::eoi`] it takes the bit back (atomically); if the guest has cleared it, it calls [`Apic::eoi`] first.
    #[inline]
    pub fn can_skip_eoi(&self) -> bool {
        let vector = self.highest_isr;
        let mut others = self.isr;
        others.remove(vector);
        vector != 0 && !self.tmr.contains(vector) && others.is_empty() && self.irr.is_empty()
    }

    /// Highest requested vector, whatever its priority.
    #[inline]
    pub fn highest_irr(&self) -> Option<u8> {
        Some(self.irr.highest()).filter(|&v| v != 0)
    }

    /// Highest vector in service.
    #[inline]
    pub fn highest_isr(&self) -> Option<u8> {
        Some(self.highest_isr).filter(|&v| v != 0)
    }

    /// The task priority register.
    #[inline]
    pub fn tpr(&self) -> u8 {
        self.tpr
    }

    /// Sets the task priority register.
    #[inline]
    pub fn set_tpr(&mut self, tpr: u8) {
        self.tpr = tpr;
    }

    /// CR8: the class part of the TPR.
    #[inline]
    pub fn cr8(&self) -> u8 {
        self.tpr >> 4
    }

    /// Sets CR8, bits 3:0; the sub-class becomes 0.
    #[inline]
    pub fn set_cr8(&mut self, cr8: u8) {
        self.tpr = cr8 << 4;
    }

    /// Loads IRR, ISR and TMR, keeping the cache right.
    pub(crate) fn load_vectors(&mut self, irr: VectorSet, isr: VectorSet, tmr: VectorSet) {
        (self.irr, self.isr, self.tmr) = (irr, isr, tmr);
        self.highest_isr = isr.highest();
    }
}
