//! What `cargo xtask build` left in `out/`, and which emulator it found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The content of `out/machine.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Artefacts {
    /// The words that begin a QEMU command.
    pub qemu: Vec<String>,
    /// Environment variables QEMU needs.
    pub qemu_environment: BTreeMap<String, String>,
    /// `out/`.
    pub out: PathBuf,
    /// The hypervisor.
    pub hypervisor: PathBuf,
    /// The parent's kernel.
    pub kernel: PathBuf,
    /// The parent OS's disk image (raw).
    pub rootfs: PathBuf,
    /// The directory of the test kernels (`tests/guests`).
    pub guests: PathBuf,
    /// A static busybox for small guests.
    pub busybox: PathBuf,
    /// The root of the toolbox: a Debian with GRUB, mtools, xorriso and a C compiler.
    pub toolbox: PathBuf,
}

impl Artefacts {
    /// Reads what was built in this tree; `ZEMIN_OUT` names another `out/`.
    pub fn load() -> Result<Self> {
        let path = out_directory().join("machine.json");
        let text = std::fs::read_to_string(&path).map_err(|_| Error::NotBuilt(path.clone()))?;
        serde_json::from_str(&text).map_err(|_| Error::NotBuilt(path))
    }

    /// Writes `machine.json` into `out`.
    pub fn save(&self) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        std::fs::write(self.out.join("machine.json"), text + "\n")
    }
}

fn out_directory() -> PathBuf {
    std::env::var_os("ZEMIN_OUT")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../out"), PathBuf::from)
}
