//! Logical units: disks and drives, as all channels of a controller see them.

use crate::block::{Disk, DiskInfo};
use crate::scsi::Sense;
use crate::scsi::inquiry::Identity;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What kind of device a LUN is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A disk, always with its medium.
    Disk,
    /// A DVD drive.
    Dvd,
}

/// A medium was put in (MMC-6 table 329).
pub(crate) const MEDIUM_ARRIVED: u32 = 2;
/// The medium was taken out.
pub(crate) const MEDIUM_REMOVED: u32 = 3;

/// What lasts while media come and go.
#[derive(Default)]
pub(crate) struct LunState {
    /// Sense data that the next command gets: key, code, qualifier from bit 16 on; 0 for none.
    attention: AtomicU32,
    /// The guest holds the medium.
    pub(crate) is_locked: AtomicBool,
    /// What happened to the medium and the guest has not heard of: 0, [`MEDIUM_ARRIVED`] or [`MEDIUM_REMOVED`].
    pub(crate) media_events: AtomicU32,
}

impl LunState {
    pub(crate) fn raise(&self, sense: Sense) {
        let Sense { key, asc, ascq } = sense;
        self.attention.store(u32::from_be_bytes([0, key, asc, ascq]), Ordering::Release);
    }

    /// The attention, which is gone after this.
    pub(crate) fn take_attention(&self) -> Option<Sense> {
        if self.attention.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let [_, key, asc, ascq] = self.attention.swap(0, Ordering::Acquire).to_be_bytes();
        (key != 0).then_some(Sense { key, asc, ascq })
    }
}

/// A disk or drive to attach to a controller; a snapshot, replaced as a whole when the medium changes.
#[derive(Clone)]
pub struct Lun {
    pub(crate) kind: Kind,
    pub(crate) identity: Identity,
    pub(crate) medium: Option<Arc<dyn Disk>>,
    pub(crate) state: Arc<LunState>,
}

impl Lun {
    /// A disk. `id` is unique, and stays with the disk.
    pub fn disk(disk: Arc<dyn Disk>, id: [u8; 16]) -> Self {
        let (identity, state) = (Identity { id }, Arc::default());
        Self { kind: Kind::Disk, identity, medium: Some(disk), state }
    }

    /// A DVD drive, with a medium in it or not. Media have blocks of 2048 bytes.
    pub fn dvd(medium: Option<Arc<dyn Disk>>, id: [u8; 16]) -> Self {
        let (identity, state) = (Identity { id }, Arc::default());
        Self { kind: Kind::Dvd, identity, medium, state }
    }

    /// Another medium, or none. The guest hears of it with its next command.
    pub(crate) fn replace_medium(&mut self, medium: Option<Arc<dyn Disk>>) {
        let event = if medium.is_some() { MEDIUM_ARRIVED } else { MEDIUM_REMOVED };
        if medium.is_some() {
            self.state.raise(Sense::MEDIUM_CHANGED);
        }
        self.medium = medium;
        self.state.media_events.store(event, Ordering::Relaxed);
    }

    /// Properties of the medium.
    pub(crate) fn info(&self) -> Option<DiskInfo> {
        self.medium.as_ref().map(|disk| disk.info())
    }
}
