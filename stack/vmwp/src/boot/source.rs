//! What a VM starts from. Files are opened once: a reset must not depend on what lies there by then. The VM's own disk is looked
//! at anew at each start, as a machine's firmware does.

use super::from_disk::{BootDisk, Taken, names_root};
use super::{
    BootError, COMMAND_LINE, COMMAND_LINE_MAX, Entry, KernelCache, bzimage, pvh, reset_vector,
};
use crate::acpi::AcpiTables;
use crate::memory::layout::Range;
use crate::memory::{GuestRam, MemoryLayout};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Kernel, initrd and command line.
pub struct BootSource {
    pub(super) kernel: NamedFile,
    pub(super) initrd: Option<NamedFile>,
    pub(super) cmdline: String,
    /// Where kernel and initrd come from at each start, if not from files.
    disk: Option<BootDisk>,
    /// They were just taken from there.
    is_fresh: bool,
    /// Unpacked kernels, if any are kept.
    pub(super) cache: Option<Arc<KernelCache>>,
}

/// An open file and what to call it.
pub(super) struct NamedFile {
    pub(super) file: File,
    pub(super) name: String,
}

impl NamedFile {
    fn open(path: &Path) -> Result<Self, BootError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self { file, name }),
            Err(source) => Err(BootError::Read { file: name, source }),
        }
    }

    fn read_error(&self, source: io::Error) -> BootError {
        BootError::Read { file: self.name.clone(), source }
    }

    /// The first bytes, as many as there are.
    fn head(&mut self, count: usize) -> Result<Vec<u8>, BootError> {
        let mut head = Vec::new();
        let read = self
            .file
            .rewind()
            .and_then(|()| Read::by_ref(&mut self.file).take(count as u64).read_to_end(&mut head));
        read.map_err(|error| self.read_error(error))?;
        Ok(head)
    }

    /// Bytes in the file.
    pub(super) fn size(&self) -> Result<u64, BootError> {
        let data = self.file.metadata().map_err(|error| self.read_error(error))?;
        Ok(data.len())
    }

    /// All of the file to `range` of `memory`.
    pub(super) fn copy_to(
        &mut self,
        memory: &GuestMemoryMmap,
        range: Range,
    ) -> Result<(), BootError> {
        self.file.rewind().map_err(|error| self.read_error(error))?;
        let to = GuestAddress(range.start);
        memory
            .read_exact_volatile_from(to, &mut self.file, range.size() as usize)
            .map_err(|error| self.read_error(io::Error::other(error)))
    }
}

impl BootSource {
    /// Opens the files.
    pub fn open(kernel: &Path, initrd: Option<&Path>, cmdline: &str) -> Result<Self, BootError> {
        check(cmdline)?;
        Ok(Self {
            kernel: NamedFile::open(kernel)?,
            initrd: initrd.map(NamedFile::open).transpose()?,
            cmdline: cmdline.into(),
            disk: None,
            is_fresh: true,
            cache: None,
        })
    }

    /// Takes kernel and initrd from the VM's own disk.
    pub fn of_disk(disk: BootDisk, cmdline: &str) -> Result<Self, BootError> {
        check(cmdline)?;
        let Taken { kernel, initrd, root } = disk.take()?;
        let root = root.filter(|_| !names_root(cmdline)).unwrap_or_default();
        let (cmdline, disk) = (root + cmdline, Some(disk));
        Ok(Self { kernel, initrd, cmdline, disk, is_fresh: true, cache: None })
    }

    /// Keeps its kernels unpacked.
    #[must_use]
    pub fn with_cache(mut self, cache: Option<Arc<KernelCache>>) -> Self {
        self.cache = cache;
        self
    }

    /// Looks at the disk again: the guest may have another kernel by now.
    fn refresh(&mut self) -> Result<(), BootError> {
        if std::mem::take(&mut self.is_fresh) {
            return Ok(());
        }
        if let Some(disk) = &self.disk {
            let taken = disk.take()?;
            (self.kernel, self.initrd) = (taken.kernel, taken.initrd);
        }
        Ok(())
    }

    /// Puts everything into memory.
    pub fn load(
        &mut self,
        layout: &MemoryLayout,
        ram: &GuestRam,
        acpi: &AcpiTables,
    ) -> Result<Entry, BootError> {
        self.refresh()?;
        let head = self.kernel.head(0x206)?;
        let memory = ram.memory();
        reset_vector::write(memory)?;
        if head.starts_with(b"\x7FELF") {
            pvh::load(self, layout, memory, acpi.rsdp())
        } else if head.get(0x202..0x206) == Some(b"HdrS") {
            bzimage::load(self, layout, memory, acpi.rsdp())
        } else {
            Err(BootError::UnknownFormat(self.kernel.name.clone()))
        }
    }

    /// Writes the command line, of which the kernel takes `limit` bytes.
    pub(super) fn write_cmdline(
        &self,
        memory: &GuestMemoryMmap,
        limit: usize,
    ) -> Result<(), BootError> {
        let (length, limit) = (self.cmdline.len(), limit.min(COMMAND_LINE_MAX - 1));
        if length > limit {
            return Err(BootError::CommandLine { length, limit });
        }
        let bytes = [self.cmdline.as_bytes(), &[0]].concat();
        memory.write_slice(&bytes, GuestAddress(COMMAND_LINE)).map_err(write_error)
    }

    /// Puts the initrd, if there is one, between `kernel_end` and `limit`.
    pub(super) fn load_initrd(
        &mut self,
        memory: &GuestMemoryMmap,
        kernel_end: u64,
        limit: u64,
    ) -> Result<Option<Range>, BootError> {
        let Some(initrd) = &mut self.initrd else { return Ok(None) };
        let size = initrd.size()?;
        let range = super::place_initrd(size, kernel_end, limit)
            .map_err(|room| BootError::InitrdTooLarge { file: initrd.name.clone(), size, room })?;
        initrd.copy_to(memory, range)?;
        Ok(Some(range))
    }
}

fn check(cmdline: &str) -> Result<(), BootError> {
    if cmdline.bytes().any(|byte| byte == 0) {
        return Err(BootError::CommandLineZero);
    }
    Ok(())
}

/// Memory that is not there, where we write ourselves.
pub(super) fn write_error(error: impl std::fmt::Display) -> BootError {
    BootError::Write(error.to_string())
}
