//! A hypervisor for tests: prepared answers to properties.

use super::client::{PropertySource, ReadError};

/// What is answered to one property and argument; `None` means any argument.
#[derive(Debug)]
pub struct Answer {
    pub code: u32,
    pub argument: Option<u64>,
    pub bytes: Vec<u8>,
}

/// Answers with the first that matches, and refuses everything else the way Zemin does.
#[derive(Debug)]
pub struct Fake(pub Vec<Answer>);

impl Fake {
    /// One property with the same answer to each argument.
    pub fn with(code: u32, bytes: &[u8]) -> Self {
        Self(vec![Answer { code, argument: None, bytes: bytes.to_vec() }])
    }
}

impl PropertySource for Fake {
    fn property(&self, code: u32, argument: u64, out: &mut [u8]) -> Result<(), ReadError> {
        let matches = |answer: &&Answer| {
            answer.code == code && answer.argument.is_none_or(|wanted| wanted == argument)
        };
        let answer =
            self.0.iter().find(matches).ok_or(ReadError::Refused { property: code, status: 9 })?;
        // The kernel's page is not cleared before the call.
        out.fill(0xEE);
        out[..answer.bytes.len()].copy_from_slice(&answer.bytes);
        Ok(())
    }
}
