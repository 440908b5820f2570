//! The SynIC's registers.

use crate::sint::{Blocked, Signal};
use hvdef::msr::{self, SINT_COUNT, SintConfig};

/// The access must raise #GP(0) in the VP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gp;

/// The pages a SynIC shares with its guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// SIMP: 16 message slots of 256 bytes.
    Messages,
    /// SIEFP: 16 × 2048 event flags.
    EventFlags,
    /// SIRBP: 16 event rings of 256 bytes (root only).
    EventRing,
}

/// What the hypervisor must do after a register write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// A page was enabled, disabled or moved: look up its memory, or forget it. After [`Page::Messages`] was enabled
    /// also do as for [`Effect::DeliverPending`].
    PageChanged {
        /// Which.
        page: Page,
        /// Guest page number.
        gpn: u64,
        /// Its enable bit.
        enabled: bool,
    },
    /// A slot may have become free, or a SINT deliverable: retry what waits.
    DeliverPending,
}

/// The SynIC registers of one VP.
///
/// Reset state: SynIC and pages disabled, all SINTs masked. Contents of the pages are not touched by any of it.
#[derive(Clone, Debug)]
pub struct Synic {
    control: u64,
    event_flags: u64,
    messages: u64,
    event_ring: u64,
    sints: [SintConfig; SINT_COUNT],
    /// Vectors of the unmasked auto-EOI SINTs.
    auto_eoi: [u64; 4],
    is_root: bool,
}

/// Enable bit of SCONTROL and the page registers.
const ENABLE: u64 = 1;
const GPN_MASK: u64 = !0xfff;

impl Synic {
    /// The SynIC of a child VP: the guest names its pages, and there is no event ring.
    pub const fn new() -> Self {
        Self {
            control: 0,
            event_flags: 0,
            messages: 0,
            event_ring: 0,
            sints: [SintConfig::new().with_masked(true); SINT_COUNT],
            auto_eoi: [0; 4],
            is_root: false,
        }
    }

    /// The SynIC of a root VP: the hypervisor chose the pages (GPNs given here), writes do not move them.
    pub const fn for_root(messages: u64, event_flags: u64, event_ring: u64) -> Self {
        Self {
            event_flags: event_flags << 12,
            messages: messages << 12,
            event_ring: event_ring << 12,
            is_root: true,
            ..Self::new()
        }
    }

    /// Resets the registers; a root keeps its pages. The hypervisor forgets the pages and drops what waits.
    pub fn reset(&mut self) {
        *self = match self.is_root {
            true => {
                Self::for_root(self.messages >> 12, self.event_flags >> 12, self.event_ring >> 12)
            }
            false => Self::new(),
        };
    }

    /// Reads SCONTROL, SVERSION, SIEFP, SIMP, EOM, SIRBP or a SINT; #GP for any other MSR.
    pub fn read_msr(&self, msr: u32) -> Result<u64, Gp> {
        match msr {
            msr::SCONTROL => Ok(self.control),
            msr::SVERSION => Ok(1),
            msr::SIEFP => Ok(self.event_flags),
            msr::SIMP => Ok(self.messages),
            msr::EOM => Ok(0),
            msr::SIRBP if self.is_root => Ok(self.event_ring),
            msr::SINT0..=msr::SINT15 => {
                self.sint((msr - msr::SINT0) as u8).map(SintConfig::into_bits).ok_or(Gp)
            }
            _ => Err(Gp),
        }
    }

    /// Writes one of these MSRs. #GP for SVERSION, for an illegal vector, and for any other MSR.
    ///
    /// Whether a child's page number exists is the caller's to check before.
    pub fn write_msr(&mut self, msr: u32, value: u64) -> Result<Effect, Gp> {
        match msr {
            msr::SCONTROL => Ok(self.write_control(value)),
            msr::SIEFP => Ok(self.write_page(Page::EventFlags, value)),
            msr::SIMP => Ok(self.write_page(Page::Messages, value)),
            msr::EOM => Ok(Effect::DeliverPending),
            msr::SIRBP if self.is_root => Ok(self.write_page(Page::EventRing, value)),
            msr::SINT0..=msr::SINT15 => self.write_sint((msr - msr::SINT0) as u8, value),
            _ => Err(Gp),
        }
    }

    fn write_control(&mut self, value: u64) -> Effect {
        let enabled = !self.control & value & ENABLE != 0;
        self.control = value;
        if enabled { Effect::DeliverPending } else { Effect::None }
    }

