use super::{enabled, enabled_x2apic};
use crate::{Apic, Delivery, DeliveryMode, Destination, Ipi, LowestPriority, Lvt, Shorthand};

#[test]
fn physical_destinations_match_the_id_of_the_mode() {
    let (xapic, x2apic) = (enabled(7), enabled_x2apic(0x1_0007));
    assert!(xapic.matches(Destination::from_xapic(7, false)));
    assert!(!xapic.matches(Destination::from_x2apic(0x107, false)));
    assert!(x2apic.matches(Destination::from_x2apic(0x1_0007, false)));
    assert!(!x2apic.matches(Destination::from_xapic(7, false)));
}

#[test]
fn all_ones_is_everybody_in_the_width_of_the_sender() {
    for apic in [enabled(7), enabled_x2apic(7), enabled(0)] {
        for logical in [false, true] {
            assert!(apic.matches(Destination::from_xapic(0xff, logical)));
            assert!(apic.matches(Destination::from_x2apic(u32::MAX, logical)));
        }
    }
    assert!(enabled_x2apic(0xff).matches(Destination::from_x2apic(0xff, false)));
    assert!(!enabled_x2apic(7).matches(Destination::from_x2apic(0xff, false)));
}

#[test]
fn flat_logical_destinations_are_masks() {
    let mut apic = enabled(2);
    let _ = apic.write_mmio(0xd0, 0x04ff_ffff, 0);
    assert_eq!(apic.read_mmio(0xd0, 0), 0x0400_0000);
    assert!(apic.matches(Destination::Logical(0x06)));
    assert!(!apic.matches(Destination::Logical(0x0b)));
    assert!(!apic.matches(Destination::Logical(0)));
    assert!(!apic.matches(Destination::Logical(0x1_0004)));
}

#[test]
fn cluster_logical_destinations_select_members_of_one_cluster() {
    let mut apic = enabled(2);
    let _ = apic.write_mmio(0xd0, 0x2400_0000, 0);
    let _ = apic.write_mmio(0xe0, 0, 0);
    assert_eq!(apic.read_mmio(0xe0, 0), 0x0fff_ffff);
    assert!(apic.matches(Destination::Logical(0x26)));
    assert!(!apic.matches(Destination::Logical(0x16)));
    assert!(!apic.matches(Destination::Logical(0x2b)));
    let _ = apic.write_mmio(0xe0, 0x7000_0000, 0);
    assert!(!apic.matches(Destination::Logical(0x26)), "undefined model");
}

#[test]
fn x2apic_logical_ids_follow_from_the_id() {
    let apic = enabled_x2apic(0x123);
    assert_eq!(apic.read_msr(0x80d, 0), Ok(0x12_0008));
    assert!(apic.matches(Destination::Logical(0x12_0009)));
    assert!(!apic.matches(Destination::Logical(0x12_0007)));
    assert!(!apic.matches(Destination::Logical(0x13_0008)));
}

#[test]
fn shorthands_override_the_destination() {
    let (me, other) = (enabled(0), enabled(1));
    let ipi = |shorthand| Ipi {
        vector: 0x40,
        mode: DeliveryMode::Fixed,
        dest: Destination::Physical(9),
        shorthand,
    };
    let targets = |s| (me.is_target(&ipi(s), true), other.is_target(&ipi(s), false));
    assert_eq!(targets(Shorthand::None), (false, false));
    assert_eq!(targets(Shorthand::ToSelf), (true, false));
    assert_eq!(targets(Shorthand::All), (true, true));
    assert_eq!(targets(Shorthand::AllButSelf), (false, true));
}

#[test]
fn init_deassert_and_reserved_modes_send_nothing() {
    assert_eq!(Ipi::decode(0x8500, 0, false), None);
    assert_eq!(Ipi::decode(0x4300, 0, false), None);
    let init = Ipi::decode(0xc500, 2 << 24, false).map(|ipi| (ipi.mode, ipi.dest));
    assert_eq!(init, Some((DeliveryMode::Init, Destination::Physical(2))));
    assert_eq!(
        Ipi::decode(0xc_4400, 0, true).map(|ipi| ipi.shorthand),
        Some(Shorthand::AllButSelf)
    );
}

#[test]
fn messages_do_what_their_mode_says() {
    let mut apic = enabled(0);
    assert_eq!(apic.deliver(DeliveryMode::Fixed, 0x40, false), Delivery::Requested);
    assert_eq!(
        apic.deliver(DeliveryMode::LowestPriority, 0x40, false),
        Delivery::None,
        "already pending"
    );
    assert_eq!(apic.deliver(DeliveryMode::Nmi, 0, false), Delivery::Nmi);
    assert_eq!(apic.deliver(DeliveryMode::Smi, 0, false), Delivery::Smi);
    assert_eq!(apic.deliver(DeliveryMode::Init, 0, false), Delivery::Init);
    assert_eq!(apic.deliver(DeliveryMode::Sipi, 0x9a, false), Delivery::Sipi { page: 0x9a });
    assert_eq!(apic.deliver(DeliveryMode::ExtInt, 0, false), Delivery::ExtInt);
}

#[test]
fn a_software_disabled_apic_still_starts_up() {
    let mut apic = Apic::new(1, false, false);
    assert_eq!(apic.deliver(DeliveryMode::Init, 0, false), Delivery::Init);
    assert_eq!(apic.deliver(DeliveryMode::Sipi, 8, false), Delivery::Sipi { page: 8 });
    assert_eq!(apic.deliver(DeliveryMode::Fixed, 0x40, false), Delivery::None);
}

#[test]
fn lint_pins_do_what_their_entries_say() {
    let mut apic = enabled(0);
    assert_eq!(apic.signal_lvt(Lvt::Lint1), Delivery::None, "masked");
    assert!(!apic.accepts_pic());
    let _ = apic.write_mmio(0x350, 0x700, 0);
    let _ = apic.write_mmio(0x360, 0x400, 0);
    assert!(apic.accepts_pic());
    assert_eq!(apic.signal_lvt(Lvt::Lint0), Delivery::ExtInt);
    assert_eq!(apic.signal_lvt(Lvt::Lint1), Delivery::Nmi);
    let _ = apic.write_mmio(0x350, 0x8060, 0);
    assert_eq!(apic.signal_lvt(Lvt::Lint0), Delivery::Requested);
    assert!(apic.tmr().contains(0x60) && !apic.accepts_pic());
}

#[test]
fn a_counter_overflow_masks_its_entry() {
    let mut apic = enabled(0);
    let _ = apic.write_mmio(0x340, 0x400, 0);
    assert_eq!(apic.signal_lvt(Lvt::Perfmon), Delivery::Nmi);
    assert_eq!(apic.signal_lvt(Lvt::Perfmon), Delivery::None);
    assert_eq!(apic.read_mmio(0x340, 0), 0x1_0400);
}

#[test]
fn lowest_priority_picks_the_least_busy_and_the_first_of_equals() {
    let mut arbiter = LowestPriority::new();
    assert_eq!(arbiter.winner(), None);
    for (candidate, ppr) in [(4, 0x50), (5, 0x20), (6, 0x20), (7, 0x30)] {
        arbiter.consider(candidate, ppr);
    }
    assert_eq!(arbiter.winner(), Some(5));
}
