//! The thread of one channel: packets in, I/O to the disks, completions out.
//!
//! ```text
//!   ring ──receive──> slot ──┬─ set-up ────────────────┐
//!                            └─ command ──┬─ at once ──┤
//!                                         └─ queue ────┴──> answer ──send──> ring
//! ```
//!
//! A packet has a slot from being received to being answered; when slots run out, packets wait in the ring. Slots, their
//! buffers and the queues of answers are made once. A turn takes what is there in a batch: packets, then one start of all
//! I/O, then whatever is complete, then one signal at most.

mod answer;
mod attached;
mod execute;
mod slots;
mod waiting;

use crate::block::Request;
use crate::controller::{Controller, Counters, Notice};
use crate::protocol::{Effect, Protocol};
use crate::scsi::Reply;
use crate::trace::{self, Stations};
use attached::Attached;
use slots::{Slot, Slots};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vmbus::bus::{OpenedChannel, Subchannels};
use vmbus::channel::Channel;
use vmbus::ring::{Packet, RingError};
use vmbusdef::packet::PacketType;
use vmbusdef::storage::{Operation, Status, VstorPacket};
use vmm_sys_util::eventfd::EventFd;
use zerocopy::{FromBytes, FromZeros, transmute};

/// How a channel's thread is told to end.
pub(crate) struct Stop {
    flag: Arc<AtomicBool>,
    waker: EventFd,
}

impl Stop {
    pub(crate) fn new(waker: EventFd) -> Self {
        Self { flag: Arc::default(), waker }
    }

    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    pub(crate) fn now(&self) {
        self.flag.store(true, Ordering::Release);
        crate::controller::wake(&self.waker);
    }
}

/// What others look at while a channel's thread runs.
#[derive(Default)]
pub(crate) struct Watched {
    /// The thread is to end.
    pub(crate) stop: Arc<AtomicBool>,
    /// Of which LUNs the thread uses.
    pub(crate) seen: Arc<AtomicU64>,
    pub(crate) counters: Arc<Counters>,
}

/// A packet that waits for room in the ring.
#[derive(Clone, Copy)]
enum Answer {
    /// To what is in a slot, which is free after this.
    Slot(u32),
    /// To nothing: news.
    Notice(Operation),
}

pub(crate) struct Worker {
    controller: Arc<Controller>,
    channel: Channel,
    subchannel: u16,
    subchannels: Subchannels,
    watched: Watched,
    protocol: Protocol,
    slots: Slots,
    attached: Attached,
    answers: VecDeque<Answer>,
    /// Recorded commands whose answers are in the ring and not yet shown.
    recorded: Vec<Stations>,
    /// Requests that wait for space, with their LUNs.
    waiting: Vec<(u8, Box<Request>)>,
    /// A reset that waits for all commands to end.
    reset: Option<u32>,
    reply: Reply,
    /// What came with a command, if it is not blocks.
    parameters: Vec<u8>,
}

impl Worker {
    pub(crate) fn new(
        controller: Arc<Controller>,
        opened: OpenedChannel,
        watched: Watched,
    ) -> Self {
        let config = controller.config;
        Self {
            protocol: Protocol::new(config.limits, opened.subchannel == 0),
            slots: Slots::new(&opened.memory, config.depth),
            attached: Attached::new(&opened.memory, config.depth),
            answers: VecDeque::with_capacity(config.depth as usize + 1),
            controller,
            channel: opened.channel,
            subchannel: opened.subchannel,
            subchannels: opened.subchannels,
            watched,
            recorded: Vec::new(),
            waiting: Vec::new(),
            reset: None,
            reply: Reply::default(),
            parameters: Vec::new(),
        }
    }

    pub(crate) fn run(mut self) {
        if let Err(error) = self.serve() {
            // Nothing in the ring can be believed any more. The guest may close the channel and open it anew.
            if let Some(unsaid) = self.controller.quiet.ask() {
                let subchannel = self.subchannel;
                tracing::warn!(subchannel, %error, unsaid, "a ring is unusable: the channel stops");
            }
            while !self.is_stopped() {
                self.look_for_luns();
                self.sleep();
            }
        }
        // What is under way ends before the guest gets its pages back: dropping the queues waits for it.
    }

