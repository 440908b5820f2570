//! The IOAPIC (Intel 82093AA, with the EOI register of its successors). Pure logic: it says what is to be sent.
//!
//! ```text
//!  device ── set_line / pulse ──▶ ┌────────┐ ── Effect::Send(pin) ────────▶ the pin's irqfd
//!  guest  ── read / write ──────▶ │ IoApic │ ── Effect::Reroute(pin) ─────▶ MSI routes
//!  hypervisor ── EOI of a vector ▶└────────┘
//! ```
//!
//! A level-triggered pin sends once and then waits for the EOI of its vector (remote IRR); if its line is still high
//! then, it sends again. An edge on a masked pin is kept until the pin is unmasked: hardware would lose it, no driver
//! wants that.

use vid::MsiRoute;

/// Input pins.
pub const PINS: usize = 24;
/// Bytes of registers.
pub const SIZE: u64 = 0x1000;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const EOI: u64 = 0x40;

const ID: u8 = 0x00;
const VERSION: u8 = 0x01;
const ARBITRATION: u8 = 0x02;
const REDIRECTIONS: u8 = 0x10;

/// Highest pin, and version 0x20: there is an EOI register.
const VERSION_VALUE: u32 = (PINS as u32 - 1) << 16 | 0x20;

const DELIVERY_STATUS: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// What the guest cannot change.
const READ_ONLY: u64 = DELIVERY_STATUS | REMOTE_IRR;
/// What counts: vector, delivery and destination mode, polarity, trigger, mask, destination.
const WRITABLE: u64 = 0xFF00_0000_0001_AFFF;

/// Something for the world outside to do, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The pin's [`route`](IoApic::route) changed.
    Reroute(usize),
    /// Send the pin's message.
    Send(usize),
}

#[derive(Clone, Copy)]
struct Pin {
    redirection: u64,
    /// The device's line, for level-triggered use.
    line: bool,
    /// An edge came while the pin was masked.
    pending: bool,
}

/// The IOAPIC.
pub struct IoApic {
    id: u32,
    select: u8,
    pins: [Pin; PINS],
}

impl Default for IoApic {
    fn default() -> Self {
        let pin = Pin { redirection: MASKED, line: false, pending: false };
        Self { id: 0, select: 0, pins: [pin; PINS] }
    }
}

impl Pin {
    fn is(&self, flag: u64) -> bool {
        self.redirection & flag != 0
    }

    fn vector(&self) -> u8 {
        self.redirection as u8
    }

    /// Whether the pin sends now; remembers that it did.
    fn fire(&mut self) -> bool {
        if self.is(MASKED) {
            return false;
        }
        if self.is(LEVEL) {
            let fires = self.line && !self.is(REMOTE_IRR);
            if fires {
                self.redirection |= REMOTE_IRR;
            }
            return fires;
        }
        std::mem::take(&mut self.pending)
    }

    /// The guest's new redirection. The read-only bits stay; an edge-triggered pin waits for no EOI.
    fn redirect(&mut self, value: u64) {
        self.redirection = value & WRITABLE | self.redirection & READ_ONLY;
        if !self.is(LEVEL) {
            self.redirection &= !REMOTE_IRR;
        }
    }
}

impl IoApic {
    /// A guest's read at `offset`.
    pub fn read(&self, offset: u64) -> u32 {
        match offset {
            SELECT => u32::from(self.select),
            WINDOW => self.register(self.select),
            _ => 0,
        }
    }

    /// A guest's write at `offset`.
    pub fn write(&mut self, offset: u64, value: u32) -> Vec<Effect> {
        match offset {
            SELECT => self.select = value as u8,
            WINDOW => return self.set_register(self.select, value),
            EOI => return self.end_of_interrupt(value as u8),
            _ => {}
        }
        Vec::new()
    }

    /// A device's line goes high or low.
    pub fn set_line(&mut self, pin: usize, high: bool) -> Vec<Effect> {
        let Some(state) = self.pins.get_mut(pin) else { return Vec::new() };
        let rises = high && !state.line;
        state.line = high;
        if rises && !state.is(LEVEL) {
            state.pending = true;
        }
        send(pin, state)
    }

    /// A device's edge.
    pub fn pulse(&mut self, pin: usize) -> Vec<Effect> {
        let mut effects = self.set_line(pin, true);
        effects.extend(self.set_line(pin, false));
        effects
    }

    /// The guest ended the interrupt of `vector`.
    pub fn end_of_interrupt(&mut self, vector: u8) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (number, pin) in self.pins.iter_mut().enumerate() {
            if pin.is(LEVEL) && pin.is(REMOTE_IRR) && pin.vector() == vector {
                pin.redirection &= !REMOTE_IRR;
                effects.extend(send(number, pin));
            }
        }
        effects
    }

    /// What the pin sends; `None` while it is masked.
    pub fn route(&self, pin: usize) -> Option<MsiRoute> {
        let state = self.pins.get(pin)?;
        if state.is(MASKED) {
            return None;
        }
        let entry = state.redirection;
        let destination = (entry >> 56) as u32;
        let logical = (entry >> 11 & 1) as u32;
        let level = (entry >> 15 & 1) as u32;
        let (mode, vector) = ((entry >> 8 & 7) as u32, (entry & 0xFF) as u32);
        Some(MsiRoute {
            gsi: pin as u32,
            // With the hint for lowest priority, which says nothing for the other modes.
            address: 0xFEE0_0000 | destination << 12 | u32::from(mode == 1) << 3 | logical << 2,
            data: level << 15 | mode << 8 | vector,
        })
    }

    fn register(&self, index: u8) -> u32 {
        match index {
            ID | ARBITRATION => self.id,
            VERSION => VERSION_VALUE,
            _ => match self.half_of(index) {
                Some((pin, high)) => (self.pins[pin].redirection >> (32 * u32::from(high))) as u32,
                None => 0,
            },
        }
    }

    fn set_register(&mut self, index: u8, value: u32) -> Vec<Effect> {
        if index == ID {
            self.id = value & 0x0F00_0000;
        }
        let Some((pin, high)) = self.half_of(index) else { return Vec::new() };
        let before = self.route(pin);
        let state = &mut self.pins[pin];
        let old = state.redirection;
        state.redirect(if high {
            u64::from(value) << 32 | old & 0xFFFF_FFFF
        } else {
            old & !0xFFFF_FFFF | u64::from(value)
        });
        let mut effects = Vec::new();
        if self.route(pin) != before {
            effects.push(Effect::Reroute(pin));
        }
        effects.extend(send(pin, &mut self.pins[pin]));
        effects
    }

    /// Pin of a redirection register, and whether it is its upper half.
    fn half_of(&self, index: u8) -> Option<(usize, bool)> {
        let number = usize::from(index.checked_sub(REDIRECTIONS)?);
        (number < 2 * PINS).then_some((number / 2, number % 2 == 1))
    }
}

fn send(number: usize, pin: &mut Pin) -> Vec<Effect> {
    if pin.fire() { vec![Effect::Send(number)] } else { Vec::new() }
}

#[cfg(test)]
mod tests;
