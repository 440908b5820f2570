//! From a hypercall instruction to a handler and back, without doing anything.
//!
//! The exit path of the hypervisor hands over registers and the caller's privileges; what comes back is either a status
//! for the caller or a [`Call`] whose sizes, reps and buffers are known to be sound. After the handler ran its
//! [`Outcome`] becomes registers again.
//!
//! ```text
//!  VMCALL ─▶ CallerMode::of ──▶ Registers ──▶ decode ──▶ Call ──▶ handler ──▶ Outcome ──▶ Completion
//!              │ not CPL 0                      │ status   │ copies input                  │
//!              ▼                                ▼          ▼ once                          ▼
//!             #UD                            result     Reader, Writer, VpSet,       result word, or again
//!                                             word      page_ranges                  from a rep, or an exception
//! ```
//!
//! What must always hold: nothing a caller passes makes anything here panic; a [`Call`] never reaches beyond the page
//! of its buffers, and every element index it yields lies inside them; the table is the only place that knows sizes.
//! Which partition an input names, and whether it may be named, is the handler's: see [`Target`].
//!
//! Source: TLFS, "Hypercall Interface". Layouts are those of `hvdef::hypercall`.
#![no_std]
#![forbid(unsafe_code)]

mod buffers;
mod decode;
mod info;
mod outcome;
mod privileges;
mod ranges;
mod registers;
mod table;
mod vp_set;

pub use buffers::{Elements, Reader, Writer};
pub use decode::{Call, FAST_INPUT_MAX, decode};
pub use info::{CallInfo, Kind, Scope, Target};
pub use outcome::{Completion, Exception, Outcome};
pub use privileges::Privileges;
pub use ranges::{PageRange, RangeFormat, page_ranges};
pub use registers::{CallerMode, Registers};
pub use table::{TABLE, find, slot};
pub use vp_set::{VpSet, VpSetIter};
