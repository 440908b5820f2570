//! A leftist heap of VPs, linked through the entities: by virtual time, or by the moment they want to be woken.
//!
//! Every operation is O(log n): the right spine of a subtree is never longer than its left one, so it has at most
//! log2(n + 1) VPs, and all work is along right spines.

use crate::entity::{Entity, HeapLinks, VpRef, Vps};
use crate::field::Half;
use core::marker::PhantomData;

/// What a heap is ordered by, and which of the entity's links are its.
pub(crate) trait Order {
    fn links(entity: &Entity) -> &HeapLinks;
    fn is_before(a: &Entity, b: &Entity) -> bool;
}

/// VPs that wait their turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByVtime;

impl Order for ByVtime {
    fn links(entity: &Entity) -> &HeapLinks {
        &entity.heap
    }
    fn is_before(a: &Entity, b: &Entity) -> bool {
        a.vtime().is_before(b.vtime())
    }
}

/// Blocked VPs that want to be woken at some time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByDeadline;

impl Order for ByDeadline {
    fn links(entity: &Entity) -> &HeapLinks {
        &entity.alarm
    }
    fn is_before(a: &Entity, b: &Entity) -> bool {
        a.deadline.get() < b.deadline.get()
    }
}

/// The heap's root and size; the rest is in the entities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heap<O = ByVtime> {
    root: VpRef,
    len: u32,
    order: PhantomData<O>,
}

impl<O: Order> Heap<O> {
    pub const EMPTY: Self = Self { root: VpRef::NONE, len: 0, order: PhantomData };

    /// The VP that comes before all others.
    pub fn first(&self) -> Option<VpRef> {
        self.root.some()
    }

    pub fn len(&self) -> u32 {
        self.len
    }

    /// Adds a VP that is in no such heap. What it is ordered by stays as it is until it is removed.
    #[inline]
    pub fn insert(&mut self, vps: &impl Vps, vp: VpRef, entity: &Entity) {
        let links = O::links(entity);
        clear(links);
        links.rank.set(1);
        self.len += 1;
        if self.root == VpRef::NONE {
            self.root = vp;
        } else {
            self.root = merge::<O>(vps, self.root, vp);
            O::links(vps.vp(self.root)).parent.set(VpRef::NONE.0);
        }
    }

    /// Takes out a VP that is in this heap.
    #[inline]
    pub fn remove(&mut self, vps: &impl Vps, vp: VpRef, entity: &Entity) {
        if self.len == 1 {
            self.root = VpRef::NONE;
        } else {
            self.remove_one_of_many(vps, vp, entity);
        }
        clear(O::links(entity));
        self.len = self.len.saturating_sub(1);
    }

    fn remove_one_of_many(&mut self, vps: &impl Vps, vp: VpRef, entity: &Entity) {
        let links = O::links(entity);
        let parent = link(&links.parent);
        let below = merge::<O>(vps, link(&links.left), link(&links.right));
        if let Some(below) = below.some() {
            O::links(vps.vp(below)).parent.set(parent.0);
        }
        match parent.some() {
            None => self.root = below,
            Some(parent) => {
                let links = O::links(vps.vp(parent));
                let side = if link(&links.left) == vp { &links.left } else { &links.right };
                side.set(below.0);
                rebalance::<O>(vps, parent);
            }
        }
    }
}

fn link(field: &Half) -> VpRef {
    VpRef(field.get())
}

fn clear(links: &HeapLinks) {
    for field in [&links.left, &links.right, &links.parent] {
        field.set(VpRef::NONE.0);
    }
    links.rank.set(0);
}

fn rank<O: Order>(vps: &impl Vps, vp: VpRef) -> u32 {
    vp.some().map_or(0, |vp| O::links(vps.vp(vp)).rank.get())
}

/// Merges two heaps; the result's parent link is the caller's to set. Recurses along right spines only.
fn merge<O: Order>(vps: &impl Vps, a: VpRef, b: VpRef) -> VpRef {
    let (Some(a), Some(b)) = (a.some(), b.some()) else {
        return if a == VpRef::NONE { b } else { a };
    };
    let (top, other) = if O::is_before(vps.vp(b), vps.vp(a)) { (b, a) } else { (a, b) };
    let links = O::links(vps.vp(top));
    let right = merge::<O>(vps, link(&links.right), other);
    links.right.set(right.0);
    O::links(vps.vp(right)).parent.set(top.0);
    level::<O>(vps, top);
    top
}

/// Puts the longer spine of `vp` to the left and sets its rank; tells whether that changed.
fn level<O: Order>(vps: &impl Vps, vp: VpRef) -> bool {
    let links = O::links(vps.vp(vp));
    let (left, right) = (link(&links.left), link(&links.right));
    if rank::<O>(vps, left) < rank::<O>(vps, right) {
        links.left.set(right.0);
        links.right.set(left.0);
    }
    let new = rank::<O>(vps, left).min(rank::<O>(vps, right)) + 1;
    let changed = links.rank.get() != new;
    links.rank.set(new);
    changed
}

/// Restores ranks from `vp` upwards after something below it changed.
fn rebalance<O: Order>(vps: &impl Vps, vp: VpRef) {
    let mut at = vp;
    while level::<O>(vps, at) {
        match link(&O::links(vps.vp(at)).parent).some() {
            Some(parent) => at = parent,
            None => break,
        }
    }
}
