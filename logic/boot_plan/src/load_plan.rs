//! The plan for starting the parent's kernel.

use crate::boot_info::Screen;
use crate::boot_params;
use crate::bzimage::{BadKernel, Kernel};
use crate::handover::Handover;
use crate::list::List;
use crate::memory_map::MemoryMap;
use crate::phys::PhysRead;
use crate::place::{Layout, place};
use crate::range::{PAGE, PhysRange, Size};
use bootdef::linux::ENTRY64_OFFSET;
use core::fmt;

/// What is to be started, and in which memory.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest<'a> {
    /// What is the parent's RAM and what is not: the hypervisor's memory is carved out already.
    pub map: &'a MemoryMap,
    /// The bzImage, where the loader put it.
    pub kernel: PhysRange,
    /// The initrd, where the loader put it.
    pub initrd: Option<PhysRange>,
    /// The kernel's command line, without a NUL.
    pub command_line: &'a [u8],
    /// Physical address of the RSDP, or 0: then the kernel searches for itself, which fails on EFI machines.
    pub rsdp: u64,
    /// What the kernel will find on the screen.
    pub screen: Screen,
    /// Whether the firmware is EFI. The parent is not told, but its frame buffer is described differently.
    pub efi: bool,
}

impl LoadRequest<'_> {
    /// Where the files lie now; an empty range for no initrd.
    pub(crate) fn files(&self) -> [PhysRange; 2] {
        [self.kernel, self.initrd.unwrap_or(PhysRange::EMPTY)]
    }
}

/// One copy. Source and destination may overlap: it is a `memmove`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copy {
    /// First byte of the source.
    pub from: u64,
    /// First byte of the destination.
    pub to: u64,
    /// Bytes.
    pub len: u64,
}

impl Copy {
    fn source(&self) -> PhysRange {
        PhysRange::at(self.from, self.len)
    }

    fn destination(&self) -> PhysRange {
        PhysRange::at(self.to, self.len)
    }
}

/// How to start the parent's kernel. To be carried out in this order:
///
/// 1. `copies`, each as a `memmove`, in their order;
/// 2. zeros into every range of `zero`;
/// 3. [`Handover`]'s pages: `boot_params`, [`crate::handover::GDT`], the page tables
///    ([`Handover::fill_table`]), the request's command line;
/// 4. a 64-bit VP with CR3 at [`Handover::page_tables`], CS and the data segments from the GDT, interrupts closed,
///    RSI = `rsi` and RIP = `entry`.
///
/// Some 4.5 KiB: keep it in a static and fill it in place.
///
/// The parent is never told of EFI: `efi_info` stays 0, and with it run-time services and `efivars` are out of its
/// reach. What it needs from EFI, it gets otherwise: RSDP by address, memory map as e820, frame buffer as such.
#[derive(Clone)]
pub struct LoadPlan {
    /// What moves, in order.
    pub copies: List<Copy, 2>,
    /// What is cleared after that.
    pub zero: List<PhysRange, 2>,
    /// The zero page's contents.
    pub boot_params: [u8; PAGE as usize],
    /// Zero page, GDT, page tables, command line.
    pub handover: Handover,
    /// The kernel's memory while it starts.
    pub kernel: PhysRange,
    /// The initrd in its final place.
    pub initrd: Option<PhysRange>,
    /// The kernel's 64-bit entry point.
    pub entry: u64,
    /// What RSI holds there: the zero page's address.
    pub rsi: u64,
}

impl LoadPlan {
    /// No plan yet.
    pub const fn empty() -> Self {
        Self {
            copies: List::new(Copy { from: 0, to: 0, len: 0 }),
            zero: List::new(PhysRange::EMPTY),
            boot_params: [0; PAGE as usize],
            handover: Handover::NONE,
            kernel: PhysRange::EMPTY,
            initrd: None,
            entry: 0,
            rsi: 0,
        }
    }

    /// Makes the plan for `request`. After an error this holds nothing of use.
    pub fn prepare(
        &mut self,
        request: &LoadRequest<'_>,
        memory: &impl PhysRead,
    ) -> Result<(), LoadError> {
        let kernel = Kernel::inspect(request.kernel, memory).map_err(LoadError::Kernel)?;
        check_command_line(request, &kernel)?;
        let layout = place(request, &kernel)?;
        self.take(&layout)?;
        self.verify(request)?;
        boot_params::fill(&mut self.boot_params, request, &kernel, &layout);
        Ok(())
    }

