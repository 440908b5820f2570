//! Set-up of a controller's primary channel: versions, properties, sub-channels. Pure.
//!
//! ```text
//!  BEGIN_INITIALIZATION ─> QUERY_PROTOCOL_VERSION … ─> QUERY_PROPERTIES ─> END_INITIALIZATION ─> commands
//!                                                                                        └─ CREATE_SUB_CHANNELS
//! ```
//!
//! A guest that begins anew is welcome at any time. Whatever is out of order is refused and changes nothing.

use vmbusdef::storage::{
    Operation, Properties, PropertyFlags, ProtocolVersion, Status, SubChannelCount, VERSION_6_0,
    VERSION_6_2, VstorPacket,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// What the controller offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of data of one command.
    pub transfer_max: u32,
    /// Channels beyond the primary one.
    pub subchannels_max: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Phase {
    New,
    Begun,
    Agreed,
    Ready,
}

/// Where set-up is.
#[derive(Debug)]
pub struct Protocol {
    limits: Limits,
    phase: Phase,
}

/// What set-up wants done beside the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// Offer so many channels more, after the answer.
    Subchannels(u16),
}

impl Protocol {
    /// Of a channel just opened: a primary one that has set-up before it, or a sub-channel, which has not.
    pub fn new(limits: Limits, is_primary: bool) -> Self {
        Self { limits, phase: if is_primary { Phase::New } else { Phase::Ready } }
    }

    /// Whether commands may come.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Makes the answer to a set-up packet out of it.
    pub fn answer(&mut self, packet: &mut VstorPacket) -> Effect {
        let asked = packet.operation;
        packet.operation = Operation::COMPLETE_IO;
        let answered = match asked {
            Operation::BEGIN_INITIALIZATION => self.advance(Phase::New, Phase::Begun),
            Operation::QUERY_PROTOCOL_VERSION => self.query_version(packet),
            Operation::QUERY_PROPERTIES => self.query_properties(packet),
            Operation::END_INITIALIZATION => self.advance(Phase::Agreed, Phase::Ready),
            Operation::CREATE_SUB_CHANNELS => return self.create_subchannels(packet),
            _ => Err(Status::NOT_SUPPORTED),
        };
        packet.status = answered.err().unwrap_or(Status::SUCCESS);
        Effect::None
    }

    fn advance(&mut self, least: Phase, next: Phase) -> Result<(), Status> {
        if self.phase < least {
            return Err(Status::INVALID_DEVICE_STATE);
        }
        self.phase = next;
        Ok(())
    }

    fn query_version(&mut self, packet: &VstorPacket) -> Result<(), Status> {
        if self.phase < Phase::Begun {
            return Err(Status::INVALID_DEVICE_STATE);
        }
        let (asked, _) = ProtocolVersion::read_from_prefix(&packet.body)
            .map_err(|_| Status::INVALID_PARAMETER)?;
        if !matches!(asked.version, VERSION_6_0 | VERSION_6_2) {
            return Err(Status::REVISION_MISMATCH);
        }
        self.advance(Phase::Begun, Phase::Agreed)
    }

    fn query_properties(&self, packet: &mut VstorPacket) -> Result<(), Status> {
        if self.phase < Phase::Agreed {
            return Err(Status::INVALID_DEVICE_STATE);
        }
        let mut properties = Properties::new_zeroed();
        properties.maximum_sub_channel_count = self.limits.subchannels_max;
        properties.flags = PropertyFlags::new().with_multi_channel(self.limits.subchannels_max > 0);
        properties.maximum_transfer_bytes = self.limits.transfer_max;
        packet.body.fill(0);
        properties.write_to_prefix(&mut packet.body).map_err(|_| Status::INVALID_PARAMETER)
    }

