//! The parent's kernel file: is it a bzImage that the 64-bit boot protocol can start?

use crate::phys::{OutOfRange, PhysRead};
use crate::range::{PAGE, PhysRange, Size};
use bootdef::linux::{
    BOOT_FLAG, DEFAULT_SETUP_SECTS, HEADER_MAGIC, HEADER_OFFSET, PARAGRAPH, SECTOR, SetupHeader,
    VERSION_2_12, loadflags, xloadflags,
};
use core::fmt;
use core::mem::offset_of;
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of the file up to the end of the fields that are read here.
const NEEDED: u64 = (HEADER_OFFSET + offset_of!(SetupHeader, handover_offset)) as u64;
/// Where the header's length counts from.
const LENGTH_FROM: usize = offset_of!(SetupHeader, magic);
/// Most that a header may ask for, as alignment and as memory: more is damage.
const SANE: u64 = 1 << 30;

/// A bzImage that has been looked at.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Its setup header; fields that its protocol version does not have are 0.
    pub header: SetupHeader,
    /// The protected-mode code in the file's memory.
    pub payload: PhysRange,
    /// Bytes that it needs from its load address on.
    pub memory: u64,
}

/// What a file that is no kernel might be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// An ELF file: perhaps `vmlinux`.
    Elf,
    /// Compressed by gzip: an initrd, or a kernel for another architecture.
    Gzip,
    /// A cpio archive: an initrd.
    Cpio,
    /// None of these.
    Unknown,
}

/// Why a file cannot be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadKernel {
    /// The module's memory cannot be read.
    Unreadable,
    /// It has no setup header.
    NotAKernel(FileKind),
    /// The file ends early.
    Truncated {
        /// Bytes the header promises.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
    /// Its boot protocol is older than 2.12.
    TooOld {
        /// Protocol version, major in the upper byte.
        version: u16,
    },
    /// It is no bzImage but a zImage.
    LoadsLow,
    /// It has no 64-bit entry point: a 32-bit kernel.
    No64BitEntry,
    /// A header field makes no sense.
    BadField {
        /// Its name.
        name: &'static str,
        /// What it holds.
        value: u64,
    },
}

impl Kernel {
    /// Looks at the file in `file`.
    pub fn inspect(file: PhysRange, memory: &impl PhysRead) -> Result<Self, BadKernel> {
        let mut header = read_header(file, memory)?;
        check_protocol(&header)?;
        let setup_sects = match header.setup_sects {
            0 => DEFAULT_SETUP_SECTS,
            sectors => sectors,
        };
        let setup = (u64::from(setup_sects) + 1) * SECTOR;
        let need = setup.saturating_add(u64::from(header.syssize.get()).saturating_mul(PARAGRAPH));
        if need > file.len() || setup >= file.len() {
            return Err(BadKernel::Truncated { need, have: file.len() });
        }
        check_fields(&header)?;
        cut_to_length(&mut header);
        let payload = PhysRange::new(file.start.saturating_add(setup), file.end);
        Ok(Self { header, payload, memory: payload.len().max(header.init_size.get().into()) })
    }

    /// Whether the load address may be chosen.
    pub fn is_relocatable(&self) -> bool {
        self.header.relocatable_kernel != 0
    }

    /// Whether an initrd may lie above 4 GiB.
    pub fn loads_above_4g(&self) -> bool {
        self.header.xloadflags.get() & xloadflags::CAN_BE_LOADED_ABOVE_4G != 0
    }
}

fn read_header(file: PhysRange, memory: &impl PhysRead) -> Result<SetupHeader, BadKernel> {
    let kind = file_kind(file, memory)?;
    if file.len() < NEEDED {
        return Err(match kind {
            FileKind::Unknown => BadKernel::Truncated { need: NEEDED, have: file.len() },
            known => BadKernel::NotAKernel(known),
        });
    }
    let mut header = SetupHeader::new_zeroed();
    let start = file.start.saturating_add(HEADER_OFFSET as u64);
    let len = file.end.saturating_sub(start).min(size_of::<SetupHeader>() as u64) as usize;
    let bytes = header.as_mut_bytes().get_mut(..len).unwrap_or_default();
    memory.read(start, bytes).map_err(|OutOfRange| BadKernel::Unreadable)?;
    if header.boot_flag.get() != BOOT_FLAG || header.magic.get() != HEADER_MAGIC {
        return Err(BadKernel::NotAKernel(kind));
    }
    Ok(header)
}

