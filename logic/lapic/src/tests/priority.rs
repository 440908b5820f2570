extern crate std;

use super::enabled;
use crate::{Apic, EoiResult, VectorSet};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::vec::Vec;

#[test]
fn highest_request_above_ppr_is_pending() {
    let mut apic = enabled(0);
    assert!(apic.accept(0x41, false) && apic.accept(0x52, true) && !apic.accept(0x52, true));
    assert_eq!(apic.pending(), Some(0x52));
    apic.ack(0x52);
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.eoi(), Some(EoiResult { vector: 0x52, level: true }));
    assert_eq!(apic.pending(), Some(0x41));
}

#[test]
fn ppr_takes_the_sub_class_of_tpr_only_when_tpr_decides() {
    let mut apic = enabled(0);
    apic.set_tpr(0x35);
    assert_eq!(apic.ppr(), 0x35);
    apic.accept(0x47, false);
    apic.ack(0x47);
    assert_eq!(apic.ppr(), 0x40);
    apic.set_tpr(0x42);
    assert_eq!(apic.ppr(), 0x42);
    apic.set_cr8(0xf);
    assert_eq!((apic.tpr(), apic.cr8()), (0xf0, 0xf));
    apic.accept(0xff, false);
    assert_eq!(apic.pending(), None);
}

#[test]
fn eoi_may_be_skipped_only_for_a_lone_edge() {
    let mut apic = enabled(0);
    assert!(!apic.can_skip_eoi());
    apic.accept(0x60, false);
    apic.ack(0x60);
    assert!(apic.can_skip_eoi());
    apic.accept(0x30, false);
    assert!(!apic.can_skip_eoi(), "the EOI would release 0x30");
    apic.ack_auto_eoi(0x30);
    assert!(apic.can_skip_eoi());
    apic.accept(0x80, false);
    apic.ack(0x80);
    assert!(!apic.can_skip_eoi(), "nested");
    apic.eoi();
    apic.eoi();
    apic.accept(0x60, true);
    apic.ack(0x60);
    assert!(!apic.can_skip_eoi(), "level");
}

#[test]
fn auto_eoi_leaves_nothing_in_service() {
    let mut apic = enabled(0);
    apic.accept(0xf3, false);
    apic.ack_auto_eoi(0xf3);
    assert_eq!((apic.pending(), apic.highest_isr(), apic.eoi()), (None, None, None));
}

#[test]
fn a_disabled_apic_accepts_nothing_but_keeps_what_it_has() {
    let mut apic = enabled(0);
    apic.accept(0x50, false);
    let _ = apic.write_mmio(0xf0, 0xff, 0);
    assert!(!apic.accept(0x60, false) && !apic.merge_posted(&[0, 0, 1, 0]));
    assert_eq!(apic.pending(), Some(0x50));
}

#[test]
fn merging_posted_requests_makes_them_edge_and_drops_impossible_vectors() {
    let mut apic = enabled(0);
    apic.accept(0x45, true);
    assert!(apic.merge_posted(&[0xffff, 1 << 5, 0, 1 << 63]));
    assert_eq!(apic.irr(), &VectorSet([0, 1 << 5, 0, 1 << 63]));
    assert!(apic.tmr().is_empty());
    assert!(!apic.merge_posted(&[0xffff, 0, 0, 0]));
}

#[test]
fn vectors_below_16_are_an_error() {
    let mut apic = enabled(0);
    let _ = apic.write_mmio(0x370, 0xfe, 0);
    assert!(!apic.accept(15, false));
    assert_eq!(apic.pending(), Some(0xfe), "error interrupt");
    apic.ack_auto_eoi(0xfe);
    apic.accept(3, false);
    assert_eq!(apic.pending(), None, "one interrupt until ESR is written");
    assert_eq!(apic.read_mmio(0x280, 0), 0);
    let _ = apic.write_mmio(0x280, 0xdead, 0);
    assert_eq!(apic.read_mmio(0x280, 0), 0x40);
    let _ = apic.write_mmio(0x280, 0, 0);
    assert_eq!(apic.read_mmio(0x280, 0), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Accept(u8, bool),
    Posted(Vec<u8>),
    AckPending,
    AckAuto,
    Eoi,
    Tpr(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), any::<bool>()).prop_map(|(v, l)| Step::Accept(v, l)),
        1 => proptest::collection::vec(any::<u8>(), 0..4).prop_map(Step::Posted),
        3 => Just(Step::AckPending),
        1 => Just(Step::AckAuto),
        3 => Just(Step::Eoi),
        1 => any::<u8>().prop_map(Step::Tpr),
    ]
}

