//! What CPUID tells a child: composed by `cpuid_policy` when the child becomes active, kept on pages of its pool.
//!
//! VPs read it without a lock; whoever changes it stops them. Hypercalls of the parent, which read and change it on
//! several LPs at once, take a lock of its own.
#![expect(unsafe_code, reason = "tables live on deposited pages")]

use crate::exit::ASSIGNABLE_FEATURES;
use crate::mem::{PAGE, phys};
use crate::partition::{self, Partition};
use crate::sync::SpinLock;
use crate::vp::{State, Vp};
use crate::{exit, lp};
use arch_x86::cpu::{self, CR4_OSXSAVE};
use arch_x86::fpu::SUPPORTED_XCR0;
use arch_x86::vcpu::SystemReg;
use core::sync::atomic::{AtomicU64, Ordering};
use cpuid_policy::{
    Config, Effective, Entry, Feature, HostCpuid, Limits, Override, Overrides, Policy, Registers,
    Topology, VpView,
};
use hvdef::HvStatus;
use hvdef::hypercall::intercept::CpuidInterceptResult;
use hvdef::property::SyntheticProcessorFeatures;

/// Results that a VMM can register for a partition, and for one VP.
const RESULTS: usize = 64;

type Results = Overrides<[Override; RESULTS]>;

/// What lies on the two pages of a table.
struct Table {
    policy: Policy<&'static mut [Entry]>,
    results: Results,
}

/// A partition's table: addresses of its pages, 0 while there is none.
pub struct CpuidTable {
    table: AtomicU64,
    entries: AtomicU64,
    /// Held by hypercalls that read or change what the pages say; whoever waits for it holds no VP.
    lock: SpinLock<()>,
}

/// Leaf 0x40000002: a version that Linux knows.
pub const VERSION: Registers = Registers { eax: 27_744, ebx: 10 << 16, ecx: 0, edx: 0 };
/// Bits of an address that second-level tables translate.
const ADDRESS_BITS_MAX: u8 = 48;
/// XCR0 bit of protection keys, which children do not get.
const PKRU: u64 = 1 << 9;

struct Host;

impl HostCpuid for Host {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Registers {
        let result = cpu::cpuid(leaf, subleaf);
        Registers { eax: result.eax, ebx: result.ebx, ecx: result.ecx, edx: result.edx }
    }
}

fn config(partition: &Partition) -> Config {
    let asked = partition.synthetic_features.load(Ordering::Relaxed);
    let [first, second, disabled_xsave] = partition.disabled;
    let per_socket = match partition.vps_per_socket.load(Ordering::Relaxed) {
        0 => partition.vp_count(),
        count => count,
    };
    Config {
        synthetic: SyntheticProcessorFeatures::from_bits(asked & ASSIGNABLE_FEATURES.into_bits()),
        // TSC_AUX is switched with the VP.
        supported: Feature::RDTSCP.with(Feature::RDPID.with(Feature::STATELESS)),
        disabled: [first, second],
        supported_xsave: Feature::XSAVE_KNOWN & !XSAVES,
        disabled_xsave,
        xfem: SUPPORTED_XCR0 & !PKRU,
        xss: 0,
        address_bits: ((cpu::cpuid(0x8000_0008, 0).eax & 0xFF) as u8).min(ADDRESS_BITS_MAX),
        x2apic: partition.x2apic,
        tsc_invariant: false,
        recommend_apic_msrs: true,
        topology: Topology { vps_per_socket: per_socket.max(1), smt: partition.smt },
        limits: Limits { vps: partition::MAX_VPS as u32, lps: lp::MAX_LPS as u32 },
        version: VERSION,
    }
}

/// XSAVES needs IA32_XSS, which is not switched. Bit of property PROCESSOR_XSAVE_FEATURES.
const XSAVES: u64 = 1 << 12;

/// What a partition with nothing switched off can have.
pub fn host_features() -> Effective {
    let none =
        Partition::new(hvdef::PartitionId(0), false, hvdef::cpuid::PartitionPrivileges::new());
    Effective::of(&Host, &config(&none))
}

