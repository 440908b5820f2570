//! VMBus: what a guest's drivers and the devices behind VMBus say to each other.
//!
//! Used by the VMBus server and by the devices on it, never by the hypervisor: for that a channel message is the payload
//! of a SynIC message like any other. Layout, constants and names only: no decisions.
//!
//! ```text
//! version   protocol versions and their feature flags     ring      control page of a ring
//! message   channel messages, by number                   packet    what lies in a ring
//! offer     what a device says of itself                  monitor   pages for signals that may be late
//! gpadl     lists of guest pages                          storage   vstor packets: SCSI, IDE, Fibre Channel
//! guid      identifiers; classes of devices
//! ```
//!
//! What must always hold: a structure is as large as its protocol says, reserved fields are spelled out, and every value
//! another party may write is *open*. All of it is little-endian. Names and facts follow Linux `include/linux/hyperv.h`
//! and `drivers/hv`, the only public description that stock guests are built from.
#![no_std]
#![forbid(unsafe_code)]

pub mod gpadl;
pub mod guid;
pub mod message;
pub mod monitor;
pub mod offer;
pub mod packet;
pub mod ring;
pub mod storage;
pub mod version;

pub use guid::Guid;
pub use message::MessageNumber;
pub use version::Version;

/// The SINT that everything of VMBus arrives through in a guest.
pub const SINT: u8 = 2;

/// Where a guest posts channel messages to before version 5.0, and after it unless told otherwise.
pub const MESSAGE_CONNECTION_ID: u32 = 1;
/// Where it posts INITIATE_CONTACT for version 5.0 and later.
pub const MESSAGE_CONNECTION_ID_V5: u32 = 4;

/// A channel's number. 0 is none; a guest keeps a table of 2048.
pub const RELID_MAX: u32 = 2047;
