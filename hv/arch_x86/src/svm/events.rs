//! What is delivered to the guest, and the moments at which it can be.
//!
//! * An interrupt that the guest takes at once is a virtual interrupt (`V_IRQ`), which the processor delivers before the
//!   guest's first instruction. The event injection field would do as well in hardware; QEMU 10 may deliver what is in it
//!   twice (docs/debugging.md).
//! * A guest that cannot take an interrupt yet gets a virtual interrupt that is intercepted instead of delivered: the
//!   window. Only one virtual interrupt can wait at a time, so behind one that is to be delivered, the next IRET is
//!   intercepted in the window's place.
//! * NMIs nest nowhere: from one's delivery to the end of the next IRET there is no other. IRET is intercepted for that
//!   time; if another NMI waits then, the guest takes a single step over its IRET, the trap of which is intercepted.

use super::vcpu::Vcpu;
use super::vmcb::{event, intercept, vintr};
use crate::cpu::{RFLAGS_IF, RFLAGS_TF};
use crate::vcpu::{Event, Exit};

/// #DB.
const DEBUG: u8 = 1;
/// DR6: a single step.
const DR6_STEP: u64 = 1 << 14;
/// DR6: breakpoints hit.
const DR6_HITS: u64 = 0xF;
/// Writes of CR8 exit.
const CR8_WRITE: u32 = 1 << 24;

/// Whether NMIs reach the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Nmis {
    /// They do.
    #[default]
    Open,
    /// One is being handled.
    Blocked,
    /// The IRET at this address ends that, but has not been executed.
    Returning {
        /// Instruction pointer.
        rip: u64,
    },
    /// The same, by a single step.
    Stepping {
        /// DR6 before.
        dr6: u64,
        /// The guest steps by itself, too.
        wanted: bool,
    },
}

impl Vcpu {
    /// Whether an interrupt could be delivered at the next entry.
    pub fn can_take_interrupt(&self) -> bool {
        self.are_interrupts_open() && self.vmcb.interrupt_state & 1 == 0 && !self.has_event()
    }

    /// Whether the guest's flags let interrupts in.
    pub fn are_interrupts_open(&self) -> bool {
        self.vmcb.rflags & RFLAGS_IF != 0
    }

    /// Whether an event already waits for the next entry.
    pub fn has_event(&self) -> bool {
        self.vmcb.event_injection & event::VALID != 0 || self.is_interrupting()
    }

    /// The event that waits for the next entry.
    pub fn pending_event(&self) -> Option<Event> {
        let raw = self.vmcb.event_injection;
        let vector = raw as u8;
        if raw & event::VALID == 0 {
            return self.is_interrupting().then(|| Event::Interrupt(self.virtual_vector()));
        }
        Some(match raw & event::TYPE {
            event::TYPE_INTR => Event::Interrupt(vector),
            event::TYPE_NMI => Event::Nmi,
            _ => Event::Exception {
                vector,
                error_code: (raw & event::ERROR_CODE != 0).then_some((raw >> 32) as u32),
            },
        })
    }

    /// Nothing waits for the next entry any more.
    pub fn drop_event(&mut self) {
        self.vmcb.event_injection = 0;
        self.withdraw_interrupt();
    }

    /// Whether the next instruction is in the shadow of STI or of a load of SS.
    pub fn interrupt_shadow(&self) -> bool {
        self.vmcb.interrupt_state & 1 != 0
    }

    /// Sets or clears that shadow.
    pub fn set_interrupt_shadow(&mut self, shadow: bool) {
        self.vmcb.interrupt_state = self.vmcb.interrupt_state & !1 | u64::from(shadow);
    }

    /// Whether the latest exit cut short the delivery of an event.
    pub fn is_delivery_cut_short(&self) -> bool {
        self.vmcb.exit_interrupt_info & event::VALID != 0
    }

    /// The exception whose delivery the latest exit cut short.
    pub fn interrupted_exception(&self) -> Option<u8> {
        let info = self.vmcb.event_injection;
        let is_exception =
            info & (event::VALID | event::TYPE) == event::VALID | event::TYPE_EXCEPTION;
        is_exception.then_some(info as u8)
    }

