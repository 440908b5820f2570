//! A doubly linked list of VPs, linked through the entities: those that a new period may change.

use crate::entity::{Entity, ListLinks, VpRef, Vps};

/// Head, tail and size; the rest is in the entities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: VpRef,
    tail: VpRef,
    len: u32,
}

impl List {
    pub const EMPTY: Self = Self { head: VpRef::NONE, tail: VpRef::NONE, len: 0 };

    pub fn len(&self) -> u32 {
        self.len
    }

    /// Adds a VP at the end, if it is not in the list.
    pub fn push(&mut self, vps: &impl Vps, vp: VpRef) {
        let links = &vps.vp(vp).list;
        if links.listed.get() != 0 {
            return;
        }
        links.listed.set(1);
        links.next.set(VpRef::NONE.0);
        links.previous.set(self.tail.0);
        match self.tail.some() {
            Some(tail) => vps.vp(tail).list.next.set(vp.0),
            None => self.head = vp,
        }
        self.tail = vp;
        self.len += 1;
    }

    /// Takes a VP out, if it is in the list.
    #[inline]
    pub fn remove(&mut self, vps: &impl Vps, entity: &Entity) {
        if entity.list.listed.get() != 0 {
            self.unlink(vps, &entity.list);
        }
    }

    fn unlink(&mut self, vps: &impl Vps, links: &ListLinks) {
        links.listed.set(0);
        let (previous, next) = (VpRef(links.previous.get()), VpRef(links.next.get()));
        match previous.some() {
            Some(previous) => vps.vp(previous).list.next.set(next.0),
            None => self.head = next,
        }
        match next.some() {
            Some(next) => vps.vp(next).list.previous.set(previous.0),
            None => self.tail = previous,
        }
        self.len = self.len.saturating_sub(1);
    }

    /// Takes out the first.
    pub fn pop(&mut self, vps: &impl Vps) -> Option<VpRef> {
        let first = self.head.some()?;
        self.unlink(vps, &vps.vp(first).list);
        Some(first)
    }
}
