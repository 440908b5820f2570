//! The description of a machine: what a test says before it boots.

use std::path::PathBuf;

use crate::artefacts::Artefacts;
use crate::error::Result;
use crate::running::Running;

/// The controller that the parent's disk hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Disk {
    /// virtio-blk over PCI.
    #[default]
    Virtio,
    /// An NVMe controller.
    Nvme,
    /// The AHCI controller of the q35 chipset.
    Ahci,
}

/// The machine's network card; QEMU's user-mode network is behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Nic {
    /// virtio-net over PCI.
    #[default]
    Virtio,
    /// Intel 82574.
    E1000e,
    /// No card.
    None,
}

/// What happens when the guest resets the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnReset {
    /// The emulator ends: a triple fault is seen at once instead of booting for ever.
    #[default]
    Exit,
    /// It boots again, as hardware does.
    Restart,
}

/// What the hypervisor is asked to start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Parent {
    /// The root kernel with the parent OS on a disk.
    #[default]
    Debian,
    /// The root kernel (or [`Machine::kernel`]) with this initial RAM file system and no disk.
    Initramfs(PathBuf),
    /// Only the kernel: for test kernels that need nothing else.
    KernelOnly,
    /// No module at all, which is an error that the hypervisor has to report.
    Nothing,
}

/// What the firmware boots from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Media {
    /// QEMU's own loader, which speaks Multiboot 1.
    #[default]
    Direct,
    /// A CD image, started by the BIOS.
    Cdrom(PathBuf),
    /// A CD image, started by UEFI.
    CdromUefi(PathBuf),
}

/// A machine to be booted. Defaults: Zemin with one LP and 2 GiB, Debian as the parent on virtio devices.
#[derive(Clone, Debug)]
#[must_use = "a description does nothing until it is booted"]
pub struct Machine {
    pub(crate) name: Option<String>,
    pub(crate) lps: u32,
    pub(crate) memory_mib: u32,
    pub(crate) disk: Disk,
    pub(crate) nic: Nic,
    pub(crate) forward_ssh: Option<u16>,
    pub(crate) bare: bool,
    pub(crate) icount: bool,
    pub(crate) one_thread: bool,
    pub(crate) xapic: bool,
    pub(crate) persist: bool,
    pub(crate) vga: bool,
    pub(crate) paused: bool,
    pub(crate) on_reset: OnReset,
    pub(crate) parent: Parent,
    pub(crate) child_disk: Option<PathBuf>,
    pub(crate) media: Media,
    pub(crate) hypervisor: Option<PathBuf>,
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) hv_args: Vec<String>,
    pub(crate) parent_args: Vec<String>,
    pub(crate) cpu: Vec<String>,
    pub(crate) extra: Vec<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            name: None,
            lps: 1,
            memory_mib: 2048,
            disk: Disk::default(),
            nic: Nic::default(),
            forward_ssh: None,
            bare: false,
            icount: false,
            one_thread: std::env::var("ZEMIN_TCG_THREADS").is_ok_and(|wanted| wanted == "single"),
            xapic: false,
            persist: false,
            vga: false,
            paused: false,
            on_reset: OnReset::default(),
            parent: Parent::default(),
            child_disk: None,
            media: Media::default(),
            hypervisor: None,
            kernel: None,
            hv_args: Vec::new(),
            parent_args: Vec::new(),
            cpu: Vec::new(),
            extra: Vec::new(),
        }
    }
}

impl Machine {
    /// The default machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of its directory under `out/test-logs/`; by default the test's.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// How many LPs.
    pub fn lps(self, lps: u32) -> Self {
        Self { lps, ..self }
    }

    /// How much RAM.
    pub fn memory_mib(self, memory_mib: u32) -> Self {
        Self { memory_mib, ..self }
    }

    /// The controller of the parent's disk.
    pub fn disk(self, disk: Disk) -> Self {
        Self { disk, ..self }
    }

    /// The network card.
    pub fn nic(self, nic: Nic) -> Self {
        Self { nic, ..self }
    }

