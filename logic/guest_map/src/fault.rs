//! What an access that the tables did not allow means.

use crate::map::GuestMap;
use hvdef::message::{AccessType, MessageType};
use hvdef::{Gpa, Spa};
use page_table::{Found, Frames};

/// What was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading data, or page tables.
    Read,
    /// Writing data, or accessed and dirty bits of the guest's page tables.
    Write,
    /// Fetching an instruction.
    Execute,
}

impl Access {
    /// As an intercept message says it.
    pub const fn access_type(self) -> AccessType {
        match self {
            Self::Read => AccessType::READ,
            Self::Write => AccessType::WRITE,
            Self::Execute => AccessType::EXECUTE,
        }
    }
}

/// Why an access did not go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing is there: the VMM's device, or nothing.
    Unmapped,
    /// The page is known but not backed, or lacks the right.
    Denied,
}

impl Fault {
    /// The message that the parent gets.
    pub const fn message(self) -> MessageType {
        match self {
            Self::Unmapped => MessageType::UNMAPPED_GPA,
            Self::Denied => MessageType::GPA_INTERCEPT,
        }
    }
}

impl GuestMap {
    /// The system address behind a GPA for an access by the guest or in its name, to the end of the 4 KiB page.
    ///
    /// After a SLAT fault, `Ok` means that the tables allow what the processor refused: its translation is older than
    /// the mapping. Flush what this LP has cached and let the guest try again.
    pub fn translate(&self, frames: &impl Frames, gpa: Gpa, access: Access) -> Result<Spa, Fault> {
        if gpa.gpn() >= self.limit {
            return Err(Fault::Unmapped);
        }
        let leaf = match self.table.find(frames, gpa.0) {
            Found::Leaf(leaf) => leaf,
            Found::Marked => return Err(Fault::Denied),
            Found::Empty => return Err(Fault::Unmapped),
        };
        let rights = self.slat.rights(leaf.flags);
        let allowed = match access {
            Access::Read => true,
            Access::Write => rights.write,
            Access::Execute => rights.execute,
        };
        if allowed { Ok(Spa(leaf.address)) } else { Err(Fault::Denied) }
    }
}
