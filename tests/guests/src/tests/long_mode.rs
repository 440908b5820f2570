//! Leaving long mode and entering it again, with exits in every state on the way. EFER.LME may be set while CR4.PAE is
//! not, as long as there is no paging.

use guests::cpu::{cli, rdmsr, sti};
use guests::report::Checks;
use guests::{clock, equal};

#[expect(unsafe_code, reason = "code of the image that changes the processor's mode")]
mod raw {
    core::arch::global_asm!(include_str!("long_mode.S"), options(att_syntax));

    unsafe extern "C" {
        fn leave_and_return(results: *mut u32);
    }

    /// EFER without PAE, without LME, with LME and PAE, in long mode again.
    pub fn efer_on_the_way() -> [u32; 4] {
        let mut results = [0; 4];
        // SAFETY: the image and its page tables are below 4 GiB at equal virtual and physical addresses; the caller
        // closed out interrupts; callee-saved registers, stack and segments are put back.
        unsafe { leave_and_return(results.as_mut_ptr()) };
        results
    }
}

const EFER: u32 = 0xC000_0080;
const LME: u32 = 1 << 8;
const LMA: u32 = 1 << 10;

/// All of it.
pub fn run(t: &Checks) {
    let efer = rdmsr(EFER) as u32;
    for _ in 0..20 {
        cli();
        let [without_pae, without_lme, before_paging, paging] = raw::efer_on_the_way();
        sti();
        equal!(t, without_pae, efer & !LMA, "EFER without paging and PAE");
        equal!(t, without_lme, efer & !LMA & !LME, "EFER without LME");
        equal!(t, before_paging, efer & !LMA, "EFER with LME, before paging");
        equal!(t, paging, efer, "EFER in long mode");
        // The timers' and other processors' interrupts find everything as it was.
        clock::delay_us(50);
    }
    cli();
}