    fn write_page(&mut self, page: Page, value: u64) -> Effect {
        let is_root = self.is_root;
        let register = match page {
            Page::Messages => &mut self.messages,
            Page::EventFlags => &mut self.event_flags,
            Page::EventRing => &mut self.event_ring,
        };
        let value = if is_root { *register & GPN_MASK | value & !GPN_MASK } else { value };
        let changed = *register & (GPN_MASK | ENABLE) != value & (GPN_MASK | ENABLE);
        *register = value;
        match changed {
            true => Effect::PageChanged { page, gpn: value >> 12, enabled: value & ENABLE != 0 },
            false => Effect::None,
        }
    }

    fn write_sint(&mut self, index: u8, value: u64) -> Result<Effect, Gp> {
        let value = SintConfig::from_bits(value);
        // Vectors below 16 go with the mask only: that is how Windows writes 0.
        if value.vector() < 16 && !value.masked() {
            return Err(Gp);
        }
        let sint = self.sints.get_mut(usize::from(index)).ok_or(Gp)?;
        let opened = (sint.masked() && !sint.polling()) && (!value.masked() || value.polling());
        *sint = value;
        self.collect_auto_eoi();
        Ok(if opened { Effect::DeliverPending } else { Effect::None })
    }

    fn collect_auto_eoi(&mut self) {
        self.auto_eoi = [0; 4];
        for sint in self.sints.iter().filter(|sint| sint.auto_eoi() && !sint.masked()) {
            if let Some(word) = self.auto_eoi.get_mut(usize::from(sint.vector() >> 6)) {
                *word |= 1 << (sint.vector() & 63);
            }
        }
    }

    /// Is the interrupt ended on delivery, because an unmasked SINT with auto-EOI has this vector?
    #[inline]
    pub fn is_auto_eoi(&self, vector: u8) -> bool {
        self.auto_eoi
            .get(usize::from(vector >> 6))
            .is_some_and(|word| word >> (vector & 63) & 1 != 0)
    }

    /// Is SCONTROL's enable bit set?
    pub fn is_enabled(&self) -> bool {
        self.control & ENABLE != 0
    }

    /// The GPN of a page that is enabled.
    pub fn page(&self, page: Page) -> Option<u64> {
        let register = match page {
            Page::Messages => self.messages,
            Page::EventFlags => self.event_flags,
            Page::EventRing => self.event_ring,
        };
        (register & ENABLE != 0).then_some(register >> 12)
    }

    /// A SINT register.
    pub fn sint(&self, index: u8) -> Option<SintConfig> {
        self.sints.get(usize::from(index)).copied()
    }

    /// How to announce something on a SINT; `Err(Masked)` also says that the interrupt is not to be raised later.
    pub fn signal(&self, index: u8) -> Result<Signal, Blocked> {
        let sint = self.sint(index).ok_or(Blocked::Invalid)?;
        if !self.is_enabled() {
            Err(Blocked::SynicDisabled)
        } else if sint.polling() {
            Ok(Signal::Polled)
        } else if sint.masked() {
            Err(Blocked::Masked)
        } else if self.is_root && sint.as_intercept() {
            Ok(Signal::Intercept)
        } else {
            Ok(Signal::Interrupt { vector: sint.vector(), auto_eoi: sint.auto_eoi() })
        }
    }

    /// May a message be stored for this SINT, and how is it announced? Otherwise it waits or is refused.
    pub fn message_signal(&self, index: u8) -> Result<Signal, Blocked> {
        let signal = self.signal(index)?;
        self.page(Page::Messages).ok_or(Blocked::PageDisabled)?;
        Ok(signal)
    }
}

impl Default for Synic {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SINT2: u32 = msr::SINT0 + 2;

    fn enabled() -> Synic {
        let mut synic = Synic::new();
        assert_eq!(synic.write_msr(msr::SCONTROL, 1), Ok(Effect::DeliverPending));
        synic
    }

    #[test]
    fn registers_after_creation_and_reset() {
        let mut synic = enabled();
        let _ = synic.write_msr(SINT2, 0xf3);
        let _ = synic.write_msr(msr::SIMP, 0x5001);
        synic.reset();
        for msr in [msr::SCONTROL, msr::SIEFP, msr::SIMP, msr::EOM] {
            assert_eq!(synic.read_msr(msr), Ok(0), "{msr:#x}");
        }
        assert_eq!(synic.read_msr(msr::SVERSION), Ok(1));
        for msr in msr::SINT0..=msr::SINT15 {
            assert_eq!(synic.read_msr(msr), Ok(0x1_0000));
        }
    }

    #[test]
    fn what_does_not_exist_is_gp() {
        let mut synic = Synic::new();
        for msr in [0x4000_007f, 0x4000_0086, 0x4000_00a0, msr::SIRBP] {
            assert_eq!(
                (synic.read_msr(msr), synic.write_msr(msr, 0)),
                (Err(Gp), Err(Gp)),
                "{msr:#x}"
            );
        }
        assert_eq!(synic.write_msr(msr::SVERSION, 1), Err(Gp));
    }