    fn serve(&mut self) -> Result<(), RingError> {
        while !self.is_stopped() {
            self.channel.disarm();
            // With nothing under way only the guest can have more, and arming looks at its ring once more anyway.
            while !self.is_stopped() && self.turn()? && self.slots.taken() > 0 {}
            if !self.channel.arm()? || self.is_held_up() {
                self.sleep();
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.watched.stop.load(Ordering::Acquire)
    }

    /// Whether there is no point in looking into the ring before something else happens.
    fn is_held_up(&self) -> bool {
        !self.has_room() || self.reset.is_some()
    }

    /// Whether one more packet can be taken. Those whose answers the guest does not read count too.
    fn has_room(&self) -> bool {
        !self.slots.is_full()
    }

    /// Until the guest, a disk or the controller wants something.
    fn sleep(&self) {
        if let Err(error) = self.channel.doorbell().read() {
            tracing::warn!(%error, "cannot wait for the doorbell");
        }
        Counters::add(&self.watched.counters.wake_ups, 1);
    }

    /// One round of everything; whether there was anything to do.
    pub(crate) fn turn(&mut self) -> Result<bool, RingError> {
        self.look_for_luns();
        let mut progress = self.receive()?;
        self.attached.kick();
        progress |= self.reap();
        progress |= self.finish_reset();
        progress |= self.answer()?;
        if self.channel.flush() {
            Counters::add(&self.watched.counters.signals, 1);
        }
        self.record();
        Ok(progress)
    }

    /// Takes over what the controller changed.
    fn look_for_luns(&mut self) {
        let Some((generation, luns)) = self.controller.luns_after(self.attached.generation) else {
            return;
        };
        self.attached.update(generation, luns, self.channel.doorbell());
        // Requests on disks that are gone came back with their queues.
        while let Some((number, completed)) = self.attached.left_over() {
            self.complete(number, completed);
        }
        self.try_again();
        self.watched.seen.store(generation, Ordering::Release);
        for notice in self.controller.take_notices(self.subchannel) {
            self.notify(notice);
        }
    }

    fn notify(&mut self, notice: Notice) {
        if !self.protocol.is_ready() {
            return;
        }
        self.answers.push_back(Answer::Notice(match notice {
            Notice::Added => Operation::ENUMERATE_BUS,
            Notice::Removed => Operation::REMOVE_DEVICE,
        }));
    }

    /// Takes packets as long as there are slots.
    fn receive(&mut self) -> Result<bool, RingError> {
        let mut progress = false;
        while !self.is_held_up() && self.receive_one()? {
            progress = true;
        }
        Ok(progress)
    }

    fn receive_one(&mut self) -> Result<bool, RingError> {
        let Some(index) = self.slots.free() else { return Ok(false) };
        let Some(received) = self.channel.receive()? else { return Ok(false) };
        if received.packet_type() == PacketType::COMPLETION {
            // Nothing we send wants one.
            return Ok(true);
        }
        let Some(slot) = self.slots.get_mut(index) else { return Ok(false) };
        slot.transaction_id = received.transaction_id();
        slot.wants_answer = received.wants_completion();
        let parsed = VstorPacket::read_from_prefix(received.payload());
        let has_memory = received.gather(slot.buffer_mut()).is_ok();
        let operation = parsed.map(|(packet, _)| {
            slot.packet = packet;
            packet.operation
        });
        self.slots.take(index);
        match operation {
            Ok(operation) => self.dispatch(index, operation, has_memory),
            Err(_) => self.refuse(index, Status::INVALID_PARAMETER),
        }
        Ok(true)
    }

    fn dispatch(&mut self, index: u32, operation: Operation, has_memory: bool) {
        match operation {
            Operation::EXECUTE_SRB if self.protocol.is_ready() => self.execute(index, has_memory),
            Operation::EXECUTE_SRB => self.refuse(index, Status::INVALID_DEVICE_STATE),
            Operation::RESET_LUN | Operation::RESET_ADAPTER | Operation::RESET_BUS => {
                self.reset = Some(index);
                self.stop_waiting();
            }
            _ => self.set_up(index),
        }
    }

    fn set_up(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let effect = self.protocol.answer(&mut slot.packet);
        self.finish(index);
        if let Effect::Subchannels(count) = effect {
            self.subchannels.offer(count);
        }
    }

    /// Answers a packet that is no command, with a refusal.
    fn refuse(&mut self, index: u32, status: Status) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.packet.operation = Operation::COMPLETE_IO;
        slot.packet.status = status;
        self.finish(index);
    }

    /// A reset is done when every command before it is; then packets behind it are looked at. Whether one was.
    fn finish_reset(&mut self) -> bool {
        let Some(index) = self.reset.filter(|_| self.slots.taken() == 1) else { return false };
        self.reset = None;
        self.refuse(index, Status::SUCCESS);
        true
    }

    /// Sends the answer in a slot, if one is wanted, or queues it until there is room.
    fn finish(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let is_done = if slot.wants_answer {
            // A ring that is unusable says so again when it is the answer's turn.
            self.answers.is_empty()
                && send(&mut self.channel, slot, &mut self.recorded).unwrap_or(false)
        } else {
            slot.stations = None;
            true
        };
        if is_done {
            self.slots.put_back(index);
        } else {
            self.answers.push_back(Answer::Slot(index));
        }
    }

    /// Keeps what is known of commands that have been answered.
    fn record(&mut self) {
        if self.recorded.is_empty() {
            return;
        }
        let answered = trace::now();
        let all = self.recorded.drain(..);
        self.controller.recorder.record(all.map(|stations| Stations { answered, ..stations }));
    }

    /// Sends as many of the answers that wait as there is room for.
    fn answer(&mut self) -> Result<bool, RingError> {
        let mut progress = false;
        while let Some(answer) = self.answers.front() {
            let sent = match *answer {
                Answer::Slot(index) => self.send_late(index)?,
                Answer::Notice(operation) => self.send_notice(operation)?,
            };
            if !sent {
                return Ok(progress);
            }
            self.answers.pop_front();
            progress = true;
        }
        self.channel.stop_waiting();
        Ok(progress)
    }

    fn send_late(&mut self, index: u32) -> Result<bool, RingError> {
        let Some(slot) = self.slots.get_mut(index) else { return Ok(true) };
        let is_sent = send(&mut self.channel, slot, &mut self.recorded)?;
        if is_sent {
            self.slots.put_back(index);
        }
        Ok(is_sent)
    }

    fn send_notice(&mut self, operation: Operation) -> Result<bool, RingError> {
        let packet = VstorPacket { operation, ..VstorPacket::new_zeroed() };
        let payload: [u64; 8] = transmute!(packet);
        self.channel.send(&Packet::in_band(0, &payload))
    }
}

/// Sends the answer in a slot; whether there was room.
fn send(
    channel: &mut Channel,
    slot: &mut Slot,
    recorded: &mut Vec<Stations>,
) -> Result<bool, RingError> {
    let payload: [u64; 8] = transmute!(slot.packet);
    let is_sent = channel.send(&Packet::completion(slot.transaction_id, &payload))?;
    if is_sent && let Some(stations) = slot.stations.take() {
        recorded.push(*stations);
    }
    Ok(is_sent)
}
