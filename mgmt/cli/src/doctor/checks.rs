//! What the verdict rests on, line by line.

use super::facts::{
    Boot, Configured, Device, Facts, Firmware, Hypervisor, Kernel, Menu, OLDEST_KERNEL,
};
use serde::Serialize;

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Good,
    Bad,
    /// Could not be found out, or does not matter here.
    Open,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub state: State,
    pub detail: String,
}

/// All checks, from the hypervisor up to the container, then what matters before it can start.
pub fn all(facts: &Facts) -> Vec<Check> {
    let on_zemin = facts.hypervisor.as_ref().is_some_and(|hypervisor| hypervisor.zemin.is_some());
    let mut checks = vec![
        check("hypervisor", hypervisor(facts.hypervisor.as_ref())),
        check("mshv driver", device(facts, on_zemin)),
        check("kernel", kernel(&facts.kernel)),
        check("container", container(facts.container.as_deref())),
    ];
    if !on_zemin {
        checks.push(check("processor", processor(facts)));
        checks.push(check("firmware", firmware(facts.firmware)));
        checks.push(check("installed", installed(facts)));
        checks.push(check("boot entry", menu(facts)));
        checks.push(check("Secure Boot", secure_boot(&facts.boot)));
    }
    checks
}

type Finding = (State, String);

fn check(name: &'static str, (state, detail): Finding) -> Check {
    Check { name, state, detail }
}

fn good(detail: impl Into<String>) -> Finding {
    (State::Good, detail.into())
}

fn bad(detail: impl Into<String>) -> Finding {
    (State::Bad, detail.into())
}

fn open(detail: impl Into<String>) -> Finding {
    (State::Open, detail.into())
}

fn hypervisor(above: Option<&Hypervisor>) -> Finding {
    let Some(above) = above else { return bad("none: this system runs on the bare hardware") };
    match (&above.zemin, above.is_root) {
        (Some(version), true) => {
            good(format!("Zemin {version}, with this system as its parent partition"))
        }
        (Some(version), false) => {
            bad(format!("Zemin {version}, with this system as a child partition"))
        }
        (None, true) => bad(format!("{}, with this system as its root", above.name())),
        (None, false) => bad(format!("{}: this system is a virtual machine", above.name())),
    }
}

fn device(facts: &Facts, on_zemin: bool) -> Finding {
    match &facts.device {
        Device::Answers => good("/dev/mshv answers"),
        Device::NotPermitted => open("/dev/mshv is there; only root may use it"),
        Device::Failed(error) => bad(format!("/dev/mshv is there, but fails: {error}")),
        Device::Silent(error) => {
            bad(format!("/dev/mshv opens, but the hypervisor does not answer: {error}"))
        }
        Device::Missing if on_zemin => bad("/dev/mshv does not exist"),
        Device::Missing => open("/dev/mshv appears once the hypervisor runs"),
    }
}

fn kernel(kernel: &Kernel) -> Finding {
    let release = if kernel.release.is_empty() { "unknown release" } else { &kernel.release };
    let (major, minor) = OLDEST_KERNEL;
    if kernel.is_too_old() {
        return bad(format!("{release} is older than {major}.{minor} and cannot be the parent"));
    }
    match kernel.mshv_root {
        Configured::BuiltIn => good(format!("{release} has the mshv driver built in")),
        Configured::Module if kernel.driver_loaded => {
            good(format!("{release} has the mshv driver loaded"))
        }
        Configured::Module => {
            open(format!("{release} has the mshv driver as a module, not loaded"))
        }
        Configured::Off => {
            bad(format!("{release} was built without CONFIG_MSHV_ROOT and cannot be the parent"))
        }
        Configured::Unknown if kernel.driver_loaded => {
            good(format!("{release} has the mshv driver loaded"))
        }
        Configured::Unknown => open(format!("{release}; its configuration was not found")),
    }
}

fn container(kind: Option<&str>) -> Finding {
    kind.map_or_else(
        || good("none"),
        |kind| bad(format!("{kind}: devices and boot files of the machine are hidden here")),
    )
}

fn processor(facts: &Facts) -> Finding {
    let cpu = &facts.cpu;
    match (cpu.svm, cpu.nested_paging) {
        (true, Some(false)) => bad(format!("{}: AMD-V (SVM) without nested paging", cpu.vendor)),
        (true, _) => good(format!("{}: AMD-V (SVM) with nested paging", cpu.vendor)),
        _ if cpu.vmx => bad(format!("{}: Intel VT-x, not supported by this release", cpu.vendor)),
        _ if facts.hypervisor.is_some() => {
            bad(format!("{}: the outer hypervisor offers no virtualization", cpu.vendor))
        }
        _ => bad(format!("{}: no virtualization", cpu.vendor)),
    }
}

fn firmware(firmware: Firmware) -> Finding {
    match firmware {
        Firmware::Allows => good("virtualization is enabled"),
        Firmware::Forbids => bad("virtualization is disabled"),
        Firmware::Unknown => open("unknown: needs root and the msr module (modprobe msr)"),
    }
}

fn installed(facts: &Facts) -> Finding {
    match facts.boot.images.as_slice() {
        [] if facts.container.is_some() => open("cannot be seen from inside a container"),
        [] => bad("no /boot/zemin*"),
        images => good(images.join(", ")),
    }
}

fn menu(facts: &Facts) -> Finding {
    match &facts.boot.menu {
        _ if facts.container.is_some() => open("cannot be seen from inside a container"),
        Menu::Missing => open("there is no GRUB configuration"),
        Menu::Unreadable => open("only root may read GRUB's configuration"),
        Menu::Entries(titles) => match titles.as_slice() {
            [] => bad("no entry of GRUB's menu starts Zemin"),
            titles => good(format!("\"{}\"", titles.join("\", \""))),
        },
    }
}

fn secure_boot(boot: &Boot) -> Finding {
    match boot.secure_boot {
        Some(true) => bad("on: the boot loader starts signed kernels only"),
        Some(false) => good("off"),
        None => open("unknown"),
    }
}
