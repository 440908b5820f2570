//! A controller: its LUNs, and its channels' threads.

mod counts;
mod device;

pub(crate) use counts::Counters;
pub use counts::Counts;

use crate::block::Disk;
use crate::lun::{Kind, Lun};
use crate::protocol::Limits;
use crate::scsi::Sense;
use crate::trace::{Recorder, Stations};
use device::ControllerDevice;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use vmbus::bus::Device;
use vmbus::quiet::Quiet;
use vmbus::server::OfferParams;
use vmbusdef::Guid;
use vmbusdef::guid::class;
use vmm_sys_util::eventfd::EventFd;

/// What sort of controller a guest finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// LUNs 0 to 254 of target 0.
    Scsi,
    /// One disk, whatever its address.
    Ide,
}

/// How a controller is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// What the guest finds.
    pub class: Class,
    /// What it may ask for.
    pub limits: Limits,
    /// Commands under way in one channel; more wait in the ring.
    pub depth: u32,
    /// What a store without space means.
    pub no_space: NoSpace,
}

/// What becomes of a command that finds no space left in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSpace {
    /// It fails, and the guest hears why.
    Fail,
    /// It waits until somebody has made space and calls [`Controller::resume`].
    Wait,
}

impl Config {
    /// For a guest of `vps` VPs.
    pub fn new(class: Class, vps: u32) -> Self {
        let subchannels_max = u16::try_from(vps.saturating_sub(1)).unwrap_or(u16::MAX).min(63);
        let limits = Limits { transfer_max: 1 << 20, subchannels_max };
        Self { class, limits, depth: 256, no_space: NoSpace::Fail }
    }
}

/// Why a LUN cannot be attached, detached or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LunError {
    /// Not an address of this controller.
    #[error("this controller has no LUN {0}")]
    NoSuchAddress(u8),
    /// Something is there.
    #[error("LUN {0} is taken")]
    Taken(u8),
    /// Nothing is there.
    #[error("nothing is attached as LUN {0}")]
    Absent(u8),
    /// It is a disk.
    #[error("LUN {0} has no removable medium")]
    NotRemovable(u8),
    /// The guest has locked the drive.
    #[error("the guest holds the medium of LUN {0}")]
    Locked(u8),
}

/// Highest LUN that a guest looks for.
const LUN_MAX: u8 = 254;

/// Most bytes of one command.
const TRANSFER_MAX: u32 = 2 << 20;

/// Between two looks at whether a guest is silent.
const POLL: Duration = Duration::from_millis(10);

/// LUNs by number.
pub(crate) type Luns = BTreeMap<u8, Lun>;

/// What a controller tells its guest unasked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// Look for new LUNs.
    Added,
    /// Look for LUNs that are gone.
    Removed,
}

/// A controller. The guest reaches it through the [`Device`] that [`Self::device`] makes.
pub struct Controller {
    pub(crate) config: Config,
    luns: Mutex<Luns>,
    /// Changes with `luns`.
    generation: AtomicU64,
    /// Of every channel's thread, by sub-channel.
    wakers: Mutex<BTreeMap<u16, Link>>,
    /// Of channels that have been closed.
    past: Mutex<Counts>,
    pub(crate) recorder: Recorder,
    pub(crate) quiet: Quiet,
}

/// What the controller keeps of a channel's thread.
struct Link {
    waker: EventFd,
    /// Of the LUNs that the thread uses.
    seen: Arc<AtomicU64>,
    counters: Arc<Counters>,
    /// For the primary channel: what is to be told.
    notices: Vec<Notice>,
}

impl Controller {
    /// Without LUNs.
    pub fn new(config: Config) -> Arc<Self> {
        let mut config = config;
        // More would be more runs of memory than a system call takes.
        config.limits.transfer_max = config.limits.transfer_max.min(TRANSFER_MAX);
        let (luns, wakers, past) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (recorder, quiet) = (Recorder::default(), Quiet::default());
        Arc::new(Self {
            config,
            luns,
            generation: AtomicU64::new(1),
            wakers,
            past,
            recorder,
            quiet,
        })
    }

    /// What the guest is offered. `instance` is the same at every start of the VM; of an IDE controller, bytes 4 and 5
    /// are the target's number.
    pub fn offer(&self, instance: Guid) -> OfferParams {
        let class = match self.config.class {
            Class::Scsi => class::SCSI,
            Class::Ide => class::IDE,
        };
        OfferParams::new(class, instance)
    }

    /// The device to give to the bus.
    pub fn device(self: &Arc<Self>) -> Box<dyn Device> {
        Box::new(ControllerDevice::new(Arc::clone(self)))
    }

    /// Adds a disk or drive. A running guest looks for it.
    pub fn attach(&self, number: u8, lun: Lun) -> Result<(), LunError> {
        let is_address = match self.config.class {
            Class::Scsi => number <= LUN_MAX,
            Class::Ide => number == 0,
        };
        if !is_address {
            return Err(LunError::NoSuchAddress(number));
        }
        let mut luns = lock(&self.luns);
        if luns.contains_key(&number) {
            return Err(LunError::Taken(number));
        }
        luns.insert(number, lun);
        drop(luns);
        self.changed(Some(Notice::Added));
        Ok(())
    }

    /// Takes a disk or drive away. When this returns, nothing uses it.
    pub fn detach(&self, number: u8) -> Result<(), LunError> {
        lock(&self.luns).remove(&number).ok_or(LunError::Absent(number))?;
        let generation = self.changed(Some(Notice::Removed));
        self.wait_for(generation);
        Ok(())
    }