impl CpuidTable {
    /// No table yet.
    pub const fn new() -> Self {
        Self { table: AtomicU64::new(0), entries: AtomicU64::new(0), lock: SpinLock::new(()) }
    }

    /// Composes the table, on two pages of the partition's pool when it has none yet.
    pub fn compose(&self, partition: &Partition) -> Result<(), HvStatus> {
        const { assert!(size_of::<Table>() <= PAGE as usize) };
        const { assert!(Policy::<&mut [Entry]>::ENTRIES * size_of::<Entry>() <= PAGE as usize) };
        let (page, entries_page) = self.pages(partition)?;
        let first = self.table.load(Ordering::Relaxed) == 0;
        // SAFETY: a page of ours, large and aligned enough; no VP reads the table while it is composed.
        let entries: &'static mut [Entry] = unsafe {
            let start = phys::pointer(entries_page).cast::<Entry>();
            (0..Policy::<&mut [Entry]>::ENTRIES)
                .for_each(|index| start.add(index).write(Entry::EMPTY));
            core::slice::from_raw_parts_mut(start, Policy::<&mut [Entry]>::ENTRIES)
        };
        let Some(policy) = Policy::build(&Host, &config(partition), entries) else {
            if first {
                self.entries.store(0, Ordering::Relaxed);
                let mut pool = partition.pool.lock();
                [page, entries_page].into_iter().for_each(|page| pool.put(page));
            }
            return Err(HvStatus::NO_RESOURCES);
        };
        let table = phys::pointer(page).cast::<Table>();
        // SAFETY: as above; the results are there from the first time on.
        unsafe {
            if first {
                (&raw mut (*table).results).write(Overrides::new([Override::EMPTY; RESULTS]));
            }
            (&raw mut (*table).policy).write(policy);
        }
        self.table.store(page, Ordering::Release);
        Ok(())
    }

    /// Composes it anew, if there is one, because something it depends on has changed.
    pub fn recompose(&self, partition: &Partition) {
        let _serialized = self.lock.lock();
        if self.table.load(Ordering::Relaxed) != 0 {
            let _ = partition.while_stopped(|| self.compose(partition));
        }
    }

    fn pages(&self, partition: &Partition) -> Result<(u64, u64), HvStatus> {
        let (table, entries) =
            (self.table.load(Ordering::Relaxed), self.entries.load(Ordering::Relaxed));
        if table != 0 {
            return Ok((table, entries));
        }
        let mut pool = partition.pool.lock();
        let table = pool.get().ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
        let Some(entries) = pool.get() else {
            pool.put(table);
            return Err(HvStatus::INSUFFICIENT_MEMORY);
        };
        self.entries.store(entries, Ordering::Relaxed);
        Ok((table, entries))
    }

    /// Gives the pages back. No VP is there any more.
    pub fn free(&self, partition: &Partition) {
        let _serialized = self.lock.lock();
        let mut pool = partition.pool.lock();
        for page in [self.table.swap(0, Ordering::AcqRel), self.entries.swap(0, Ordering::AcqRel)] {
            if page != 0 {
                pool.put(page);
            }
        }
    }

    fn get(&self) -> Option<&Table> {
        let page = self.table.load(Ordering::Acquire);
        // SAFETY: `compose` put a table there before it stored the address, and changes it only while no VP runs.
        (page != 0).then(|| unsafe { &*phys::pointer(page).cast() })
    }

    /// What the partition has.
    pub fn effective(&self) -> Option<Effective> {
        let _serialized = self.lock.lock();
        self.get().map(|table| *table.policy.effective())
    }

    /// Bytes of an XSAVE area, compacted, with everything the partition has.
    pub fn max_xsave_size(&self) -> Option<u32> {
        let _serialized = self.lock.lock();
        self.get().map(|table| table.policy.max_xsave_size())
    }

    /// What CPUID says on a VP, for its parent. `registered`: with what its VMM registered.
    pub fn answer_for_parent(
        &self,
        vp: &Vp,
        view: &VpView,
        (leaf, subleaf): (u32, u32),
        registered: bool,
    ) -> Registers {
        let _serialized = self.lock.lock();
        self.answer(vp, view, leaf, subleaf, registered)
    }

    /// CPUID on the VP itself. `registered`: with what its VMM registered.
    pub fn answer(
        &self,
        vp: &Vp,
        view: &VpView,
        leaf: u32,
        subleaf: u32,
        registered: bool,
    ) -> Registers {
        let Some(table) = self.get() else { return Registers { eax: 0, ebx: 0, ecx: 0, edx: 0 } };
        if !registered {
            return table.policy.default_answer(leaf, subleaf, view);
        }
        match results(vp) {
            Some(own) => table.policy.answer(leaf, subleaf, view, &table.results, own),
            None => table.policy.answer(leaf, subleaf, view, &table.results, &Overrides::NONE),
        }
    }

    /// Registers a result for all VPs.
    pub fn register(
        &self,
        partition: &Partition,
        input: &CpuidInterceptResult,
    ) -> Result<(), HvStatus> {
        let _serialized = self.lock.lock();
        let page = self.table.load(Ordering::Acquire);
        if page == 0 {
            return Err(HvStatus::INVALID_PARTITION_STATE);
        }
        // SAFETY: the table is there, no VP runs, and other hypercalls that use it wait for the lock.
        partition.while_stopped(|| unsafe {
            (*phys::pointer(page).cast::<Table>()).results.register(input)
        })
    }
}

