extern crate std;

use crate::entry::ZERO;
use crate::{
    Config, Effective, Entry, Feature, HostCpuid, Limits, Override, Overrides, Policy, Registers,
    Topology, VpView, privileges,
};
use hvdef::HvStatus;
use hvdef::hypercall::intercept::{CpuidInterceptResult, MaskedValue};
use hvdef::property::SyntheticProcessorFeatures;
use proptest::prelude::*;
use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

const _: () = assert!(size_of::<Entry>() * Policy::<Vec<Entry>>::ENTRIES <= 4096, "one page");

/// What a widespread VMM asks for without VMBus, and another one with it.
const PLAIN: u64 = 0x0020_0040_0640_0FFB;
const VMBUS: u64 = 0x7F44_8FFF;

#[derive(Clone, Debug, Default)]
struct Fake(HashMap<(u32, u32), Registers>);

impl HostCpuid for Fake {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Registers {
        self.0.get(&(leaf, subleaf)).copied().unwrap_or(ZERO)
    }
}

fn regs(eax: u32, ebx: u32, ecx: u32, edx: u32) -> Registers {
    Registers { eax, ebx, ecx, edx }
}

fn text(vendor: &[u8; 12]) -> [u32; 3] {
    let word = |at: usize| u32::from_le_bytes(vendor[at..at + 4].try_into().unwrap());
    [word(0), word(4), word(8)]
}

/// A processor with every bit set that could be, so that whatever is passed on was let through on purpose.
fn boastful(vendor: &[u8; 12]) -> Fake {
    let mut fake = Fake::default();
    let [ebx, edx, ecx] = text(vendor);
    let all = u32::MAX;
    fake.0.insert((0, 0), regs(0x20, ebx, ecx, edx));
    fake.0.insert((1, 0), regs(0x0080_0F12, 0xAF10_0800, all, all));
    fake.0.insert((7, 0), regs(2, all, all, all));
    (1..3).for_each(|subleaf| _ = fake.0.insert((7, subleaf), regs(all, all, all, all)));
    let intel = vendor == b"GenuineIntel";
    let cache_leaf = if intel { 4 } else { 0x8000_001D };
    for (subleaf, eax) in
        [0x0000_0121, 0x0000_0122, 0x0000_0143, 0x0000_0163].into_iter().enumerate()
    {
        fake.0.insert((cache_leaf, subleaf as u32), regs(eax | 0xFC00_0000, 0x01C0_003F, 63, 0));
    }
    for leaf in [5, 6, 9, 0xA, 0xF, 0x10, 0x12, 0x14, 0x15, 0x16, 0x19, 0x1C] {
        fake.0.insert((leaf, 0), regs(all, all, all, all));
    }
    fake.0.insert((0xD, 0), regs(0x2E7, 2696, 2696, 0));
    fake.0.insert((0xD, 1), regs(0x1F, 2696, 0x1900, 0));
    // AVX, the three of AVX-512, protection keys, and a supervisor component.
    for (number, size, offset, ecx) in [
        (2, 256, 576, 0),
        (5, 64, 1088, 0),
        (6, 512, 1152, 0),
        (7, 1024, 1664, 0),
        (9, 8, 2688, 0),
        (11, 16, 0, 3),
    ] {
        fake.0.insert((0xD, number), regs(size, offset, ecx, 0));
    }
    fake.0.insert((0x8000_0000, 0), regs(0x8000_0028, ebx, ecx, edx));
    for leaf in 0x8000_0001..=0x8000_0028 {
        if leaf != 0x8000_001D {
            fake.0.insert((leaf, 0), regs(all, all, all, all));
        }
    }
    fake.0.insert((0x8000_0008, 0), regs(0x3934, all, all, all));
    fake
}

fn amd() -> Fake {
    boastful(b"AuthenticAMD")
}

fn intel() -> Fake {
    boastful(b"GenuineIntel")
}

fn config() -> Config {
    Config {
        synthetic: SyntheticProcessorFeatures::from_bits(VMBUS),
        supported: Feature::TSC_INVARIANT.with(Feature::STATELESS),
        disabled: [0; 2],
        supported_xsave: Feature::XSAVE_KNOWN,
        disabled_xsave: 0,
        xfem: 0xE7,
        xss: 0,
        address_bits: 46,
        x2apic: true,
        tsc_invariant: true,
        recommend_apic_msrs: false,
        topology: Topology { vps_per_socket: 4, smt: false },
        limits: Limits { vps: 256, lps: 64 },
        version: regs(20_348, 10 << 16, 0, 0),
    }
}

