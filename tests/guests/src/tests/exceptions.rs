//! Exceptions: the guest's own arrive unchanged, and instructions that are not its to use raise what they should.
#![expect(unsafe_code, reason = "executes what faults")]

use super::faults;
use core::arch::asm;
use guests::paging::{self, PRESENT, USER, WRITE};
use guests::report::Checks;
use guests::tables::{self, ABSENT_DATA};
use guests::trap::{BP, DE, GP, NP, PF, SS, Trap, UD, catch};
use guests::{check, cpu, equal, hypercall, memory, user};

/// All of it.
pub fn run(t: &Checks) {
    simple(t);
    page_faults(t);
    software(t);
    virtualization(t);
    ring_3(t);
    double_fault(t);
}

/// Executes `$code` and gives the exception's vector, error code and distance from the instruction.
macro_rules! provoke {
    ($($code:literal),+) => {{
        let mut at = 0u64;
        let result = catch(|| unsafe {
            // SAFETY: what is executed faults before it has an effect, and `catch` restores registers.
            asm!("lea rax, [rip + 2f]", "mov [{at}], rax", "2:", $($code,)+ at = in(reg) &raw mut at,
                out("rax") _, out("rcx") _, out("rdx") _)
        });
        result.err().map(|trap: Trap| (trap.vector, trap.error, trap.rip.wrapping_sub(at)))
    }};
}

fn simple(t: &Checks) {
    equal!(t, provoke!("ud2"), Some((UD, None, 0)), "UD2");
    equal!(t, provoke!("xor ecx, ecx", "div ecx"), Some((DE, None, 2)), "division by 0");
    equal!(t, provoke!("int3"), Some((BP, None, 1)), "INT3");
    equal!(
        t,
        provoke!("mov rcx, 0x8000000000000000", "mov rcx, [rcx]"),
        Some((GP, Some(0), 10)),
        "address that is not canonical"
    );
    let stack = provoke!("push rbp", "mov rbp, 0x8000000000000000", "mov rax, [rbp]");
    // QEMU raises #GP.
    check!(
        t,
        matches!(stack, Some((SS | GP, Some(0), 11))),
        "stack address that is not canonical: {stack:?}"
    );
    equal!(
        t,
        provoke!("mov eax, 0x1000", "mov ds, ax"),
        Some((GP, Some(0x1000), 5)),
        "selector behind the table"
    );
    equal!(
        t,
        provoke!("mov ecx, 0x38", "mov ds, cx"),
        Some((NP, Some(ABSENT_DATA.into()), 5)),
        "segment that is not present"
    );
}

fn page_faults(t: &Checks) {
    let slot = 100;
    let at = paging::map(slot, 0);
    let page = memory::pages(1);
    let fault =
        |result: Result<(), Trap>| result.err().map(|trap| (trap.vector, trap.error, trap.cr2));
    let read = |address| fault(catch(|| cpu::peek(address)).map(|_| ()));
    equal!(t, read(at + 8), Some((PF, Some(0), at + 8)), "read of a page not present");
    equal!(
        t,
        fault(catch(|| cpu::poke(at, 1))),
        Some((PF, Some(2), at)),
        "write to a page not present"
    );
    paging::map(slot, page | PRESENT);
    equal!(
        t,
        fault(catch(|| cpu::poke(at, 1))),
        Some((PF, Some(3), at)),
        "write to a page that is read-only"
    );
    paging::map(slot, page | PRESENT | WRITE | paging::NO_EXECUTE);
    let call = || unsafe {
        // SAFETY: does not get to execute anything.
        asm!("call {}", in(reg) at, clobber_abi("C"));
    };
    equal!(
        t,
        fault(catch(call)),
        Some((PF, Some(0x11), at)),
        "execution of a page that is not for that"
    );
    paging::map(slot, 1 << 51 | PRESENT | WRITE);
    // QEMU leaves the present bit out of this error code.
    let reserved = read(at);
    check!(
        t,
        matches!(reserved, Some((PF, Some(8 | 9), _))),
        "reserved bit in a page-table entry: {reserved:x?}"
    );
    paging::map(slot, page | PRESENT | WRITE);
    equal!(t, fault(catch(|| cpu::poke(at, 1))), None, "write to a page that may be written");
    equal!(t, paging::entry(slot) & 0x60, 0x60, "accessed and dirty bits");
    paging::map(slot, 0);
}

fn software(t: &Checks) {
    let this = tables::this();
    let before = this.count(0x80);
    // SAFETY: the kernel's handler only counts it.
    unsafe { asm!("int 0x80") };
    equal!(t, this.count(0x80), before + 1, "INT 0x80");
}

