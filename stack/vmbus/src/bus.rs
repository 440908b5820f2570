//! The server at work: a thread that owns the state machine and the devices.
//!
//! ```text
//!  VP's thread ── post_message ──┐                     ┌─> Transport::post_message ──> guest
//!  VMM ── add/remove, reset ─────┤─> commands ─> thread┤
//!  device ── more channels ──────┘      (Server)       └─> Device::open, close
//!
//!  VP's thread ── signal_event ───────> doorbell of the channel ──> device's own thread
//! ```
//!
//! Everything that has an order goes through the one queue. A guest that posts faster than it reads the answers is told
//! to come again later.

#[cfg(test)]
mod tests;
mod thread;

use crate::channel::Channel;
use crate::memory::{GuestMemory, GuestPages};
use crate::server::{AddDeviceError, Config, DeviceId, Gpadl, OfferParams};
use crate::transport::Transport;
use hvdef::HvStatus;
use hvdef::message::{MessageType, PAYLOAD_MAX};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use thread::{Command, Thread};
use vmbusdef::offer::USER_DATA_SIZE;
use vmbusdef::{MESSAGE_CONNECTION_ID, MESSAGE_CONNECTION_ID_V5};
use vmm_sys_util::eventfd::EventFd;

/// Messages of the guest's, or for it, that may wait.
const BACKLOG_MAX: usize = 256;

/// A device behind VMBus, of the kind that serves a guest's driver.
///
/// Its methods are called by the bus's thread. They may take their time, but the guest's other messages wait; and they
/// must not wait for the bus.
pub trait Device: Send {
    /// Bytes of the largest packet it takes.
    fn packet_max(&self) -> usize {
        16 << 10
    }

    /// The guest has opened a channel: the device begins to serve it.
    fn open(&mut self, channel: OpenedChannel) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Returns when nothing touches the rings or the GPADLs of the channel any more, and no I/O on the guest's memory is
    /// under way. Index 0 is the primary channel.
    fn close(&mut self, subchannel: u16);

    /// Returns when the pages of a GPADL are no longer touched.
    fn release_gpadl(&mut self, subchannel: u16, gpadl: u32) {
        let _ = (subchannel, gpadl);
    }
}

/// A channel that was just opened, with all that a device needs for serving it.
pub struct OpenedChannel {
    /// 0 for the primary channel.
    pub subchannel: u16,
    /// Rings and interrupt.
    pub channel: Channel,
    /// The guest's RAM.
    pub memory: GuestMemory,
    /// From the guest's driver.
    pub user_data: [u8; USER_DATA_SIZE],
    /// For more channels.
    pub subchannels: Subchannels,
    /// Pages that the guest shares beyond the rings.
    pub gpadls: SharedGpadls,
}

#[cfg(any(test, feature = "testing"))]
impl OpenedChannel {
    /// Of no bus: nobody hears of wishes for sub-channels.
    pub(crate) fn unattached(channel: Channel, memory: GuestMemory) -> Self {
        let commands = std::sync::mpsc::channel().0;
        let subchannels = Subchannels { commands, device: DeviceId(0) };
        let gpadls = SharedGpadls { all: Arc::default(), memory: memory.clone() };
        Self { subchannel: 0, channel, memory, user_data: [0; USER_DATA_SIZE], subchannels, gpadls }
    }
}

/// The GPADLs of one channel.
#[derive(Clone)]
pub struct SharedGpadls {
    all: Arc<Mutex<BTreeMap<u32, Arc<Gpadl>>>>,
    memory: GuestMemory,
}

impl SharedGpadls {
    /// Ranges of a list that the guest has made for this channel and not taken back.
    pub fn get(&self, gpadl: u32) -> Option<Arc<Gpadl>> {
        lock(&self.all).get(&gpadl).cloned()
    }

    /// Its pages, if they are whole.
    pub fn pages(&self, gpadl: u32) -> Option<GuestPages> {
        self.memory.pages(self.get(gpadl)?.whole_pages()?).ok()
    }
}

/// How a device asks for sub-channels.
#[derive(Clone)]
pub struct Subchannels {
    commands: Sender<Command>,
    device: DeviceId,
}