    fn take(&mut self, layout: &Layout) -> Result<(), LoadError> {
        self.copies.clear();
        self.zero.clear();
        self.handover = layout.handover;
        self.kernel = layout.kernel;
        self.initrd = layout.initrd;
        self.entry = layout.kernel.start.saturating_add(ENTRY64_OFFSET);
        self.rsi = layout.handover.boot_params();
        for copy in layout.copies.iter().flatten() {
            self.copies.push(*copy).map_err(|_| LoadError::Clobbers)?;
        }
        let initrd_tail =
            layout.initrd.map(|initrd| PhysRange::new(initrd.end, initrd.page_outward().end));
        for range in initrd_tail.into_iter().chain([layout.handover.range]) {
            self.zero.push(range).map_err(|_| LoadError::Clobbers)?;
        }
        Ok(())
    }

    /// Checks the result on its own terms: all in RAM, nothing on top of another, no source overwritten before it is
    /// copied. A failure is a mistake of ours, not the user's.
    fn verify(&self, request: &LoadRequest<'_>) -> Result<(), LoadError> {
        let initrd = self.initrd.map_or(PhysRange::EMPTY, PhysRange::page_outward);
        let places = [self.kernel, initrd, self.handover.range];
        let ram = places.iter().all(|place| request.map.is_ram(*place));
        let apart = places.iter().enumerate().all(|(index, place)| {
            places.iter().skip(index.saturating_add(1)).all(|other| !place.overlaps(*other))
        });
        let ordered = self.copies.iter().enumerate().all(|(index, copy)| {
            let mut later = self.copies.iter().skip(index.saturating_add(1));
            later.all(|later| !copy.destination().overlaps(later.source()))
        });
        let inside = self.copies.iter().all(|copy| {
            self.kernel.contains(copy.destination())
                || self.initrd.is_some_and(|to| to.contains(copy.destination()))
        });
        let unhurt = match (self.initrd, request.initrd) {
            // An initrd that stays must not be written to.
            (Some(to), Some(from)) if to.start == from.start => !self.kernel.overlaps(to),
            _ => true,
        };
        if ram && apart && ordered && inside && unhurt { Ok(()) } else { Err(LoadError::Clobbers) }
    }
}

fn check_command_line(request: &LoadRequest<'_>, kernel: &Kernel) -> Result<(), LoadError> {
    let len = request.command_line.len() as u64;
    let max = kernel.header.cmdline_size.get().into();
    if len > max { Err(LoadError::CommandLineTooLong { len, max }) } else { Ok(()) }
}

/// Why the parent's kernel cannot be started. Prints as one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// The file is no kernel for us.
    Kernel(BadKernel),
    /// The command line is longer than this kernel takes.
    CommandLineTooLong {
        /// Its characters.
        len: u64,
        /// The kernel's limit.
        max: u64,
    },
    /// No RAM for the kernel.
    NoRoomForKernel {
        /// Bytes it needs in a row.
        need: u64,
        /// The longest run of RAM where it may go.
        available: u64,
        /// Whether its place could be chosen.
        relocatable: bool,
    },
    /// No RAM for the initrd.
    InitrdTooLarge {
        /// Bytes it needs in a row.
        need: u64,
        /// The longest run of RAM where it may go.
        available: u64,
    },
    /// No RAM for zero page and command line.
    NoRoomForHandover {
        /// Bytes they need in a row.
        need: u64,
    },
    /// The plan would destroy something: a mistake in the planning.
    Clobbers,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(bad) => write!(f, "{bad}"),
            Self::CommandLineTooLong { len, max } => {
                write!(f, "command line of {len} characters; this kernel takes at most {max}")
            }
            Self::NoRoomForKernel { need, available, relocatable } => {
                let fixed = if *relocatable { "" } else { " at its fixed address" };
                let (need, available) = (Size(*need), Size(*available));
                write!(
                    f,
                    "needs {need} of RAM in a row{fixed} below 4 GiB, largest run is {available}"
                )
            }
            Self::InitrdTooLarge { need, available } => {
                let (need, available) = (Size(*need), Size(*available));
                write!(
                    f,
                    "initrd too large: needs {need} of RAM in a row, largest run is {available}"
                )
            }
            Self::NoRoomForHandover { need } => {
                write!(f, "no {} of RAM for its boot parameters", Size(*need))
            }
            Self::Clobbers => {
                f.write_str("load plan contradicts itself (a mistake in the hypervisor)")
            }
        }
    }
}