    fn create_subchannels(&self, packet: &mut VstorPacket) -> Effect {
        let count =
            SubChannelCount::read_from_prefix(&packet.body).map_or(0, |(asked, _)| asked.count);
        let (status, effect) = match (self.phase, count) {
            (Phase::Ready, 1..) if count <= self.limits.subchannels_max => {
                (Status::SUCCESS, Effect::Subchannels(count))
            }
            (Phase::Ready, _) => (Status::INVALID_PARAMETER, Effect::None),
            _ => (Status::INVALID_DEVICE_STATE, Effect::None),
        };
        packet.status = status;
        effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { transfer_max: 1 << 20, subchannels_max: 3 };

    fn packet(operation: Operation, body: &[u8]) -> VstorPacket {
        let mut packet = VstorPacket::new_zeroed();
        packet.operation = operation;
        packet.body[..body.len()].copy_from_slice(body);
        packet
    }

    fn ask(protocol: &mut Protocol, operation: Operation, body: &[u8]) -> (VstorPacket, Effect) {
        let mut packet = packet(operation, body);
        let effect = protocol.answer(&mut packet);
        assert_eq!(packet.operation, Operation::COMPLETE_IO);
        (packet, effect)
    }

    #[test]
    fn set_up_goes_as_linux_does_it() {
        let mut protocol = Protocol::new(LIMITS, true);
        let mut ok = |operation, body: &[u8]| {
            let (packet, effect) = ask(&mut protocol, operation, body);
            assert_eq!(packet.status, Status::SUCCESS, "{operation:?}");
            (packet, effect)
        };
        ok(Operation::BEGIN_INITIALIZATION, &[]);
        ok(Operation::QUERY_PROTOCOL_VERSION, &[2, 6]);
        let (packet, _) = ok(Operation::QUERY_PROPERTIES, &[]);
        assert_eq!(packet.body[..16], [0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x10, 0]);
        ok(Operation::END_INITIALIZATION, &[]);
        assert_eq!(ok(Operation::CREATE_SUB_CHANNELS, &[2]).1, Effect::Subchannels(2));
        assert!(protocol.is_ready());
    }

    #[test]
    fn other_versions_are_refused_and_another_may_be_tried() {
        let mut protocol = Protocol::new(LIMITS, true);
        ask(&mut protocol, Operation::BEGIN_INITIALIZATION, &[]);
        for version in [0x0405u16, 0x0501, 0x0603, 0] {
            let (packet, _) =
                ask(&mut protocol, Operation::QUERY_PROTOCOL_VERSION, &version.to_le_bytes());
            assert_eq!(packet.status, Status::REVISION_MISMATCH);
        }
        let (packet, _) = ask(&mut protocol, Operation::QUERY_PROTOCOL_VERSION, &[0, 6]);
        assert_eq!(packet.status, Status::SUCCESS);
    }

    #[test]
    fn what_is_out_of_order_is_refused() {
        let mut protocol = Protocol::new(LIMITS, true);
        for operation in [
            Operation::QUERY_PROTOCOL_VERSION,
            Operation::QUERY_PROPERTIES,
            Operation::END_INITIALIZATION,
            Operation::CREATE_SUB_CHANNELS,
        ] {
            let (packet, effect) = ask(&mut protocol, operation, &[2, 6]);
            assert_eq!((packet.status, effect), (Status::INVALID_DEVICE_STATE, Effect::None));
        }
        let (packet, _) = ask(&mut protocol, Operation::FCHBA_DATA, &[]);
        assert_eq!(packet.status, Status::NOT_SUPPORTED);
        assert!(!protocol.is_ready());
    }

    #[test]
    fn more_subchannels_than_there_are_is_an_error() {
        let mut protocol = Protocol::new(LIMITS, false);
        for count in [0u16, 4, 0xFFFF] {
            let (packet, effect) =
                ask(&mut protocol, Operation::CREATE_SUB_CHANNELS, &count.to_le_bytes());
            assert_eq!((packet.status, effect), (Status::INVALID_PARAMETER, Effect::None));
        }
    }

    proptest! {
        #[test]
        fn commands_come_only_after_a_version_was_agreed(operations in prop::collection::vec((0u32..16, any::<u16>()), 0..40)) {
            let mut protocol = Protocol::new(LIMITS, true);
            let mut agreed = false;
            for (operation, value) in operations {
                let (packet, _) = ask(&mut protocol, Operation(operation), &value.to_le_bytes());
                let is_version = operation == Operation::QUERY_PROTOCOL_VERSION.0;
                agreed |= is_version && packet.status == Status::SUCCESS;
                prop_assert!(agreed || !protocol.is_ready());
            }
        }
    }
}