    /// Forwards this TCP port of the host's loopback to the parent's ssh.
    pub fn forward_ssh(self, port: u16) -> Self {
        Self { forward_ssh: Some(port), ..self }
    }

    /// The same kernel straight on the emulated hardware, without the hypervisor.
    pub fn bare(self, bare: bool) -> Self {
        Self { bare, ..self }
    }

    /// Guest time is an instruction count: 1 ns each, a wait costs nothing. One host thread runs all LPs.
    pub fn icount(self, icount: bool) -> Self {
        Self { icount, ..self }
    }

    /// One host thread runs all LPs, in turns.
    pub fn one_thread(self, one_thread: bool) -> Self {
        Self { one_thread, ..self }
    }

    /// LPs without x2APIC.
    pub fn xapic(self, xapic: bool) -> Self {
        Self { xapic, ..self }
    }

    /// Writes to the parent's disk stay, instead of going to an overlay that is thrown away.
    pub fn persist(self, persist: bool) -> Self {
        Self { persist, ..self }
    }

    /// Gives the machine a VGA card, for screen dumps.
    pub fn vga(self, vga: bool) -> Self {
        Self { vga, ..self }
    }

    /// Starts stopped, before the first instruction; the monitor's `cont` lets it go.
    pub fn paused(self, paused: bool) -> Self {
        Self { paused, ..self }
    }

    /// What a reset does.
    pub fn on_reset(self, on_reset: OnReset) -> Self {
        Self { on_reset, ..self }
    }

    /// What the hypervisor is to start.
    pub fn parent(self, parent: Parent) -> Self {
        Self { parent, ..self }
    }

    /// A disk with a child's image (`out/children/debian.img`): Debian as the parent starts that child when it boots.
    pub fn child_disk(self, image: impl Into<PathBuf>) -> Self {
        Self { child_disk: Some(image.into()), ..self }
    }

    /// What the firmware boots from. With anything but [`Media::Direct`] the medium itself says what is
    /// started with which arguments.
    pub fn media(self, media: Media) -> Self {
        Self { media, ..self }
    }

    /// Another hypervisor binary than the built one.
    pub fn hypervisor(self, path: impl Into<PathBuf>) -> Self {
        Self { hypervisor: Some(path.into()), ..self }
    }

    /// Another kernel than the root kernel.
    pub fn kernel(self, path: impl Into<PathBuf>) -> Self {
        Self { kernel: Some(path.into()), ..self }
    }

    /// An initial RAM file system instead of the parent OS's disk.
    pub fn initrd(self, path: impl Into<PathBuf>) -> Self {
        Self { parent: Parent::Initramfs(path.into()), ..self }
    }

    /// Adds to the hypervisor's command line.
    pub fn hv_args(mut self, arguments: &str) -> Self {
        self.hv_args.push(arguments.to_owned());
        self
    }

    /// Adds to the parent kernel's command line.
    pub fn parent_args(mut self, arguments: &str) -> Self {
        self.parent_args.push(arguments.to_owned());
        self
    }

    /// Adds to the CPU model, for example `-npt` or `+pcid`.
    pub fn cpu(mut self, flag: &str) -> Self {
        self.cpu.push(flag.to_owned());
        self
    }

    /// Adds words to QEMU's command.
    pub fn extra<I: IntoIterator<Item: Into<String>>>(mut self, words: I) -> Self {
        self.extra.extend(words.into_iter().map(Into::into));
        self
    }

    /// The QEMU command of this machine but for its serial ports and monitor, which are the caller's.
    pub fn command(&self, artefacts: &Artefacts) -> Result<Vec<String>> {
        crate::command::words(self, artefacts)
    }

    /// Powers it on.
    pub fn boot(self) -> Result<Running> {
        Running::power_on(self, &Artefacts::load()?)
    }

    /// Powers it on with other things than `out/` has.
    pub fn boot_with(self, artefacts: &Artefacts) -> Result<Running> {
        Running::power_on(self, artefacts)
    }
}
