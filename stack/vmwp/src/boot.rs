//! Putting a kernel into the guest's memory, and the first VP into the state it expects.
//!
//! ```text
//!  file ── kind? ─┬─ bzImage ─▶ kept unpacked? ─▶ 64-bit boot protocol: zero page, RSI
//!                 └─ ELF ─────▶ PVH: start info, EBX
//! ```
//!
//! Layout of the first 640 KiB, all of which the kernel may reuse once it has read it:
//! GDT 0x500, PVH start info 0x6000, zero page 0x7000, page tables 0x9000–0xEFFF, command line 0x20000.

mod bzimage;
mod from_disk;
mod kernel_cache;
mod pvh;
mod registers;
mod reset_vector;
mod source;
mod tables;
mod unpacked;

pub use from_disk::BootDisk;
pub use kernel_cache::KernelCache;
pub use registers::{application_processor, boot_processor};
pub use source::BootSource;

use crate::memory::layout::Range;
use thiserror::Error;

const GDT: u64 = 0x500;
const START_INFO: u64 = 0x6000;
const ZERO_PAGE: u64 = 0x7000;
const PAGE_TABLES: u64 = 0x9000;
const COMMAND_LINE: u64 = 0x2_0000;
/// Room for the command line with its terminating zero.
const COMMAND_LINE_MAX: usize = 0x1_0000;

/// How the first VP starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// 64-bit boot protocol of Linux: long mode, RSI points to the zero page.
    Linux64 {
        /// RIP.
        entry: u64,
    },
    /// PVH: protected mode without paging, EBX points to the start info.
    Pvh {
        /// EIP.
        entry: u64,
    },
}

/// Why a kernel cannot be started.
#[derive(Debug, Error)]
pub enum BootError {
    /// Neither of the two formats.
    #[error("{0} is no Linux kernel: it is neither a bzImage nor an ELF file")]
    UnknownFormat(String),
    /// A file could not be read.
    #[error("cannot read {file}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The VM's disk has no kernel to start.
    #[error("cannot boot from {disk}; --kernel names another kernel")]
    Disk {
        /// Which.
        disk: String,
        /// Why not.
        source: boot_disk::Error,
    },
    /// The loader refused the kernel.
    #[error("cannot load {file}: {reason}")]
    Load {
        /// Which.
        file: String,
        /// The loader's words.
        reason: String,
    },
    /// The kernel is older than the 64-bit entry, or a 32-bit one.
    #[error("{0} has no 64-bit entry (boot protocol 2.12, CONFIG_X86_64)")]
    No64BitEntry(String),
    /// The ELF file is a kernel without CONFIG_PVH, or no kernel.
    #[error("{0} is an ELF file without a PVH entry (CONFIG_PVH)")]
    NoPvhEntry(String),
    /// The command line does not fit.
    #[error("the command line has {length} bytes, and the kernel takes at most {limit}")]
    CommandLine {
        /// Its length.
        length: usize,
        /// The most.
        limit: usize,
    },
    /// The command line has a zero byte in it.
    #[error("the command line has a zero byte in it")]
    CommandLineZero,
    /// The kernel does not fit.
    #[error(
        "{file} needs memory up to {end:#x}, and the VM has {have:#x}: give it more with --memory"
    )]
    KernelTooLarge {
        /// Which.
        file: String,
        /// First byte behind it.
        end: u64,
        /// Where memory ends.
        have: u64,
    },
    /// The initrd does not fit beside the kernel.
    #[error(
        "{file} has {size} bytes, and beside the kernel there is room for {room}: give the VM more with --memory"
    )]
    InitrdTooLarge {
        /// Which.
        file: String,
        /// Its size.
        size: u64,
        /// What there is.
        room: u64,
    },
    /// Guest memory refused.
    #[error("cannot write boot structures: {0}")]
    Write(String),
}

/// Where an initrd of `size` bytes goes: as high as `limit` allows, page-aligned, behind `kernel_end`.
fn place_initrd(size: u64, kernel_end: u64, limit: u64) -> Result<Range, u64> {
    let room = limit.saturating_sub(kernel_end.next_multiple_of(0x1000)) & !0xFFF;
    if size > room {
        return Err(room);
    }
    let start = (limit - size) & !0xFFF;
    Ok(Range { start, end: start + size })
}

#[cfg(test)]
mod tests;
