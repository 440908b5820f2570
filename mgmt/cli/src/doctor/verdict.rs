//! The one answer: is the hypervisor running, and if not, what stands first in its way.

use super::facts::{Configured, Device, Facts, Firmware, Hypervisor, Menu};
use serde::Serialize;

/// What is the matter, or that nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Zemin runs, and this system is its parent with all it needs.
    Running,
    /// The same, but this user may not ask the hypervisor.
    RunningNotPermitted,
    /// Zemin runs, but not for the inside of this container.
    RunningInContainer,
    /// Zemin runs; the parent's kernel is too old for the driver.
    DriverKernelTooOld,
    /// Zemin runs; the parent's kernel was built without the driver.
    DriverNotBuilt,
    /// Zemin runs; the driver is a module that nobody has loaded.
    DriverNotLoaded,
    /// Zemin runs; the driver is there but its device is not, or cannot be used.
    DriverFailed,
    /// This system is a child partition of Zemin.
    Child,
    /// Microsoft's hypervisor is in Zemin's place, with this system as its root.
    HyperVRoot,
    /// An Intel processor.
    IntelProcessor,
    /// A virtual machine whose hypervisor does not pass AMD-V on.
    NestedWithoutSvm,
    /// A processor without AMD-V.
    NoSvm,
    /// AMD-V, but switched off.
    DisabledByFirmware,
    /// AMD-V of the first generation.
    NoNestedPaging,
    /// A container: how the machine boots cannot be seen from here.
    InContainer,
    /// Zemin is not installed.
    NotInstalled,
    /// Zemin is installed, but no boot entry starts it.
    NotInBootMenu,
    /// All is there, but Secure Boot keeps the boot loader from starting it.
    SecureBoot,
    /// All is there; another boot entry was started.
    NotBooted,
}

impl Verdict {
    /// The verdict on `facts`: the first obstacle, from the processor upwards.
    pub fn of(facts: &Facts) -> Self {
        match &facts.hypervisor {
            Some(hypervisor) if hypervisor.zemin.is_some() && hypervisor.is_root => {
                Self::of_parent(facts)
            }
            Some(hypervisor) if hypervisor.zemin.is_some() => Self::Child,
            Some(hypervisor) if hypervisor.is_hyper_v() && hypervisor.is_root => Self::HyperVRoot,
            above => {
                Self::of_processor(facts, above.as_ref()).unwrap_or_else(|| Self::of_boot(facts))
            }
        }
    }

    fn of_parent(facts: &Facts) -> Self {
        match (&facts.device, facts.kernel.mshv_root) {
            (Device::Answers, _) => Self::Running,
            (Device::NotPermitted, _) if !facts.is_root => Self::RunningNotPermitted,
            (_, _) if facts.container.is_some() => Self::RunningInContainer,
            (Device::Missing, _) if facts.kernel.is_too_old() => Self::DriverKernelTooOld,
            (Device::Missing, Configured::Off) => Self::DriverNotBuilt,
            (Device::Missing, Configured::Module | Configured::Unknown)
                if !facts.kernel.driver_loaded =>
            {
                Self::DriverNotLoaded
            }
            _ => Self::DriverFailed,
        }
    }

    fn of_processor(facts: &Facts, above: Option<&Hypervisor>) -> Option<Self> {
        let cpu = &facts.cpu;
        if cpu.vendor == "GenuineIntel" || (cpu.vmx && !cpu.svm) {
            Some(Self::IntelProcessor)
        } else if !cpu.svm {
            Some(if above.is_some() { Self::NestedWithoutSvm } else { Self::NoSvm })
        } else if facts.firmware == Firmware::Forbids {
            Some(Self::DisabledByFirmware)
        } else if cpu.nested_paging == Some(false) {
            Some(Self::NoNestedPaging)
        } else {
            None
        }
    }

    fn of_boot(facts: &Facts) -> Self {
        let boot = &facts.boot;
        let has_entry = matches!(&boot.menu, Menu::Entries(titles) if !titles.is_empty());
        let may_have_entry = has_entry || boot.menu == Menu::Unreadable;
        if facts.container.is_some() {
            Self::InContainer
        } else if boot.images.is_empty() && !has_entry {
            Self::NotInstalled
        } else if !may_have_entry {
            Self::NotInBootMenu
        } else if boot.secure_boot == Some(true) {
            Self::SecureBoot
        } else {
            Self::NotBooted
        }
    }

    /// Zemin runs beneath this system as its parent, and the driver is there.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::RunningNotPermitted)
    }

    /// The verdict in plain words.
    pub fn sentence(self, facts: &Facts) -> String {
        let version = facts
            .hypervisor
            .as_ref()
            .and_then(|hypervisor| hypervisor.zemin.as_deref())
            .unwrap_or("?");
        let above = facts.hypervisor.as_ref().map_or("a hypervisor", Hypervisor::name);
        let container = facts.container.as_deref().unwrap_or("unknown");
        match self {
            Self::Running => format!("Zemin {version} is running, and this system is its parent partition."),
            Self::RunningNotPermitted => {
                format!("Zemin {version} is running; as this user you may not ask it about itself.")
            }
            Self::RunningInContainer => {
                format!("Zemin {version} is running on this machine, but this container ({container}) has no access to it.")
            }
            Self::DriverKernelTooOld => format!(
                "Zemin {version} is running, but this kernel ({}) is too old to have the mshv driver.",
                facts.kernel.release
            ),
            Self::DriverNotBuilt => {
                format!("Zemin {version} is running, but this kernel was built without the mshv driver.")
            }
            Self::DriverNotLoaded => format!("Zemin {version} is running, but the mshv driver is not loaded."),
            Self::DriverFailed => format!("Zemin {version} is running, but the mshv driver does not work."),
            Self::Child => format!("This system is a virtual machine (child partition) on Zemin {version}, not its parent."),
            Self::HyperVRoot => {
                "Zemin is not running: another hypervisor, Microsoft's, runs beneath this system.".to_owned()
            }
            Self::IntelProcessor => {
                "Zemin cannot run here: this is an Intel processor, and this release supports AMD only.".to_owned()
            }
            Self::NestedWithoutSvm => {
                format!("Zemin cannot run here: this is a virtual machine, and {above} does not pass AMD-V on to it.")
            }
            Self::NoSvm => "Zemin cannot run here: this processor has no AMD-V (SVM).".to_owned(),
            Self::DisabledByFirmware => {
                "Zemin cannot run: the processor has AMD-V (SVM), but the firmware disabled it.".to_owned()
            }
            Self::NoNestedPaging => {
                "Zemin cannot run here: this processor's AMD-V has no nested paging (NPT).".to_owned()
            }
            Self::InContainer => {
                format!("Zemin is not running, and from inside a container ({container}) it cannot be seen why.")
            }
            Self::NotInstalled => "Zemin is not running: it is not installed.".to_owned(),
            Self::NotInBootMenu => "Zemin is not running: it is installed, but no boot entry starts it.".to_owned(),
            Self::SecureBoot => "Zemin is not running: Secure Boot keeps the boot loader from starting it.".to_owned(),
            Self::NotBooted => "Zemin is not running: it is installed, but another boot entry was started.".to_owned(),
        }
    }
}
