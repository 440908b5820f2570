//! What CPUID says: the processor, and who is beneath this system.

use super::facts::{Cpu, Hypervisor};
use std::arch::x86_64::__cpuid_count;
use zemindef::cpuid::{self as zemin, Version};

/// Answers a leaf (subleaf 0) with EAX, EBX, ECX, EDX.
pub type Cpuid<'a> = &'a dyn Fn(u32) -> [u32; 4];

const HYPERVISOR_LEAF: u32 = 0x4000_0000;
const HYPERVISOR_FEATURES: u32 = 0x4000_0003;
/// TLFS partition privileges in EBX of the feature leaf: create partitions, CPU management.
const ROOT_PRIVILEGES: u32 = 1 << 0 | 1 << 12;

/// This processor.
pub fn read(leaf: u32) -> [u32; 4] {
    let answer = __cpuid_count(leaf, 0);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

/// The processor's virtualization.
pub fn processor(cpuid: Cpuid<'_>) -> Cpu {
    let [_, ebx, ecx, edx] = cpuid(0);
    let [highest_extended, ..] = cpuid(0x8000_0000);
    let svm = highest_extended >= 0x8000_0001 && cpuid(0x8000_0001)[2] & 1 << 2 != 0;
    let nested_paging =
        svm.then(|| highest_extended >= 0x8000_000A && cpuid(0x8000_000A)[3] & 1 != 0);
    Cpu { vendor: text([ebx, edx, ecx]), svm, vmx: cpuid(1)[2] & 1 << 5 != 0, nested_paging }
}

/// The hypervisor beneath, if the processor says that there is one.
pub fn hypervisor(cpuid: Cpuid<'_>) -> Option<Hypervisor> {
    if cpuid(1)[2] & 1 << 31 == 0 {
        return None;
    }
    let [highest, signature @ ..] = cpuid(HYPERVISOR_LEAF);
    let speaks_hyper_v = text(signature) == "Microsoft Hv";
    let is_root = speaks_hyper_v
        && highest >= HYPERVISOR_FEATURES
        && cpuid(HYPERVISOR_FEATURES)[1] & ROOT_PRIVILEGES == ROOT_PRIVILEGES;
    let zemin = zemin::is_zemin(cpuid(zemin::LEAF_BASE));
    Some(Hypervisor {
        signature: text(signature),
        other_signature: speaks_hyper_v.then(|| other_interface(cpuid)).flatten(),
        is_root,
        zemin: zemin.then(|| Version(cpuid(zemin::LEAF_VERSION)[0]).to_string()),
    })
}

/// Hypervisors that imitate Hyper-V's interface keep their own at one of the next multiples of 0x100.
fn other_interface(cpuid: Cpuid<'_>) -> Option<String> {
    let own = |step: u32| {
        let leaf = HYPERVISOR_LEAF + step * 0x100;
        let [highest, signature @ ..] = cpuid(leaf);
        let name = text(signature);
        // An empty range, or one that only repeats the answer of another leaf, is no interface.
        let is_plausible = highest == 0 || (leaf..leaf + 0x100).contains(&highest);
        (is_plausible && ["KVMKVMKVM", "XenVMMXenVMM", "bhyve bhyve"].contains(&name.as_str()))
            .then_some(name)
    };
    (1..=4).find_map(own)
}

/// Twelve bytes of text in three registers, without what is not printable.
fn text(registers: [u32; 3]) -> String {
    let bytes = registers.into_iter().flat_map(u32::to_le_bytes);
    let text: String =
        bytes.filter(|byte| byte.is_ascii_graphic() || *byte == b' ').map(char::from).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[u8; 12]) -> [u32; 3] {
        [0, 4, 8].map(|at| u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]))
    }

    fn answer(eax: u32, text: &[u8; 12]) -> [u32; 4] {
        let [ebx, ecx, edx] = words(text);
        [eax, ebx, ecx, edx]
    }

    fn present(leaf: u32) -> [u32; 4] {
        if leaf == 1 { [0, 0, 1 << 31, 0] } else { [0; 4] }
    }

    #[test]
    fn bare_hardware_has_no_hypervisor() {
        assert_eq!(hypervisor(&|_| [0; 4]), None);
    }

    #[test]
    fn kvm_that_imitates_hyper_v_is_recognised() {
        let kvm = hypervisor(&|leaf| match leaf {
            0x4000_0000 => answer(0x4000_000A, b"Microsoft Hv"),
            0x4000_0100 => answer(0x4000_0101, b"KVMKVMKVM\0\0\0"),
            _ => present(leaf),
        });
        assert_eq!(kvm.unwrap().name(), "KVM");
    }

    #[test]
    fn the_root_of_zemin_is_recognised() {
        let zemin = hypervisor(&|leaf| match leaf {
            0x4000_0000 => answer(0x4000_000B, b"Microsoft Hv"),
            0x4000_0003 => [0, 0x1001, 0, 0],
            _ => zemin::answer(leaf, Version::new(1, 2, 3), zemin::Features::PROPERTIES)
                .unwrap_or(present(leaf)),
        })
        .unwrap();
        assert_eq!(
            (zemin.name(), zemin.is_root, zemin.zemin.as_deref()),
            ("Zemin", true, Some("1.2.3"))
        );
    }

    #[test]
    fn a_processor_that_repeats_its_last_leaf_is_not_taken_for_another_hypervisor() {
        let hyper_v = hypervisor(&|leaf| {
            if leaf == 1 { present(1) } else { answer(0x4000_000C, b"Microsoft Hv") }
        })
        .unwrap();
        assert!(hyper_v.is_hyper_v() && hyper_v.zemin.is_none());
    }

    #[test]
    fn amd_v_and_nested_paging_are_read_from_their_leaves() {
        let cpu = processor(&|leaf| match leaf {
            0 => [1, 0x6874_7541, 0x444D_4163, 0x6974_6E65],
            0x8000_0000 => [0x8000_001F, 0, 0, 0],
            0x8000_0001 => [0, 0, 1 << 2, 0],
            0x8000_000A => [0, 0, 0, 1],
            _ => [0; 4],
        });
        assert_eq!(
            cpu,
            Cpu { vendor: "AuthenticAMD".into(), svm: true, vmx: false, nested_paging: Some(true) }
        );
    }
}
