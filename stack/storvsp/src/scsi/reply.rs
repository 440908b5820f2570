//! Data for the initiator, put together before it is copied into guest memory.

/// Room for the longest reply: a REPORT LUNS with 256 LUNs.
const CAPACITY: usize = 2304;

/// Bytes of a reply; reused from command to command.
pub struct Reply {
    bytes: [u8; CAPACITY],
    length: usize,
}

impl Default for Reply {
    fn default() -> Self {
        Self { bytes: [0; CAPACITY], length: 0 }
    }
}

impl Reply {
    /// Empties it.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds bytes. What has no room is dropped: no reply here is that long.
    pub fn push(&mut self, bytes: &[u8]) -> &mut Self {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let added = bytes.len().min(room.len());
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.length += added;
        self
    }

    /// Adds `count` zeros.
    pub fn zeros(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.push(&[0]);
        }
        self
    }

    /// Adds `text`, padded with spaces to `width`.
    pub fn text(&mut self, text: &str, width: usize) -> &mut Self {
        let padded = text.bytes().chain(std::iter::repeat(b' ')).take(width);
        for byte in padded {
            self.push(&[byte]);
        }
        self
    }

    /// Replaces what is at `at`.
    pub fn patch(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        let target = self.bytes.get_mut(..self.length).and_then(|all| all.get_mut(at..));
        for (to, from) in target.unwrap_or_default().iter_mut().zip(bytes) {
            *to = *from;
        }
        self
    }

    /// Cuts it to what the initiator has room for.
    pub fn limit(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The reply.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
