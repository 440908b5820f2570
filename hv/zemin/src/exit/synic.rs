//! A VP's synthetic interrupt controller and synthetic timers: MSRs, pages, and the messages that go into them.

use crate::boot::{SharedPages, VpPage};
use crate::clock::ClockCopy;
use crate::exit::msr::Fault;
use crate::lp::Lp;
use crate::mem::{PAGE, phys};
use crate::run;
use crate::time;
use crate::vp::{Request, State, Vp};
use arch_x86::cpu;
use core::cell::Cell;
use core::sync::atomic::Ordering;
use hvdef::HvStatus;
use hvdef::message::{Message, MessageHeader, MessageType};
use hvdef::msr as hv;
use synic::{
    Blocked, Effect, FlagPage, MessageSlot, Page, Signal, Stimers, Synic, TimerAction, post,
    signal_event,
};
use zemindef::counters::Counter;
use zerocopy::IntoBytes;

/// What others may do to a child's SynIC while its VP runs: set event flags and fill message slots. The VP's own LP, which
/// has the registers, keeps this copy of them up to date.
pub struct SynicView {
    registers: Synic,
    messages: u64,
    events: u64,
}

impl SynicView {
    /// All off.
    pub const fn new() -> Self {
        Self { registers: Synic::new(), messages: 0, events: 0 }
    }
}

/// A page of event flags.
struct Flags(u64);

impl FlagPage for Flags {
    fn fetch_or(&self, sint: u8, word: u8, mask: u64) -> u64 {
        let index = usize::from(sint) * SLOT_WORDS + usize::from(word);
        let word = phys::shared_words(self.0).get(index);
        word.map_or(0, |word| word.fetch_or(mask, Ordering::SeqCst))
    }
}

impl Vp {
    /// Sets an event flag of a child and raises the SINT if it was clear. Whether it was.
    ///
    /// INVALID_PARAMETER: no such SINT or flag. INVALID_SYNIC_STATE: the guest takes no events (yet).
    pub fn signal_event(&self, sint: u8, flag: u16) -> Result<bool, HvStatus> {
        let done = {
            let view = self.signals.lock();
            if view.events == 0 {
                return Err(HvStatus::INVALID_SYNIC_STATE);
            }
            signal_event(&view.registers, &Flags(view.events), sint, flag)
        };
        let signal = done.map_err(refusal)?;
        crate::lp::current().count(Counter::SynicEvents);
        self.announce(signal.raise);
        Ok(signal.newly_signaled)
    }

    /// Puts a message into a child's slot and raises the SINT.
    ///
    /// OBJECT_IN_USE: the slot is full; the guest will say when it is not. Others as [`Self::signal_event`].
    pub fn post_message(&self, sint: u8, message: &Message) -> Result<(), HvStatus> {
        let signal = {
            let view = self.signals.lock();
            let signal = view.registers.message_signal(sint).map_err(refusal)?;
            if view.messages == 0 {
                return Err(HvStatus::INVALID_SYNIC_STATE);
            }
            if !post(&Slot { page: view.messages, sint }, message, false) {
                return Err(HvStatus::OBJECT_IN_USE);
            }
            signal
        };
        crate::lp::current().count(Counter::SynicMessages);
        self.announce(Some(signal));
        Ok(())
    }

    fn announce(&self, signal: Option<Signal>) {
        if let Some(Signal::Interrupt { vector, .. }) = signal {
            self.post_interrupt(vector, false);
        }
    }
}

fn refusal(blocked: Blocked) -> HvStatus {
    match blocked {
        Blocked::Invalid => HvStatus::INVALID_PARAMETER,
        _ => HvStatus::INVALID_SYNIC_STATE,
    }
}

/// A VP's SynIC.
pub struct VpSynic {
    registers: Synic,
    timers: Stimers,
    /// System address of the message page.
    messages: u64,
    /// System address of the event flags page.
    events: u64,
    /// SIMP and SIEFP as they were when their pages were placed (children).
    overlays: [u64; 2],
    /// The child's VP this is part of.
    owner: Option<&'static Vp>,
    /// The partition's clock.
    clock: ClockCopy,
    /// [`Self::deadline`] as it was last computed.
    due: Cell<Due>,
}

/// When the next synthetic timer is due, by the clock as it is.
#[derive(Clone, Copy, Default)]
struct Due {
    /// In the partition's time.
    expiry: u64,
    /// The time-stamp counter's value then.
    tsc: u64,
}

