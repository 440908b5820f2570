//! A VP behind its file descriptor.
#![expect(
    unsafe_code,
    reason = "reads unions of the published bindings, whose every view is plain bytes"
)]

use super::failed;
use super::register_page::RegisterPage;
use crate::vp::LocalInterruptPins;
use crate::{CpuState, Exit, RegisterName, RegisterValue, VidError, VidResult, Vp, VpIndex};
use hvdef::message::Message;
use mshv_bindings::{LapicState, hv_message, hv_register_assoc, hv_register_value, hv_u128};
use mshv_ioctls::VcpuFd;
use std::io;

/// Offsets of the two pins in the published crate's picture of a local APIC.
const LINT0: usize = 0x350;
const LINT1: usize = 0x360;

/// A VP of `/dev/mshv`.
pub struct MshvVp {
    index: VpIndex,
    vcpu: VcpuFd,
}

impl MshvVp {
    /// Takes over a VP that was just created.
    pub fn new(index: VpIndex, vcpu: VcpuFd) -> Self {
        Self { index, vcpu }
    }

    fn page(&self) -> Option<RegisterPage> {
        RegisterPage::of(self.vcpu.get_vp_reg_page())
    }

    fn what(&self, what: &str) -> String {
        format!("{what} of VP {}", self.index.0)
    }
}

impl Vp for MshvVp {
    fn index(&self) -> VpIndex {
        self.index
    }

    fn registers(&self, names: &[RegisterName]) -> VidResult<Vec<RegisterValue>> {
        let mut list: Vec<_> = names.iter().map(|name| assoc(*name, 0.into())).collect();
        self.vcpu.get_reg(&mut list).map_err(failed(self.what("read registers")))?;
        Ok(list.iter().map(|entry| value(entry.value)).collect())
    }

    fn set_registers(&self, registers: &[(RegisterName, RegisterValue)]) -> VidResult<()> {
        let list: Vec<_> = registers.iter().map(|(name, value)| assoc(*name, *value)).collect();
        self.vcpu.set_reg(&list).map_err(failed(self.what("write registers")))
    }

    fn run(&mut self) -> VidResult<Exit> {
        match self.vcpu.run() {
            Ok(message) => Ok(Exit::from_message(&plain(message))),
            Err(error) => match io::Error::from(error) {
                error if is_interruption(&error) => Ok(Exit::Interrupted),
                error => Err(VidError::os(format!("run VP {}", self.index.0), error)),
            },
        }
    }

    fn cpu_state(&self) -> VidResult<CpuState> {
        match self.page() {
            Some(page) => Ok(page.state()),
            None => Ok(CpuState::from_values(&self.registers(&CpuState::NAMES)?)),
        }
    }

    fn set_general(&self, state: &CpuState) -> VidResult<()> {
        match self.page() {
            Some(page) => {
                page.set_general(state);
                Ok(())
            }
            None => self.set_registers(&state.general()),
        }
    }

    fn resume_at(&self, rip: u64, rax: Option<u64>) -> VidResult<()> {
        if let Some(page) = self.page() {
            page.resume_at(rip, rax);
            return Ok(());
        }
        let mut list = vec![(RegisterName::RIP, rip.into())];
        list.extend(rax.map(|rax| (RegisterName::RAX, rax.into())));
        self.set_registers(&list)
    }

    fn set_local_pins(&self, pins: LocalInterruptPins) -> VidResult<()> {
        let mut lapic = self.vcpu.get_lapic().map_err(failed(self.what("read the local APIC")))?;
        store(&mut lapic, LINT0, pins.lint0);
        store(&mut lapic, LINT1, pins.lint1);
        self.vcpu.set_lapic(&lapic).map_err(failed(self.what("write the local APIC")))
    }
}

fn is_interruption(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

fn store(lapic: &mut LapicState, offset: usize, value: u32) {
    for (byte, place) in value.to_le_bytes().iter().zip(&mut lapic.regs[offset..]) {
        *place = *byte as i8;
    }
}

fn assoc(name: RegisterName, value: RegisterValue) -> hv_register_assoc {
    let reg128 = hv_u128 { low_part: value.low, high_part: value.high };
    hv_register_assoc { name: name.0, value: hv_register_value { reg128 }, ..Default::default() }
}

fn value(value: hv_register_value) -> RegisterValue {
    // SAFETY: all sixteen bytes of the union were initialized by `assoc`, and any bytes are two integers.
    let both = unsafe { value.reg128 };
    RegisterValue { low: both.low_part, high: both.high_part }
}

fn plain(message: hv_message) -> Message {
    const { assert!(size_of::<hv_message>() == size_of::<Message>()) };
    // SAFETY: both are the 256 bytes of an HV_MESSAGE, and any bytes are a `Message`.
    unsafe { std::mem::transmute::<hv_message, Message>(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn register_values_pass_the_bindings_unharmed() {
        let wide = RegisterValue { low: 0x1122_3344_5566_7788, high: 0x99AA };
        assert_eq!(value(assoc(RegisterName::GDTR, wide).value), wide);
    }

    #[test]
    fn pins_are_written_little_endian() {
        let mut lapic = LapicState::default();
        store(&mut lapic, LINT1, 0x400);
        assert_eq!(&lapic.regs[LINT1..LINT1 + 4], &[0, 4, 0, 0]);
    }
}
