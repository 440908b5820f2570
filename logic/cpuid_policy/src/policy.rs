//! The composed answers of one partition, and finding one.

use crate::entry::{Dynamic, Entry, ZERO};
use crate::overrides::Override;
use crate::query::{Query, SLOTS, slot};
use crate::standard::{Composer, Sink};
use crate::topology::beyond;
use crate::xsave::Layout;
use crate::{Config, Effective, HostCpuid, Overrides, Registers, VpView, synthetic};

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
    pub fn build(host: &impl HostCpuid, config: &Config, mut entries: S) -> Option<Self> {
        entries.as_mut().fill(Entry::EMPTY);
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
        let query = Query::new(leaf, subleaf);
        let mut registers = self.look_up(query, vp);
        of_partition.apply(query, &mut registers);
        of_vp.apply(query, &mut registers);
        registers
    }

    /// The same without what the parent registered: what an intercept message gives as default.
    #[inline]
    pub fn default_answer(&self, leaf: u32, subleaf: u32, vp: &VpView) -> Registers {
        self.look_up(Query::new(leaf, subleaf), vp)
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

    #[inline]
    fn look_up(&self, query: Query, vp: &VpView) -> Registers {
        let Some(&first) = self.first.get(usize::from(query.slot)) else { return ZERO };
        // Entries that are not used are for leaf 0, whose own entry is the first.
        let mut entries = self.entries.as_ref().iter().skip(first.into());
        match entries.next() {
            Some(entry) if entry.leaf != query.leaf => ZERO,
            Some(entry) if !entry.indexed || entry.subleaf == query.subleaf => {
                vp.adjust(entry, &self.facts)
            }
            Some(_) => self.look_further(entries, query, vp),
            None => ZERO,
        }
    }

    /// Among the other subleaves.
    fn look_further<'a>(
        &self,
        entries: impl Iterator<Item = &'a Entry>,
        query: Query,
        vp: &VpView,
    ) -> Registers {
        let mut of_leaf = entries.take_while(|entry| entry.leaf == query.leaf);
        match of_leaf.find(|entry| entry.subleaf == query.subleaf) {
            Some(entry) => vp.adjust(entry, &self.facts),
            None if matches!(query.leaf, 0xB | 0x1F) => {
                Registers { edx: vp.apic_id, ..beyond(query.subleaf) }
            }
            None => ZERO,
        }
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
        let place = first.get_mut(usize::from(slot(leaf)));
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
