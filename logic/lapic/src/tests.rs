//! Behaviour of the whole APIC.

use crate::*;

#[test]
fn highest_request_above_ppr_is_pending() {
    let mut apic = Apic::new(0, true, true);
    let _ = apic.write_mmio(0xf0, 0x1ff, 0);
    assert!(apic.accept(0x41, false) && apic.accept(0x52, true) && !apic.accept(0x52, true));
    assert_eq!(apic.pending(), Some(0x52));
    apic.ack(0x52);
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.eoi(), Some(EoiResult { vector: 0x52, level: true }));
    assert_eq!(apic.pending(), Some(0x41));
}
