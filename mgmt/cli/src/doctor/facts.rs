//! What the doctor knows about a machine. Plain data: gathered in one place, judged in others.

use serde::Serialize;

/// Oldest kernel that can be the parent: the first with the root side of the mshv driver.
pub const OLDEST_KERNEL: (u32, u32) = (6, 15);

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    pub cpu: Cpu,
    /// What is beneath this system, according to CPUID; `None` for bare hardware.
    pub hypervisor: Option<Hypervisor>,
    pub firmware: Firmware,
    pub kernel: Kernel,
    pub device: Device,
    /// The container this process lives in.
    pub container: Option<String>,
    pub boot: Boot,
    /// Effective user id is 0.
    pub is_root: bool,
}

/// The processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// CPUID's vendor string, such as `AuthenticAMD`.
    pub vendor: String,
    /// AMD-V.
    pub svm: bool,
    /// Intel VT-x.
    pub vmx: bool,
    /// AMD-V has nested paging; `None` without AMD-V.
    pub nested_paging: Option<bool>,
}

/// A hypervisor beneath this system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hypervisor {
    /// Signature at CPUID leaf 0x40000000.
    pub signature: String,
    /// Signature of another interface that it offers as well: tells who it is when it speaks Hyper-V's language.
    pub other_signature: Option<String>,
    /// It lets this system create partitions and manage processors: we are its root.
    pub is_root: bool,
    /// Zemin's version, if it is Zemin.
    pub zemin: Option<String>,
}

impl Hypervisor {
    /// The name of the product.
    pub fn name(&self) -> &str {
        if self.zemin.is_some() {
            return "Zemin";
        }
        match self.other_signature.as_deref().unwrap_or(&self.signature) {
            "Microsoft Hv" => "Microsoft Hyper-V",
            "KVMKVMKVM" | "Linux KVM Hv" => "KVM",
            "TCGTCGTCGTCG" => "QEMU (emulation)",
            "VMwareVMware" => "VMware",
            "XenVMMXenVMM" => "Xen",
            "VBoxVBoxVBox" => "VirtualBox",
            "bhyve bhyve" => "bhyve",
            "prl hyperv" | "lrpepyh  vr" => "Parallels",
            "ACRNACRNACRN" => "ACRN",
            "" => "a hypervisor that does not say its name",
            other => other,
        }
    }

    /// It is Microsoft's own, not one that only speaks its language.
    pub fn is_hyper_v(&self) -> bool {
        self.name() == "Microsoft Hyper-V"
    }
}

/// Whether firmware lets virtualization be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    Allows,
    Forbids,
    /// The register could not be read.
    Unknown,
}

/// The running kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// As `uname -r` prints it.
    pub release: String,
    /// CONFIG_MSHV_ROOT.
    pub mshv_root: Configured,
    /// The driver is built in or loaded.
    pub driver_loaded: bool,
}

impl Kernel {
    /// Major and minor version.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Certainly older than [`OLDEST_KERNEL`].
    pub fn is_too_old(&self) -> bool {
        self.version().is_some_and(|version| version < OLDEST_KERNEL)
    }
}

/// State of a kernel option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Configured {
    BuiltIn,
    Module,
    Off,
    /// The configuration could not be found.
    Unknown,
}

/// /dev/mshv.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "error")]
pub enum Device {
    Missing,
    NotPermitted,
    /// It is there but cannot be opened.
    Failed(String),
    /// It opens, but the hypervisor does not answer through it.
    Silent(String),
    Answers,
}

/// What was installed to be booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Boot {
    /// Files of Zemin below /boot.
    pub images: Vec<String>,
    pub menu: Menu,
    /// Firmware checks signatures; `None` if that cannot be found out.
    pub secure_boot: Option<bool>,
}

/// The boot menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "titles")]
pub enum Menu {
    /// There is no GRUB configuration.
    Missing,
    /// It is not for us to read.
    Unreadable,
    /// Titles of the entries that start Zemin, with their submenus: none if empty.
    Entries(Vec<String>),
}
