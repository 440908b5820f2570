//! The state of one APIC, its life, and the small types its methods speak in.

use crate::icr::Ipi;
use crate::lvt::{LVT_COUNT, Lvt};
use crate::regs::{LVT_MASKED, SVR_ENABLED, SVR_RESET};
use crate::timer::Timer;
use crate::vector_set::VectorSet;

/// Who is asking for a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetKind {
    /// Power-on or RESET: registers and APIC_BASE start afresh, in xAPIC mode.
    PowerOn,
    /// INIT: registers start afresh; APIC_BASE, and with it the mode, stays.
    Init,
}

/// What APIC_BASE says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Bit 11 clear: neither MMIO nor MSRs answer, nothing is accepted.
    Disabled,
    /// MMIO interface, 8-bit ids.
    XApic,
    /// MSR interface, 32-bit ids.
    X2Apic,
}

/// The access must raise #GP(0) in the VP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gp;

/// The interrupt that an EOI ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EoiResult {
    /// Its vector.
    pub vector: u8,
    /// It was level-triggered: the I/O APIC, or the VMM, must be told.
    pub level: bool,
}

/// What the hypervisor must do after a register write.
///
/// Besides this, any write may have changed what [`Apic::pending`] answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// Deliver this IPI to every APIC it selects.
    Ipi(Ipi),
    /// A fixed IPI to this VP alone: the vector is already in the IRR.
    SelfIpi(u8),
    /// An interrupt ended.
    Eoi(EoiResult),
    /// Ask [`Apic::timer_deadline`] again.
    TimerChanged,
    /// APIC_BASE changed: ask for [`Apic::mode`] and [`Apic::timer_deadline`] again.
    ModeChanged,
}

/// The local APIC of one VP.
#[derive(Clone, Debug)]
pub struct Apic {
    pub(crate) irr: VectorSet,
    pub(crate) isr: VectorSet,
    pub(crate) tmr: VectorSet,
    /// Highest vector of `isr`, 0 for none.
    pub(crate) highest_isr: u8,
    pub(crate) tpr: u8,
    pub(crate) mode: Mode,
    pub(crate) is_bsp: bool,
    pub(crate) x2apic_capable: bool,
    pub(crate) deadline_capable: bool,
    pub(crate) apic_id: u32,
    pub(crate) svr: u32,
    /// xAPIC only; in x2APIC mode it follows from the id.
    pub(crate) ldr: u32,
    pub(crate) dfr: u32,
    /// What a read of ESR shows.
    pub(crate) esr: u32,
    /// Errors since the last write of ESR.
    pub(crate) esr_pending: u32,
    pub(crate) icr_low: u32,
    pub(crate) icr_high: u32,
    pub(crate) lvt: [u32; LVT_COUNT],
    pub(crate) divide: u32,
    pub(crate) timer: Timer,
}

impl Apic {
    /// A powered-on APIC in xAPIC mode, software-disabled, with no TSC deadline and the timer at clock speed.
    pub const fn new(apic_id: u32, is_bsp: bool, x2apic_capable: bool) -> Self {
        Self {
            irr: VectorSet::EMPTY,
            isr: VectorSet::EMPTY,
            tmr: VectorSet::EMPTY,
            highest_isr: 0,
            tpr: 0,
            mode: Mode::XApic,
            is_bsp,
            x2apic_capable,
            deadline_capable: false,
            apic_id,
            svr: SVR_RESET,
            ldr: 0,
            dfr: u32::MAX,
            esr: 0,
            esr_pending: 0,
            icr_low: 0,
            icr_high: 0,
            lvt: [LVT_MASKED; LVT_COUNT],
            divide: 0,
            timer: Timer::new(0),
        }
    }

    /// Offers TSC-deadline mode and its MSR (CPUID leaf 1 ECX bit 24).
    pub const fn with_tsc_deadline(mut self) -> Self {
        self.deadline_capable = true;
        self
    }

    /// Makes one tick of the timer's input clock last 2^`shift` (at most 2^24) ticks of `now`.
    pub const fn with_clock_shift(mut self, shift: u8) -> Self {
        self.timer = Timer::new(if shift > 24 { 24 } else { shift });
        self
    }

    /// Resets the registers; the identity and the capabilities stay.
    pub fn reset(&mut self, kind: ResetKind) {
        let fresh = Self {
            timer: Timer::new(self.timer.clock_shift()),
            deadline_capable: self.deadline_capable,
            ..Self::new(self.apic_id, self.is_bsp, self.x2apic_capable)
        };
        let mode = self.mode;
        *self = fresh;
        if kind == ResetKind::Init {
            self.mode = mode;
        }
    }

    /// The mode APIC_BASE selects.
    #[inline]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The 32-bit (x2APIC) id.
    #[inline]
    pub fn apic_id(&self) -> u32 {
        self.apic_id
    }

    /// Is the APIC enabled both in APIC_BASE and in SVR? Otherwise it refuses fixed interrupts.
    #[inline]
    pub fn is_enabled(&self) -> bool {
        self.mode != Mode::Disabled && self.svr & SVR_ENABLED != 0
    }

    /// The spurious vector.
    pub fn spurious_vector(&self) -> u8 {
        self.svr as u8
    }

    /// Requests not yet delivered to the CPU.
    pub fn irr(&self) -> &VectorSet {
        &self.irr
    }

    /// Interrupts being serviced.
    pub fn isr(&self) -> &VectorSet {
        &self.isr
    }

    /// Vectors whose last request was level-triggered: those whose EOI must be seen.
    pub fn tmr(&self) -> &VectorSet {
        &self.tmr
    }

    /// Raw value of an LVT entry.
    pub fn lvt(&self, entry: Lvt) -> u32 {
        self.lvt.get(entry as usize).copied().unwrap_or(LVT_MASKED)
    }
}
