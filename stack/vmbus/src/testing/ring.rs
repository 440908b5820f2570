//! The guest's side of a channel's rings, as Linux `drivers/hv/ring_buffer.c` has it.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const PAGE: u64 = 4096;

/// A packet out of the ring from the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestPacket {
    pub packet_type: u16,
    pub flags: u16,
    pub transaction_id: u64,
    pub extension: Vec<u8>,
    pub payload: Vec<u8>,
}

/// Both rings at `gpa`, contiguous: first the one to the host.
pub struct GuestRings {
    memory: GuestMemoryMmap,
    to_host: u64,
    to_guest: u64,
    sizes: [u64; 2],
}

impl GuestRings {
    /// Zeroed control pages; `pages` of each ring, control page included.
    pub fn new(memory: &GuestMemoryMmap, gpa: u64, pages: [u64; 2]) -> Self {
        let to_guest = gpa + pages[0] * PAGE;
        let rings = Self {
            memory: memory.clone(),
            to_host: gpa,
            to_guest,
            sizes: pages.map(|count| (count - 1) * PAGE),
        };
        for control in [gpa, to_guest] {
            memory.write_slice(&[0; PAGE as usize], GuestAddress(control)).unwrap();
            rings.set(control + 64, 1);
        }
        rings
    }

    fn get(&self, gpa: u64) -> u32 {
        self.memory.load(GuestAddress(gpa), std::sync::atomic::Ordering::SeqCst).unwrap()
    }

    fn set(&self, gpa: u64, value: u32) {
        self.memory.store(value, GuestAddress(gpa), std::sync::atomic::Ordering::SeqCst).unwrap();
    }

    /// Field `index` (0 write, 1 read, 2 mask, 3 pending) of the ring to the host.
    pub fn host_field(&self, index: u64) -> u32 {
        self.get(self.to_host + index * 4)
    }

    pub fn set_host_field(&self, index: u64, value: u32) {
        self.set(self.to_host + index * 4, value);
    }

    /// The same of the ring to the guest.
    pub fn guest_field(&self, index: u64) -> u32 {
        self.get(self.to_guest + index * 4)
    }

    pub fn set_guest_field(&self, index: u64, value: u32) {
        self.set(self.to_guest + index * 4, value);
    }

    fn copy_in(&self, base: u64, size: u64, at: u64, bytes: &[u8]) -> u64 {
        let at = at % size;
        let (first, second) = bytes.split_at(bytes.len().min((size - at) as usize));
        self.memory.write_slice(first, GuestAddress(base + PAGE + at)).unwrap();
        self.memory.write_slice(second, GuestAddress(base + PAGE)).unwrap();
        (at + bytes.len() as u64) % size
    }

    fn copy_out(&self, base: u64, size: u64, at: u64, bytes: &mut [u8]) {
        let middle = bytes.len().min((size - at) as usize);
        let (first, second) = bytes.split_at_mut(middle);
        self.memory.read_slice(first, GuestAddress(base + PAGE + at)).unwrap();
        self.memory.read_slice(second, GuestAddress(base + PAGE)).unwrap();
    }

    /// Sends; `None` if there is no room, else whether the host wants a signal.
    pub fn send(
        &self,
        packet_type: u16,
        flags: u16,
        transaction_id: u64,
        extension: &[u8],
        payload: &[u8],
    ) -> Option<bool> {
        let offset = 16 + extension.len();
        let length = (offset + payload.len()).next_multiple_of(8);
        let mut packet = Vec::new();
        packet.extend(packet_type.to_le_bytes());
        packet.extend(((offset / 8) as u16).to_le_bytes());
        packet.extend(((length / 8) as u16).to_le_bytes());
        packet.extend(flags.to_le_bytes());
        packet.extend(transaction_id.to_le_bytes());
        packet.extend(extension);
        packet.extend(payload);
        packet.resize(length, 0);
        self.send_raw(&packet)
    }

    /// Sends what need not be a packet, with a trailer.
    pub fn send_raw(&self, packet: &[u8]) -> Option<bool> {
        let size = self.sizes[0];
        let (write, read) = (u64::from(self.host_field(0)), u64::from(self.host_field(1)));
        let used = (write + size - read) % size;
        if size - used <= packet.len() as u64 + 8 {
            return None;
        }
        let at = self.copy_in(self.to_host, size, write, packet);
        let at = self.copy_in(self.to_host, size, at, &(write << 32).to_le_bytes());
        self.set_host_field(0, at as u32);
        Some(self.host_field(2) == 0 && u64::from(self.host_field(1)) == write)
    }

    /// The next packet, whose space is given back; whether the host waits for that.
    pub fn receive(&self) -> Option<(GuestPacket, bool)> {
        let size = self.sizes[1];
        let (write, read) = (u64::from(self.guest_field(0)), u64::from(self.guest_field(1)));
        let used = (write + size - read) % size;
        if used < 16 {
            return None;
        }
        let mut head = [0; 16];
        self.copy_out(self.to_guest, size, read, &mut head);
        let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let (offset, length) = (u64::from(half(2)) * 8, u64::from(half(4)) * 8);
        assert!((16..=length).contains(&offset) && length + 8 <= used, "the host sent nonsense");
        let mut all = vec![0; length as usize + 8];
        self.copy_out(self.to_guest, size, read, &mut all);
        assert_eq!(all[length as usize..], (read << 32).to_le_bytes(), "the trailer is wrong");
        self.set_guest_field(1, ((read + length + 8) % size) as u32);
        let pending = u64::from(self.guest_field(3));
        let now_free =
            size - (u64::from(self.guest_field(0)) + size - (read + length + 8) % size) % size;
        let signal = pending != 0 && now_free > pending && now_free - (length + 8) <= pending;
        let packet = GuestPacket {
            packet_type: half(0),
            flags: half(6),
            transaction_id: u64::from_le_bytes(head[8..16].try_into().unwrap()),
            extension: all[16..offset as usize].to_vec(),
            payload: all[offset as usize..length as usize].to_vec(),
        };
        Some((packet, signal))
    }
}