impl VpSynic {
    /// The SynIC of the parent's VP `index`, on the pages that the hypervisor provides.
    pub fn new(shared: &SharedPages, index: u32) -> Self {
        let page = |which| shared.vp(index, which);
        let gpn = |which| page(which) / PAGE;
        Self {
            registers: Synic::for_root(
                gpn(VpPage::Messages),
                gpn(VpPage::Events),
                gpn(VpPage::Ring),
            ),
            timers: Stimers::new(true),
            messages: page(VpPage::Messages),
            events: page(VpPage::Events),
            overlays: [0; 2],
            owner: None,
            clock: ClockCopy::new(),
            due: Cell::default(),
        }
    }

    /// Says which child's VP this is part of.
    pub fn attach(&mut self, vp: &'static Vp) {
        self.owner = Some(vp);
    }

    /// The child's VP this is part of.
    pub fn owner(&self) -> Option<&'static Vp> {
        self.owner
    }

    /// Pages that have been filled but not placed.
    pub fn spare_pages(&self) -> [u64; 2] {
        [hv::SIMP, hv::SIEFP].map(|index| match self.overlay(index) {
            (msr, page) if msr & 1 == 0 => page,
            _ => 0,
        })
    }

    /// Gives the page of MSR `index` contents before the guest has placed it.
    pub fn prepare(&mut self, index: u32, page: u64) {
        let (msr, _) = self.overlay(index);
        self.set_overlay(index, msr, page);
    }

    /// Pages of messages and of event flags, 0 for those that are off.
    pub fn pages(&self) -> [u64; 2] {
        [self.messages, self.events]
    }

    /// Time-stamp counter value of the next synthetic timer, `u64::MAX` for none.
    #[inline]
    fn deadline(&self) -> u64 {
        let Some(expiry) = self.timers.next_expiry() else { return u64::MAX };
        let due = self.due.get();
        if expiry == due.expiry {
            return due.tsc;
        }
        let tsc = self.clock.tsc_at(expiry);
        self.due.set(Due { expiry, tsc });
        tsc
    }

    /// State of the synthetic timers, as words.
    pub fn save_timers(&self) -> [u64; synic::STIMER_STATE_WORDS] {
        self.timers.save()
    }

    /// Loads what [`Self::save_timers`] gave, or a VMM made up.
    pub fn restore_timers(&mut self, words: &[u64; synic::STIMER_STATE_WORDS]) {
        let now = self.owner.map_or_else(time::now, |vp| vp.partition.clock.now());
        self.timers.restore(words, now);
    }

    /// Shows others what changed here.
    fn publish(&self) {
        if let Some(vp) = self.owner {
            let mut view = vp.signals.lock();
            view.registers = self.registers.clone();
            (view.messages, view.events) = (self.messages, self.events);
        }
    }

    /// The SynIC of a child's VP: it names its pages itself.
    pub fn for_child() -> Self {
        Self {
            registers: Synic::new(),
            timers: Stimers::new(true),
            messages: 0,
            events: 0,
            overlays: [0; 2],
            owner: None,
            clock: ClockCopy::new(),
            due: Cell::default(),
        }
    }

    /// What the page MSR `index` said when its page was placed, and the page, 0 for none.
    pub fn overlay(&self, index: u32) -> (u64, u64) {
        let events = index == hv::SIEFP;
        (self.overlays[usize::from(events)], if events { self.events } else { self.messages })
    }

    /// The page of MSR `index` was placed at `page`, or taken away (0).
    pub fn set_overlay(&mut self, index: u32, value: u64, page: u64) {
        self.overlays[usize::from(index == hv::SIEFP)] = value;
        if index == hv::SIMP {
            self.messages = page;
        } else {
            self.events = page;
        }
        self.publish();
    }

    /// Whether the interrupt with this vector ends on delivery.
    pub fn is_auto_eoi(&self, vector: u8) -> bool {
        self.registers.is_auto_eoi(vector)
    }
}

/// One slot of a message page that the guest reads and writes at the same time.
struct Slot {
    page: u64,
    sint: u8,
}

/// Words of a slot.
const SLOT_WORDS: usize = hvdef::synic::ROW_SIZE / 8;
/// The pending flag inside a slot's first word: bit 0 of the flags, byte 5.
const PENDING: u64 = 1 << 40;
/// The message type inside a slot's first word.
const TYPE: u64 = 0xFFFF_FFFF;

