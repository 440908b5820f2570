//! The world switch.
#![expect(unsafe_code, reason = "VMRUN and what surrounds it")]

use core::arch::naked_asm;

/// Runs the guest of the VMCB at physical address `guest` until it exits.
///
/// `registers` holds the 16 general-purpose registers in encoding order; RAX and RSP (indices 0 and 4) travel in the
/// VMCB instead. `host` is the physical address of the block that VMSAVE filled for this LP.
///
/// VMRUN itself swaps control registers, segments and stack; VMLOAD/VMSAVE move FS, GS, TR, LDTR and the system-call
/// MSRs. Interrupts are enabled for the time in the guest, because with virtual masking it is the host's RFLAGS.IF that
/// lets a physical interrupt end the guest's turn; the closed global gate keeps them out before and after.
///
/// # Safety
/// The VMCB describes a guest that cannot reach hypervisor memory, both addresses are this LP's to use, `registers`
/// points to 16 words, and the global interrupt gate is closed.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn enter(guest: u64, registers: *mut u64, host: u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdx",
        "push rsi",
        "mov rax, rdi",
        "mov rcx, [rsi + 8]",
        "mov rdx, [rsi + 16]",
        "mov rbx, [rsi + 24]",
        "mov rbp, [rsi + 40]",
        "mov rdi, [rsi + 56]",
        "mov r8, [rsi + 64]",
        "mov r9, [rsi + 72]",
        "mov r10, [rsi + 80]",
        "mov r11, [rsi + 88]",
        "mov r12, [rsi + 96]",
        "mov r13, [rsi + 104]",
        "mov r14, [rsi + 112]",
        "mov r15, [rsi + 120]",
        "mov rsi, [rsi + 48]",
        "sti",
        "vmload rax",
        ".global svm_switch_begin",
        "svm_switch_begin:",
        "vmrun rax",
        "vmsave rax",
        "cli",
        ".global svm_switch_end",
        "svm_switch_end:",
        "push rdi",
        "mov rdi, [rsp + 8]",
        "mov [rdi + 8], rcx",
        "mov [rdi + 16], rdx",
        "mov [rdi + 24], rbx",
        "mov [rdi + 40], rbp",
        "mov [rdi + 48], rsi",
        "pop rcx",
        "mov [rdi + 56], rcx",
        "mov [rdi + 64], r8",
        "mov [rdi + 72], r9",
        "mov [rdi + 80], r10",
        "mov [rdi + 88], r11",
        "mov [rdi + 96], r12",
        "mov [rdi + 104], r13",
        "mov [rdi + 112], r14",
        "mov [rdi + 120], r15",
        "pop rsi",
        "pop rax",
        "vmload rax",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

unsafe extern "C" {
    static svm_switch_begin: u8;
    static svm_switch_end: u8;
}

/// Whether `rip` is where flags let interrupts in while FS, GS, TR and LDTR are a guest's.
pub fn is_switching(rip: u64) -> bool {
    (&raw const svm_switch_begin as u64..&raw const svm_switch_end as u64).contains(&rip)
}
