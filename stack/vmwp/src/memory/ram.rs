//! The guest's RAM: anonymous memory of this process.
//!
//! Not a memfd: nobody shares it, and where it is left to the system, transparent huge pages come for anonymous memory
//! by default and for shared memory hardly anywhere. Large pages here are large pages in the guest's second-level
//! tables.
#![expect(unsafe_code, reason = "advises the kernel about a range that only an address names")]

use super::layout::MemoryLayout;
use rustix::mm::{Advice, madvise};
use std::sync::Arc;
use thiserror::Error;
use vid::partition::MemoryMapping;
use vid::{Gpa, Partition, VidResult};
use vm_memory::mmap::MmapRegionError;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MmapRegion};

/// Why there is no memory for the guest.
#[derive(Debug, Error)]
pub enum RamError {
    /// The system refused.
    #[error("cannot get {size} bytes of guest memory{}", hint(*.huge))]
    Map {
        /// Bytes.
        size: u64,
        /// From the pool of huge pages.
        huge: bool,
        /// Why.
        source: MmapRegionError,
    },
    /// The regions do not fit together.
    #[error("cannot put guest memory together: {0}")]
    Assemble(String),
}

fn hint(huge: bool) -> &'static str {
    if huge { " in huge pages (are there enough in /proc/sys/vm/nr_hugepages?)" } else { "" }
}

/// The guest's RAM.
#[derive(Clone)]
pub struct GuestRam {
    memory: Arc<GuestMemoryMmap>,
}

impl GuestRam {
    /// RAM for every range of `layout`, all zero. With `huge`, from the system's pool of 2 MiB pages, reserved now.
    pub fn new(layout: &MemoryLayout, huge: bool) -> Result<Self, RamError> {
        let regions = layout.ram().into_iter().map(|range| region(range.start, range.size(), huge));
        let memory = GuestMemoryMmap::from_regions(regions.collect::<Result<_, _>>()?)
            .map_err(|error| RamError::Assemble(error.to_string()))?;
        Ok(Self { memory: Arc::new(memory) })
    }

    /// The memory, for reading and writing by guest-physical address.
    pub fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// Shows all of it to the guest, writable and executable.
    pub fn map_into(&self, partition: &dyn Partition) -> VidResult<()> {
        self.mappings().iter().try_for_each(|mapping| partition.map_memory(mapping))
    }

    fn mappings(&self) -> Vec<MemoryMapping> {
        let mapping = |region: &GuestRegionMmap| MemoryMapping {
            gpa: Gpa(region.start_addr().0),
            size: region.len(),
            host_address: region.as_ptr() as u64,
            writable: true,
            executable: true,
        };
        use vm_memory::GuestMemoryBackend;
        self.memory.iter().map(mapping).collect()
    }
}

/// A region of RAM at `gpa`.
fn region(gpa: u64, size: u64, huge: bool) -> Result<GuestRegionMmap, RamError> {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // Huge pages are reserved with the mapping, so that a lack of them shows here and not in the running guest.
    let pages = if huge { libc::MAP_HUGETLB | libc::MAP_HUGE_2MB } else { libc::MAP_NORESERVE };
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let map = MmapRegion::build(None, size as usize, access, kind | pages);
    let mut map = map.map_err(|source| RamError::Map { size, huge, source })?;
    map.set_hugetlbfs(huge);
    if !huge {
        prefer_large_pages(&map);
    }
    GuestRegionMmap::new(map, GuestAddress(gpa))
        .ok_or_else(|| RamError::Assemble(format!("region at {gpa:#x} has no end")))
}

/// Where the system has transparent huge pages, guest RAM is what they are for.
fn prefer_large_pages(map: &MmapRegion) {
    // SAFETY: the range is exactly the mapping, which nobody uses yet; the advice changes no contents.
    let advised = unsafe { madvise(map.as_ptr().cast(), map.size(), Advice::LinuxHugepage) };
    if let Err(error) = advised {
        tracing::debug!(%error, "no transparent huge pages for guest memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vid::fake::FakePartition;
    use vm_memory::Bytes;

    #[test]
    fn ram_is_zero_writable_and_shown_to_the_guest_as_laid_out() {
        // Nothing of the four GiB is touched but two pages.
        let layout = MemoryLayout::new(4 << 30).unwrap();
        let ram = GuestRam::new(&layout, false).unwrap();
        let above = GuestAddress((4 << 30) + 0x1000);
        assert_eq!(ram.memory().read_obj::<u64>(above).unwrap(), 0);
        ram.memory().write_obj(0x55AAu16, above).unwrap();
        assert_eq!(ram.memory().read_obj::<u64>(above).unwrap(), 0x55AA);
        assert!(ram.memory().read_obj::<u8>(GuestAddress(0xC000_0000)).is_err(), "the hole");
        let partition = FakePartition::new();
        ram.map_into(&partition).unwrap();
        let mappings = partition.mappings();
        assert_eq!(mappings.len(), 2);
        assert_eq!((mappings[1].gpa, mappings[1].size), (Gpa(4 << 30), 1 << 30));
        assert!(mappings.iter().all(|map| map.writable && map.executable));
        assert!(mappings.iter().all(|map| map.host_address.is_multiple_of(4096)));
    }

    #[test]
    fn huge_pages_that_are_not_there_are_an_error_now() {
        let nobody_has_this = MemoryLayout::new(1 << 43).unwrap();
        let error = GuestRam::new(&nobody_has_this, true).err().unwrap();
        assert!(error.to_string().starts_with("cannot "), "{error}");
    }
}