/// AMD-V is not there for the guest, and neither are Intel's instructions.
fn virtualization(t: &Checks) {
    if !hypercall::is_hyperv() {
        return;
    }
    equal!(t, provoke!("xor eax, eax", "vmrun rax"), Some((UD, None, 2)), "VMRUN");
    equal!(t, provoke!("xor eax, eax", "vmload rax"), Some((UD, None, 2)), "VMLOAD");
    equal!(t, provoke!("xor eax, eax", "vmsave rax"), Some((UD, None, 2)), "VMSAVE");
    equal!(t, provoke!("stgi"), Some((UD, None, 0)), "STGI");
    equal!(t, provoke!("clgi"), Some((UD, None, 0)), "CLGI");
    equal!(t, provoke!("xor eax, eax", "skinit eax"), Some((UD, None, 2)), "SKINIT");
    equal!(
        t,
        provoke!("xor eax, eax", "xor ecx, ecx", "invlpga rax, ecx"),
        Some((UD, None, 4)),
        "INVLPGA"
    );
    equal!(
        t,
        provoke!("xor eax, eax", "xor ecx, ecx", "xor edx, edx", "monitor"),
        Some((UD, None, 6)),
        "MONITOR"
    );
    equal!(t, provoke!("xor eax, eax", "xor ecx, ecx", "mwait"), Some((UD, None, 4)), "MWAIT");
    equal!(
        t,
        provoke!("vmcall").map(|(vector, _, at)| (vector, at)),
        Some((UD, 0)),
        "VMCALL on an AMD processor"
    );
    equal!(t, provoke!("rsm"), Some((UD, None, 0)), "RSM");
    equal!(t, provoke!("wbinvd"), None, "WBINVD");
    equal!(t, provoke!("invd"), None, "INVD");
}

fn ring_3(t: &Checks) {
    let at = user::code_address();
    let run = |code: &[u8], registers| {
        let trap = user::run(code, registers, 0);
        (trap.vector, trap.rip.wrapping_sub(at))
    };
    equal!(t, run(&[0xCC], [0; 4]), (BP, 1), "INT3 in ring 3");
    equal!(t, run(&[0x0F, 0x0B], [0; 4]), (UD, 0), "UD2 in ring 3");
    equal!(t, run(&[0xF4], [0; 4]), (GP, 0), "HLT in ring 3");
    equal!(t, run(&[0xFA], [0; 4]), (GP, 0), "CLI in ring 3");
    equal!(t, run(&[0x0F, 0x22, 0xD8], [0; 4]), (GP, 0), "MOV to CR3 in ring 3");
    equal!(t, run(&[0xEC], [0, 0, 0, 0x61]), (GP, 0), "IN in ring 3");
    equal!(t, run(&[0xCD, 0x20], [0; 4]), (GP, 0), "INT 0x20 in ring 3");
    let trap = user::run(&[0x48, 0x8B, 0x00], [0x100_0000, 0, 0, 0], 0);
    equal!(
        t,
        (trap.vector, trap.error, trap.cr2),
        (PF, Some(5), 0x100_0000),
        "kernel memory in ring 3"
    );
    if !hypercall::is_hyperv() {
        return;
    }
    equal!(t, run(&[0x0F, 0x01, 0xD9], [0, 0, 0x46, 0]), (UD, 0), "VMMCALL in ring 3");
    equal!(t, run(&[0x0F, 0x01, 0xC1], [0, 0, 0x46, 0]), (UD, 0), "VMCALL in ring 3");
    // The processor checks the privilege level of these before it asks the hypervisor: either exception is right.
    for (code, name) in [
        (0xD8, "VMRUN"),
        (0xDA, "VMLOAD"),
        (0xDB, "VMSAVE"),
        (0xDC, "STGI"),
        (0xDD, "CLGI"),
        (0xDF, "INVLPGA"),
    ] {
        let (vector, distance) = run(&[0x0F, 0x01, code], [0; 4]);
        check!(
            t,
            matches!(vector, UD | GP) && distance == 0,
            "{name} in ring 3: exception {vector}, {distance} bytes on"
        );
    }
    // The hypercall page itself, mapped for ring 3.
    let page = paging::map(101, hypercall::page() | PRESENT | USER);
    let jump = [0xFF, 0xE0];
    let trap = user::run(&jump, [page, 0, 0x46, 0], 0);
    equal!(t, (trap.vector, trap.rip), (UD, page), "the hypercall page in ring 3");
    paging::map(101, 0);
}

/// A double fault arrives on its own stack.
fn double_fault(t: &Checks) {
    let result = catch(|| unsafe {
        // SAFETY: the second fault, on a stack that is not there, ends it; `catch` restores the stack.
        asm!("mov rsp, {}", "ud2", in(reg) paging::window(102), options(noreturn));
    });
    let trap: Option<Trap> = result.err();
    equal!(
        t,
        trap.map(|trap| (trap.vector, trap.error)),
        Some((8, Some(0))),
        "exception without a stack"
    );
    faults(t, UD, format_args!("the exception after a double fault"), || unsafe {
        // SAFETY: faults.
        asm!("ud2");
    });
}
