//! What the boot loader said, in one form for both Multiboot versions.

use crate::list::List;
use crate::memory_map::{Kind, MemoryMap};
use crate::phys::{BadString, OutOfRange, PhysRead};
use crate::range::PhysRange;
use crate::text::{Text, split_word};
use crate::{multiboot1, multiboot2};
use core::fmt;

/// Longest string taken from a loader, without its NUL.
pub const STRING_MAX: usize = 2047;
/// Most modules.
pub const MODULES_MAX: usize = 8;

/// Which protocol the loader spoke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Multiboot 1: QEMU's `-kernel`.
    Multiboot1,
    /// Multiboot 2: GRUB.
    Multiboot2,
}

/// A string of the loader: the arguments, with or without the name of the file before them.
#[derive(Clone, Copy, Debug)]
pub struct CommandString {
    pub(crate) text: Text<STRING_MAX>,
    /// Whether the first word is the file.
    pub(crate) has_file: bool,
}

impl CommandString {
    pub(crate) const EMPTY: Self = Self { text: Text::empty(), has_file: false };

    /// The file's name, if the loader gave it.
    pub fn file(&self) -> &[u8] {
        if self.has_file { split_word(self.text.as_bytes()).0 } else { &[] }
    }

    /// The arguments without the file's name and without blanks around them.
    pub fn arguments(&self) -> &[u8] {
        let text = self.text.as_bytes();
        if self.has_file { split_word(text).1 } else { text.trim_ascii() }
    }
}

/// A file that the loader put into memory.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Where it is.
    pub range: PhysRange,
    /// Its name and arguments.
    pub command: CommandString,
}

/// A copy of the RSDP, as Multiboot 2 gives it. Where the firmware keeps the original is not said.
#[derive(Clone, Copy, Debug)]
pub struct RsdpCopy {
    /// The structure; `len` bytes are valid.
    pub bytes: [u8; 36],
    /// 20 or 36.
    pub len: usize,
}

/// A linear frame buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framebuffer {
    /// Physical address.
    pub address: u64,
    /// Bytes per line.
    pub pitch: u32,
    /// Pixels per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits per pixel.
    pub bpp: u8,
    /// Position and size of red, green and blue.
    pub colors: [u8; 6],
}

/// The screen that the loader left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Screen {
    /// Nothing is known.
    Unknown,
    /// VGA text mode, 80 by 25.
    VgaText,
    /// Pixels.
    Framebuffer(Framebuffer),
}

/// Everything taken from the loader. Some 22 KiB: keep it in a static and fill it in place.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// How the loader spoke.
    pub protocol: Protocol,
    /// Who the loader is; empty if it does not say.
    pub loader_name: Text<64>,
    /// The hypervisor's own command line.
    pub command: CommandString,
    /// The firmware's memory map, cleaned up.
    pub map: MemoryMap,
    /// Files: the parent's kernel, then its initrd.
    pub modules: List<Module, MODULES_MAX>,
    /// RSDP, if the loader gave a copy.
    pub rsdp: Option<RsdpCopy>,
    /// Address of the 64-bit EFI system table, on machines with such firmware.
    pub efi_system_table: Option<u64>,
    /// Whether the loader passed EFI's memory map.
    pub efi_memory_map: bool,
    /// What is on the screen.
    pub screen: Screen,
}

impl BootInfo {
    /// Nothing known yet.
    pub const fn empty() -> Self {
        let no_module = Module { range: PhysRange::EMPTY, command: CommandString::EMPTY };
        Self {
            protocol: Protocol::Multiboot1,
            loader_name: Text::empty(),
            command: CommandString::EMPTY,
            map: MemoryMap::empty(),
            modules: List::new(no_module),
            rsdp: None,
            efi_system_table: None,
            efi_memory_map: false,
            screen: Screen::Unknown,
        }
    }

    /// Reads what a loader left at `address`; `magic` is what it left in EAX.
    pub fn load(
        &mut self,
        magic: u32,
        address: u64,
        memory: &impl PhysRead,
    ) -> Result<(), BootInfoError> {
        self.forget();
        match magic {
            bootdef::multiboot1::LOADER_MAGIC => multiboot1::load(self, address, memory)?,
            bootdef::multiboot2::LOADER_MAGIC => multiboot2::load(self, address, memory)?,
            _ => return Err(BootInfoError::NotMultiboot { magic }),
        }
        if self.map.total(Kind::Ram) == 0 { Err(BootInfoError::NoMemoryMap) } else { Ok(()) }
    }