impl Slot {
    fn words(&self) -> &'static [core::sync::atomic::AtomicU64] {
        let start = usize::from(self.sint) * SLOT_WORDS;
        // Without a page there is no slot.
        let page = if self.page == 0 { &[] } else { &phys::shared_words(self.page)[..] };
        page.get(start..start + SLOT_WORDS).unwrap_or_default()
    }
}

/// Words of a message's header.
const HEADER_WORDS: usize = size_of::<MessageHeader>() / 8;

impl Slot {
    /// Stores the words of a message if the slot is free.
    #[inline]
    fn store(&self, mut message: impl Iterator<Item = u64>, more: bool) -> bool {
        let Some((first, rest)) = self.words().split_first() else { return false };
        if first.load(Ordering::Acquire) & TYPE != 0 {
            return false;
        }
        let header = message.next().unwrap_or(0) | if more { PENDING } else { 0 };
        for (target, word) in rest.iter().zip(message) {
            target.store(word, Ordering::Relaxed);
        }
        // The type is in here: with it the slot is the guest's.
        first.store(header, Ordering::SeqCst);
        true
    }

    fn set_pending(&self) {
        if let Some(first) = self.words().first() {
            first.fetch_or(PENDING, Ordering::SeqCst);
        }
    }
}

impl MessageSlot<Message> for Slot {
    fn try_store(&self, message: &Message, more: bool) -> bool {
        // What is behind the payload stays what it was: an earlier message to the same guest.
        let count = HEADER_WORDS + usize::from(message.header.payload_size).div_ceil(8);
        let words = message.as_bytes().chunks_exact(8).take(count);
        self.store(words.map(|word| word.try_into().map_or(0, u64::from_le_bytes)), more)
    }

    fn set_pending(&self) {
        Slot::set_pending(self);
    }
}

/// A message with 4 bytes of payload: what the parent's driver is told.
pub struct Note {
    kind: MessageType,
    sender: u64,
    payload: u32,
}

impl Note {
    /// The message of this type, from this sender.
    pub fn new(kind: MessageType, sender: u64, payload: u32) -> Self {
        Self { kind, sender, payload }
    }

    /// The payload's size where a message's header has it.
    const SIZE: u64 = 4 << 32;
}

impl MessageSlot<Note> for Slot {
    fn try_store(&self, note: &Note, more: bool) -> bool {
        let header = u64::from(note.kind.0) | Note::SIZE;
        self.store([header, note.sender, note.payload.into()].into_iter(), more)
    }

    fn set_pending(&self) {
        Slot::set_pending(self);
    }
}

impl State {
    /// Reads an MSR of the SynIC or a synthetic timer.
    pub fn read_synic_msr(&mut self, _vp: &Vp, index: u32) -> Result<u64, Fault> {
        let value = match index {
            hv::STIMER0_CONFIG..=hv::STIMER3_COUNT => self.synic.timers.read_msr(index),
            _ => self.synic.registers.read_msr(index),
        };
        value.map_err(|_| Fault)
    }

    /// Writes an MSR of the SynIC or a synthetic timer.
    pub fn write_synic_msr(
        &mut self,
        lp: &Lp,
        vp: &Vp,
        index: u32,
        value: u64,
    ) -> Result<(), Fault> {
        if (hv::STIMER0_CONFIG..=hv::STIMER3_COUNT).contains(&index) {
            let now = cpu::rdtsc();
            let reference = self.reference_at(now);
            self.synic.timers.write_msr(index, value, reference).map_err(|_| Fault)?;
            self.expire_synthetic_timers(now);
            run::update_timer(lp, self);
            return Ok(());
        }
        let effect = self.synic.registers.write_msr(index, value).map_err(|_| Fault)?;
        self.synic.publish();
        if vp.partition.is_root {
            lp.takes_messages
                .store(self.synic.registers.message_signal(0).is_ok(), Ordering::Release);
        }
        match effect {
            Effect::DeliverPending
            | Effect::PageChanged { page: Page::Messages, enabled: true, .. } => {
                let waiting = self.synic.timers.undelivered(self.reference_at(cpu::rdtsc()));
                waiting.into_iter().flatten().for_each(|action| self.announce(action));
                if vp.wanted_slots.load(Ordering::Relaxed) != 0 {
                    // After this instruction, when the VP can be stopped.
                    vp.request(Request::Deliverable);
                }
                if vp.partition.is_root {
                    self.pump_root_queue(lp);
                }
            }
            Effect::PageChanged { .. } | Effect::None => {}
        }
        Ok(())
    }

