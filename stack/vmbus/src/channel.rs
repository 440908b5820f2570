//! An open channel, as its device holds it: both rings, the interrupt to the guest, the doorbell from it.

use crate::packet::Received;
use crate::quiet::Quiet;
use crate::ring::{Incoming, Outgoing, Packet, RingError};
use crate::transport::Transport;
use hvdef::VpIndex;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vmbusdef::SINT;
use vmm_sys_util::eventfd::EventFd;

/// How a channel interrupts the guest.
pub struct Interrupt {
    transport: Arc<dyn Transport>,
    flag: u16,
    /// Held while signalling: after a change nothing goes to the old VP any more.
    vp: Mutex<Option<VpIndex>>,
    raised: AtomicU64,
    quiet: Quiet,
}

impl Interrupt {
    pub(crate) fn new(transport: Arc<dyn Transport>, flag: u16, vp: Option<u32>) -> Self {
        let (vp, raised) = (Mutex::new(vp.map(VpIndex)), AtomicU64::new(0));
        Self { transport, flag, vp, raised, quiet: Quiet::default() }
    }

    /// From now on another VP, or none.
    pub(crate) fn set_target(&self, vp: Option<u32>) {
        *self.vp.lock().unwrap_or_else(PoisonError::into_inner) = vp.map(VpIndex);
    }

    /// Interrupts the guest, if it wants that at all.
    pub fn raise(&self) {
        let vp = self.vp.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(vp) = *vp else { return };
        self.raised.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.transport.signal_event(vp, SINT, self.flag)
            && let Some(unsaid) = self.quiet.ask()
        {
            tracing::warn!(?vp, flag = self.flag, %error, unsaid, "cannot signal the guest");
        }
    }

    /// How often the guest was interrupted.
    pub fn raised(&self) -> u64 {
        self.raised.load(Ordering::Relaxed)
    }
}

/// Both directions of an open channel. It belongs to one thread.
///
/// ```text
///   disarm ─> receive … ─> (work) ─> send … ─> flush ─> receive …      while there is something
///   arm ─> true: there is something after all │ false: sleep until the doorbell rings
/// ```
pub struct Channel {
    incoming: Incoming,
    outgoing: Outgoing,
    interrupt: Arc<Interrupt>,
    doorbell: EventFd,
}

impl Channel {
    pub(crate) fn new(
        incoming: Incoming,
        outgoing: Outgoing,
        interrupt: Arc<Interrupt>,
        doorbell: EventFd,
    ) -> Self {
        Self { incoming, outgoing, interrupt, doorbell }
    }

    /// The next packet of the guest's.
    pub fn receive(&mut self) -> Result<Option<Received<'_>>, RingError> {
        self.incoming.receive()
    }

    /// Sends a packet with the next [`Self::flush`]; `false` if there is no room. Then the doorbell rings when there is.
    pub fn send(&mut self, packet: &Packet<'_>) -> Result<bool, RingError> {
        self.outgoing.send(packet)
    }

    /// Nothing waits for room any more.
    pub fn stop_waiting(&mut self) {
        self.outgoing.stop_waiting();
    }

    /// Gives back what was received, shows what was sent, and interrupts the guest if it wants that for either; whether
    /// it did.
    pub fn flush(&mut self) -> bool {
        let (has_room, has_data) = (self.incoming.release(), self.outgoing.publish());
        if has_room || has_data {
            self.interrupt.raise();
        }
        has_room || has_data
    }

    /// Asks for the doorbell with the next packet; whether there is one already.
    pub fn arm(&mut self) -> Result<bool, RingError> {
        self.incoming.unmask()
    }

    /// Asks for silence.
    pub fn disarm(&self) {
        self.incoming.mask();
    }

    /// Rings when the guest signals. Whoever else wants to wake the channel's thread may write to it too.
    pub fn doorbell(&self) -> &EventFd {
        &self.doorbell
    }

    /// A second handle to the doorbell.
    pub fn waker(&self) -> io::Result<EventFd> {
        self.doorbell.try_clone()
    }
}