fn file_kind(file: PhysRange, memory: &impl PhysRead) -> Result<FileKind, BadKernel> {
    let mut start = [0; 6];
    let len = start.len().min(usize::try_from(file.len()).unwrap_or(usize::MAX));
    let there = start.get_mut(..len).unwrap_or_default();
    memory.read(file.start, there).map_err(|OutOfRange| BadKernel::Unreadable)?;
    Ok(match start {
        [0x7F, b'E', b'L', b'F', ..] => FileKind::Elf,
        [0x1F, 0x8B, ..] => FileKind::Gzip,
        [b'0', b'7', b'0', b'7', b'0', _] => FileKind::Cpio,
        _ => FileKind::Unknown,
    })
}

fn check_protocol(header: &SetupHeader) -> Result<(), BadKernel> {
    if header.version.get() < VERSION_2_12 {
        return Err(BadKernel::TooOld { version: header.version.get() });
    }
    if header.loadflags & loadflags::LOADED_HIGH == 0 {
        return Err(BadKernel::LoadsLow);
    }
    if header.xloadflags.get() & xloadflags::KERNEL_64 == 0 {
        return Err(BadKernel::No64BitEntry);
    }
    // The header must reach as far as the fields of protocol 2.12 do.
    let reaches = LENGTH_FROM + usize::from(header.jump[1]);
    if reaches < offset_of!(SetupHeader, handover_offset) {
        return Err(BadKernel::BadField { name: "jump", value: header.jump[1].into() });
    }
    Ok(())
}

fn check_fields(header: &SetupHeader) -> Result<(), BadKernel> {
    let bad = |name, value| Err(BadKernel::BadField { name, value });
    let alignment = u64::from(header.kernel_alignment.get());
    if !alignment.is_power_of_two() || !(PAGE..=SANE).contains(&alignment) {
        return bad("kernel_alignment", alignment);
    }
    let init_size = u64::from(header.init_size.get());
    if init_size == 0 || init_size > SANE {
        return bad("init_size", init_size);
    }
    let preferred = header.pref_address.get();
    if !preferred.is_multiple_of(alignment) {
        return bad("pref_address", preferred);
    }
    Ok(())
}

/// Clears what lies behind the header's own end: it is not the header's.
fn cut_to_length(header: &mut SetupHeader) {
    let len = LENGTH_FROM + usize::from(header.jump[1]);
    if let Some(beyond) = header.as_mut_bytes().get_mut(len..) {
        beyond.fill(0);
    }
}

impl fmt::Display for BadKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("its memory cannot be read"),
            Self::NotAKernel(kind) => write!(f, "not a Linux kernel (no boot header){kind}"),
            Self::Truncated { need, have } => {
                write!(f, "truncated: {} needed, {} there", Size(*need), Size(*have))
            }
            Self::TooOld { version } => {
                write!(
                    f,
                    "boot protocol {}.{:02} is too old, 2.12 is needed",
                    version >> 8,
                    version & 0xFF
                )
            }
            Self::LoadsLow => f.write_str("a zImage; a bzImage is needed"),
            Self::No64BitEntry => f.write_str("no 64-bit entry point: is it a 32-bit kernel?"),
            Self::BadField { name, value } => {
                write!(f, "corrupt boot header: {name} is {value:#x}")
            }
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elf => "; it is an ELF file: give the bzImage, not vmlinux",
            Self::Gzip => "; it is a gzip file: are kernel and initrd in the wrong order?",
            Self::Cpio => "; it is a cpio archive: are kernel and initrd in the wrong order?",
            Self::Unknown => "",
        })
    }
}
