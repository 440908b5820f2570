//! Disk images: raw, VHD and VHDX.
//!
//! The storage VSP opens a disk here and asks where ranges of it are; it then does the I/O itself, between the guest's
//! pages and the file. `zm disk` makes, checks, resizes and converts images with the same code.
//!
//! ```text
//!  open_file ─▶ raw | vhd | vhdx ─▶ Disk: map_read, map_write + complete, flush, discard, resize
//!                     │
//!                  sparse: block table, bitmaps, free space, commits   (shared by VHD and VHDX)
//!                     │
//!                  Storage: a file, or memory that plays back power losses
//! ```
//!
//! What must always hold: whatever a file contains, opening and reading it ends, without a panic, in data or in an
//! [`Error`] that says what is wrong where; a power loss at any moment leaves a disk that opens and has everything that
//! was flushed; what other programs made is read and what is made here they read.
//!
//! Formats are chosen by name, never by content alone ([`Format::of_path`]): a guest that writes the first sectors of a
//! raw disk must not be able to turn it into something that names other files.
#![forbid(unsafe_code)]

mod disk;
mod error;
mod file_storage;
mod files;
mod flat;
mod format;
mod guid;
mod in_use;
mod mem_storage;
mod open;
mod overlay;
mod parent;
pub mod raw;
mod space;
mod sparse;
mod storage;
pub mod vhd;
pub mod vhdx;

pub use disk::{Description, Disk, Extent, Place, SectorSizes, Shrink, WriteTicket};
pub use error::{Error, Result};
pub use file_storage::FileStorage;
pub use files::{CreateOptions, Progress, compact, convert, create_file, repair};
pub use format::Format;
pub use in_use::IoGuard;
pub use mem_storage::{Event, MemStorage};
pub use open::{OpenOptions, open_file};
pub use parent::{FindParent, NoParent, ParentReference};
pub use storage::Storage;