fn view() -> VpView {
    VpView { apic_id: 3, apic_enabled: true, osxsave: true, xcr0: 7, xss: 0, tsc_invariant: false }
}

type Built = Policy<Vec<Entry>>;

fn build(host: &Fake, config: &Config) -> Built {
    Policy::build(host, config, vec![Entry::EMPTY; Built::ENTRIES]).unwrap()
}

fn ask(policy: &Built, leaf: u32, subleaf: u32) -> Registers {
    policy.default_answer(leaf, subleaf, &view())
}

const NO_RESULTS: Overrides<[Override; 0]> = Overrides::NONE;

#[test]
fn the_vendor_and_highest_leaves_are_those_of_the_processor_within_what_is_known() {
    let policy = build(&amd(), &config());
    let [ebx, edx, ecx] = text(b"AuthenticAMD");
    assert_eq!(ask(&policy, 0, 0), regs(0x1F, ebx, ecx, edx));
    assert_eq!(ask(&policy, 0x8000_0000, 0).eax, 0x8000_0021);
}

#[test]
fn nothing_that_needs_unknown_state_is_passed_on() {
    for host in [amd(), intel()] {
        let policy = build(&host, &config());
        let basic = ask(&policy, 1, 0);
        // MONITOR, VMX, SMX, PDCM, TSC deadline.
        assert_eq!(basic.ecx & (1 << 3 | 1 << 5 | 1 << 6 | 1 << 15 | 1 << 24), 0);
        let leaf7 = ask(&policy, 7, 0);
        assert_eq!(
            leaf7.ebx & (1 << 2 | 1 << 12 | 1 << 14 | 1 << 25),
            0,
            "SGX, resource control, MPX, tracing"
        );
        assert_eq!(
            leaf7.ecx & (1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 16),
            0,
            "PKU, UMWAIT, CET, LA57"
        );
        assert_eq!(
            leaf7.edx & (1 << 20 | 0x3F << 26 | 0x7 << 22 & !(1 << 23)),
            0,
            "IBT, speculation MSRs, AMX"
        );
        assert_eq!(ask(&policy, 0x8000_0001, 0).ecx & (1 << 2 | 1 << 12), 0, "SVM, SKINIT");
        for leaf in [5, 9, 0xA, 0xF, 0x10, 0x12, 0x14, 0x15, 0x16, 0x19, 0x8000_000A, 0x8000_001F] {
            assert_eq!(ask(&policy, leaf, 0), ZERO, "leaf {leaf:#x}");
        }
        assert_eq!(ask(&policy, 0x4000_0100, 0), ZERO);
        assert_eq!(ask(&policy, 0xFFFF_FFFF, 0), ZERO);
    }
}

#[test]
fn what_every_linux_needs_is_there() {
    let policy = build(&amd(), &config());
    let basic = ask(&policy, 1, 0);
    for bit in [0, 4, 5, 6, 8, 9, 11, 12, 13, 15, 16, 19, 23, 24, 25, 26] {
        assert_ne!(basic.edx & 1 << bit, 0, "leaf 1 EDX {bit}");
    }
    for bit in [0, 13, 19, 20, 21, 23, 25, 26, 28, 30, 31] {
        assert_ne!(basic.ecx & 1 << bit, 0, "leaf 1 ECX {bit}");
    }
    assert_ne!(ask(&policy, 0x8000_0001, 0).edx & (1 << 29), 0, "long mode");
    assert_ne!(ask(&policy, 0x8000_0001, 0).edx & (1 << 20), 0, "no-execute");
    assert_eq!(ask(&policy, 0x8000_0008, 0).eax, 46 | 48 << 8);
    assert_ne!(ask(&policy, 6, 0).eax & 4, 0, "ARAT");
}

