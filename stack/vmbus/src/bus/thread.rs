//! The thread behind [`Bus`](super::Bus).

use super::{Device, OpenedChannel, Shared, SharedGpadls, Subchannels, lock};
use crate::channel::{Channel, Interrupt};
use crate::memory::GuestMemory;
use crate::quiet::Quiet;
use crate::ring::{Incoming, Outgoing};
use crate::server::{
    Action, AddDeviceError, ChannelMessage, Config, DeviceId, Gpadl, OfferParams, OpenRequest,
    Server, connection_id,
};
use crate::transport::{PostError, Transport};
use hvdef::VpIndex;
use hvdef::message::{Message, MessageType};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use vmbusdef::SINT;
use vmm_sys_util::eventfd::EventFd;

/// What others ask of the thread.
pub(super) enum Command {
    Received(Box<[u8]>),
    Deliverable,
    Subchannels {
        device: DeviceId,
        count: u16,
    },
    Add {
        params: OfferParams,
        device: Box<dyn Device>,
        answer: Sender<Result<DeviceId, AddDeviceError>>,
    },
    Remove {
        id: DeviceId,
        answer: Sender<()>,
    },
    Reset {
        answer: Sender<()>,
    },
    Stop,
}

/// An open channel.
struct OpenChannel {
    interrupt: Arc<Interrupt>,
    doorbell: EventFd,
    subchannel: u16,
}

type GpadlMap = Arc<Mutex<BTreeMap<u32, Arc<Gpadl>>>>;

pub(super) struct Thread {
    server: Server,
    transport: Arc<dyn Transport>,
    memory: GuestMemory,
    shared: Arc<Shared>,
    /// For the devices.
    commands: Sender<Command>,
    devices: BTreeMap<DeviceId, Box<dyn Device>>,
    open: BTreeMap<u32, OpenChannel>,
    gpadls: BTreeMap<u32, GpadlMap>,
    unsent: VecDeque<(VpIndex, Message)>,
    /// Who waits for a device to be gone.
    removals: BTreeMap<DeviceId, Sender<()>>,
    quiet: Quiet,
}

impl Thread {
    pub(super) fn new(
        config: Config,
        transport: Arc<dyn Transport>,
        memory: GuestMemory,
        shared: Arc<Shared>,
        commands: Sender<Command>,
    ) -> Self {
        let ram = memory.clone();
        Self {
            server: Server::new(config, move |gpn| ram.is_page(gpn)),
            transport,
            memory,
            shared,
            commands,
            devices: BTreeMap::new(),
            open: BTreeMap::new(),
            gpadls: BTreeMap::new(),
            unsent: VecDeque::new(),
            removals: BTreeMap::new(),
            quiet: Quiet::default(),
        }
    }

