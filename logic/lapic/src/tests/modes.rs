use super::{enabled, enabled_x2apic};
use crate::{Apic, Effect, Gp, Mode, ResetKind};

const DISABLED: u64 = 0xfee0_0000;
const XAPIC: u64 = 0xfee0_0800;
const X2APIC: u64 = 0xfee0_0c00;

fn apic_in(mode: Mode) -> Apic {
    match mode {
        Mode::XApic => enabled(1),
        Mode::X2Apic => enabled_x2apic(1),
        Mode::Disabled => {
            let mut apic = enabled(1);
            assert_eq!(apic.write_apic_base(DISABLED), Ok(Effect::ModeChanged));
            apic
        }
    }
}

#[test]
fn transitions_follow_the_manual() {
    let table = [
        (Mode::Disabled, XAPIC, true),
        (Mode::Disabled, X2APIC, false),
        (Mode::XApic, X2APIC, true),
        (Mode::XApic, DISABLED, true),
        (Mode::X2Apic, XAPIC, false),
        (Mode::X2Apic, DISABLED, true),
        (Mode::XApic, 0xfee0_0400, false),
        (Mode::Disabled, 0xfee0_0400, false),
    ];
    for (from, value, legal) in table {
        let mut apic = apic_in(from);
        assert_eq!(apic.write_apic_base(value).is_ok(), legal, "{from:?} to {value:#x}");
        assert_eq!(apic.apic_base(), if legal { value } else { apic_in(from).apic_base() });
    }
}

#[test]
fn the_page_cannot_be_moved_and_reserved_bits_fault() {
    let mut apic = enabled(0);
    for value in [0xfed0_0900, 0x1_fee0_0900, XAPIC | 1, XAPIC | 1 << 9, XAPIC | 1 << 63] {
        assert_eq!(apic.write_apic_base(value), Err(Gp), "{value:#x}");
    }
    assert_eq!(apic.write_apic_base(XAPIC), Ok(Effect::None), "the BSP bit is ignored");
    assert_eq!(apic.apic_base(), XAPIC | 0x100);
}

#[test]
fn x2apic_is_refused_when_not_offered() {
    let mut apic = Apic::new(0, false, false);
    assert_eq!(apic.write_apic_base(X2APIC), Err(Gp));
}

#[test]
fn setting_apic_base_from_outside_reaches_every_mode_from_every_mode() {
    for from in [Mode::Disabled, Mode::XApic, Mode::X2Apic] {
        for value in [DISABLED, XAPIC, X2APIC] {
            let mut apic = apic_in(from);
            assert_eq!(apic.set_apic_base(value), Ok(()));
            assert_eq!(apic.apic_base(), value);
        }
    }
}

#[test]
fn entering_x2apic_mode_keeps_what_is_pending() {
    let mut apic = enabled(1);
    apic.accept(0x70, false);
    assert_eq!(apic.write_apic_base(X2APIC), Ok(Effect::ModeChanged));
    assert_eq!((apic.pending(), apic.is_enabled()), (Some(0x70), true));
}

#[test]
fn disabling_resets_the_registers() {
    let mut apic = enabled(1);
    apic.accept(0x70, false);
    let _ = apic.write_mmio(0x380, 1000, 0);
    assert_eq!(apic.write_apic_base(DISABLED), Ok(Effect::ModeChanged));
    assert_eq!((apic.pending(), apic.timer_deadline()), (None, None));
    assert_eq!(apic.write_apic_base(XAPIC), Ok(Effect::ModeChanged));
    assert!(!apic.is_enabled());
}

#[test]
fn init_keeps_the_mode_and_power_on_does_not() {
    let mut apic = enabled_x2apic(3);
    apic.accept(0x70, false);
    apic.reset(ResetKind::Init);
    assert_eq!((apic.mode(), apic.pending(), apic.is_enabled()), (Mode::X2Apic, None, false));
    apic.reset(ResetKind::PowerOn);
    assert_eq!((apic.mode(), apic.apic_id()), (Mode::XApic, 3));
    assert!(apic.read_msr(crate::msr::TSC_DEADLINE, 0).is_ok(), "capabilities survive");
}