#[test]
fn disabled_features_vanish_and_take_with_them_what_needs_them() {
    let disabled = Feature(16).with(Feature(35).with([0; 2]));
    let no_avx = Config { disabled, disabled_xsave: 1 << 2, ..config() };
    let policy = build(&intel(), &no_avx);
    assert_eq!(ask(&policy, 1, 0).ecx & (1 << 25), 0, "AES");
    assert_eq!(ask(&policy, 7, 0).ebx & (1 << 20), 0, "SMAP");
    assert_eq!(ask(&policy, 1, 0).ecx & (1 << 28 | 1 << 12 | 1 << 29), 0, "AVX, FMA, F16C");
    assert_eq!(ask(&policy, 7, 0).ebx & (1 << 5 | 1 << 16 | 1 << 30), 0, "AVX2, AVX-512");
    assert_eq!(policy.effective().xfem, 3);
    assert_eq!(ask(&policy, 0xD, 0), regs(3, 576, 576, 0));
    assert_eq!(ask(&policy, 0xD, 2), ZERO);
    let policy = build(&intel(), &Config { disabled_xsave: 1, ..config() });
    assert_eq!(ask(&policy, 1, 0).ecx & (1 << 26 | 1 << 28), 0);
    assert_eq!((policy.effective().xfem, policy.effective().xsave), (0, 0));
    assert_eq!(ask(&policy, 0xD, 0), ZERO);
}

#[test]
fn the_banks_that_vmms_pass_work() {
    // One keeps only what it knows of XSAVE; it does not know AVX-512.
    let plain = Config { disabled_xsave: 0xFFFF_FFFF_FFFF_E7E0, ..config() };
    let policy = build(&intel(), &plain);
    assert_eq!(policy.effective().xsave, 0x181F);
    assert_eq!(policy.effective().xfem, 7);
    assert_eq!(ask(&policy, 0xD, 1).eax, 0b1011);
    // The other asks for more than there is.
    let disabled = [0x8124_0000_1800_0000, 0xFFF0_9EF0_0100_0800];
    let wide = Config { disabled, disabled_xsave: 0xFFFF_FFC0_0000_0000, ..config() };
    let policy = build(&intel(), &wide);
    assert_eq!(policy.effective().xfem, 0xE7);
    assert!(policy.effective().features[0] & disabled[0] == 0);
    assert!(policy.max_xsave_size() <= 4096, "it has to fit the page that VMMs give");
}

#[test]
fn what_the_parent_may_ask_for_is_what_it_gets_when_it_disables_the_rest() {
    let host = intel();
    let on_offer = Effective::of(&host, &config());
    let asked = Config {
        disabled: on_offer.features.map(|bank| !bank),
        disabled_xsave: !on_offer.xsave,
        ..config()
    };
    assert_eq!(Effective::of(&host, &asked), on_offer);
}

#[test]
fn xsave_sizes_follow_what_the_guest_enables() {
    let policy = build(&intel(), &config());
    let with = |xcr0| policy.default_answer(0xD, 0, &VpView { xcr0, ..view() });
    assert_eq!(with(3), regs(0xE7, 576, 2688, 0));
    assert_eq!(with(7).ebx, 832);
    assert_eq!(with(0xE7).ebx, 2688);
    assert_eq!(with(u64::MAX).ebx, 2688, "only components it has count");
    let compacted = |xcr0| policy.default_answer(0xD, 1, &VpView { xcr0, ..view() }).ebx;
    assert_eq!(compacted(7), 832);
    assert_eq!(compacted(0xE7), 576 + 256 + 64 + 512 + 1024);
    assert_eq!(ask(&policy, 0xD, 6), regs(512, 1152, 0, 0));
    assert_eq!(ask(&policy, 0xD, 9), ZERO, "protection keys");
    assert_eq!(ask(&policy, 0xD, 63), ZERO);
}

#[test]
fn supervisor_components_come_with_xsaves_only() {
    let with = build(&intel(), &Config { xss: 1 << 11, ..config() });
    assert_eq!(ask(&with, 0xD, 1).ecx, 1 << 11);
    assert_eq!(ask(&with, 0xD, 11), regs(16, 0, 3, 0));
    let both = VpView { xcr0: 7, xss: 1 << 11, ..view() };
    assert_eq!(with.default_answer(0xD, 1, &both).ebx, 832 + 16);
    let without = build(&intel(), &Config { xss: 1 << 11, disabled_xsave: 1 << 12, ..config() });
    assert_eq!(ask(&without, 0xD, 1).ecx, 0);
    assert_eq!(without.effective().xss, 0);
}

#[test]
fn the_vp_shows_in_its_answers() {
    let policy = build(&amd(), &config());
    let basic = ask(&policy, 1, 0);
    assert_eq!(basic.ebx >> 24, 3);
    assert_ne!(basic.ecx & 1 << 27, 0, "OSXSAVE");
    let off = VpView { apic_enabled: false, osxsave: false, apic_id: 0, ..view() };
    let basic = policy.default_answer(1, 0, &off);
    assert_eq!((basic.ebx >> 24, basic.ecx & 1 << 27, basic.edx & 1 << 9), (0, 0, 0));
    assert_eq!(policy.default_answer(0x8000_0001, 0, &off).edx & 1 << 9, 0);
    assert_eq!(ask(&policy, 0xB, 1).edx, 3);
    assert_eq!(ask(&policy, 0x8000_001E, 0).eax, 3);
}

