//! What the server needs of the hypervisor.

use hvdef::VpIndex;
use hvdef::message::Message;
use std::io;
use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

/// Why a message is not in its slot.
#[derive(Debug, Error)]
pub enum PostError {
    /// The slot is taken, or the guest has no slots at the moment. [`Bus::deliverable`](crate::bus::Bus::deliverable) is
    /// called when that changes.
    #[error("the message slot is taken")]
    Busy,
    /// It never will be.
    #[error("cannot post a message")]
    Failed(#[from] io::Error),
}

/// The way to one guest. Every method may be called from any thread.
pub trait Transport: Send + Sync {
    /// Puts a message into a VP's slot of a SINT.
    fn post_message(&self, vp: VpIndex, sint: u8, message: &Message) -> Result<(), PostError>;

    /// Sets an event flag of a VP's SINT and interrupts it.
    fn signal_event(&self, vp: VpIndex, sint: u8, flag: u16) -> io::Result<()>;

    /// From now on the guest's SIGNAL_EVENT on this connection signals `event`. Where that is not possible without an
    /// intercept, success without doing anything is right: [`Bus::signal_event`](crate::bus::Bus::signal_event) does it.
    fn bind(&self, connection_id: u32, event: &EventFd) -> io::Result<()>;

    /// Ends [`Self::bind`].
    fn unbind(&self, connection_id: u32, event: &EventFd);
}
