//! From VMBus to the partition.

use hvdef::VpIndex;
use hvdef::message::Message;
use std::io;
use std::sync::Arc;
use vid::{EventFd, Gpa, HvStatus, Partition, VidError};
use vmbus::transport::{PostError, Transport};

/// The GPA at which a doorbell takes the place of SIGNAL_EVENT on connection 0; 8 bytes for each (docs/design).
const SIGNAL_BASE: u64 = 0x000F_FFFF_F000_0000;

/// The way to the guest of a partition.
pub struct PartitionTransport {
    partition: Arc<dyn Partition>,
}

impl PartitionTransport {
    /// To the guest of `partition`.
    pub fn new(partition: Arc<dyn Partition>) -> Self {
        Self { partition }
    }
}

fn signal_gpa(connection_id: u32) -> Gpa {
    Gpa(SIGNAL_BASE + 8 * u64::from(connection_id))
}

/// The slot is full, or the guest takes no messages now: both pass.
fn is_busy(error: &VidError) -> bool {
    let status = error.status();
    let busy =
        [HvStatus::OBJECT_IN_USE, HvStatus::INSUFFICIENT_BUFFERS, HvStatus::INVALID_SYNIC_STATE];
    status.is_some_and(|status| busy.contains(&status))
}

impl Transport for PartitionTransport {
    fn post_message(&self, vp: VpIndex, sint: u8, message: &Message) -> Result<(), PostError> {
        match self.partition.post_message(vp, sint, message) {
            Ok(()) => Ok(()),
            Err(error) if is_busy(&error) => {
                let sints = 1u16.checked_shl(sint.into()).unwrap_or(0);
                self.partition.notify_deliverable(vp, sints).map_err(io::Error::other)?;
                Err(PostError::Busy)
            }
            Err(error) => Err(PostError::Failed(io::Error::other(error))),
        }
    }

    fn signal_event(&self, vp: VpIndex, sint: u8, flag: u16) -> io::Result<()> {
        self.partition.signal_event(vp, sint, flag).map_err(io::Error::other)
    }

    fn bind(&self, connection_id: u32, event: &EventFd) -> io::Result<()> {
        let bound = self.partition.register_doorbell(event, signal_gpa(connection_id));
        if let Err(error) = bound {
            // The signals come as intercepts then, slower.
            tracing::warn!(connection_id, %error, "no doorbell for a channel");
        }
        Ok(())
    }

    fn unbind(&self, connection_id: u32, event: &EventFd) {
        let unbound = self.partition.unregister_doorbell(event, signal_gpa(connection_id));
        if let Err(error) = unbound {
            tracing::debug!(connection_id, %error, "there was no doorbell");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hvdef::message::MessageType;
    use vid::fake::FakePartition;

    fn transport() -> (FakePartition, PartitionTransport) {
        let partition = FakePartition::new();
        (partition.clone(), PartitionTransport::new(Arc::new(partition)))
    }

    #[test]
    fn a_full_slot_is_busy_and_anything_else_is_final() {
        let (partition, transport) = transport();
        let message = Message::new(MessageType::VMBUS, 0, b"hello").unwrap();
        let post = || transport.post_message(VpIndex(1), 2, &message);
        for status in [HvStatus::OBJECT_IN_USE, HvStatus::INVALID_SYNIC_STATE] {
            partition.refuse_next(status);
            assert!(matches!(post(), Err(PostError::Busy)));
        }
        partition.refuse_next(HvStatus::INVALID_PARAMETER);
        assert!(matches!(post(), Err(PostError::Failed(_))));
        post().unwrap();
        let [(vp, sint, _)] = partition.take_messages()[..] else { panic!("one message") };
        assert_eq!((vp, sint), (VpIndex(1), 2));
    }

    #[test]
    fn a_channels_signals_ring_at_their_documented_address() {
        let (partition, transport) = transport();
        let event = EventFd::new(0).unwrap();
        transport.bind(0x2001, &event).unwrap();
        assert!(partition.ring(Gpa(0x000F_FFFF_F001_0008)));
        assert_eq!(event.read().unwrap(), 1);
        transport.unbind(0x2001, &event);
        assert!(!partition.ring(Gpa(0x000F_FFFF_F001_0008)));
    }

    #[test]
    fn a_partition_without_doorbells_still_has_channels() {
        let (partition, transport) = transport();
        partition.refuse_next(HvStatus::INVALID_HYPERCALL_CODE);
        transport.bind(0x2001, &EventFd::new(0).unwrap()).unwrap();
    }
}