    /// Delivers `what` at the next entry, in place of anything that waited.
    pub fn inject(&mut self, what: Event) {
        self.withdraw_interrupt();
        self.vmcb.event_injection = event::VALID
            | match what {
                Event::Interrupt(vector) => event::TYPE_INTR | u64::from(vector),
                Event::Nmi => event::TYPE_NMI | 2,
                Event::Exception { vector, error_code: None } => {
                    event::TYPE_EXCEPTION | u64::from(vector)
                }
                Event::Exception { vector, error_code: Some(code) } => {
                    event::TYPE_EXCEPTION
                        | event::ERROR_CODE
                        | u64::from(vector)
                        | u64::from(code) << 32
                }
            };
        match what {
            Event::Nmi => self.block_nmis(),
            Event::Interrupt(vector) => self.interrupt(vector),
            Event::Exception { .. } => {}
        }
    }

    /// Makes an injected interrupt a virtual one.
    fn interrupt(&mut self, vector: u8) {
        if self.are_interrupts_open() && !self.interrupt_shadow() {
            let is_another_waiting = self.is_window_requested();
            self.request_window(false);
            let v = &mut *self.vmcb;
            v.event_injection = 0;
            v.virtual_interrupt = v.virtual_interrupt & !vintr::VECTOR
                | vintr::IRQ
                | vintr::IGNORE_TPR
                | vintr::PRIORITY
                | u64::from(vector) << vintr::VECTOR_SHIFT;
            self.request_window(is_another_waiting);
        }
    }

    /// Whether a virtual interrupt is to be delivered at the next entry.
    fn is_interrupting(&self) -> bool {
        self.vmcb.virtual_interrupt & vintr::IRQ != 0 && !self.is_window_requested()
    }

    fn is_window_requested(&self) -> bool {
        self.vmcb.intercepts_low & intercept::VINTR as u32 != 0
    }

    fn virtual_vector(&self) -> u8 {
        (self.vmcb.virtual_interrupt >> vintr::VECTOR_SHIFT) as u8
    }

    fn withdraw_interrupt(&mut self) {
        if self.is_interrupting() {
            self.vmcb.virtual_interrupt &= !(vintr::IRQ | vintr::IGNORE_TPR | vintr::PRIORITY);
        }
    }

    /// Asks for [`Exit::InterruptWindow`] as soon as the guest can take an interrupt, or takes the request back. Behind an
    /// interrupt that waits for the next entry it is [`Exit::NmiWindow`] when the guest's handler of that ends.
    pub fn request_window(&mut self, wanted: bool) {
        if self.is_window_requested() == wanted {
            return;
        }
        let v = &mut *self.vmcb;
        if v.virtual_interrupt & vintr::IRQ != 0 && wanted {
            v.intercepts_low |= intercept::IRET as u32;
        } else if wanted {
            // A virtual interrupt that ignores the TPR: it is never delivered, only intercepted.
            v.virtual_interrupt |= vintr::IRQ | vintr::IGNORE_TPR | vintr::PRIORITY;
            v.intercepts_low |= intercept::VINTR as u32;
        } else {
            v.virtual_interrupt &= !(vintr::IRQ | vintr::IGNORE_TPR | vintr::PRIORITY);
            v.intercepts_low &= !(intercept::VINTR as u32);
        }
    }

    /// Asks for [`Exit::PriorityWrite`] at the guest's next write of CR8, or takes the request back. QEMU 10 aborts at a
    /// write that is not intercepted while a virtual interrupt waits.
    pub fn watch_priority(&mut self, wanted: bool) {
        let v = &mut *self.vmcb;
        let others = v.control_register_intercepts & !CR8_WRITE;
        v.control_register_intercepts = others | if wanted { CR8_WRITE } else { 0 };
    }

    /// Whether an NMI could be delivered at the next entry.
    pub fn can_take_nmi(&mut self) -> bool {
        if matches!(self.nmis, Nmis::Returning { rip } if rip != self.vmcb.rip) {
            self.nmis = Nmis::Open;
        }
        self.nmis == Nmis::Open && !self.has_event()
    }

    /// Whether the guest is handling an NMI.
    pub fn are_nmis_blocked(&self) -> bool {
        self.nmis == Nmis::Blocked
    }

