//! A leftist heap of VPs by virtual time, linked through the entities.
//!
//! Every operation is O(log n): the right spine of a subtree is never longer than its left one, so it has at most
//! log2(n + 1) VPs, and all work is along right spines.

use crate::entity::{Entity, VpRef, Vps};
use crate::field::Half;

/// The heap's root and size; the rest is in the entities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heap {
    root: VpRef,
    len: u32,
}

impl Heap {
    pub const EMPTY: Self = Self { root: VpRef::NONE, len: 0 };

    /// The VP with the smallest virtual time.
    pub fn first(&self) -> Option<VpRef> {
        self.root.some()
    }

    pub fn len(&self) -> u32 {
        self.len
    }

    /// Adds a VP that is in no heap. Its virtual time stays as it is until it is removed.
    pub fn insert(&mut self, vps: &impl Vps, vp: VpRef) {
        let node = vps.vp(vp);
        clear(node);
        node.heap.rank.set(1);
        self.root = merge(vps, self.root, vp);
        vps.vp(self.root).heap.parent.set(VpRef::NONE.0);
        self.len += 1;
    }

    /// Takes out a VP that is in this heap.
    pub fn remove(&mut self, vps: &impl Vps, vp: VpRef) {
        let node = vps.vp(vp);
        let parent = link(&node.heap.parent);
        let below = merge(vps, link(&node.heap.left), link(&node.heap.right));
        if let Some(below) = below.some() {
            vps.vp(below).heap.parent.set(parent.0);
        }
        match parent.some() {
            None => self.root = below,
            Some(parent) => {
                let links = &vps.vp(parent).heap;
                let side = if link(&links.left) == vp { &links.left } else { &links.right };
                side.set(below.0);
                rebalance(vps, parent);
            }
        }
        clear(node);
        self.len = self.len.saturating_sub(1);
    }
}

fn link(field: &Half) -> VpRef {
    VpRef(field.get())
}

fn clear(node: &Entity) {
    for field in [&node.heap.left, &node.heap.right, &node.heap.parent] {
        field.set(VpRef::NONE.0);
    }
    node.heap.rank.set(0);
}

fn rank(vps: &impl Vps, vp: VpRef) -> u32 {
    vp.some().map_or(0, |vp| vps.vp(vp).heap.rank.get())
}

/// Merges two heaps; the result's parent link is the caller's to set. Recurses along right spines only.
fn merge(vps: &impl Vps, a: VpRef, b: VpRef) -> VpRef {
    let (Some(a), Some(b)) = (a.some(), b.some()) else {
        return if a == VpRef::NONE { b } else { a };
    };
    let (top, other) = if vps.vp(b).vtime().is_before(vps.vp(a).vtime()) { (b, a) } else { (a, b) };
    let node = vps.vp(top);
    let right = merge(vps, link(&node.heap.right), other);
    node.heap.right.set(right.0);
    vps.vp(right).heap.parent.set(top.0);
    level(vps, top);
    top
}

/// Puts the longer spine of `vp` to the left and sets its rank; tells whether that changed.
fn level(vps: &impl Vps, vp: VpRef) -> bool {
    let links = &vps.vp(vp).heap;
    let (left, right) = (link(&links.left), link(&links.right));
    if rank(vps, left) < rank(vps, right) {
        links.left.set(right.0);
        links.right.set(left.0);
    }
    let new = rank(vps, left).min(rank(vps, right)) + 1;
    let changed = links.rank.get() != new;
    links.rank.set(new);
    changed
}

/// Restores ranks from `vp` upwards after something below it changed.
fn rebalance(vps: &impl Vps, vp: VpRef) {
    let mut at = vp;
    while level(vps, at) {
        match link(&vps.vp(at).heap.parent).some() {
            Some(parent) => at = parent,
            None => break,
        }
    }
}
