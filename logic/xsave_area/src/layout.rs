//! Where components are in either form.

use crate::{
    COMPACT_BV, COMPACTED, HEADER_END, Invalid, LEGACY, MXCSR_MASK, SSE, STATE_BV, X87, mxcsr, put,
    word,
};

/// Components that a layout can have besides x87 and SSE: bits 2 to 31 of XCR0.
const COMPONENTS: usize = 32;

/// One component, as CPUID leaf 0xD, subleaf = its number, describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Component {
    /// Bytes; 0 if it does not exist.
    pub size: u32,
    /// Place in the standard form.
    pub offset: u32,
    /// Aligned to 64 bytes in the compacted form.
    pub aligned: bool,
}

/// All components of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    components: [Component; COMPONENTS],
}

impl Layout {
    /// The layout of a processor that has the components of `supported` (bits of XCR0). `describe` asks for one of them,
    /// numbers 2 to 31.
    pub fn new(supported: u64, mut describe: impl FnMut(u32) -> Component) -> Self {
        let mut components = [Component::default(); COMPONENTS];
        for (number, component) in components.iter_mut().enumerate().skip(2) {
            if supported >> number & 1 != 0 {
                *component = describe(number as u32);
            }
        }
        Self { components }
    }

    /// Bits of XCR0 that there are.
    pub fn supported(&self) -> u64 {
        let present =
            self.components.iter().enumerate().filter(|(_, component)| component.size != 0);
        present.fold(X87 | SSE, |bits, (number, _)| bits | 1 << number)
    }

