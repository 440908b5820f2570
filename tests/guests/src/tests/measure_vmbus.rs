//! Costs of talking to the VMBus server in the worker: a message and its answer, an event and its answer.
//!
//! As much of a VMBus guest as it takes to send packets to a storage controller and to get them answered.

use super::measure::{Results, VECTOR, WAITS};
use guests::apic;
use guests::clock;
use guests::cpu::{cli, peek, peek32, poke, poke32, rdtsc, sti_hlt, wrmsr};
use guests::hypercall::{call, with_input};
use guests::memory::{self, PAGE};
use guests::report::Checks;
use guests::{check, line};
use hvdef::msr as hv;
use hvdef::{HypercallCode, HypercallInput};
use vmbusdef::gpadl::{GpaRange, GpadlHeader};
use vmbusdef::guid::class;
use vmbusdef::message::{
    InitiateContact, MESSAGE_MAX, MessageHeader, MessageNumber, OpenChannel, VersionResponse,
};
use vmbusdef::offer::{Offer, USER_DATA_SIZE};
use vmbusdef::packet::{PacketDescriptor, PacketFlags, PacketType};
use vmbusdef::ring::TRAILER_SIZE;
use vmbusdef::storage::{Operation, PACKET_SIZE, VstorPacket};
use vmbusdef::version::{FeatureFlags, MessageTarget};
use vmbusdef::{MESSAGE_CONNECTION_ID_V5, SINT, Version};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// SynIC message type of all channel messages.
const CHANNEL_MESSAGE: u64 = 1;
/// A version that nobody speaks.
const NO_VERSION: Version = Version(0x7FFF_0000);
/// The list with both rings: each a control page and one of data.
const GPADL: u32 = 7;
const RING_PAGES: u64 = 2;

/// Both.
pub fn run(t: &Checks, results: &mut Results) {
    let bus = Bus::new();
    messages(t, &bus, results);
    match Channel::open(&bus) {
        Some(mut channel) => events(t, &mut channel, results),
        None => line!("# no controller on VMBus: events are not measured"),
    }
    apic::quiet();
}

/// An offer of a version that is refused.
fn messages(t: &Checks, bus: &Bus, results: &mut Results) {
    let ask = || bus.contact(NO_VERSION).is_some();
    if ask() {
        let start = rdtsc();
        let answered = (0..WAITS).all(|_| ask());
        results.add("message", rdtsc() - start, WAITS);
        check!(t, answered, "a message was not answered");
    }
}

/// A packet in the ring with a signal, and its completion with an interrupt.
fn events(t: &Checks, channel: &mut Channel, results: &mut Results) {
    let start = channel.ask().then(rdtsc);
    let answered = start.is_some() && (0..WAITS).all(|_| channel.ask());
    check!(t, answered, "a packet was not answered");
    if let Some(start) = start {
        results.add("event", rdtsc() - start, WAITS);
    }
}

/// The SynIC's pages, and where messages go.
struct Bus {
    /// Message slot of VMBus.
    slot: u64,
    /// Its event flags.
    flags: u64,
}

impl Bus {
    fn new() -> Self {
        let (messages, flags) = (memory::pages(1), memory::pages(1));
        wrmsr(hv::SIMP, messages | 1);
        wrmsr(hv::SIEFP, flags | 1);
        wrmsr(hv::SCONTROL, 1);
        wrmsr(hv::SINT0 + u32::from(SINT), VECTOR.into());
        let row = 256 * u64::from(SINT);
        Self { slot: messages + row, flags: flags + row }
    }

    /// Posts a message; whether the hypervisor took it.
    fn post(&self, connection: u32, number: MessageNumber, parts: &[&[u8]]) -> bool {
        let mut payload = [0u64; MESSAGE_MAX / 8];
        let mut size = size_of::<MessageHeader>();
        payload[0] = number.0.into();
        for part in parts {
            payload.as_mut_bytes()[size..size + part.len()].copy_from_slice(part);
            size += part.len();
        }
        let mut input = [0; 2 + MESSAGE_MAX / 8];
        (input[0], input[1]) = (connection.into(), CHANNEL_MESSAGE | (size as u64) << 32);
        input[2..].copy_from_slice(&payload);
        with_input(HypercallCode::POST_MESSAGE.0.into(), &input).is_success()
    }

    /// Waits for the next message: its number and what follows.
    fn next(&self) -> Option<(MessageNumber, [u8; MESSAGE_MAX - 8])> {
        wait(|| peek32(self.slot) != 0)?;
        let mut payload = [0u64; MESSAGE_MAX / 8];
        for (word, at) in payload.iter_mut().zip((self.slot + 16..).step_by(8)) {
            *word = peek(at);
        }
        poke32(self.slot, 0);
        wrmsr(hv::EOM, 0);
        let (header, body) = MessageHeader::read_from_prefix(payload.as_bytes()).ok()?;
        Some((header.number, body.try_into().ok()?))
    }

    /// Waits for a message of a kind, past all others.
    fn expect<T: FromBytes>(&self, number: MessageNumber) -> Option<T> {
        loop {
            let (found, body) = self.next()?;
            if found == number {
                return Some(T::read_from_prefix(&body).ok()?.0);
            }
        }
    }

