//! The processor's leaves: which there are and what is in them.

use crate::entry::{Dynamic, ZERO};
use crate::topology::Topology;
use crate::words::{Host, Word};
use crate::xsave::Layout;
use crate::{Config, Effective, HostCpuid, Registers};

/// Highest basic and extended leaves passed on.
const HIGHEST: u32 = 0x1F;
const HIGHEST_EXTENDED: u32 = 0x8000_0021;
/// Leaf 1 ECX: x2APIC, hypervisor present. EDX: more than one VP in the socket.
const X2APIC: u32 = 1 << 21;
const HYPERVISOR: u32 = 1 << 31;
const HTT: u32 = 1 << 28;
/// Leaf 6 EAX: the APIC timer never stops.
const ARAT: u32 = 1 << 2;
/// Leaf 0x80000001 ECX: more than one core in the socket.
const CMP_LEGACY: u32 = 1 << 1;
/// Leaf 0x80000021 EAX: LFENCE serializes, and loading a null selector clears the base.
const EXT21: u32 = 1 << 2 | 1 << 6;
/// Leaf 0x80000021 EAX: breakpoints do not match nested data.
const NO_NESTED_DATA_BP: u32 = 1 << 0;
/// Cache leaves describe at most this many caches.
const CACHES: u32 = 8;

/// Everything that answers are composed from.
pub(crate) struct Composer<'a, H> {
    pub host: Host<'a, H>,
    pub config: &'a Config,
    pub effective: Effective,
    pub layout: Layout,
}

/// Takes the composed answers: leaf, subleaf if it counts, registers, what is dynamic.
pub(crate) trait Sink {
    fn put(&mut self, leaf: u32, subleaf: Option<u32>, registers: Registers, dynamic: Dynamic);
}

impl<'a, H: HostCpuid> Composer<'a, H> {
    pub fn new(host: &'a H, config: &'a Config) -> Self {
        let host = Host::new(host);
        let effective = Effective::of_host(&host, config);
        let layout = Layout::of(&host);
        Self { host, config, effective, layout }
    }

    /// Composes all leaves of the processor, each leaf's subleaves in a row.
    pub fn compose(&self, sink: &mut impl Sink) {
        self.basic(sink);
        self.xsave(sink);
        self.topology(sink, 0x1F);
        self.extended(sink);
        self.caches(sink, 0x8000_001D);
        if self.host.is_amd() {
            let threads = self.config.topology.threads() - 1;
            let registers = Registers { ebx: threads << 8, ..ZERO };
            sink.put(0x8000_001E, None, registers, Dynamic::AmdTopology);
        }
        let ext21 = self.host.get(0x8000_0021, 0).eax & (EXT21 | NO_NESTED_DATA_BP);
        sink.put(0x8000_0021, None, Registers { eax: ext21, ..ZERO }, Dynamic::Nothing);
    }

    fn word(&self, word: Word) -> u32 {
        self.effective.word(&self.host, word)
    }

    fn highest(&self) -> u32 {
        let needed = if self.effective.xfem != 0 { 0xD } else { 0xB };
        self.host.get(0, 0).eax.clamp(needed, HIGHEST)
    }

    fn basic(&self, sink: &mut impl Sink) {
        sink.put(
            0,
            None,
            Registers { eax: self.highest(), ..self.host.get(0, 0) },
            Dynamic::Nothing,
        );
        sink.put(1, None, self.basic1(), Dynamic::Basic1);
        sink.put(2, None, self.host.get(2, 0), Dynamic::Nothing);
        self.caches(sink, 4);
        sink.put(6, None, Registers { eax: ARAT, ..ZERO }, Dynamic::Nothing);
        let leaf7 = Registers {
            eax: self.host.get(7, 0).eax.min(1),
            ebx: self.word(Word::Leaf7Ebx),
            ecx: self.word(Word::Leaf7Ecx),
            edx: self.word(Word::Leaf7Edx),
        };
        // Protection keys are not passed on, so OSPKE never appears: nothing in leaf 7 changes.
        sink.put(7, Some(0), leaf7, Dynamic::Nothing);
        sink.put(
            7,
            Some(1),
            Registers { eax: self.word(Word::Leaf7s1Eax), ..ZERO },
            Dynamic::Nothing,
        );
        self.topology(sink, 0xB);
    }

    fn basic1(&self) -> Registers {
        let host = self.host.get(1, 0);
        let vps = self.config.topology.per_socket();
        let (count, htt) = if vps > 1 { (vps.next_power_of_two().min(255), HTT) } else { (1, 0) };
        let x2apic = if self.config.x2apic { X2APIC } else { 0 };
        let hypervisor = if self.config.synthetic.hypervisor_present() { HYPERVISOR } else { 0 };
        Registers {
            eax: host.eax,
            ebx: host.ebx & 0xFFFF | count << 16,
            ecx: self.word(Word::Basic1Ecx) | x2apic | hypervisor,
            edx: self.word(Word::Basic1Edx) | htt,
        }
    }

