//! A guest in memory, for tests: it does what `hv_vmbus` does, on rings and messages that are the real ones.
#![expect(missing_docs, reason = "for tests; names say it")]

mod guest;
mod host;
mod ring;

pub use guest::{Guest, Offered, OpenChannel, opened};
pub use host::FakeHost;
pub use ring::{GuestPacket, GuestRings};
