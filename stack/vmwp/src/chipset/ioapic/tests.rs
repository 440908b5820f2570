use super::*;
use proptest::prelude::*;

fn write(apic: &mut IoApic, index: u8, value: u32) -> Vec<Effect> {
    assert_eq!(apic.write(SELECT, u32::from(index)), []);
    apic.write(WINDOW, value)
}

fn read(apic: &mut IoApic, index: u8) -> u32 {
    apic.write(SELECT, u32::from(index));
    apic.read(WINDOW)
}

/// Programs a pin as Linux does: upper half first.
fn program(apic: &mut IoApic, pin: u8, destination: u8, low: u32) -> Vec<Effect> {
    let mut effects = write(apic, 0x11 + 2 * pin, u32::from(destination) << 24);
    effects.extend(write(apic, 0x10 + 2 * pin, low));
    effects
}

const LEVEL_BIT: u32 = LEVEL as u32;
const MASK_BIT: u32 = MASKED as u32;

#[test]
fn after_reset_every_pin_is_masked() {
    let mut apic = IoApic::default();
    assert_eq!(read(&mut apic, VERSION), 0x0017_0020);
    for pin in 0..PINS as u8 {
        assert_eq!(read(&mut apic, 0x10 + 2 * pin), MASK_BIT);
        assert_eq!(apic.pulse(pin.into()), []);
    }
}

#[test]
fn an_edge_is_sent_once_where_the_guest_wants_it() {
    let mut apic = IoApic::default();
    assert_eq!(program(&mut apic, 4, 2, 0x31), [Effect::Reroute(4)]);
    assert_eq!(apic.route(4), Some(MsiRoute { gsi: 4, address: 0xFEE0_2000, data: 0x31 }));
    assert_eq!(apic.pulse(4), [Effect::Send(4)]);
    assert_eq!(apic.pulse(4), [Effect::Send(4)], "an edge waits for no EOI");
}

#[test]
fn an_edge_on_a_masked_pin_is_kept_and_sent_once() {
    let mut apic = IoApic::default();
    program(&mut apic, 4, 0, 0x31);
    assert_eq!(write(&mut apic, 0x18, 0x31 | MASK_BIT), [Effect::Reroute(4)]);
    assert_eq!(apic.pulse(4), []);
    assert_eq!(apic.pulse(4), []);
    assert_eq!(write(&mut apic, 0x18, 0x31), [Effect::Reroute(4), Effect::Send(4)]);
    assert_eq!(write(&mut apic, 0x18, 0x31), []);
}

#[test]
fn a_level_is_sent_again_until_the_line_falls() {
    let mut apic = IoApic::default();
    program(&mut apic, 9, 0, 0x32 | LEVEL_BIT);
    assert_eq!(apic.set_line(9, true), [Effect::Send(9)]);
    assert_eq!(apic.set_line(9, true), [], "it waits for its EOI");
    assert_ne!(read(&mut apic, 0x22) & REMOTE_IRR as u32, 0);
    assert_eq!(apic.end_of_interrupt(0x33), [], "another vector");
    assert_eq!(apic.end_of_interrupt(0x32), [Effect::Send(9)], "the line is still high");
    apic.set_line(9, false);
    assert_eq!(apic.write(EOI, 0x32), [], "by the IOAPIC's own register");
    assert_eq!(read(&mut apic, 0x22) & REMOTE_IRR as u32, 0);
    assert_eq!(apic.set_line(9, true), [Effect::Send(9)]);
}

#[test]
fn a_level_that_rose_while_masked_is_sent_when_unmasked() {
    let mut apic = IoApic::default();
    program(&mut apic, 9, 0, 0x32 | LEVEL_BIT | MASK_BIT);
    assert_eq!(apic.set_line(9, true), []);
    assert_eq!(write(&mut apic, 0x22, 0x32 | LEVEL_BIT), [Effect::Reroute(9), Effect::Send(9)]);
}

#[test]
fn switching_to_edge_forgets_the_outstanding_eoi() {
    let mut apic = IoApic::default();
    program(&mut apic, 9, 0, 0x32 | LEVEL_BIT);
    apic.set_line(9, true);
    write(&mut apic, 0x22, 0x32 | MASK_BIT);
    assert_eq!(read(&mut apic, 0x22) & REMOTE_IRR as u32, 0);
    assert_eq!(
        write(&mut apic, 0x22, 0x32 | LEVEL_BIT),
        [Effect::Reroute(9), Effect::Send(9)],
        "and the line is still high"
    );
}

#[test]
fn the_guest_cannot_write_the_status_bits() {
    let mut apic = IoApic::default();
    write(&mut apic, 0x10, 0xFFFF_FFFF);
    assert_eq!(read(&mut apic, 0x10), 0x0001_AFFF);
}

#[test]
fn modes_and_destinations_become_a_message() {
    let mut apic = IoApic::default();
    // Lowest priority, logical destination 0xFF, level.
    program(&mut apic, 10, 0xFF, 0x40 | 1 << 8 | 1 << 11 | LEVEL_BIT);
    let route = apic.route(10).unwrap();
    assert_eq!((route.address, route.data), (0xFEEF_F00C, 0x8140));
    let request = route.request().unwrap();
    assert!(request.level && request.logical);
    assert_eq!(request.destination, 0xFF);
}

#[test]
fn accesses_beside_the_registers_do_nothing() {
    let mut apic = IoApic::default();
    assert_eq!(apic.write(0x20, 1), []);
    assert_eq!(apic.read(0x20), 0);
    assert_eq!(write(&mut apic, 0x40, u32::MAX), []);
    assert_eq!(read(&mut apic, 0xFF), 0);
    assert_eq!(apic.set_line(24, true), []);
    assert_eq!(apic.route(24), None);
}

#[derive(Clone, Debug)]
enum Action {
    Write(u64, u32),
    Line(usize, bool),
    Eoi(u8),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0u32..0x42).prop_map(|index| Action::Write(SELECT, index)),
        any::<u32>().prop_map(|value| Action::Write(WINDOW, value)),
        (0usize..26, any::<bool>()).prop_map(|(pin, high)| Action::Line(pin, high)),
        any::<u8>().prop_map(Action::Eoi),
    ]
}

proptest! {
    /// A pin that waits for an EOI never sends, and nothing that is masked sends.
    #[test]
    fn whatever_the_guest_does_sending_follows_the_rules(actions in prop::collection::vec(action(), 0..200)) {
        let mut apic = IoApic::default();
        for action in actions {
            let waiting: Vec<bool> = apic.pins.iter().map(|pin| pin.is(REMOTE_IRR)).collect();
            let (effects, may_clear) = match action {
                Action::Write(offset, value) => (apic.write(offset, value), true),
                Action::Line(pin, high) => (apic.set_line(pin, high), false),
                Action::Eoi(vector) => (apic.end_of_interrupt(vector), true),
            };
            for effect in effects {
                if let Effect::Send(pin) = effect {
                    prop_assert!(!apic.pins[pin].is(MASKED));
                    prop_assert!(may_clear || !waiting[pin]);
                }
            }
        }
    }
}
