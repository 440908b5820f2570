use super::{enabled, enabled_x2apic};
use crate::{Apic, DeliveryMode, Destination, Effect, EoiResult, Gp, Ipi, Lvt, Shorthand, msr};
use proptest::prelude::*;

#[test]
fn registers_after_power_on() {
    let mut apic = Apic::new(5, false, true);
    let expect = [
        (0x20, 5 << 24),
        (0x30, 0x0005_0014),
        (0x80, 0),
        (0xd0, 0),
        (0xe0, u32::MAX),
        (0xf0, 0xff),
        (0x280, 0),
        (0x300, 0),
        (0x320, 0x1_0000),
        (0x350, 0x1_0000),
        (0x370, 0x1_0000),
        (0x380, 0),
        (0x390, 0),
        (0x3e0, 0),
    ];
    for (offset, value) in expect {
        assert_eq!(apic.read_mmio(offset, 0), value, "{offset:#x}");
    }
}

#[test]
fn what_is_no_register_raises_an_illegal_register_error() {
    for offset in [
        0x00,
        0x10,
        0x40,
        0x90,
        0xc0,
        0x290,
        0x2f0,
        0x3a0,
        0x3f0,
        0x400,
        0xff0,
        0x24,
        0x302,
        u32::MAX,
    ] {
        let mut apic = enabled(0);
        assert_eq!(apic.read_mmio(offset, 0), 0);
        let _ = apic.write_mmio(0x280, 0, 0);
        assert_eq!(apic.read_mmio(0x280, 0), 0x80, "read {offset:#x}");
        assert_eq!(apic.write_mmio(offset, 1, 0), Effect::None);
        let _ = apic.write_mmio(0x280, 0, 0);
        assert_eq!(apic.read_mmio(0x280, 0), 0x80, "write {offset:#x}");
    }
}

#[test]
fn read_only_mmio_registers_ignore_writes_without_error() {
    let mut apic = enabled(3);
    for offset in [0x20, 0x30, 0xa0, 0x100, 0x180, 0x200, 0x390] {
        assert_eq!(apic.write_mmio(offset, 0xffff_ffff, 0), Effect::None);
    }
    let _ = apic.write_mmio(0x280, 0, 0);
    assert_eq!((apic.read_mmio(0x280, 0), apic.read_mmio(0x20, 0)), (0, 3 << 24));
    assert!(apic.irr().is_empty() && apic.isr().is_empty());
}

#[test]
fn reserved_msrs_and_bits_are_gp() {
    let mut apic = enabled_x2apic(0);
    for reg in [0x800, 0x801, 0x809, 0x80b, 0x80c, 0x80e, 0x82f, 0x831, 0x83a, 0x83f, 0x840, 0x8ff]
    {
        assert_eq!(apic.read_msr(reg, 0), Err(Gp), "read {reg:#x}");
    }
    let bad = [
        (0x802, 0),
        (0x803, 0),
        (0x808, 0x100),
        (0x80a, 0),
        (0x80b, 1),
        (0x80d, 0),
        (0x80e, 0),
        (0x80f, 0x1000),
        (0x810, 0),
        (0x828, 1),
        (0x830, 1 << 13),
        (0x830, 1 << 20),
        (0x830, 1 << 16),
        (0x831, 0),
        (0x832, 0x100),
        (0x832, 1 << 32),
        (0x833, 1 << 13),
        (0x837, 0x100),
        (0x838, 1 << 32),
        (0x839, 0),
        (0x83e, 4),
        (0x83f, 0x100),
    ];
    for (reg, value) in bad {
        assert_eq!(apic.write_msr(reg, value, 0), Err(Gp), "write {reg:#x} {value:#x}");
    }
    assert_eq!(apic.write_msr(0x835, 1 << 12 | 1 << 14 | 0x700, 0), Ok(Effect::None));
    assert_eq!(apic.read_msr(0x835, 0), Ok(0x700), "read-only bits are ignored");
}