fn results(vp: &Vp) -> Option<&Results> {
    let page = vp.cpuid_results.load(Ordering::Acquire);
    // SAFETY: `register_for_vp` put them there before it stored the address, and changes them only while the VP is stopped.
    (page != 0).then(|| unsafe { &*phys::pointer(page).cast() })
}

/// Registers a result for one VP.
pub fn register_for_vp(vp: &Vp, input: &CpuidInterceptResult) -> Result<(), HvStatus> {
    const { assert!(size_of::<Results>() <= PAGE as usize) };
    let _serialized = vp.partition.cpuid.lock.lock();
    let _stopped = vp.stop();
    let mut page = vp.cpuid_results.load(Ordering::Acquire);
    if page == 0 {
        page = vp.partition.pool.lock().get().ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
        // SAFETY: a page of ours, large and aligned enough.
        unsafe {
            phys::pointer(page).cast::<Results>().write(Overrides::new([Override::EMPTY; RESULTS]));
        }
        vp.cpuid_results.store(page, Ordering::Release);
    }
    // SAFETY: results are there; the VP is stopped, and other hypercalls that use them wait for the lock.
    unsafe { (*phys::pointer(page).cast::<Results>()).register(input) }
}

/// What of a VP CPUID shows.
pub fn view(vp: &Vp, state: &State) -> VpView {
    VpView {
        apic_id: vp.apic_id,
        apic_enabled: state.apic.apic_base() & 1 << 11 != 0,
        osxsave: state.vcpu.system(SystemReg::Cr4) & CR4_OSXSAVE != 0,
        xcr0: state.xcr0,
        xss: 0,
        tsc_invariant: false,
    }
}

/// Answers CPUID of a child's VP.
pub fn handle(vp: &Vp, state: &mut State) {
    let (leaf, subleaf) = exit::cpuid::operands(state);
    let own = zemindef::cpuid::answer(leaf, crate::VERSION, exit::cpuid::EXTENSIONS);
    let [eax, ebx, ecx, edx] = own.unwrap_or_else(|| {
        let result = vp.partition.cpuid.answer(vp, &view(vp, state), leaf, subleaf, true);
        [result.eax, result.ebx, result.ecx, result.edx]
    });
    exit::cpuid::answer(state, cpu::CpuidResult { eax, ebx, ecx, edx });
}