    /// Leaf 4 of Intel, 0x8000001D of AMD: the processor's caches, shared as the topology has it.
    fn caches(&self, sink: &mut impl Sink, leaf: u32) {
        let topology = self.config.topology;
        for subleaf in 0..CACHES {
            let host = self.host.get(leaf, subleaf);
            if host.eax & 0x1F == 0 {
                return;
            }
            let sharing = topology.sharing(host.eax >> 5 & 7) - 1;
            let cores = if leaf == 4 { topology.per_socket() / topology.threads() } else { 1 };
            let eax = host.eax & 0x3FFF | (sharing & 0xFFF) << 14 | (cores.clamp(1, 64) - 1) << 26;
            sink.put(leaf, Some(subleaf), Registers { eax, ..host }, Dynamic::Nothing);
        }
    }

    fn topology(&self, sink: &mut impl Sink, leaf: u32) {
        if leaf > self.highest() {
            return;
        }
        let topology: &Topology = &self.config.topology;
        for subleaf in 0..2 {
            sink.put(leaf, Some(subleaf), topology.level(subleaf), Dynamic::Topology);
        }
    }

    fn xsave(&self, sink: &mut impl Sink) {
        let Effective { xfem, xss, .. } = self.effective;
        if xfem == 0 {
            return;
        }
        let size = self.layout.standard(xfem);
        let main = Registers { eax: xfem as u32, ebx: size, ecx: size, edx: (xfem >> 32) as u32 };
        sink.put(0xD, Some(0), main, Dynamic::XsaveSize);
        let more = Registers {
            eax: self.word(Word::XsaveEax),
            ecx: xss as u32,
            edx: (xss >> 32) as u32,
            ebx: 0,
        };
        let compacts = more.eax & 0b1010 != 0;
        sink.put(
            0xD,
            Some(1),
            more,
            if compacts { Dynamic::CompactedSize } else { Dynamic::Nothing },
        );
        for component in (2..63).filter(|component| (xfem | xss) & 1 << component != 0) {
            sink.put(0xD, Some(component), self.host.get(0xD, component), Dynamic::Nothing);
        }
    }

    fn extended(&self, sink: &mut impl Sink) {
        let host = self.host.get(0x8000_0000, 0);
        let highest = host.eax.clamp(0x8000_0008, HIGHEST_EXTENDED);
        sink.put(0x8000_0000, None, Registers { eax: highest, ..host }, Dynamic::Nothing);
        sink.put(0x8000_0001, None, self.extended1(), Dynamic::Ext1);
        // The name, and AMD's caches and TLBs.
        for leaf in 0x8000_0002..=0x8000_0006 {
            sink.put(leaf, None, self.host.get(leaf, 0), Dynamic::Nothing);
        }
        let invariant = if self.config.tsc_invariant { self.word(Word::Ext7Edx) } else { 0 };
        let asks = self.config.synthetic.hv1();
        let dynamic = if asks { Dynamic::Ext7 } else { Dynamic::Nothing };
        sink.put(0x8000_0007, None, Registers { edx: invariant, ..ZERO }, dynamic);
        sink.put(0x8000_0008, None, self.extended8(), Dynamic::Nothing);
        for leaf in [0x8000_0019, 0x8000_001A] {
            sink.put(leaf, None, self.host.get(leaf, 0), Dynamic::Nothing);
        }
    }

    fn extended1(&self) -> Registers {
        let host = self.host.get(0x8000_0001, 0);
        let several = self.host.is_amd() && self.config.topology.per_socket() > 1;
        let legacy = if several { CMP_LEGACY } else { 0 };
        let topology = if self.host.is_amd() { u32::MAX } else { !(1 << 22) };
        Registers {
            eax: host.eax,
            ebx: host.ebx,
            ecx: self.word(Word::Ext1Ecx) & topology | legacy,
            edx: self.word(Word::Ext1Edx),
        }
    }

    fn extended8(&self) -> Registers {
        let host = self.host.get(0x8000_0008, 0);
        let linear = host.eax >> 8 & 0xFF;
        let topology = &self.config.topology;
        let counts = (topology.per_socket() - 1).min(0xFF) | topology.socket_shift() << 12;
        Registers {
            // 48 bits at most: a fifth level is not passed on.
            eax: u32::from(self.config.address_bits) | linear.min(48) << 8,
            ebx: self.word(Word::Ext8Ebx),
            ecx: if self.host.is_amd() { counts } else { 0 },
            edx: 0,
        }
    }
}
