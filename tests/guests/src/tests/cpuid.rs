//! What CPUID tells the root partition.

use guests::cpu::{self, bits, cpuid, cpuid_wide};
use guests::report::Checks;
use guests::{apic, check, equal, smp, tables, trap, user};
use zemindef::cpuid as zemin;

/// All of it.
pub fn run(t: &Checks) {
    interface(t);
    features(t);
    hidden(t);
    follows_registers(t);
    zemin_leaves(t);
    upper_halves(t);
    prefixes(t);
    from_ring_3(t);
    same_on_all(t);
}

fn interface(t: &Checks) {
    check!(t, cpuid(1, 0)[2] >> 31 == 1, "leaf 1 ECX 31, hypervisor present, is 0");
    let [max, b, c, d] = cpuid(0x4000_0000, 0);
    check!(t, (0x4000_0005..=0x4000_FFFF).contains(&max), "highest leaf is {max:#x}");
    equal!(t, [b, c, d], [0x7263_694D, 0x666F_736F, 0x7648_2074], "vendor");
    equal!(t, cpuid(0x4000_0001, 0), [0x3123_7648, 0, 0, 0], "interface");
    let build = cpuid(0x4000_0002, 0)[0];
    check!(t, (27_744..=27_751).contains(&build), "build {build} is one that mshv warns of");
}

fn features(t: &Checks) {
    let [a, b, _, d] = cpuid(0x4000_0003, 0);
    let wanted = 1 << 1 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 11;
    equal!(
        t,
        a & wanted,
        wanted,
        "leaf 0x40000003 EAX: reference counter, hypercall, VP index, TSC page, frequencies"
    );
    equal!(t, a & 1 << 15, 0, "leaf 0x40000003 EAX 15, TSC invariant control");
    equal!(
        t,
        b & 0x40_1001,
        0x1001,
        "leaf 0x40000003 EBX: create partitions, CPU management, no isolation"
    );
    equal!(t, d & 1 << 8, 1 << 8, "leaf 0x40000003 EDX 8, frequency MSRs");
    let hints = cpuid(0x4000_0004, 0)[0];
    equal!(
        t,
        hints & (1 << 12 | 1 << 14 | 1 << 21),
        0,
        "leaf 0x40000004 EAX: nested, enlightened VMCS, MMIO calls"
    );
    let [vps, lps, ..] = cpuid(0x4000_0005, 0);
    check!(
        t,
        vps as usize >= smp::count() && lps as usize >= smp::count(),
        "limits of {vps} VPs, {lps} LPs"
    );
    equal!(t, cpuid(0x4000_000A, 0)[0], 0, "leaf 0x4000000A EAX, nested features");
    equal!(t, cpuid(0x4000_0082, 0)[0], 0, "leaf 0x40000082 EAX");
}

/// Bits that would let the parent reach what is the hypervisor's.
pub fn hidden(t: &Checks) {
    let ecx = cpuid(1, 0)[2];
    equal!(t, ecx & (1 << 3 | 1 << 5 | 1 << 6), 0, "leaf 1 ECX: MONITOR, VMX, SMX");
    let ecx = cpuid(0x8000_0001, 0)[2];
    equal!(t, ecx & (1 << 2 | 1 << 12), 0, "leaf 0x80000001 ECX: SVM, SKINIT");
    equal!(t, cpuid(0x8000_000A, 0), [0; 4], "leaf 0x8000000A, SVM features");
}

/// Bits and sizes that control registers decide.
fn follows_registers(t: &Checks) {
    equal!(
        t,
        cpuid(1, 0)[1] >> 24,
        tables::this().apic_id.load(core::sync::atomic::Ordering::Relaxed),
        "leaf 1 EBX 31:24, APIC id"
    );
    equal!(t, cpuid(1, 0)[1] >> 24, apic::id(), "leaf 1 EBX 31:24 and the APIC's own id");
    if cpuid(1, 0)[2] & 1 << 26 == 0 {
        return;
    }
    cpu::set_cr4(cpu::cr4() & !bits::CR4_OSXSAVE);
    equal!(t, cpuid(1, 0)[2] >> 27 & 1, 0, "leaf 1 ECX 27, OSXSAVE, with CR4.OSXSAVE clear");
    cpu::set_cr4(cpu::cr4() | bits::CR4_OSXSAVE);
    equal!(t, cpuid(1, 0)[2] >> 27 & 1, 1, "leaf 1 ECX 27, OSXSAVE, with CR4.OSXSAVE set");
    let offered = cpuid(0xD, 0);
    for (bits, size) in [(1, 576), (3, 576), (7, 832)] {
        if u64::from(offered[0]) & bits == bits {
            cpu::xsetbv(0, bits);
            equal!(t, cpuid(0xD, 0)[1], size, "leaf 0xD EBX with XCR0 {bits}");
        }
    }
    cpu::xsetbv(0, 1);
}