    pub(super) fn run(mut self, queue: Receiver<Command>) {
        while let Ok(command) = queue.recv() {
            if matches!(command, Command::Stop) {
                break;
            }
            self.obey(command);
            self.send();
        }
        self.reset();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Received(message) => {
                self.shared.received.fetch_sub(1, Ordering::Relaxed);
                self.server.handle(&message);
            }
            Command::Deliverable | Command::Stop => {}
            Command::Subchannels { device, count } => {
                self.server.offer_subchannels(device, count);
            }
            Command::Add { params, device, answer } => {
                let added = self.server.add_device(params);
                if let Ok(id) = added {
                    self.devices.insert(id, device);
                }
                let _ = answer.send(added);
            }
            Command::Remove { id, answer } => {
                if self.devices.contains_key(&id) {
                    self.removals.insert(id, answer);
                    self.server.remove_device(id);
                }
            }
            Command::Reset { answer } => {
                self.reset();
                let _ = answer.send(());
            }
        }
        self.act();
    }

    fn reset(&mut self) {
        self.server.reset();
        self.act();
        self.unsent.clear();
        self.shared.unsent.store(0, Ordering::Relaxed);
    }

    fn act(&mut self) {
        while let Some(action) = self.server.action() {
            match action {
                Action::Post { vp, message } => self.queue(vp, &message),
                Action::Open(request) => {
                    let relid = request.relid;
                    let opened = self.open(request);
                    if let Err(error) = &opened
                        && let Some(unsaid) = self.quiet.ask()
                    {
                        tracing::warn!(relid, error, unsaid, "a channel cannot be opened");
                    }
                    self.server.opened(relid, opened.is_ok());
                }
                Action::Close { device, subchannel, relid } => {
                    self.close(device, subchannel, relid);
                    self.server.closed(relid);
                }
                Action::Target { relid, vp } => {
                    if let Some(open) = self.open.get(&relid) {
                        open.interrupt.set_target(vp);
                    }
                }
                Action::GpadlCreated { relid, gpadl, pages } => {
                    lock(self.gpadls.entry(relid).or_default()).insert(gpadl, pages);
                }
                Action::ReleaseGpadl { device, relid, gpadl } => {
                    self.release_gpadl(device, relid, gpadl);
                }
                Action::Connect(request) => self.server.refuse_connect(&request),
                Action::Removed(id) => {
                    self.devices.remove(&id);
                    self.removals.remove(&id).map(|answer| answer.send(()));
                }
                Action::Disconnected => self.forget_guest(),
            }
        }
    }

    /// A kernel is gone. What waits for a slot of its VPs would keep the next kernel's messages waiting for ever.
    fn forget_guest(&mut self) {
        self.gpadls.clear();
        self.unsent.clear();
    }

    fn open(&mut self, request: OpenRequest) -> Result<(), Box<dyn Error + Send + Sync>> {
        let OpenRequest { device: id, subchannel, relid, .. } = request;
        let device = self.devices.get_mut(&id).ok_or("no such device")?;
        let incoming = Incoming::new(&self.memory, &request.incoming, device.packet_max())?;
        let outgoing = Outgoing::new(&self.memory, &request.outgoing)?;
        let doorbell = EventFd::new(libc::EFD_CLOEXEC)?;
        let flag = u16::try_from(relid)?;
        let interrupt =
            Arc::new(Interrupt::new(Arc::clone(&self.transport), flag, request.target_vp));
        let channel =
            Channel::new(incoming, outgoing, Arc::clone(&interrupt), doorbell.try_clone()?);
        let gpadls = SharedGpadls {
            all: Arc::clone(self.gpadls.entry(relid).or_default()),
            memory: self.memory.clone(),
        };
        self.transport.bind(connection_id(relid), &doorbell)?;
        let opened = device.open(OpenedChannel {
            subchannel,
            channel,
            memory: self.memory.clone(),
            user_data: request.user_data,
            subchannels: Subchannels { commands: self.commands.clone(), device: id },
            gpadls,
        });
        if opened.is_err() {
            self.transport.unbind(connection_id(relid), &doorbell);
            return opened;
        }
        lock(&self.shared.doorbells).insert(connection_id(relid), doorbell.try_clone()?);
        self.open.insert(relid, OpenChannel { interrupt, doorbell, subchannel });
        Ok(())
    }

    fn close(&mut self, device: DeviceId, subchannel: u16, relid: u32) {
        let Some(open) = self.open.remove(&relid) else { return };
        lock(&self.shared.doorbells).remove(&connection_id(relid));
        self.transport.unbind(connection_id(relid), &open.doorbell);
        if let Some(device) = self.devices.get_mut(&device) {
            device.close(subchannel);
        }
        open.interrupt.set_target(None);
    }

    fn release_gpadl(&mut self, device: DeviceId, relid: u32, gpadl: u32) {
        if let Some(gpadls) = self.gpadls.get(&relid) {
            lock(gpadls).remove(&gpadl);
        }
        if let (Some(device), Some(open)) = (self.devices.get_mut(&device), self.open.get(&relid)) {
            device.release_gpadl(open.subchannel, gpadl);
        }
        self.server.gpadl_released(gpadl);
    }

    fn queue(&mut self, vp: u32, message: &ChannelMessage) {
        if let Some(message) = Message::new(MessageType::VMBUS, 0, message.as_bytes()) {
            self.unsent.push_back((VpIndex(vp), message));
        }
    }

    /// Posts what waits, as far as the guest's slots are free.
    fn send(&mut self) {
        while let Some((vp, message)) = self.unsent.front() {
            match self.transport.post_message(*vp, SINT, message) {
                Err(PostError::Busy) => break,
                Err(PostError::Failed(error)) => {
                    if let Some(unsaid) = self.quiet.ask() {
                        tracing::warn!(?vp, %error, unsaid, "a channel message is lost");
                    }
                }
                Ok(()) => {}
            }
            self.unsent.pop_front();
        }
        self.shared.unsent.store(self.unsent.len(), Ordering::Relaxed);
    }
}