/// The rules of SDM 12.8 written down without any cleverness.
#[derive(Default)]
struct Naive {
    irr: BTreeSet<u8>,
    isr: BTreeSet<u8>,
    tmr: BTreeSet<u8>,
    tpr: u8,
}

impl Naive {
    fn ppr(&self) -> u8 {
        let isrv = self.isr.last().copied().unwrap_or(0);
        if self.tpr >> 4 >= isrv >> 4 { self.tpr } else { isrv & 0xf0 }
    }

    fn pending(&self) -> Option<u8> {
        self.irr.last().copied().filter(|v| v >> 4 > self.ppr() >> 4)
    }

    fn accept(&mut self, vector: u8, level: bool) -> bool {
        if vector < 16 {
            return false;
        }
        if level {
            self.tmr.insert(vector);
        } else {
            self.tmr.remove(&vector);
        }
        self.irr.insert(vector)
    }

    fn eoi(&mut self) -> Option<EoiResult> {
        self.isr.pop_last().map(|vector| EoiResult { vector, level: self.tmr.contains(&vector) })
    }

    fn set(set: &BTreeSet<u8>) -> VectorSet {
        let mut out = VectorSet::EMPTY;
        for &v in set {
            out.insert(v);
        }
        out
    }
}

fn run(apic: &mut Apic, naive: &mut Naive, step: Step) {
    match step {
        Step::Accept(v, level) => assert_eq!(apic.accept(v, level), naive.accept(v, level)),
        Step::Posted(vectors) => {
            let mut posted = VectorSet::EMPTY;
            let mut any = false;
            for v in vectors {
                posted.insert(v);
                naive.accept(v, false);
                any |= v >= 16;
            }
            assert_eq!(apic.merge_posted(&posted.0), any);
        }
        Step::AckPending => {
            if let Some(v) = apic.pending() {
                apic.ack(v);
                naive.irr.remove(&v);
                assert!(naive.isr.insert(v));
            }
        }
        Step::AckAuto => {
            if let Some(v) = apic.pending() {
                apic.ack_auto_eoi(v);
                naive.irr.remove(&v);
            }
        }
        Step::Eoi => assert_eq!(apic.eoi(), naive.eoi()),
        Step::Tpr(tpr) => {
            apic.set_tpr(tpr);
            naive.tpr = tpr;
        }
    }
}

proptest! {
    #[test]
    fn priority_logic_equals_the_naive_model(steps in proptest::collection::vec(step(), 0..200)) {
        let (mut apic, mut naive) = (enabled(0), Naive::default());
        for step in steps {
            run(&mut apic, &mut naive, step);
            prop_assert_eq!(apic.pending(), naive.pending());
            prop_assert_eq!(apic.ppr(), naive.ppr());
            prop_assert_eq!(apic.highest_irr(), naive.irr.last().copied());
            prop_assert_eq!(apic.highest_isr(), naive.isr.last().copied());
            prop_assert_eq!(apic.irr(), &Naive::set(&naive.irr));
            prop_assert_eq!(apic.isr(), &Naive::set(&naive.isr));
            prop_assert_eq!(apic.tmr(), &Naive::set(&naive.tmr));
            if apic.can_skip_eoi() {
                prop_assert!(naive.isr.len() == 1 && naive.irr.is_empty());
            }
        }
    }
}
