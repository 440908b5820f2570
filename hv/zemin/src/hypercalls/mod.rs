//! Scaffolding.
use crate::lp::Lp;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{LpContext, Reg};

pub fn handle(_lp: &'static Lp, _vp: &'static Vp, state: &mut State, context: &LpContext) {
    let code = state.vcpu.reg(Reg::Rcx) as u16;
    let out = state.vcpu.reg(Reg::R8);
    let status = match code {
        4 => 0,
        0x46 => {
            crate::mem::phys::write(out, &1u64.to_le_bytes());
            0
        }
        _ => {
            crate::log::log!(crate::log::Level::Warn, "hypercall {code:#x}");
            2
        }
    };
    state.vcpu.set_reg(Reg::Rax, status);
    state.vcpu.skip_instruction(context, 3);
}
