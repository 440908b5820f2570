//! Tests that are not in "all": the machine, or an emulator beneath it, does not survive them by design.

use guests::apic::{self, requested, send_self};
use guests::cpu::{cli, cr8, set_cr8, sti};
use guests::report::Checks;
use guests::tables::{self, this};
use guests::{check, equal, trap};

/// `triple-fault`: of the root partition it resets the machine.
#[expect(unsafe_code, reason = "takes the interrupt table away")]
pub fn triple_fault(t: &Checks) {
    let nothing = [0u8; 10];
    // SAFETY: this ends the machine.
    unsafe { core::arch::asm!("lidt [{}]", "ud2", in(reg) &nothing) };
    check!(t, false, "the machine goes on after a triple fault");
}

/// `apic-stack`: an exception finds its stack on the APIC's page, and so does every one that comes of that.
#[expect(unsafe_code, reason = "takes the stack away")]
pub fn apic_stack(t: &Checks) {
    if apic::is_x2apic() {
        return t.skip("the APIC has no page in x2APIC mode");
    }
    tables::take_stack_away(trap::DF);
    // SAFETY: this ends the machine.
    unsafe {
        core::arch::asm!("mov rsp, {}", "ud2", in(reg) apic::PAGE + 0x800, options(noreturn))
    };
}

/// `cr8`: task priority by CR8 while an interrupt waits. QEMU 10's emulation of AMD-V aborts at a write of CR8 that the
/// hypervisor does not intercept while it waits for an interrupt window.
pub fn cr8_priority(t: &Checks) {
    let before = this().count(0x51);
    set_cr8(5);
    equal!(t, cr8(), 5, "CR8");
    sti();
    send_self(0x51);
    guests::cpu::pause();
    cli();
    equal!(
        t,
        (this().count(0x51) - before, requested(0x51)),
        (0, true),
        "vector 0x51 with CR8 5: taken, requested"
    );
    sti();
    set_cr8(4);
    guests::cpu::pause();
    cli();
    equal!(t, this().count(0x51) - before, 1, "vector 0x51 after CR8 went to 4");
    set_cr8(0);
}
