//! Kernel and initrd out of the VM's own disk.

use super::BootError;
use super::source::NamedFile;
use boot_disk::{BootFile, ReadAt};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// A disk to boot from, and what to call it.
#[derive(Clone)]
pub struct BootDisk {
    /// The disk.
    pub disk: Arc<dyn ReadAt>,
    /// The file it is in.
    pub name: String,
}

/// What was on it.
pub(super) struct Taken {
    pub(super) kernel: NamedFile,
    pub(super) initrd: Option<NamedFile>,
    /// What tells the kernel where its root is.
    pub(super) root: Option<String>,
}

impl BootDisk {
    /// Reads what the disk's system would start now.
    pub(super) fn take(&self) -> Result<Taken, BootError> {
        let found = boot_disk::find(&self.disk)
            .map_err(|source| BootError::Disk { disk: self.name.clone(), source })?;
        let initrd = found.initrd.map(|file| self.keep(&file)).transpose()?;
        // Only an initrd knows file systems by their UUIDs.
        let root = found.root_uuid.filter(|_| initrd.is_some());
        let root = root.map(|uuid| format!("root=UUID={uuid} "));
        tracing::info!(disk = self.name, kernel = found.kernel.path, "boots from its disk");
        Ok(Taken { kernel: self.keep(&found.kernel)?, initrd, root })
    }

    /// In memory, as a file, which is what loaders take.
    fn keep(&self, file: &BootFile) -> Result<NamedFile, BootError> {
        let name = format!("{} on {}", file.path, self.name);
        let keep = || -> std::io::Result<File> {
            let mut memory = File::from(memfd_create("boot", MemfdFlags::CLOEXEC)?);
            memory.write_all(&file.bytes)?;
            Ok(memory)
        };
        match keep() {
            Ok(file) => Ok(NamedFile { file, name }),
            Err(source) => Err(BootError::Read { file: name, source }),
        }
    }
}

/// Whether a kernel's command line says where its root is.
pub(super) fn names_root(cmdline: &str) -> bool {
    cmdline.split_ascii_whitespace().any(|word| word.starts_with("root="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_a_word_of_its_own() {
        assert!(names_root("quiet root=/dev/sda") && names_root("root=UUID=1"));
        assert!(!names_root("") && !names_root("nfsroot=x rootwait myroot=1"));
    }
}
