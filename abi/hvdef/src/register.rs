//! VP registers: names and formats (TLFS, "Virtual Processor Registers").

mod name;

pub use name::RegisterName;
