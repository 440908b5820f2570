//! `zm hv`: look into the running hypervisor.
//!
//! ```text
//! client     asks for properties and takes the answers apart; generic over where they come from
//!   ├─ status · log · counters · hypercalls      one command each: gather, then text or JSON
//!   └─ names     hypercall codes and status codes for people
//! ```

pub mod client;
pub mod counters;
#[cfg(test)]
mod fake;
pub mod hypercalls;
pub mod log;
mod names;
pub mod status;

use crate::mshv_hvcall::{self, MshvDevice};
use client::{Hypervisor, PropertySource, ReadError};
use std::io::ErrorKind;
use zemindef::property;

/// The hypervisor under this system.
pub fn open() -> Result<Hypervisor<MshvDevice>, ReadError> {
    let device = MshvDevice::open().map_err(|error| match error.kind() {
        ErrorKind::NotFound => ReadError::NoDevice,
        ErrorKind::PermissionDenied => ReadError::NoPermission,
        _ => ReadError::Open(error),
    })?;
    Ok(Hypervisor::new(device))
}

impl PropertySource for MshvDevice {
    fn property(&self, code: u32, argument: u64, out: &mut [u8]) -> Result<(), ReadError> {
        // Partition (filled in by the kernel), code, padding, argument.
        let mut input = [0; 24];
        for (at, value) in [(8, &code.to_le_bytes()[..]), (16, &argument.to_le_bytes()[..])] {
            input[at..at + value.len()].copy_from_slice(value);
        }
        self.call(property::HYPERCALL, &input, out).map_err(
            |mshv_hvcall::CallError { status, error }| match status {
                0 => ReadError::Call(error),
                status => ReadError::Refused { property: code, status },
            },
        )
    }
}
