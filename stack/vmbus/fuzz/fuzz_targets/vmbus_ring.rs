//! A guest writes anything into its rings, at any time: whatever is received is a whole packet from inside the ring, and
//! what ranges name is RAM.
//!
//! The input is steps: write a control field, write bytes into the data, send a packet made of bytes, or let the device
//! take a turn.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmbus::memory::{GuestMemory, Scatter};
use vmbus::ring::{Incoming, Outgoing, Packet};
use vmbus::testing::GuestRings;

const BASE: u64 = 0x4000;
const PACKET_MAX: usize = 2048;

fuzz_target!(|data: &[u8]| {
    let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10000)]).expect("RAM");
    let memory = GuestMemory::new(&ram);
    let rings = GuestRings::new(&ram, BASE, [2, 3]);
    let mut incoming = Incoming::new(&memory, &[4, 5], PACKET_MAX).expect("a ring");
    let mut outgoing = Outgoing::new(&memory, &[6, 7, 8]).expect("a ring");
    let mut buffer = Scatter::new(&memory, 8);
    let mut rest = data;
    while let [kind, argument, a, b, tail @ ..] = rest {
        rest = tail;
        let value = u32::from(u16::from_le_bytes([*a, *b]));
        // Mostly what could be an index, at times what could not.
        let value = if kind & 0x80 == 0 { value & 0x1FF8 } else { value.wrapping_mul(0x10001) };
        match kind % 8 {
            0 => rings.set_host_field(u64::from(argument % 4), value),
            1 => rings.set_guest_field(u64::from(argument % 4), value),
            2 | 3 => {
                let (bytes, tail) = rest.split_at(rest.len().min(usize::from(*argument)));
                let at = BASE + 4096 + u64::from(value) % (4096 - 256);
                ram.write_slice(bytes, GuestAddress(at)).expect("RAM");
                rest = tail;
            }
            4 => {
                let (bytes, tail) = rest.split_at(rest.len().min(usize::from(*argument)));
                if rings.host_field(0) < 4096 && rings.host_field(1) < 4096 {
                    rings.send(9, 1, 7, bytes.as_chunks::<8>().0.as_flattened(), &[1; 64]);
                }
                rest = tail;
            }
            5 => {
                outgoing.publish();
            }
            6 => {
                let _ = outgoing.send(&Packet::completion(9, &[0x5A; 20]));
            }
            _ => turn(&mut incoming, &mut buffer),
        }
    }
    turn(&mut incoming, &mut buffer);
});

fn turn(incoming: &mut Incoming, buffer: &mut Scatter) {
    incoming.mask();
    // No ring holds more packets than this.
    for _ in 0..4096 / 24 {
        let Ok(Some(packet)) = incoming.receive() else { break };
        assert!(packet.payload().len() + packet.extension().len() + 16 <= PACKET_MAX);
        if packet.gather(buffer).is_err() {
            assert!(buffer.is_empty());
        }
        let mut byte = [0];
        buffer.read_at(buffer.len().saturating_sub(1), &mut byte);
    }
    incoming.release();
    let _ = incoming.unmask();
}