    /// Whether an NMI's handler has not returned yet.
    pub fn is_in_nmi_handler(&self) -> bool {
        match self.nmis {
            Nmis::Open => false,
            Nmis::Blocked | Nmis::Stepping { .. } => true,
            Nmis::Returning { rip } => rip == self.vmcb.rip,
        }
    }

    /// Puts the guest into an NMI's handler, or out of it. One that is just stepping out does so.
    pub fn set_in_nmi_handler(&mut self, inside: bool) {
        if inside && !self.is_in_nmi_handler() {
            self.block_nmis();
        } else if !inside && !matches!(self.nmis, Nmis::Stepping { .. }) {
            self.open_nmis();
        }
    }

    /// Asks for [`Exit::NmiWindow`] once an NMI can be delivered. Until then nothing else may be.
    pub fn request_nmi_window(&mut self) -> bool {
        if matches!(self.nmis, Nmis::Returning { .. }) && !self.has_event() {
            let v = &mut *self.vmcb;
            self.nmis = Nmis::Stepping { dr6: v.dr6, wanted: v.rflags & RFLAGS_TF != 0 };
            v.rflags |= RFLAGS_TF;
            v.exception_intercepts |= 1 << DEBUG;
        }
        matches!(self.nmis, Nmis::Stepping { .. })
    }

    fn block_nmis(&mut self) {
        self.nmis = Nmis::Blocked;
        self.vmcb.intercepts_low |= intercept::IRET as u32;
    }

    /// Lets NMIs in again, at INIT.
    pub(super) fn open_nmis(&mut self) {
        self.nmis = Nmis::Open;
        self.vmcb.intercepts_low &= !(intercept::IRET as u32);
        self.vmcb.exception_intercepts &= !(1 << DEBUG) | self.confined;
    }

    /// The guest is about to execute the IRET that ends a handler.
    pub(super) fn on_iret(&mut self) -> Exit {
        self.vmcb.intercepts_low &= !(intercept::IRET as u32);
        if self.nmis == Nmis::Blocked {
            self.nmis = Nmis::Returning { rip: self.vmcb.rip };
        }
        Exit::NmiWindow
    }

    /// The step over an IRET is done, or another trap came with it. `None` if no step was asked for.
    pub(super) fn on_step(&mut self) -> Option<Exit> {
        let Nmis::Stepping { dr6, wanted } = self.nmis else { return None };
        self.open_nmis();
        let hits = self.vmcb.dr6 & DR6_HITS & !dr6;
        if wanted || hits != 0 {
            let step = if wanted { DR6_STEP } else { 0 };
            self.vmcb.dr6 = dr6 | hits | step;
            self.inject(Event::Exception { vector: DEBUG, error_code: None });
        } else {
            self.vmcb.dr6 = dr6;
        }
        Some(Exit::NmiWindow)
    }

    /// The trap after an instruction that was not executed by the processor, if the guest steps.
    pub(super) fn trap_after_step(&mut self) {
        if self.vmcb.rflags & RFLAGS_TF != 0 {
            self.vmcb.dr6 |= DR6_STEP;
            self.inject(Event::Exception { vector: DEBUG, error_code: None });
        }
    }

    /// An event whose delivery the exit cut short is delivered again. A software interrupt is not, nor are INT3 and INTO: their
    /// instruction runs again, because RIP still points at it.
    pub(super) fn keep_interrupted_event(&mut self) {
        let info = self.vmcb.exit_interrupt_info;
        self.vmcb.event_injection = 0;
        if info & event::VALID == 0 {
            return;
        }
        // The processor may not have noted yet that it has taken the virtual interrupt.
        self.withdraw_interrupt();
        if !is_by_instruction(info) {
            self.vmcb.event_injection = info;
        }
        if info & event::TYPE == event::TYPE_INTR {
            self.interrupt(info as u8);
        }
    }
}

/// Whether an instruction asked for the event, whose handler is to see RIP behind that.
fn is_by_instruction(info: u64) -> bool {
    const BREAKPOINT: u8 = 3;
    const OVERFLOW: u8 = 4;
    match info & event::TYPE {
        event::TYPE_SOFTWARE => true,
        event::TYPE_EXCEPTION => matches!(info as u8, BREAKPOINT | OVERFLOW),
        _ => false,
    }
}
