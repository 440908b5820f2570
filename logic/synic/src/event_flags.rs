//! Event flags: one bit per channel in the SIEF page.

use crate::registers::{Page, Synic};
use crate::sint::{Blocked, Signal};
use hvdef::synic::FLAGS_PER_SINT;

/// A SIEF page. The hypervisor implements it with atomics on the page.
pub trait FlagPage {
    /// ORs `mask` into 64-bit word `word` (0…31) of the flags of `sint` (0…15), with a full barrier, and returns the
    /// word's previous value. The word lies at offset `sint` × 256 + `word` × 8.
    fn fetch_or(&self, sint: u8, word: u8, mask: u64) -> u64;
}

/// What setting a flag did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventSignal {
    /// The flag was clear before: the answer of SIGNAL_EVENT_DIRECT.
    pub newly_signaled: bool,
    /// What to raise: nothing if the flag was set already, or if the SINT is masked (the flag stays set then).
    pub raise: Option<Signal>,
}

/// Sets a flag of a SINT. Refused while the SynIC or the SIEF page is off; a masked SINT only suppresses the interrupt.
pub fn signal_event<P: FlagPage>(
    synic: &Synic,
    page: &P,
    sint: u8,
    flag: u16,
) -> Result<EventSignal, Blocked> {
    if usize::from(flag) >= FLAGS_PER_SINT {
        return Err(Blocked::Invalid);
    }
    let signal = match synic.signal(sint) {
        Ok(signal) => Some(signal),
        Err(Blocked::Masked) => None,
        Err(blocked) => return Err(blocked),
    };
    synic.page(Page::EventFlags).ok_or(Blocked::PageDisabled)?;
    let mask = 1 << (flag % 64);
    let newly_signaled = page.fetch_or(sint, (flag / 64) as u8, mask) & mask == 0;
    Ok(EventSignal { newly_signaled, raise: signal.filter(|_| newly_signaled) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use proptest::prelude::*;

    struct FakePage(RefCell<[[u64; 32]; 16]>);

    impl FakePage {
        fn new() -> Self {
            Self(RefCell::new([[0; 32]; 16]))
        }
    }

    impl FlagPage for FakePage {
        fn fetch_or(&self, sint: u8, word: u8, mask: u64) -> u64 {
            let word = &mut self.0.borrow_mut()[usize::from(sint)][usize::from(word)];
            core::mem::replace(word, *word | mask)
        }
    }

    fn synic() -> Synic {
        let mut synic = Synic::new();
        for (msr, value) in [(0x4000_0080, 1), (0x4000_0082, 0x7001), (0x4000_0092, 0xf3)] {
            let _ = synic.write_msr(msr, value).unwrap();
        }
        synic
    }

    const RAISED: Signal = Signal::Interrupt { vector: 0xf3, auto_eoi: false };

    #[test]
    fn only_a_new_flag_interrupts() {
        let (synic, page) = (synic(), FakePage::new());
        let first = EventSignal { newly_signaled: true, raise: Some(RAISED) };
        assert_eq!(signal_event(&synic, &page, 2, 2047), Ok(first));
        assert_eq!(page.0.borrow()[2][31], 1 << 63);
        let again = EventSignal { newly_signaled: false, raise: None };
        assert_eq!(signal_event(&synic, &page, 2, 2047), Ok(again));
    }

    #[test]
    fn a_masked_sint_keeps_the_flag_without_interrupt() {
        let (synic, page) = (synic(), FakePage::new());
        let quiet = EventSignal { newly_signaled: true, raise: None };
        assert_eq!(signal_event(&synic, &page, 3, 1), Ok(quiet));
        assert_eq!(page.0.borrow()[3][0], 2);
    }

    #[test]
    fn what_cannot_take_flags_refuses_and_touches_nothing() {
        let page = FakePage::new();
        assert_eq!(signal_event(&synic(), &page, 2, 2048), Err(Blocked::Invalid));
        assert_eq!(signal_event(&synic(), &page, 16, 0), Err(Blocked::Invalid));
        assert_eq!(signal_event(&Synic::new(), &page, 2, 0), Err(Blocked::SynicDisabled));
        let mut off = synic();
        let _ = off.write_msr(0x4000_0082, 0x7000);
        assert_eq!(signal_event(&off, &page, 2, 0), Err(Blocked::PageDisabled));
        assert_eq!(*page.0.borrow(), [[0; 32]; 16]);
    }

    proptest! {
        #[test]
        fn exactly_the_named_bit_changes(sint in 0u8..16, flag in 0u16..2048) {
            let page = FakePage::new();
            prop_assert!(signal_event(&synic(), &page, sint, flag).is_ok_and(|done| done.newly_signaled));
            for (row, words) in page.0.borrow().iter().enumerate() {
                for (index, word) in words.iter().enumerate() {
                    let here = row == usize::from(sint) && index == usize::from(flag / 64);
                    prop_assert_eq!(*word, if here { 1 << (flag % 64) } else { 0 });
                }
            }
        }
    }
}