    /// Offers a version; the answer.
    fn contact(&self, version: Version) -> Option<VersionResponse> {
        let feature_flags = FeatureFlags::new();
        let target = MessageTarget { sint: SINT, vtl: 0, reserved: 0, feature_flags };
        let body = InitiateContact {
            version,
            target_vp: 0,
            target,
            parent_to_child_monitor: 0,
            child_to_parent_monitor: 0,
        };
        self.post(MESSAGE_CONNECTION_ID_V5, MessageNumber::INITIATE_CONTACT, &[body.as_bytes()])
            .then(|| self.expect(MessageNumber::VERSION_RESPONSE))?
    }
}

/// An open channel of a storage controller.
struct Channel {
    /// Control page of the ring towards the device; the other one is behind it.
    ring: u64,
    /// Where the next packet goes.
    write: u32,
    /// Connection of its signals.
    connection: u32,
    /// Where its event flag is.
    flag: (u64, u64),
}

impl Channel {
    /// Of the first SCSI controller that is offered.
    fn open(bus: &Bus) -> Option<Self> {
        let response = bus.contact(Version::WIN10_V5_2)?;
        let connection = response.connection_id;
        (response.version_supported == 1
            && bus.post(connection, MessageNumber::REQUESTOFFERS, &[]))
        .then_some(())?;
        let mut offer = None;
        loop {
            match bus.next()? {
                (MessageNumber::OFFERCHANNEL, body) => {
                    let found = Offer::read_from_prefix(&body).ok()?.0;
                    let is_disks = found.interface_type == class::SCSI;
                    offer = offer.or(is_disks.then_some(found));
                }
                (MessageNumber::ALLOFFERS_DELIVERED, _) => break,
                _ => {}
            }
        }
        let offer = offer?;
        let ring = memory::pages(2 * RING_PAGES);
        Self::share(bus, connection, offer.relid, ring)?;
        let open = OpenChannel {
            relid: offer.relid,
            open_id: 1,
            ring_gpadl: GPADL,
            target_vp: 0,
            downstream_page_offset: RING_PAGES as u32,
            user_data: [0; USER_DATA_SIZE],
        };
        Self::request(
            bus,
            connection,
            (MessageNumber::OPENCHANNEL, MessageNumber::OPENCHANNEL_RESULT),
            &[open.as_bytes()],
        )?;
        let flag = (bus.flags + u64::from(offer.relid / 64) * 8, 1 << (offer.relid % 64));
        Some(Self { ring, write: 0, connection: offer.connection_id, flag })
    }

    fn share(bus: &Bus, connection: u32, relid: u32, ring: u64) -> Option<()> {
        let pages: [u64; 2 * RING_PAGES as usize] =
            core::array::from_fn(|page| ring / PAGE + page as u64);
        let range = GpaRange { byte_count: (2 * RING_PAGES * PAGE) as u32, byte_offset: 0 };
        let header = GpadlHeader {
            relid,
            gpadl: GPADL,
            range_buffer_length: (size_of::<GpaRange>() + size_of_val(&pages)) as u16,
            range_count: 1,
        };
        Self::request(
            bus,
            connection,
            (MessageNumber::GPADL_HEADER, MessageNumber::GPADL_CREATED),
            &[header.as_bytes(), range.as_bytes(), pages.as_bytes()],
        )
    }

    /// A message whose answer has a status behind two other fields.
    fn request(
        bus: &Bus,
        connection: u32,
        (question, answer): (MessageNumber, MessageNumber),
        parts: &[&[u8]],
    ) -> Option<()> {
        bus.post(connection, question, parts).then_some(())?;
        let [_, _, status]: [u32; 3] = bus.expect(answer)?;
        (status == 0).then_some(())
    }

    /// Sends a packet and waits for its completion.
    fn ask(&mut self) -> bool {
        let mut packet = VstorPacket::new_zeroed();
        packet.operation = Operation::BEGIN_INITIALIZATION;
        let length8 = ((size_of::<PacketDescriptor>() + PACKET_SIZE) / 8) as u16;
        let descriptor = PacketDescriptor {
            packet_type: PacketType::IN_BAND,
            data_offset8: (size_of::<PacketDescriptor>() / 8) as u16,
            length8,
            flags: PacketFlags::new().with_completion_requested(true),
            transaction_id: 1,
        };
        let start = self.write;
        self.put(&descriptor);
        self.put(&packet);
        self.put(&[0, start]);
        poke32(self.ring, self.write);
        let control =
            HypercallInput::new().with_code(HypercallCode::SIGNAL_EVENT).with_is_fast(true);
        let signalled = call(control.into_bits(), self.connection.into(), 0).is_success();
        let (flags, flag) = self.flag;
        let came = wait(|| peek(flags) & flag != 0).is_some();
        poke(flags, 0);
        let incoming = self.ring + RING_PAGES * PAGE;
        let (written, read) = (peek32(incoming), peek32(incoming + 4));
        poke32(incoming + 4, written);
        let expected = u32::from(length8) * 8 + TRAILER_SIZE;
        signalled && came && (written.wrapping_sub(read)) % PAGE as u32 == expected
    }

    fn put<T: IntoBytes + Immutable>(&mut self, value: &T) {
        for word in value.as_bytes().chunks_exact(8) {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            poke(self.ring + PAGE + u64::from(self.write), word);
            self.write = (self.write + 8) % PAGE as u32;
        }
    }
}

/// Sleeps until something is so; `None` after ten seconds.
fn wait(is_so: impl Fn() -> bool) -> Option<()> {
    let end = rdtsc() + 10 * clock::tsc_hz();
    while !is_so() {
        if rdtsc() >= end {
            return None;
        }
        sti_hlt();
        cli();
    }
    Some(())
}