#[test]
fn the_topology_is_the_partitions_and_not_the_machines() {
    let four = build(&amd(), &config());
    assert_eq!(ask(&four, 0xB, 0), regs(0, 1, 0x100, 3));
    assert_eq!(ask(&four, 0xB, 1), regs(2, 4, 0x201, 3));
    assert_eq!(ask(&four, 0xB, 2), regs(0, 0, 2, 3));
    assert_eq!(ask(&four, 0x1F, 1), regs(2, 4, 0x201, 3));
    assert_eq!(ask(&four, 1, 0).ebx >> 16 & 0xFF, 4);
    assert_ne!(ask(&four, 1, 0).edx & 1 << 28, 0);
    assert_eq!(ask(&four, 0x8000_0008, 0).ecx, 2 << 12 | 3);
    assert_eq!(ask(&four, 0x8000_001E, 0).ebx, 3, "core 3, one thread");
    let topology = Topology { vps_per_socket: 6, smt: true };
    let smt = build(&intel(), &Config { topology, ..config() });
    assert_eq!(ask(&smt, 0xB, 0), regs(1, 2, 0x100, 3));
    assert_eq!(ask(&smt, 0xB, 1), regs(3, 6, 0x201, 3));
    assert_eq!(ask(&smt, 1, 0).ebx >> 16 & 0xFF, 8);
    assert_eq!(ask(&smt, 4, 0).eax >> 14 & 0xFFF, 1, "level 1 is a core's");
    assert_eq!(ask(&smt, 4, 3).eax >> 14 & 0xFFF, 5, "level 3 is the socket's");
    assert_eq!(ask(&smt, 4, 3).eax >> 26, 2, "three cores");
    assert_eq!(ask(&smt, 4, 4), ZERO);
    let topology = Topology { vps_per_socket: 1, smt: false };
    let one = build(&amd(), &Config { topology, ..config() });
    assert_eq!(ask(&one, 1, 0).edx & 1 << 28, 0);
    assert_eq!(ask(&one, 0x8000_0001, 0).ecx & 2, 0);
    // Nonsense from a VMM is clamped, not divided by.
    let topology = Topology { vps_per_socket: 0, smt: true };
    assert_eq!(ask(&build(&amd(), &Config { topology, ..config() }), 0xB, 1).ebx, 1);
}

#[test]
fn the_hypervisors_leaves_say_what_the_parent_asked_for() {
    let policy = build(&amd(), &config());
    let vendor = ask(&policy, 0x4000_0000, 0);
    assert!((0x4000_0005..=0x4000_FFFF).contains(&vendor.eax));
    assert_eq!(vendor.ebx, 0x7263_694D);
    assert_eq!(ask(&policy, 0x4000_0001, 0).eax, 0x3123_7648);
    let features = ask(&policy, 0x4000_0003, 0);
    assert_eq!(features.eax, 0x0000_8E7F);
    assert_eq!(features.ebx, 1 << 4 | 1 << 5);
    assert_eq!(features.edx, 1 << 5 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 14 | 1 << 15 | 1 << 19);
    let hints = ask(&policy, 0x4000_0004, 0);
    assert_eq!(hints.eax, 1 << 2 | 1 << 5 | 1 << 9 | 1 << 10 | 1 << 11);
    assert_eq!(hints.ebx, 0xFFF);
    assert_eq!(ask(&policy, 0x4000_0005, 0), regs(256, 64, 0, 0));
    assert_eq!(ask(&policy, 0x4000_0002, 0).eax, 20_348);
}

#[test]
fn a_child_never_looks_like_a_root_or_a_nested_or_isolated_one() {
    let everything = SyntheticProcessorFeatures::from_bits(u64::MAX);
    let policy =
        build(&amd(), &Config { synthetic: everything, recommend_apic_msrs: true, ..config() });
    let features = ask(&policy, 0x4000_0003, 0);
    assert_eq!(features.ebx & (1 | 1 << 12 | 1 << 22), 0);
    assert_eq!(features.eax & 1 << 13, 0, "reenlightenment");
    let hints = ask(&policy, 0x4000_0004, 0);
    assert_eq!(hints.eax & (1 << 12 | 1 << 14), 0, "nested");
    assert_ne!(hints.eax & 1 << 3, 0, "APIC MSRs");
    assert_eq!(privileges(everything, false).into_bits() & (1 | 1 << 12) << 32, 0);
}