    /// The partition's clock, as the VP knows it.
    pub fn clock(&self) -> &ClockCopy {
        &self.synic.clock
    }

    /// Brings it up to date. What it was.
    pub fn replace_clock(&mut self, clock: ClockCopy) -> ClockCopy {
        self.synic.due.set(Due::default());
        core::mem::replace(&mut self.synic.clock, clock)
    }

    /// The partition's reference time at a time-stamp counter value.
    pub fn reference_at(&self, tsc: u64) -> u64 {
        self.synic.clock.reference_at(tsc)
    }

    /// Fires synthetic timers that are due at time-stamp counter value `now`.
    pub fn expire_synthetic_timers(&mut self, now: u64) {
        if now >= self.synic.deadline() {
            let actions = self.synic.timers.expire(self.reference_at(now));
            actions.into_iter().flatten().for_each(|action| self.announce(action));
        }
    }

    /// Time-stamp counter value of the next synthetic timer, `u64::MAX` for none.
    pub fn next_synthetic_deadline(&self) -> u64 {
        self.synic.deadline()
    }

    /// Tells the guest of an expired timer.
    fn announce(&mut self, action: TimerAction) {
        crate::lp::current().count(Counter::TimerExpired);
        match action {
            TimerAction::Direct { vector } => self.raise(vector),
            TimerAction::Message { sint, timer, expiration, delivery } => {
                let words = [u64::from(timer), expiration, delivery];
                let Some(message) = Message::new(MessageType::TIMER_EXPIRED, 0, words.as_bytes())
                else {
                    return;
                };
                if self.post_message(sint, &message) {
                    self.synic.timers.message_delivered(timer);
                }
            }
        }
    }

    /// Puts the next waiting message for the parent's driver into its slot, if that is free.
    pub fn pump_root_queue(&mut self, lp: &Lp) {
        if lp.root_queue.is_empty() {
            return;
        }
        let Ok(signal) = self.synic.registers.message_signal(0) else { return };
        let slot = Slot { page: self.synic.messages, sint: 0 };
        if lp.root_queue.pump(&slot, crate::intercepts::root_message) {
            lp.count(Counter::SynicMessages);
            if let Signal::Interrupt { vector, .. } = signal {
                self.raise(vector);
            }
        }
    }

    /// Tells the parent of slots that are free now, if it waits for them and the VP is not stopped already.
    pub fn notify_deliverable(&mut self, vp: &Vp) {
        let wanted = (vp.wanted_slots.load(Ordering::Relaxed) >> 48) as u16;
        if wanted == 0 || vp.suspended() != 0 {
            return;
        }
        let ready = (0..hv::SINT_COUNT as u8)
            .filter(|&sint| wanted & 1 << sint != 0 && self.has_free_slot(sint))
            .fold(0u16, |ready, sint| ready | 1 << sint);
        if ready != 0 {
            // Each tells once.
            vp.wanted_slots.fetch_and(!(u64::from(ready) << 48), Ordering::Relaxed);
            crate::intercepts::raise_deliverable(crate::lp::current(), vp, self, ready);
        }
    }

    fn has_free_slot(&self, sint: u8) -> bool {
        let slot = Slot { page: self.synic.messages, sint };
        let takes = self.synic.registers.message_signal(sint).is_ok();
        let first = slot.words().first();
        takes && first.is_some_and(|word| word.load(Ordering::Acquire) & TYPE == 0)
    }

    /// Puts a message into the guest's slot for `sint` and announces it. `false` if it has to wait.
    pub fn post_message(&mut self, sint: u8, message: &Message) -> bool {
        let Ok(signal) = self.synic.registers.message_signal(sint) else { return false };
        let _serialized = self.synic.owner.map(|vp| vp.signals.lock());
        if !post(&Slot { page: self.synic.messages, sint }, message, false) {
            return false;
        }
        crate::lp::current().count(Counter::SynicMessages);
        if let Signal::Interrupt { vector, .. } = signal {
            self.raise(vector);
        }
        true
    }
}
