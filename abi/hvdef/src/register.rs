//! VP registers: names and formats (TLFS, "Virtual Processor Registers").

mod event;
mod format;
mod name;

pub use event::{
    Deliverability, ExceptionEvent, InternalActivity, InterruptState, InterruptionType,
    PendingInterruption, Suspend,
};
pub use format::{RegisterValue, SegmentAttributes, SegmentRegister, TableRegister};
pub use name::RegisterName;