fn zemin_leaves(t: &Checks) {
    let base = cpuid(zemin::LEAF_BASE, 0);
    check!(t, zemin::is_zemin(base), "leaf 0x40005A00 is {base:x?}");
    let [version, features, c, d] = cpuid(zemin::LEAF_VERSION, 0);
    equal!(t, version, zemin::Version::CURRENT.0, "leaf 0x40005A01 EAX, version");
    check!(t, features & 1 != 0, "leaf 0x40005A01 EBX 0, properties");
    equal!(t, [c, d], [0; 2], "leaf 0x40005A01 ECX and EDX");
}

fn upper_halves(t: &Checks) {
    for leaf in [0, 1, 7, 0xD, 0x4000_0000, 0x4000_0003, 0x4000_00FF, 0x8000_0001] {
        let registers = cpuid_wide(leaf, 0);
        check!(
            t,
            registers.iter().all(|register| register >> 32 == 0),
            "leaf {leaf:#x} leaves upper halves: {registers:x?}"
        );
    }
}

/// A prefix that means nothing makes the instruction longer, and nothing else.
#[expect(unsafe_code, reason = "writes instructions byte by byte")]
fn prefixes(t: &Checks) {
    macro_rules! prefixed {
        ($($bytes:literal),+) => {{
            let mark: u64;
            // SAFETY: CPUID, padding that a wrong length falls into, and a mark; RBX is put back.
            unsafe {
                core::arch::asm!(
                    "mov {save}, rbx", "xor {mark:e}, {mark:e}", "mov eax, 0x40000000",
                    concat!(".byte ", $(stringify!($bytes), ",",)+ "0x0F, 0xA2"),
                    "mov {mark:e}, ebx", "mov rbx, {save}",
                    save = out(reg) _, mark = out(reg) mark, out("eax") _, out("ecx") _, out("edx") _, options(nostack),
                );
            }
            mark
        }};
    }
    let plain = cpuid(0x4000_0000, 0)[1];
    for (prefix, run) in [
        ("REX.W", (|| prefixed!(0x48)) as fn() -> u64),
        ("operand size", || prefixed!(0x66)),
        ("CS", || prefixed!(0x2E)),
        ("CS, operand size, REX", || prefixed!(0x2E, 0x66, 0x40)),
    ] {
        match trap::catch(run) {
            Ok(b) => {
                equal!(t, b, u64::from(plain), "CPUID behind the prefix {prefix}");
            }
            Err(trap) => t.fail(format_args!(
                "CPUID behind the prefix {prefix}: exception {} at {:#x}",
                trap.vector, trap.rip
            )),
        }
    }
}

fn from_ring_3(t: &Checks) {
    // cpuid; int3
    let trap = user::run(&[0x0F, 0xA2, 0xCC], [0x4000_0000, 0, 0, 0], 0);
    equal!(
        t,
        (trap.vector, trap.rip),
        (trap::BP, user::code_address() + 3),
        "CPUID from ring 3: exception and address"
    );
    equal!(t, trap.rbx, 0x7263_694D, "CPUID from ring 3: EBX");
}

static MISMATCH: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

fn same_on_all(t: &Checks) {
    fn sum() -> u64 {
        let leaves = (0x4000_0000..=0x4000_000C).chain(0x4000_5A00..=0x4000_5A02);
        leaves
            .flat_map(|leaf| cpuid(leaf, 0))
            .fold(0u64, |sum, word| sum.rotate_left(5) ^ u64::from(word).wrapping_mul(0x9E37))
    }
    for index in smp::others() {
        MISMATCH.store(0, core::sync::atomic::Ordering::SeqCst);
        let job = |expected| {
            MISMATCH.store(u64::from(sum() != expected) + 1, core::sync::atomic::Ordering::SeqCst)
        };
        equal!(t, smp::run(index, 1000, job, sum()), Ok(()), "leaves on processor {index}");
        equal!(
            t,
            MISMATCH.load(core::sync::atomic::Ordering::SeqCst),
            1,
            "leaves of processor {index} differ"
        );
    }
}
