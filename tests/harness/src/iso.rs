//! Bootable CD images with GRUB, for BIOS and UEFI: the way Zemin is started on hardware.

use std::path::{Path, PathBuf};

use crate::artefacts::Artefacts;
use crate::error::{Error, Result};
use crate::toolbox::Toolbox;

/// What GRUB loads, and with which words.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is written until `write` is called"]
pub struct Iso {
    hypervisor: Option<PathBuf>,
    hv_args: String,
    modules: Vec<(PathBuf, String)>,
    commands: String,
}

impl Iso {
    /// The built hypervisor with its console on the first serial port, and no module.
    pub fn new() -> Self {
        Self { hv_args: "console=com1 exit_port=0xf4".to_owned(), ..Self::default() }
    }

    /// Another hypervisor than the built one.
    pub fn hypervisor(self, path: impl Into<PathBuf>) -> Self {
        Self { hypervisor: Some(path.into()), ..self }
    }

    /// Adds to the hypervisor's command line.
    pub fn hv_args(self, arguments: &str) -> Self {
        Self { hv_args: format!("{} {arguments}", self.hv_args), ..self }
    }

    /// Adds a module: first the parent's kernel with its command line, then its initrd.
    pub fn module(mut self, path: impl Into<PathBuf>, arguments: &str) -> Self {
        self.modules.push((path.into(), arguments.to_owned()));
        self
    }

    /// Adds GRUB commands before the loading ones.
    pub fn commands(self, commands: &str) -> Self {
        Self { commands: format!("{}{commands}\n", self.commands), ..self }
    }

    /// Makes the image and returns `path`.
    pub fn write(self, path: impl Into<PathBuf>) -> Result<PathBuf> {
        let (path, artefacts) = (path.into(), Artefacts::load()?);
        let work = tempfile::tempdir().map_err(Error::io("a temporary directory"))?;
        let (tree, made) = (work.path().join("tree"), work.path().join("image.iso"));
        std::fs::create_dir_all(tree.join("boot/grub"))
            .map_err(Error::io("a temporary directory"))?;
        let hypervisor = self.hypervisor.as_deref().unwrap_or(&artefacts.hypervisor);
        copy(hypervisor, &tree.join("zemin"))?;
        for (index, (module, _)) in self.modules.iter().enumerate() {
            copy(module, &tree.join(format!("module{index}")))?;
        }
        std::fs::write(tree.join("boot/grub/grub.cfg"), self.configuration())
            .map_err(Error::io("writing grub.cfg"))?;
        make(&Toolbox::at(&artefacts.toolbox), work.path())?;
        copy(&made, &path)?;
        Ok(path)
    }

    fn configuration(&self) -> String {
        let mut text = format!("{}multiboot2 /zemin {}\n", self.commands, self.hv_args);
        for (index, (_, arguments)) in self.modules.iter().enumerate() {
            text.push_str(format!("module2 /module{index} {arguments}").trim_end());
            text.push('\n');
        }
        text + "boot\n"
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Err(Error::NotBuilt(from.to_owned()));
    }
    std::fs::copy(from, to).map(drop).map_err(Error::io(format!("copying {}", from.display())))
}

fn make(toolbox: &Toolbox, work: &Path) -> Result<()> {
    let words = ["grub-mkrescue", "--compress=no", "-o", "/work/image.iso", "/work/tree"];
    let made = toolbox.enter(work, &words).output().map_err(Error::io("starting grub-mkrescue"))?;
    if made.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&made.stderr).into_owned();
    Err(Error::Io { what: "grub-mkrescue".to_owned(), source: std::io::Error::other(words) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_loads_modules_in_order() {
        let iso =
            Iso::new().hv_args("loglevel=debug").module("/k", "root=/dev/vda").module("/i", "");
        assert_eq!(
            iso.configuration(),
            "multiboot2 /zemin console=com1 exit_port=0xf4 loglevel=debug\nmodule2 /module0 root=/dev/vda\nmodule2 /module1\nboot\n"
        );
    }
}