#[test]
fn without_the_interface_there_is_nothing_to_see() {
    let synthetic = SyntheticProcessorFeatures::new();
    let policy = build(&amd(), &Config { synthetic, ..config() });
    for leaf in 0x4000_0000..=0x4000_0006 {
        assert_eq!(ask(&policy, leaf, 0), ZERO);
    }
    assert_eq!(ask(&policy, 1, 0).ecx >> 31, 0);
    assert_ne!(
        ask(&policy, 0x8000_0007, 0).edx & 1 << 8,
        0,
        "nobody to ask: the TSC is invariant at once"
    );
    let plain = SyntheticProcessorFeatures::from_bits(PLAIN);
    let policy = build(&amd(), &Config { synthetic: plain, ..config() });
    assert_eq!(ask(&policy, 0x4000_0003, 0).ebx, 1 << 17, "no right to post or signal");
    assert_eq!(ask(&policy, 0x4000_0004, 0).ebx, u32::MAX, "never tell of spinning");
}

#[test]
fn the_tsc_is_invariant_once_the_guest_has_asked() {
    let policy = build(&amd(), &config());
    assert_ne!(ask(&policy, 0x4000_0003, 0).eax & 1 << 15, 0);
    assert_eq!(ask(&policy, 0x8000_0007, 0), ZERO);
    let asked = VpView { tsc_invariant: true, ..view() };
    assert_eq!(policy.default_answer(0x8000_0007, 0, &asked), regs(0, 0, 0, 1 << 8));
    let drifting = build(&amd(), &Config { tsc_invariant: false, ..config() });
    assert_eq!(ask(&drifting, 0x4000_0003, 0).eax & 1 << 15, 0);
    assert_eq!(drifting.default_answer(0x8000_0007, 0, &asked), ZERO);
}

fn result(leaf: u32, subleaf: Option<u32>, values: [(u32, u32); 4]) -> CpuidInterceptResult {
    CpuidInterceptResult {
        eax: leaf,
        ecx: subleaf.unwrap_or(0),
        subleaf_specific: subleaf.is_some().into(),
        always_override: 1,
        padding: 0,
        registers: values.map(|(value, mask)| MaskedValue { value, mask }),
    }
}

#[test]
fn registered_results_win() {
    let policy = build(&amd(), &config());
    let mut partition = Overrides::new([Override::EMPTY; 4]);
    let mut vp = Overrides::new(vec![Override::EMPTY; 4]);
    // One VMM can only set bits; another replaces.
    partition
        .register(&result(1, None, [(0, 0), (0, 0), (0, 1 << 31), (1 << 28, 1 << 28)]))
        .unwrap();
    partition.register(&result(0x4000_0080, None, [(0x4000_0082, u32::MAX); 4])).unwrap();
    vp.register(&result(0xB, Some(1), [(5, 0xFF), (0, 0), (0, 0), (0x77, u32::MAX)])).unwrap();
    let answer = |leaf, subleaf| policy.answer(leaf, subleaf, &view(), &partition, &vp);
    assert_eq!(answer(1, 0).ecx >> 31, 0);
    assert_eq!(answer(1, 0).ebx, ask(&policy, 1, 0).ebx);
    assert_eq!(answer(0x4000_0080, 0).eax, 0x4000_0082);
    assert_eq!(answer(0xB, 0), ask(&policy, 0xB, 0));
    assert_eq!(answer(0xB, 1), regs(5, 4, 0x201, 0x77));
    assert_eq!(policy.answer(0xB, 1, &view(), &partition, &NO_RESULTS), ask(&policy, 0xB, 1));
    // The VP's own comes after the partition's.
    vp.register(&result(1, None, [(0, 0), (0, 0), (1 << 31, 1 << 31), (0, 0)])).unwrap();
    assert_eq!(policy.answer(1, 0, &view(), &partition, &vp).ecx >> 31, 1);
}