    /// Components in `mask` with their place in the compacted form for it.
    fn places(&self, mask: u64) -> impl Iterator<Item = (u64, Component, usize)> + '_ {
        let mut next = HEADER_END;
        self.components.iter().enumerate().skip(2).filter_map(move |(number, component)| {
            if mask >> number & 1 == 0 || component.size == 0 {
                return None;
            }
            let start = if component.aligned { next.next_multiple_of(64) } else { next };
            next = start.saturating_add(component.size as usize);
            Some((1 << number, *component, start))
        })
    }

    /// Bytes of the compacted form for `mask`.
    pub fn compacted_size(&self, mask: u64) -> usize {
        let end = |(_, component, start): (u64, Component, usize)| start + component.size as usize;
        self.places(mask).last().map_or(HEADER_END, end)
    }

    /// Writes the state of `standard` into `compacted`, which is all zero and large enough.
    pub fn compact(&self, standard: &[u8], compacted: &mut [u8], mask: u64) -> Result<(), Invalid> {
        let mask = mask & self.supported() | X87 | SSE;
        if compacted.len() < self.compacted_size(mask) || standard.len() < HEADER_END {
            return Err(Invalid);
        }
        let used = word(standard, STATE_BV) & mask;
        put(compacted, 0, standard.get(..LEGACY).unwrap_or_default());
        put(compacted, STATE_BV, &used.to_le_bytes());
        put(compacted, COMPACT_BV, &(mask | COMPACTED).to_le_bytes());
        for (_, component, start) in self.places(mask).filter(|(bit, ..)| used & bit != 0) {
            let from = component.offset as usize;
            let bytes = standard.get(from..from.saturating_add(component.size as usize));
            put(compacted, start, bytes.ok_or(Invalid)?);
        }
        Ok(())
    }

    /// Replaces the state in `standard` by that of `compacted`. What is wrong with that changes nothing.
    pub fn expand(&self, compacted: &[u8], standard: &mut [u8]) -> Result<(), Invalid> {
        let form = word(compacted, COMPACT_BV);
        let (mask, used) = (form & !COMPACTED, word(compacted, STATE_BV));
        let reserved = (COMPACT_BV + 8..HEADER_END).step_by(8).any(|at| word(compacted, at) != 0);
        let known = mask & !self.supported() == 0 && used & !mask == 0;
        let fits = compacted.len() >= self.compacted_size(mask) && standard.len() >= HEADER_END;
        let places = || self.places(mask).filter(|(bit, ..)| used & bit != 0);
        let reaches = places().all(|(_, component, _)| {
            component.offset as usize + component.size as usize <= standard.len()
        });
        let valid = form & COMPACTED != 0 && !reserved && known && fits && reaches;
        if !valid || mxcsr(compacted) & !MXCSR_MASK != 0 {
            return Err(Invalid);
        }
        standard.fill(0);
        put(standard, 0, compacted.get(..LEGACY).unwrap_or_default());
        put(standard, STATE_BV, &used.to_le_bytes());
        for (_, component, start) in places() {
            let bytes = compacted.get(start..start + component.size as usize).unwrap_or_default();
            put(standard, component.offset as usize, bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MXCSR;
    use proptest::prelude::*;
    extern crate std;
    use std::vec;

    /// AVX as everywhere, and PKRU as on AMD, where the two forms differ.
    fn layout() -> Layout {
        Layout::new(0x207, |number| match number {
            2 => Component { size: 256, offset: 576, aligned: false },
            _ => Component { size: 8, offset: 2432, aligned: true },
        })
    }

    #[test]
    fn components_follow_each_other_in_the_compacted_form() {
        assert_eq!(layout().supported(), 0x207);
        assert_eq!(layout().compacted_size(3), 576);
        assert_eq!(layout().compacted_size(7), 832);
        assert_eq!(layout().compacted_size(0x207), 832 + 8);
        assert_eq!(layout().compacted_size(0x203), 576 + 8);
    }

    #[test]
    fn what_would_fault_in_the_processor_is_refused_and_changes_nothing() {
        let good = {
            let mut area = vec![0; 840];
            layout().compact(&vec![0; 4096], &mut area, 0x207).unwrap();
            area
        };
        let mut standard = vec![7; 4096];
        assert_eq!(layout().expand(&good, &mut standard.clone()), Ok(()));
        let bad = |at: usize, bit: u8| {
            let mut area = good.clone();
            area[at] |= bit;
            area
        };
        for area in
            [bad(MXCSR + 2, 1), bad(STATE_BV, 8), bad(COMPACT_BV, 8), bad(COMPACT_BV + 9, 1)]
        {
            assert_eq!(layout().expand(&area, &mut standard), Err(Invalid));
        }
        assert_eq!(layout().expand(&good[..800], &mut standard), Err(Invalid));
        assert_eq!(layout().expand(&[0; 4096], &mut standard), Err(Invalid));
        assert!(standard.iter().all(|&byte| byte == 7));
    }

    proptest! {
        #[test]
        fn state_survives_the_way_there_and_back(
            bytes in proptest::collection::vec(any::<u8>(), 4096),
            used in any::<u64>(),
            mask in any::<u64>(),
        ) {
            let layout = layout();
            let mask = mask & 0x207 | 3;
            let mut standard = bytes;
            put(&mut standard, MXCSR, &0xA5A5u32.to_le_bytes());
            put(&mut standard, STATE_BV, &(used & mask).to_le_bytes());
            let mut compacted = vec![0; 4096];
            layout.compact(&standard, &mut compacted, mask).unwrap();
            let mut back = vec![0xEE; 4096];
            layout.expand(&compacted, &mut back).unwrap();
            prop_assert_eq!(word(&back, STATE_BV), used & mask);
            prop_assert_eq!(&back[..LEGACY], &standard[..LEGACY]);
            for (bit, place) in [(4, 576..832), (0x200, 2432..2440)] {
                let expected = if used & mask & bit != 0 { &standard[place.clone()] } else { &[0; 256][..place.len()] };
                prop_assert_eq!(&back[place], expected);
            }
        }

        #[test]
        fn no_input_is_expanded_into_something_invalid(mut bytes in proptest::collection::vec(any::<u8>(), 1024), tidy in any::<bool>()) {
            if tidy {
                put(&mut bytes, COMPACT_BV, &(COMPACTED | 7).to_le_bytes());
                put(&mut bytes, MXCSR + 2, &[0; 2]);
                put(&mut bytes, STATE_BV + 1, &[0; 7]);
                put(&mut bytes, COMPACT_BV + 8, &[0; 48]);
            }
            let mut standard = vec![0; 4096];
            if layout().expand(&bytes, &mut standard).is_ok() {
                prop_assert_eq!(mxcsr(&standard) & !MXCSR_MASK, 0);
                prop_assert_eq!(word(&standard, STATE_BV) & !0x207, 0);
                prop_assert_eq!(word(&standard, COMPACT_BV), 0);
            }
        }
    }
}
