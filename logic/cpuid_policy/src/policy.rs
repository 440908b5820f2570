//! The composed answers of one partition, and finding one.

use crate::entry::{Dynamic, Entry, ZERO};
use crate::overrides::{Override, slot};
use crate::standard::{Composer, Sink};
use crate::topology::beyond;
use crate::xsave::Layout;
use crate::{Config, Effective, HostCpuid, Overrides, Registers, VpView, synthetic};

/// Leaves that can be looked up directly.
const SLOTS: usize = 192;
/// No answer for that leaf.
const NONE: u8 = u8::MAX;

/// What the dynamic parts need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub xsave: Layout,
    pub xfem: u64,
    pub xss: u64,
    /// Bits of an APIC id within its core.
    pub thread_shift: u32,
}

/// The answers of one partition. Written while no VP runs, only read afterwards.
#[derive(Clone, Debug)]
pub struct Policy<S> {
    entries: S,
    len: usize,
    first: [u8; SLOTS],
    facts: Facts,
    effective: Effective,
}

impl<S: AsRef<[Entry]> + AsMut<[Entry]>> Policy<S> {
    /// Entries that [`Self::build`] may need: less than a page of them.
    pub const ENTRIES: usize = 128;

    /// Composes the answers. To be done anew, into the same storage, whenever something in `config` has changed.
    /// `None`: the storage is too small.
    pub fn build(host: &impl HostCpuid, config: &Config, entries: S) -> Option<Self> {
        let composer = Composer::new(host, config);
        let effective = composer.effective;
        let Effective { xfem, xss, .. } = effective;
        let facts =
            Facts { xsave: composer.layout, xfem, xss, thread_shift: config.topology.smt.into() };
        let policy = Self { entries, len: 0, first: [NONE; SLOTS], facts, effective };
        let mut builder = Builder { policy, complete: true };
        composer.compose(&mut builder);
        if config.synthetic.hv1() {
            for leaf in synthetic::leaves() {
                builder.put(leaf, None, synthetic::answer(config, leaf), Dynamic::Nothing);
            }
        }
        builder.complete.then_some(builder.policy)
    }
}

impl<S: AsRef<[Entry]>> Policy<S> {
    /// What CPUID answers: `leaf` in EAX, `subleaf` in ECX, the VP as it is, with what the parent registered for the
    /// partition and for the VP.
    #[inline]
    pub fn answer<P, V>(
        &self,
        leaf: u32,
        subleaf: u32,
        vp: &VpView,
        of_partition: &Overrides<P>,
        of_vp: &Overrides<V>,
    ) -> Registers
    where
        P: AsRef<[Override]>,
        V: AsRef<[Override]>,
    {
        let mut registers = self.default_answer(leaf, subleaf, vp);
        of_partition.apply(leaf, subleaf, &mut registers);
        of_vp.apply(leaf, subleaf, &mut registers);
        registers
    }

    /// The same without what the parent registered: what an intercept message gives as default.
    #[inline]
    pub fn default_answer(&self, leaf: u32, subleaf: u32, vp: &VpView) -> Registers {
        match self.find(leaf, subleaf) {
            Some(entry) => vp.adjust(entry, &self.facts),
            None if matches!(leaf, 0xB | 0x1F) && self.has(leaf) => {
                Registers { edx: vp.apic_id, ..beyond(subleaf) }
            }
            None => ZERO,
        }
    }

    /// The partition's features, as its properties tell them.
    pub const fn effective(&self) -> &Effective {
        &self.effective
    }

    /// Bytes of an XSAVE area in the compacted format with every component the partition has: property
    /// MAX_XSAVE_DATA_SIZE.
    pub fn max_xsave_size(&self) -> u32 {
        self.facts.xsave.compacted(self.facts.xfem | self.facts.xss)
    }

    fn has(&self, leaf: u32) -> bool {
        self.start(leaf).is_some()
    }

    fn start(&self, leaf: u32) -> Option<usize> {
        let first = *self.first.get(slot(leaf)?)?;
        (first != NONE).then_some(first.into())
    }

    /// The answer for a leaf: the first if subleaves do not count, or else the one of `subleaf`.
    fn find(&self, leaf: u32, subleaf: u32) -> Option<&Entry> {
        let rest = self.entries.as_ref().get(self.start(leaf)?..self.len)?;
        let of_leaf = rest.iter().take_while(|entry| entry.leaf == leaf);
        of_leaf.into_iter().find(|entry| !entry.indexed || entry.subleaf == subleaf)
    }
}

struct Builder<S> {
    policy: Policy<S>,
    complete: bool,
}

impl<S: AsMut<[Entry]>> Sink for Builder<S> {
    fn put(&mut self, leaf: u32, subleaf: Option<u32>, registers: Registers, dynamic: Dynamic) {
        if registers == ZERO && dynamic == Dynamic::Nothing {
            return;
        }
        let Policy { entries, len, first, .. } = &mut self.policy;
        let place = slot(leaf).and_then(|slot| first.get_mut(slot));
        let number = u8::try_from(*len).ok().filter(|&number| number != NONE);
        let (Some(place), Some(number), Some(entry)) =
            (place, number, entries.as_mut().get_mut(*len))
        else {
            self.complete = false;
            return;
        };
        if *place == NONE {
            *place = number;
        }
        let indexed = subleaf.is_some();
        *entry = Entry { leaf, subleaf: subleaf.unwrap_or(0), registers, dynamic, indexed };
        *len += 1;
    }
}