#[test]
fn x2apic_msrs_exist_only_in_x2apic_mode_and_mmio_only_in_xapic_mode() {
    let mut apic = enabled(0);
    assert_eq!(apic.read_msr(0x802, 0), Err(Gp));
    assert_eq!(apic.write_msr(0x80b, 0, 0), Err(Gp));
    let mut apic = enabled_x2apic(0);
    assert_eq!(apic.write_mmio(0x80, 0x33, 0), Effect::None);
    assert_eq!((apic.read_mmio(0x80, 0), apic.tpr()), (u32::MAX, 0));
}

#[test]
fn eoi_reaches_the_caller_through_all_three_interfaces() {
    let done = Effect::Eoi(EoiResult { vector: 0x55, level: true });
    let serve = |apic: &mut Apic| {
        apic.accept(0x55, true);
        apic.ack(0x55);
    };
    let mut apic = enabled(0);
    serve(&mut apic);
    assert_eq!(apic.write_mmio(0xb0, 0, 0), done);
    assert_eq!(apic.write_mmio(0xb0, 0, 0), Effect::None, "nothing in service");
    serve(&mut apic);
    assert_eq!(apic.write_hv_eoi(), done);
    let mut apic = enabled_x2apic(0);
    serve(&mut apic);
    assert_eq!(apic.write_msr(0x80b, 0, 0), Ok(done));
}

#[test]
fn icr_sends_through_all_three_interfaces() {
    let ipi = |dest| {
        Effect::Ipi(Ipi {
            vector: 0xfd,
            mode: DeliveryMode::Fixed,
            dest,
            shorthand: Shorthand::None,
        })
    };
    let mut apic = enabled(0);
    let _ = apic.write_mmio(0x310, 3 << 24, 0);
    assert_eq!(apic.write_mmio(0x300, 0x10fd, 0), ipi(Destination::Physical(3)));
    assert_eq!(apic.read_mmio(0x300, 0), 0xfd, "delivery status reads idle");
    assert_eq!(apic.write_icr(0x0f00_0000_0000_08fd), ipi(Destination::Logical(0xf)));
    assert_eq!(apic.icr(), 0x0f00_0000_0000_08fd);
    let mut apic = enabled_x2apic(0);
    assert_eq!(apic.write_msr(0x830, 0x1234_0000_00fd, 0), Ok(ipi(Destination::Physical(0x1234))));
    assert_eq!(apic.read_msr(0x830, 0), Ok(0x1234_0000_00fd));
}

#[test]
fn self_ipi_is_requested_at_once() {
    let mut apic = enabled(0);
    assert_eq!(apic.write_mmio(0x300, 0x4_0040, 0), Effect::SelfIpi(0x40));
    let mut x2apic = enabled_x2apic(0);
    assert_eq!(x2apic.write_msr(0x83f, 0x40, 0), Ok(Effect::SelfIpi(0x40)));
    assert_eq!((apic.pending(), x2apic.pending()), (Some(0x40), Some(0x40)));
}

#[test]
fn sending_an_illegal_vector_is_an_error_and_no_ipi() {
    let mut apic = enabled(0);
    for low in [0x0f, 0x10f, 0x4_0003] {
        assert_eq!(apic.write_mmio(0x300, low, 0), Effect::None);
        let _ = apic.write_mmio(0x280, 0, 0);
        assert_eq!(apic.read_mmio(0x280, 0), 0x20, "{low:#x}");
    }
    let sipi = apic.write_mmio(0x300, 0x4608, 0);
    assert!(matches!(sipi, Effect::Ipi(Ipi { mode: DeliveryMode::Sipi, vector: 8, .. })));
}