#[test]
fn a_result_is_replaced_and_a_full_table_says_so() {
    let mut results = Overrides::new([Override::EMPTY; 2]);
    results.register(&result(0x1234, None, [(1, u32::MAX); 4])).unwrap();
    results.register(&result(0x1234, Some(0), [(2, u32::MAX); 4])).unwrap();
    results.register(&result(0x1234, None, [(3, u32::MAX); 4])).unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results.register(&result(7, None, [(0, 0); 4])), Err(HvStatus::NO_RESOURCES));
    let policy = build(&amd(), &config());
    assert_eq!(policy.answer(0x1234, 9, &view(), &results, &NO_RESULTS).eax, 3);
    assert_eq!(policy.answer(0x1234, 0, &view(), &results, &NO_RESULTS).eax, 2);
    assert_eq!(policy.answer(7, 0, &view(), &results, &NO_RESULTS), ask(&policy, 7, 0));
    assert_eq!(policy.answer(0x9999_9999, 0, &view(), &results, &NO_RESULTS), ZERO);
}

#[test]
fn a_storage_too_small_is_noticed() {
    assert!(Policy::build(&amd(), &config(), vec![Entry::EMPTY; 20]).is_none());
    let mut page = [Entry::EMPTY; Built::ENTRIES];
    for host in [amd(), intel()] {
        assert!(Policy::build(&host, &config(), &mut page[..]).is_some());
    }
}

/// Hosts with any bits in the leaves that matter.
fn hosts() -> impl Strategy<Value = Fake> {
    let registers = || (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    (any::<bool>(), proptest::collection::vec(registers(), 12), 0u32..0x30, 0u32..0x30).prop_map(
        |(is_amd, random, highest, extended)| {
            let mut fake = if is_amd { amd() } else { intel() };
            let leaves = [
                (1, 0),
                (7, 0),
                (7, 1),
                (0xD, 0),
                (0xD, 1),
                (0xD, 2),
                (0xD, 7),
                (4, 0),
                (0x8000_0001, 0),
            ];
            let more = [(0x8000_0007, 0), (0x8000_0008, 0), (0x8000_001D, 0)];
            for (&leaf, (a, b, c, d)) in leaves.iter().chain(&more).zip(random) {
                fake.0.insert(leaf, regs(a, b, c, d));
            }
            fake.0.entry((0, 0)).and_modify(|leaf| leaf.eax = highest);
            fake.0.entry((0x8000_0000, 0)).and_modify(|leaf| leaf.eax = 0x8000_0000 + extended);
            fake
        },
    )
}

proptest! {
    #[test]
    fn no_bit_appears_that_the_processor_lacks_or_the_parent_disabled(
        host in hosts(),
        disabled in any::<[u64; 2]>(),
        disabled_xsave in any::<u64>(),
        synthetic in any::<u64>(),
        vps_per_socket in any::<u32>(),
        smt in any::<bool>(),
        (leaf, subleaf, xcr0) in (any::<u32>(), any::<u32>(), any::<u64>()),
    ) {
        let config = Config {
            disabled,
            disabled_xsave,
            synthetic: SyntheticProcessorFeatures::from_bits(synthetic),
            topology: Topology { vps_per_socket, smt },
            supported: [u64::MAX; 2],
            supported_xsave: u64::MAX,
            ..config()
        };
        let policy = build(&host, &config);
        let effective = policy.effective();
        prop_assert_eq!(effective.features[0] & disabled[0], 0);
        prop_assert_eq!(effective.features[1] & disabled[1], 0);
        prop_assert_eq!(effective.xsave & disabled_xsave, 0);
        // x2APIC, hypervisor, OSXSAVE are virtual, HTT and CMP_LEGACY are topology.
        let basic = ask(&policy, 1, 0);
        let native = if host.cpuid(0, 0).eax >= 1 { host.cpuid(1, 0) } else { ZERO };
        prop_assert_eq!(basic.ecx & !native.ecx & !(1 << 21 | 1 << 27 | 1 << 31), 0);
        prop_assert_eq!(basic.edx & !native.edx & !(1 << 28), 0);
        let seven = if host.cpuid(0, 0).eax >= 7 { host.cpuid(7, 0) } else { ZERO };
        let leaf7 = ask(&policy, 7, 0);
        prop_assert_eq!(leaf7.ebx & !seven.ebx | leaf7.ecx & !seven.ecx | leaf7.edx & !seven.edx, 0);
        // AVX is there exactly if XCR0 can have it.
        prop_assert_eq!(basic.ecx >> 28 & 1, (effective.xfem >> 2 & 1) as u32);
        prop_assert_eq!(leaf7.ebx >> 16 & 1, (effective.xfem >> 5 & 1) as u32);
        // And nothing anybody asks makes it fall over.
        let _ = policy.default_answer(leaf, subleaf, &VpView { xcr0, apic_id: leaf, ..view() });
    }
}
