//! Where the hypervisor's image lies in memory, as its ELF file says.

use std::ops::Range;

use anyhow::{Context as _, Result};
use harness::Artefacts;
use object::elf::{FileHeader64, PF_X, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSymbol as _};

/// The hypervisor's image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Physical address of the first instruction.
    pub entry: u64,
    /// All of it, physical addresses.
    pub physical: Range<u64>,
    /// Its instructions, virtual addresses.
    pub text: Range<u64>,
    /// Bytes of code and data in the file.
    pub file_bytes: u64,
}

impl Image {
    /// Physical address of an address inside the image.
    pub fn physical_address(&self, address: u64) -> u64 {
        address - self.text.start + self.physical.start
    }

    /// Virtual address of a symbol.
    pub fn symbol(&self, name: &str) -> Result<u64> {
        let path = Artefacts::load()?.hypervisor.with_extension("debug");
        let file = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let file = object::File::parse(file.as_slice())?;
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
        Ok(symbol.with_context(|| format!("{name} is not in {}", path.display()))?.address())
    }

    /// Of the hypervisor that was built.
    pub fn load() -> Result<Self> {
        let file = std::fs::read(Artefacts::load()?.hypervisor)?;
        let header = FileHeader64::<Endianness>::parse(file.as_slice())?;
        let endian = Endianness::Little;
        let segments = header.program_headers(endian, file.as_slice())?;
        let loaded: Vec<_> =
            segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).collect();
        let start = loaded.iter().map(|segment| segment.p_paddr(endian)).min();
        let end =
            loaded.iter().map(|segment| segment.p_paddr(endian) + segment.p_memsz(endian)).max();
        let code = loaded.iter().find(|segment| segment.p_flags(endian) & PF_X != 0);
        let code = code.context("an image has code")?;
        Ok(Self {
            entry: header.e_entry(endian),
            physical: start.context("an image has segments")?
                ..end.context("an image has segments")?,
            text: code.p_vaddr(endian)..code.p_vaddr(endian) + code.p_memsz(endian),
            file_bytes: loaded.iter().map(|segment| segment.p_filesz(endian)).sum(),
        })
    }
}
