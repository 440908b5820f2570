//! Doorbells: which write rings which port.

use crate::port::Target;
use crate::sorted::{Entry, Slots, Sorted};
use hvdef::hypercall::synic::{ConnectionInfo, DoorbellFlags};
use hvdef::synic::{ConnectionId, PortId};
use hvdef::{Gpa, HvStatus, PartitionId};

/// GPA that stands for connection id 0; see [`signal_gpa`].
pub const SIGNAL_BASE: u64 = 0x000F_FFFF_F000_0000;
/// Physical addresses end here.
const ADDRESS_END: u64 = 1 << 52;
/// What a signal counts as.
const SIGNAL_BYTES: u8 = 8;

/// The GPA at which a doorbell stands for SIGNAL_EVENT with this connection id, of which 24 bits count.
pub const fn signal_gpa(connection: ConnectionId) -> Gpa {
    Gpa(SIGNAL_BASE + 8 * connection.id() as u64)
}

/// A write by a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write {
    /// Where.
    pub gpa: Gpa,
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    /// What; bits beyond `bytes` are ignored.
    pub value: u64,
}

/// One doorbell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doorbell {
    /// Its id among the partition's doorbells.
    pub id: ConnectionId,
    /// What it rings.
    pub target: Target,
    trigger: Trigger,
}

/// What rings it. Everything that does not matter is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Trigger {
    gpa: u64,
    /// 0: any number.
    bytes: u8,
    any_value: bool,
    value: u64,
}

impl Doorbell {
    /// Fills storage that was not used yet.
    pub const EMPTY: Self = Self {
        id: ConnectionId::new(),
        target: crate::Port::EMPTY.target,
        trigger: Trigger { gpa: 0, bytes: 0, any_value: false, value: 0 },
    };
}

impl Entry for Doorbell {
    type Key = Trigger;
    fn key(&self) -> Trigger {
        self.trigger
    }
}

impl Trigger {
    fn new(gpa: u64, bytes: u8, value: Option<u64>) -> Self {
        let value_mask = if matches!(bytes, 1 | 2 | 4) { (1 << (8 * bytes)) - 1 } else { u64::MAX };
        Self { gpa, bytes, any_value: value.is_none(), value: value.unwrap_or(0) & value_mask }
    }

    /// Whether a write to its address rings it.
    #[inline]
    fn is_rung_by(&self, write: Write) -> bool {
        let value = Self::new(write.gpa.0, write.bytes, Some(write.value)).value;
        (self.bytes == 0 || self.bytes == write.bytes) && (self.any_value || self.value == value)
    }

    fn decode(info: &ConnectionInfo) -> Result<Self, HvStatus> {
        let known = DoorbellFlags::new().with_size(7).with_any_value(true).into_bits();
        let bytes = info.flags.bytes().ok_or(HvStatus::INVALID_PARAMETER)?;
        if info.flags.into_bits() & !known != 0 || info.gpa >= ADDRESS_END {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let value = (!info.flags.any_value()).then_some(info.trigger_value);
        Ok(Self::new(info.gpa, bytes, value))
    }
}

/// The doorbells of one partition.
#[derive(Debug)]
pub struct Doorbells<S> {
    doorbells: Sorted<S>,
}

impl<S: Slots<Doorbell>> Doorbells<S> {
    /// No doorbells yet.
    pub const fn new(slots: S) -> Self {
        Self { doorbells: Sorted::new(slots) }
    }

    /// The storage, to let it grow.
    pub const fn slots_mut(&mut self) -> &mut S {
        self.doorbells.slots_mut()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.doorbells.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The doorbell that a write rings. If several would, the one that names most: size before value.
    #[inline]
    pub fn find(&self, write: Write) -> Option<&Doorbell> {
        let at = |doorbell: &Doorbell| doorbell.trigger.gpa == write.gpa.0;
        let (first, second) =
            self.doorbells.two_from(|bell: &Doorbell| bell.trigger.gpa < write.gpa.0);
        let first = first.filter(|bell| at(bell))?;
        if second.is_none_or(|bell| !at(bell)) {
            return first.trigger.is_rung_by(write).then_some(first);
        }
        self.find_among_many(write)
    }

    /// The same, where there are several at the address.
    fn find_among_many(&self, write: Write) -> Option<&Doorbell> {
        let exact = Trigger::new(write.gpa.0, write.bytes, Some(write.value));
        let kinds = [(write.bytes, false), (write.bytes, true), (0, false), (0, true)];
        kinds.into_iter().find_map(|(bytes, any_value)| {
            let value = if any_value { 0 } else { exact.value };
            self.doorbells.find::<Doorbell>(&Trigger { bytes, any_value, value, ..exact })
        })
    }

    /// The doorbell that a SIGNAL_EVENT rings which no connection serves.
    #[inline]
    pub fn find_signal(&self, connection: ConnectionId, flag: u16) -> Option<&Doorbell> {
        let gpa = signal_gpa(connection);
        let known = connection.reserved() == 0;
        known.then(|| self.find(Write { gpa, bytes: SIGNAL_BYTES, value: flag.into() })).flatten()
    }

    /// OBJECT_IN_USE: that very trigger is there already, under another id.
    pub(crate) fn connect(
        &mut self,
        id: ConnectionId,
        info: &ConnectionInfo,
        target: Target,
    ) -> Result<(), HvStatus> {
        let trigger = Trigger::decode(info)?;
        if self.doorbells.iter::<Doorbell>().any(|doorbell| doorbell.id == id) {
            return Err(HvStatus::INVALID_CONNECTION_ID);
        }
        self.doorbells.insert(Doorbell { id, target, trigger }, HvStatus::OBJECT_IN_USE)
    }

    pub(crate) fn disconnect(&mut self, id: ConnectionId) -> Result<(), HvStatus> {
        let gone = self.doorbells.retain(|doorbell: &mut Doorbell| doorbell.id != id);
        if gone == 0 { Err(HvStatus::INVALID_CONNECTION_ID) } else { Ok(()) }
    }

    pub(crate) fn sever(&mut self, partition: PartitionId, port: PortId) {
        self.doorbells.retain(|doorbell: &mut Doorbell| {
            (doorbell.target.partition, doorbell.target.port) != (partition, port)
        });
    }

    pub(crate) fn clear(&mut self) {
        self.doorbells.retain(|_: &mut Doorbell| false);
    }
}