impl Subchannels {
    /// Offers `count` more to the guest, as far as the limits go. They are opened later, one by one.
    pub fn offer(&self, count: u16) {
        // The bus may be gone, and the guest with it.
        let _ = self.commands.send(Command::Subchannels { device: self.device, count });
    }
}

/// What is shared with the VPs' threads.
struct Shared {
    /// Doorbells of open channels by connection.
    doorbells: Mutex<BTreeMap<u32, EventFd>>,
    /// Messages of the guest's that wait for the thread.
    received: AtomicUsize,
    /// Messages for the guest that wait for their slot.
    unsent: AtomicUsize,
}

/// The VMBus of one guest. Dropping it closes everything.
pub struct Bus {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Bus {
    /// A bus without devices.
    pub fn start(
        config: Config,
        transport: Arc<dyn Transport>,
        memory: GuestMemory,
    ) -> io::Result<Self> {
        let (commands, queue) = channel();
        let shared = Arc::new(Shared {
            doorbells: Mutex::default(),
            received: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
        });
        let server = Thread::new(config, transport, memory, Arc::clone(&shared), commands.clone());
        let thread =
            std::thread::Builder::new().name("vmbus".into()).spawn(|| server.run(queue))?;
        Ok(Self { commands, shared, thread: Some(thread) })
    }

    /// The guest's POST_MESSAGE: what it is answered.
    pub fn post_message(
        &self,
        connection_id: u32,
        message_type: MessageType,
        payload: &[u8],
    ) -> HvStatus {
        if !matches!(connection_id, MESSAGE_CONNECTION_ID | MESSAGE_CONNECTION_ID_V5) {
            return HvStatus::INVALID_CONNECTION_ID;
        }
        if payload.len() > PAYLOAD_MAX || message_type.is_hypervisor() {
            return HvStatus::INVALID_PARAMETER;
        }
        let waiting = self.shared.received.fetch_add(1, Ordering::Relaxed);
        if waiting.max(self.shared.unsent.load(Ordering::Relaxed)) >= BACKLOG_MAX {
            self.shared.received.fetch_sub(1, Ordering::Relaxed);
            return HvStatus::INSUFFICIENT_BUFFERS;
        }
        let _ = self.commands.send(Command::Received(payload.into()));
        HvStatus::SUCCESS
    }

    /// The guest's SIGNAL_EVENT, where no doorbell took it: what it is answered.
    pub fn signal_event(&self, connection_id: u32, flag: u16) -> HvStatus {
        if flag != 0 {
            return HvStatus::INVALID_PARAMETER;
        }
        match lock(&self.shared.doorbells).get(&connection_id) {
            Some(doorbell) => {
                if let Err(error) = doorbell.write(1) {
                    tracing::warn!(connection_id, %error, "cannot ring a doorbell");
                }
                HvStatus::SUCCESS
            }
            None => HvStatus::INVALID_CONNECTION_ID,
        }
    }

    /// A message slot is free again.
    pub fn deliverable(&self) {
        let _ = self.commands.send(Command::Deliverable);
    }

    /// A new device, offered to the guest as soon as it listens.
    pub fn add_device(
        &self,
        params: OfferParams,
        device: Box<dyn Device>,
    ) -> Result<DeviceId, AddDeviceError> {
        let (answer, answered) = channel();
        let _ = self.commands.send(Command::Add { params, device, answer });
        answered.recv().unwrap_or(Err(AddDeviceError::TooMany))
    }

    /// Takes a device away. It is closed and dropped when this returns; the guest learns of it in its own time.
    pub fn remove_device(&self, id: DeviceId) {
        let (answer, answered) = channel();
        let _ = self.commands.send(Command::Remove { id, answer });
        // An error is an answer too: the device was dropped.
        let _ = answered.recv();
    }

    /// The VM starts anew: when this returns all channels are closed, and a new kernel may make contact.
    pub fn reset(&self) {
        let (answer, answered) = channel();
        let _ = self.commands.send(Command::Reset { answer });
        let _ = answered.recv();
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a thread that panicked left is no worse than what it found.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
