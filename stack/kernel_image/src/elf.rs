//! The unpacked payload: an ELF file, and the relocations behind it.

use crate::packed::{Packed, UNPACKED_MAX};
use crate::{Error, Kernel, Relocations};
use object::LittleEndian as LE;
use object::elf::{EM_X86_64, ET_EXEC, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

type Header = FileHeader64<LE>;

/// Virtual address at which physical address 0 is linked (`__START_KERNEL_map`).
const KERNEL_MAP: u64 = 0xFFFF_FFFF_8000_0000;

/// Puts the segments where they belong, and reads the relocations.
pub fn load(packed: &Packed<'_>, file: &[u8]) -> Result<Kernel, Error> {
    let header = Header::parse(file).map_err(|_| Error::Elf("it has no ELF header"))?;
    if header.e_machine(LE) != EM_X86_64 || header.e_type(LE) != ET_EXEC {
        return Err(Error::Elf("it is not an x86-64 executable"));
    }
    let segments = header.program_headers(LE, file);
    let segments = segments.map_err(|_| Error::Elf("its program headers are not in the file"))?;
    let segments: Vec<_> = segments.iter().filter(|s| s.p_type(LE) == PT_LOAD).collect();
    let mut image = Vec::new();
    let mut end = sections_end(header)?;
    for segment in &segments {
        let bytes = segment.data(LE, file).map_err(|()| Error::Elf("a segment is cut off"))?;
        let start = segment.p_paddr(LE).checked_sub(packed.base);
        let start = start.ok_or(Error::Elf("a segment lies below its own base"))?;
        let stop = start.checked_add(bytes.len() as u64);
        let stop = stop.filter(|&stop| stop <= packed.init_size.min(UNPACKED_MAX));
        let stop = stop.ok_or(Error::Elf("a segment lies above what it needs"))?;
        if (image.len() as u64) < stop {
            image.resize(stop as usize, 0);
        }
        let place = image.get_mut(start as usize..stop as usize);
        place.ok_or(Error::Elf("a segment lies nowhere"))?.copy_from_slice(bytes);
        let (offset, size) = segment.file_range(LE);
        end = end.max(offset.saturating_add(size));
    }
    let entry = header.e_entry(LE).checked_sub(packed.base);
    let entry = entry.filter(|&entry| entry < image.len() as u64);
    let entry = entry.ok_or(Error::Elf("its entry lies outside of it"))?;
    if !segments.iter().any(|s| s.p_vaddr(LE) == KERNEL_MAP.wrapping_add(packed.base)) {
        return Err(Error::Elf("it is not linked for its base"));
    }
    let behind = usize::try_from(end).ok().and_then(|end| file.get(end..));
    let behind = behind.ok_or(Error::Elf("its sections are cut off"))?;
    let relocations = Relocations::parse(behind, KERNEL_MAP + packed.base, image.len())?;
    Ok(Kernel { base: packed.base, entry, image, relocations })
}

/// First byte behind the section headers, the last thing in the file.
fn sections_end(header: &Header) -> Result<u64, Error> {
    let size = u64::from(header.e_shentsize(LE)) * u64::from(header.e_shnum(LE));
    header.e_shoff(LE).checked_add(size).ok_or(Error::Elf("its sections lie nowhere"))
}
