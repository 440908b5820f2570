//! The one thing a raw terminal keeps for itself: Ctrl-A x ends the VM, Ctrl-A Ctrl-A is a Ctrl-A.

/// Ctrl-A.
const PREFIX: u8 = 1;

/// What the user meant.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    /// For the guest.
    pub bytes: Vec<u8>,
    /// To end the VM.
    pub quit: bool,
}

/// Remembers a Ctrl-A until the next key.
#[derive(Default)]
pub struct Escape {
    prefix: bool,
}

impl Escape {
    /// Sorts out what was typed.
    pub fn filter(&mut self, typed: &[u8]) -> Typed {
        let mut result = Typed { bytes: Vec::with_capacity(typed.len()), quit: false };
        for &byte in typed {
            match (std::mem::take(&mut self.prefix), byte) {
                (false, PREFIX) => self.prefix = true,
                (true, b'x' | b'X') => result.quit = true,
                (true, PREFIX) | (false, _) => result.bytes.push(byte),
                (true, _) => result.bytes.extend([PREFIX, byte]),
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_sequence_quits() {
        let mut escape = Escape::default();
        assert_eq!(escape.filter(b"x\x03"), Typed { bytes: b"x\x03".to_vec(), quit: false });
        assert_eq!(escape.filter(b"a\x01"), Typed { bytes: b"a".to_vec(), quit: false });
        assert!(escape.filter(b"x").quit, "over two reads");
        assert_eq!(escape.filter(b"\x01\x01x").bytes, b"\x01x");
        assert_eq!(escape.filter(b"\x01q").bytes, b"\x01q");
    }
}