    /// The first module: the parent's kernel.
    pub fn kernel(&self) -> Option<&Module> {
        self.modules.first()
    }

    /// The second module: the parent's initrd.
    pub fn initrd(&self) -> Option<&Module> {
        self.modules.get(1)
    }

    fn forget(&mut self) {
        self.loader_name.clear();
        self.command.text.clear();
        self.map.clear();
        self.modules.clear();
        self.rsdp = None;
        self.efi_system_table = None;
        self.efi_memory_map = false;
        self.screen = Screen::Unknown;
    }

    pub(crate) fn add_region(
        &mut self,
        base: u64,
        length: u64,
        kind: u32,
    ) -> Result<(), BootInfoError> {
        let range = PhysRange::at(base, length);
        self.map.add(range, Kind::from_e820(kind)).map_err(|_| BootInfoError::MapTooLong)
    }

    /// Adds a module whose string is still to come.
    pub(crate) fn add_module(
        &mut self,
        start: u32,
        end: u32,
    ) -> Result<&mut CommandString, BootInfoError> {
        if end <= start {
            return Err(BootInfoError::EmptyModule { index: self.modules.len(), start, end });
        }
        let range = PhysRange::new(start.into(), end.into());
        let module = Module { range, command: CommandString::EMPTY };
        self.modules.push(module).map_err(|_| BootInfoError::TooManyModules)?;
        self.modules
            .last_mut()
            .map(|module| &mut module.command)
            .ok_or(BootInfoError::TooManyModules)
    }
}

/// Why the loader's information is of no use. Prints as one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootInfoError {
    /// EAX held no Multiboot number.
    NotMultiboot {
        /// What it held.
        magic: u32,
    },
    /// The loader points to memory that is not there.
    Unreadable {
        /// What was to be read.
        what: &'static str,
        /// From where.
        address: u64,
    },
    /// A string is longer than [`STRING_MAX`].
    StringTooLong {
        /// Which string.
        what: &'static str,
    },
    /// A structure contradicts itself.
    Malformed {
        /// Which structure.
        what: &'static str,
        /// Where it is.
        address: u64,
    },
    /// There is no memory map, or no RAM in it.
    NoMemoryMap,
    /// The memory map has more regions than [`MemoryMap::MAX`].
    MapTooLong,
    /// There are more than [`MODULES_MAX`] modules.
    TooManyModules,
    /// A module without a byte.
    EmptyModule {
        /// Which module, from 0.
        index: usize,
        /// Where it should be.
        start: u32,
        /// Where it should end.
        end: u32,
    },
}

impl BootInfoError {
    pub(crate) fn unreadable(what: &'static str, address: u64) -> impl FnOnce(OutOfRange) -> Self {
        move |OutOfRange| Self::Unreadable { what, address }
    }

    pub(crate) fn string(what: &'static str, address: u64) -> impl FnOnce(BadString) -> Self {
        move |bad| match bad {
            BadString::Unreadable => Self::Unreadable { what, address },
            BadString::TooLong => Self::StringTooLong { what },
        }
    }
}

impl fmt::Display for BootInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMultiboot { magic } => {
                write!(f, "not started by a Multiboot loader (EAX = {magic:#x})")
            }
            Self::Unreadable { what, address } => {
                write!(f, "{what} at {address:#x} cannot be read")
            }
            Self::StringTooLong { what } => {
                write!(f, "{what} is longer than {STRING_MAX} characters")
            }
            Self::Malformed { what, address } => {
                write!(f, "{what} at {address:#x} is malformed")
            }
            Self::NoMemoryMap => f.write_str("no memory map, or no RAM in it"),
            Self::MapTooLong => {
                write!(f, "the memory map has more than {} regions", MemoryMap::MAX)
            }
            Self::TooManyModules => write!(f, "more than {MODULES_MAX} modules"),
            Self::EmptyModule { index, start, end } => {
                write!(f, "module {} is empty ({start:#x}-{end:#x})", index + 1)
            }
        }
    }
}