#[test]
fn software_disable_masks_the_table_and_keeps_it_masked() {
    let mut apic = enabled(0);
    let _ = apic.write_mmio(0x350, 0x700, 0);
    let _ = apic.write_mmio(0x320, 0x2_00ed, 0);
    assert_eq!(apic.write_mmio(0xf0, 0xff, 0), Effect::TimerChanged);
    assert_eq!((apic.lvt(Lvt::Lint0), apic.lvt(Lvt::Timer)), (0x1_0700, 0x3_00ed));
    let _ = apic.write_mmio(0x350, 0x700, 0);
    assert_eq!(apic.lvt(Lvt::Lint0), 0x1_0700);
    let _ = apic.write_mmio(0xf0, 0x1ff, 0);
    assert_eq!(apic.lvt(Lvt::Lint0), 0x1_0700, "enabling unmasks nothing");
}

#[test]
fn tsc_deadline_msr_is_gp_unless_offered() {
    let mut apic = Apic::new(0, true, true);
    assert_eq!(apic.read_msr(msr::TSC_DEADLINE, 0), Err(Gp));
    assert_eq!(apic.write_msr(msr::TSC_DEADLINE, 1, 0), Err(Gp));
}

#[derive(Clone, Debug)]
enum Access {
    Mmio(u32, u32),
    MmioRead(u32),
    Msr(u32, u64),
    MsrRead(u32),
    Time(u32),
    Accept(u8),
    Ack,
}

fn access() -> impl Strategy<Value = Access> {
    let register = (0u32..0x41).prop_map(|r| r * 16);
    let msr = prop_oneof![0x800u32..0x841, Just(0x1b), Just(0x6e0)];
    let value = prop_oneof![any::<u64>(), 0..0x400u64, Just(0xfee0_0800), Just(0xfee0_0c00)];
    prop_oneof![
        (register.clone(), any::<u32>()).prop_map(|(r, v)| Access::Mmio(r, v)),
        register.prop_map(Access::MmioRead),
        (msr.clone(), value).prop_map(|(m, v)| Access::Msr(m, v)),
        msr.prop_map(Access::MsrRead),
        any::<u32>().prop_map(Access::Time),
        any::<u8>().prop_map(Access::Accept),
        Just(Access::Ack),
    ]
}

fn apply(apic: &mut Apic, now: &mut u64, access: Access) {
    match access {
        Access::Mmio(offset, value) => drop_effect(apic.write_mmio(offset, value, *now)),
        Access::MmioRead(offset) => drop(apic.read_mmio(offset, *now)),
        Access::Msr(msr, value) => drop(apic.write_msr(msr, value, *now)),
        Access::MsrRead(msr) => drop(apic.read_msr(msr, *now)),
        Access::Time(by) => {
            *now += u64::from(by);
            apic.expire_timer(*now);
        }
        Access::Accept(vector) => drop(apic.accept(vector, vector & 1 != 0)),
        Access::Ack => {
            if let Some(vector) = apic.pending() {
                apic.ack(vector);
            }
        }
    }
}

fn drop_effect(_: Effect) {}

proptest! {
    #[test]
    fn no_access_breaks_the_invariants(start in any::<u64>(), accesses in proptest::collection::vec(access(), 0..100)) {
        let mut apic = enabled(0);
        let mut now = start >> 1;
        for access in accesses {
            apply(&mut apic, &mut now, access);
            for set in [apic.irr(), apic.isr(), apic.tmr()] {
                prop_assert_eq!(set.0[0] & 0xffff, 0);
            }
            prop_assert_eq!(apic.highest_isr().unwrap_or(0), apic.isr().highest());
            if apic.mode() == crate::Mode::Disabled {
                prop_assert!(apic.irr().is_empty() && apic.isr().is_empty());
                prop_assert_eq!(apic.timer_deadline(), None);
            }
            let saved = apic.save(now);
            let mut copy = apic.clone();
            copy.restore(&saved, now);
            prop_assert_eq!(copy.save(now), saved, "save after restore changes nothing");
        }
    }
}
