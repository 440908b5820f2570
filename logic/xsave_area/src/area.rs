//! Registers by name in an area of the standard form.

use crate::{
    CONTROL_INITIAL, HEADER_END, MXCSR, MXCSR_INITIAL, MXCSR_MASK, SSE, STATE_BV, X87, mxcsr, put,
    word,
};
use hvdef::register::{RegisterName, RegisterValue};

/// A value that the processor would not load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid;

/// Where registers of 16 bytes begin.
const MMX: usize = 32;
const XMM: usize = 160;

/// An area of the standard form: at least legacy region and header.
#[derive(Debug)]
pub struct Area<'a>(&'a mut [u8]);

impl<'a> Area<'a> {
    /// The area in `bytes`; `None` if it is too small.
    pub fn new(bytes: &'a mut [u8]) -> Option<Self> {
        (bytes.len() >= HEADER_END).then_some(Self(bytes))
    }

    /// The state after power-on, of all components.
    pub fn reset(&mut self) {
        self.0.fill(0);
        put(self.0, 0, &CONTROL_INITIAL.to_le_bytes());
        put(self.0, MXCSR, &MXCSR_INITIAL.to_le_bytes());
    }

    /// A register's value; `None` for names that are not of this area.
    pub fn get(&mut self, name: RegisterName) -> Option<RegisterValue> {
        let (component, at) = place(name)?;
        self.materialize(component);
        let (low, high) = (word(self.0, at), word(self.0, at + 8));
        Some(match name {
            RegisterName::FP_CONTROL_STATUS => {
                RegisterValue { low: low & 0xFFFF_00FF_FFFF_FFFF, high }
            }
            RegisterName::XMM_CONTROL_STATUS => {
                RegisterValue { low: word(self.0, 16), high: word(self.0, MXCSR) }
            }
            _ if component == X87 => RegisterValue { low, high: high & 0xFFFF },
            _ => RegisterValue { low, high },
        })
    }

    /// Sets a register; `None` for names that are not of this area.
    pub fn set(&mut self, name: RegisterName, value: RegisterValue) -> Option<Result<(), Invalid>> {
        let (component, at) = place(name)?;
        let control = name == RegisterName::XMM_CONTROL_STATUS;
        if control && value.high as u32 & !MXCSR_MASK != 0 {
            return Some(Err(Invalid));
        }
        self.materialize(component);
        if control {
            put(self.0, 16, &value.low.to_le_bytes());
            put(self.0, MXCSR, &(value.high as u32).to_le_bytes());
        } else {
            put(self.0, at, &value.low.to_le_bytes());
            let high = value.high.to_le_bytes();
            // Of an x87 register, 10 bytes count.
            let is_x87 = component == X87 && name != RegisterName::FP_CONTROL_STATUS;
            put(self.0, at + 8, if is_x87 { high.get(..2).unwrap_or_default() } else { &high });
        }
        Some(Ok(()))
    }

    /// Writes the initial state of a component that the processor has left out because it is in it.
    fn materialize(&mut self, component: u64) {
        let used = word(self.0, STATE_BV);
        if used & component != 0 {
            return;
        }
        if component == X87 {
            // MXCSR, between the x87 registers' own parts, is the other component's.
            self.fill(0..MXCSR);
            self.fill(MMX..XMM);
            put(self.0, 0, &CONTROL_INITIAL.to_le_bytes());
        } else {
            self.fill(XMM..XMM + 256);
            if mxcsr(self.0) & !MXCSR_MASK != 0 {
                put(self.0, MXCSR, &MXCSR_INITIAL.to_le_bytes());
            }
        }
        put(self.0, STATE_BV, &(used | component).to_le_bytes());
    }

    fn fill(&mut self, range: core::ops::Range<usize>) {
        if let Some(bytes) = self.0.get_mut(range) {
            bytes.fill(0);
        }
    }
}

/// Component and place of a register.
fn place(name: RegisterName) -> Option<(u64, usize)> {
    let number = |first: RegisterName| name.0.checked_sub(first.0).map(|number| number as usize);
    match name {
        RegisterName::FP_CONTROL_STATUS => Some((X87, 0)),
        RegisterName::XMM_CONTROL_STATUS => Some((SSE, MXCSR)),
        _ => match (number(RegisterName::XMM0), number(RegisterName::FP_MMX0)) {
            (Some(index @ 0..16), _) => Some((SSE, XMM + 16 * index)),
            (_, Some(index @ 0..8)) => Some((X87, MMX + 16 * index)),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fresh() -> [u8; 4096] {
        let mut bytes = [0xFF; 4096];
        Area::new(&mut bytes).unwrap().reset();
        bytes
    }

    #[test]
    fn power_on_state_has_all_exceptions_masked() {
        let mut bytes = fresh();
        let mut area = Area::new(&mut bytes).unwrap();
        assert_eq!(area.get(RegisterName::FP_CONTROL_STATUS).unwrap().low, 0x37F);
        let control = area.get(RegisterName::XMM_CONTROL_STATUS).unwrap();
        assert_eq!(control.high as u32, 0x1F80);
        assert_eq!(area.get(RegisterName::RAX), None);
    }

    #[test]
    fn what_the_processor_left_out_reads_as_initial_and_not_as_what_lies_there() {
        let mut bytes = [0xAB; 4096];
        put(&mut bytes, MXCSR, &0x1F80u32.to_le_bytes());
        put(&mut bytes, STATE_BV, &[0; 64]);
        let mut area = Area::new(&mut bytes).unwrap();
        assert_eq!(area.get(RegisterName::XMM3), Some(RegisterValue { low: 0, high: 0 }));
        assert_eq!(area.get(RegisterName::FP_MMX2), Some(RegisterValue { low: 0, high: 0 }));
        assert_eq!(area.get(RegisterName::FP_CONTROL_STATUS).unwrap().low, 0x37F);
    }

    #[test]
    fn a_bad_mxcsr_is_refused() {
        let mut bytes = fresh();
        let mut area = Area::new(&mut bytes).unwrap();
        let value = RegisterValue { low: 0, high: 0x1_0000 };
        assert_eq!(area.set(RegisterName::XMM_CONTROL_STATUS, value), Some(Err(Invalid)));
        assert_eq!(area.get(RegisterName::XMM_CONTROL_STATUS).unwrap().high as u32, 0x1F80);
    }

    proptest! {
        #[test]
        fn a_register_reads_back_and_disturbs_no_other(index in 0u32..16, other in 0u32..24, low in any::<u64>(), high in any::<u64>()) {
            let name = RegisterName(RegisterName::XMM0.0 + index);
            let other = RegisterName(RegisterName::XMM0.0 + other);
            let mut bytes = fresh();
            let mut area = Area::new(&mut bytes).unwrap();
            let before = area.get(other);
            area.set(name, RegisterValue { low, high }).unwrap().unwrap();
            prop_assert_eq!(area.get(name), Some(RegisterValue { low, high }));
            if other != name {
                prop_assert_eq!(area.get(other), before);
            }
        }
    }
}
