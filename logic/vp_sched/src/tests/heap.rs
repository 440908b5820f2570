use super::sim::Table;
use super::std::collections::BTreeSet;
use super::std::vec::Vec;
use crate::heap::{ByVtime, Heap};
use crate::{Entity, Role, Share, ShareRef, VTime, VpRef, Vps};
use hvdef::LpIndex;
use proptest::prelude::*;

const VPS: u32 = 64;

fn table() -> Table {
    let vps = (0..VPS).map(|_| Entity::new(ShareRef(0), LpIndex(0), false)).collect();
    Table { vps, shares: Vec::from([Share::new(Role::Child)]) }
}

/// Length of the right spine from the root: what every operation walks along.
fn spine(table: &Table, heap: &Heap<ByVtime>) -> u32 {
    let mut length = 0;
    let mut at = heap.first().unwrap_or(VpRef::NONE);
    while at != VpRef::NONE {
        length += 1;
        at = VpRef(table.vp(at).heap.right.get());
    }
    length
}

proptest! {
    #[test]
    fn the_first_is_always_the_smallest(ops in proptest::collection::vec((0..VPS, 0u64..40, any::<bool>()), 1..400)) {
        let table = table();
        let mut heap = Heap::<ByVtime>::EMPTY;
        let mut model = BTreeSet::new();
        for (i, vtime, pop) in ops {
            let vp = VpRef(i);
            let old = (table.vp(vp).vtime().0, i);
            if model.remove(&old) {
                heap.remove(&table, vp, table.vp(vp));
            } else if pop {
                if let Some(first) = heap.first() {
                    heap.remove(&table, first, table.vp(first));
                    prop_assert!(model.remove(&(table.vp(first).vtime().0, first.0)));
                }
            } else {
                table.vp(vp).set_vtime(VTime(vtime));
                heap.insert(&table, vp, table.vp(vp));
                model.insert((vtime, i));
            }
            prop_assert_eq!(heap.len() as usize, model.len());
            let first = heap.first().map(|vp| table.vp(vp).vtime().0);
            prop_assert_eq!(first, model.first().map(|&(vtime, _)| vtime));
            prop_assert!(1u32 << spine(&table, &heap) <= heap.len() + 1, "spine too long");
        }
    }
}

#[test]
fn virtual_time_may_wrap() {
    let table = table();
    let mut heap = Heap::<ByVtime>::EMPTY;
    for (i, vtime) in [5, u64::MAX - 5, u64::MAX].into_iter().enumerate() {
        table.vp(VpRef(i as u32)).set_vtime(VTime(vtime));
        heap.insert(&table, VpRef(i as u32), table.vp(VpRef(i as u32)));
    }
    assert_eq!(heap.first(), Some(VpRef(1)));
    heap.remove(&table, VpRef(1), table.vp(VpRef(1)));
    assert_eq!(heap.first(), Some(VpRef(2)));
}