    #[test]
    fn vectors_below_16_need_the_mask() {
        let mut synic = enabled();
        assert_eq!(synic.write_msr(SINT2, 0x0f), Err(Gp));
        assert_eq!(synic.write_msr(SINT2, 0x4_000f), Err(Gp));
        assert_eq!(synic.read_msr(SINT2), Ok(0x1_0000), "unchanged");
        assert_eq!(synic.write_msr(SINT2, 0x1_0000), Ok(Effect::None));
        assert_eq!(synic.write_msr(SINT2, 0x10), Ok(Effect::DeliverPending));
    }

    #[test]
    fn a_child_names_its_pages() {
        let mut synic = enabled();
        let changed = |gpn, enabled| Ok(Effect::PageChanged { page: Page::Messages, gpn, enabled });
        assert_eq!(synic.write_msr(msr::SIMP, 0x1234_5ff1), changed(0x12345, true));
        assert_eq!(synic.read_msr(msr::SIMP), Ok(0x1234_5ff1), "bits 11:1 are preserved");
        assert_eq!(
            synic.write_msr(msr::SIMP, 0x1234_5001),
            Ok(Effect::None),
            "only preserved bits changed"
        );
        assert_eq!(synic.write_msr(msr::SIMP, 0), changed(0, false));
        assert_eq!(synic.page(Page::Messages), None);
    }

    #[test]
    fn a_root_cannot_move_its_pages() {
        let mut synic = Synic::for_root(0x10, 0x20, 0x30);
        assert_eq!(synic.read_msr(msr::SIRBP), Ok(0x3_0000));
        let enabled = Effect::PageChanged { page: Page::EventRing, gpn: 0x30, enabled: true };
        assert_eq!(synic.write_msr(msr::SIRBP, 0xdead_b001), Ok(enabled));
        assert_eq!(synic.read_msr(msr::SIRBP), Ok(0x3_0001));
        synic.reset();
        assert_eq!(synic.read_msr(msr::SIRBP), Ok(0x3_0000));
    }

    #[test]
    fn signals_follow_control_mask_polling_and_intercept() {
        let mut child = Synic::new();
        let _ = child.write_msr(SINT2, 0x2_00f3);
        assert_eq!(child.signal(2), Err(Blocked::SynicDisabled));
        let _ = child.write_msr(msr::SCONTROL, 1);
        assert_eq!(child.signal(2), Ok(Signal::Interrupt { vector: 0xf3, auto_eoi: true }));
        assert_eq!(child.message_signal(2), Err(Blocked::PageDisabled));
        assert_eq!(
            (child.signal(3), child.signal(16)),
            (Err(Blocked::Masked), Err(Blocked::Invalid))
        );
        assert_eq!(child.write_msr(SINT2, 0x5_00f3), Ok(Effect::None));
        assert_eq!(child.signal(2), Ok(Signal::Polled));
        let _ = child.write_msr(SINT2, 0x8_00f3);
        assert_eq!(
            child.signal(2),
            Ok(Signal::Interrupt { vector: 0xf3, auto_eoi: false }),
            "no ring in a child"
        );
        let mut root = Synic::for_root(1, 2, 3);
        let _ = root.write_msr(msr::SCONTROL, 1);
        let _ = root.write_msr(msr::SINT0 + 5, 0x8_00f3);
        assert_eq!(root.signal(5), Ok(Signal::Intercept));
    }

    #[test]
    fn auto_eoi_belongs_to_the_vectors_of_unmasked_sints() {
        let mut synic = enabled();
        let _ = synic.write_msr(SINT2, 0x2_00f3);
        assert!(synic.is_auto_eoi(0xf3) && !synic.is_auto_eoi(0xf2));
        let _ = synic.write_msr(SINT2, 0x3_00f3);
        assert!(!synic.is_auto_eoi(0xf3));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_or_faults(writes in proptest::collection::vec(
            (0x4000_0080u32..0x4000_00a2, any::<u64>()), 0..50)) {
            let mut synic = Synic::new();
            for (msr, value) in writes {
                let before = synic.read_msr(msr);
                match synic.write_msr(msr, value) {
                    Ok(_) if msr == msr::EOM => {}
                    Ok(_) => prop_assert_eq!(synic.read_msr(msr), Ok(value)),
                    Err(Gp) => prop_assert_eq!(synic.read_msr(msr), before),
                }
                for vector in 0..=255u8 {
                    let expect = synic.sints.iter().any(|s| !s.masked() && s.auto_eoi() && s.vector() == vector);
                    prop_assert_eq!(synic.is_auto_eoi(vector), expect);
                }
            }
        }
    }
}