    /// Prepares for going away: takes all LUNs, tells the guest, and returns when it has sent no command for `silence`,
    /// or after `limit`.
    ///
    /// Linux waits forever for the answer to a command whose channel goes (`storvsc_eh_timed_out`), so that a controller
    /// should go when nothing is under way. Nothing that the guest sends says when it has let go of a LUN.
    pub fn retire(&self, silence: Duration, limit: Duration) {
        lock(&self.luns).clear();
        let generation = self.changed(Some(Notice::Removed));
        self.wait_for(generation);
        let end = Instant::now() + limit;
        let (mut commands, mut since) = (self.counts().commands, Instant::now());
        while since.elapsed() < silence && Instant::now() < end && !lock(&self.wakers).is_empty() {
            std::thread::sleep(POLL);
            let now = self.counts().commands;
            if now != commands {
                (commands, since) = (now, Instant::now());
            }
        }
    }

    /// Puts a medium into a drive, or takes it out. The old one is no longer used when this returns.
    ///
    /// # Errors
    ///
    /// As long as the guest has locked the drive, unless by `force`.
    pub fn change_medium(
        &self,
        number: u8,
        medium: Option<Arc<dyn Disk>>,
        force: bool,
    ) -> Result<(), LunError> {
        let mut luns = lock(&self.luns);
        let lun = luns.get_mut(&number).ok_or(LunError::Absent(number))?;
        if lun.kind != Kind::Dvd {
            return Err(LunError::NotRemovable(number));
        }
        if lun.state.is_locked.load(Ordering::Relaxed) && lun.medium.is_some() && !force {
            return Err(LunError::Locked(number));
        }
        lun.replace_medium(medium);
        drop(luns);
        let generation = self.changed(None);
        self.wait_for(generation);
        Ok(())
    }

    /// Whether something is in a drive, which the guest can eject. Disks have their medium always.
    pub fn has_medium(&self, number: u8) -> Result<bool, LunError> {
        let luns = lock(&self.luns);
        luns.get(&number).map(|lun| lun.medium.is_some()).ok_or(LunError::Absent(number))
    }

    /// The guest opens the drive: the medium is out. `false` if it cannot.
    pub(crate) fn eject(&self, number: u8) -> bool {
        let mut luns = lock(&self.luns);
        let Some(lun) = luns.get_mut(&number).filter(|lun| lun.kind == Kind::Dvd) else {
            return false;
        };
        if lun.state.is_locked.load(Ordering::Relaxed) {
            return false;
        }
        lun.replace_medium(None);
        drop(luns);
        self.changed(None);
        true
    }

    /// Tells the guest that a disk has another size, as its [`Disk::info`] says.
    pub fn resized(&self, number: u8) -> Result<(), LunError> {
        let luns = lock(&self.luns);
        let lun = luns.get(&number).ok_or(LunError::Absent(number))?;
        lun.state.raise(Sense::CAPACITY_CHANGED);
        drop(luns);
        self.changed(None);
        Ok(())
    }

    /// A driver begins: what an earlier one had locked is free.
    fn begin_anew(&self) {
        for lun in lock(&self.luns).values() {
            lun.state.is_locked.store(false, Ordering::Relaxed);
        }
    }

    /// There is space again: commands that waited for it are tried once more.
    pub fn resume(&self) {
        self.changed(None);
    }

    /// From now on commands are recorded, or no longer.
    pub fn trace(&self, on: bool) {
        self.recorder.switch(on);
    }

    /// What was recorded since the last call, the newest few thousand commands of it.
    pub fn take_trace(&self) -> Vec<Stations> {
        self.recorder.take()
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        let wakers = lock(&self.wakers);
        let mut sum = *lock(&self.past);
        wakers.values().for_each(|link| link.counters.add_to(&mut sum));
        sum
    }

    /// A channel is closed.
    fn forget(&self, subchannel: u16) {
        let mut wakers = lock(&self.wakers);
        if let Some(link) = wakers.remove(&subchannel) {
            link.counters.add_to(&mut lock(&self.past));
        }
    }

    /// The LUNs, and of when they are; `None` if `seen` is up to date.
    pub(crate) fn luns_after(&self, seen: u64) -> Option<(u64, Luns)> {
        if self.generation.load(Ordering::Acquire) == seen {
            return None;
        }
        let luns = lock(&self.luns);
        Some((self.generation.load(Ordering::Acquire), luns.clone()))
    }

    /// What the guest is to be told by the thread of `subchannel`.
    pub(crate) fn take_notices(&self, subchannel: u16) -> Vec<Notice> {
        let mut wakers = lock(&self.wakers);
        wakers
            .get_mut(&subchannel)
            .map(|link| std::mem::take(&mut link.notices))
            .unwrap_or_default()
    }

    /// Makes every channel's thread look at the LUNs again.
    fn changed(&self, notice: Option<Notice>) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let mut wakers = lock(&self.wakers);
        if let (Some(notice), Some(primary)) = (notice, wakers.get_mut(&0)) {
            primary.notices.push(notice);
        }
        for link in wakers.values() {
            wake(&link.waker);
        }
        generation
    }

    /// Returns when every channel's thread uses the LUNs of `generation`.
    fn wait_for(&self, generation: u64) {
        let is_behind = |link: &Link| link.seen.load(Ordering::Acquire) < generation;
        while lock(&self.wakers).values().any(is_behind) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Writes to a thread's doorbell.
pub(crate) fn wake(waker: &EventFd) {
    if let Err(error) = waker.write(1) {
        tracing::warn!(%error, "cannot wake a thread");
    }
}

/// What a thread that panicked left is no worse than what it found.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
