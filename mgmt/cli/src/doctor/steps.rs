//! What to do about it, in order.

use super::facts::{Configured, Facts, Hypervisor, Menu, OLDEST_KERNEL};
use super::verdict::Verdict;

/// Steps towards a running hypervisor, or towards seeing one. Empty when there is nothing to do.
pub fn for_verdict(verdict: Verdict, facts: &Facts) -> Vec<String> {
    let above = facts.hypervisor.as_ref().map_or("the outer hypervisor", Hypervisor::name);
    match verdict {
        Verdict::Running => Vec::new(),
        Verdict::RunningNotPermitted => steps(&["Run zm as root, for example: sudo zm hv status"]),
        Verdict::RunningInContainer => steps(&[
            "Run zm in the parent itself, outside the container, or start the container with /dev/mshv passed in.",
        ]),
        Verdict::DriverKernelTooOld | Verdict::DriverNotBuilt => {
            vec![fit_kernel(), reboot_with_zemin(facts)]
        }
        Verdict::DriverNotLoaded => steps(&[
            "Load the driver: modprobe mshv_root",
            "If there is no such module, this kernel was built without it: install one that has CONFIG_MSHV_ROOT.",
            "To load it at each boot: echo mshv_root > /etc/modules-load.d/mshv.conf",
        ]),
        Verdict::DriverFailed => steps(&[
            "See what the driver said: dmesg | grep -i -e mshv -e hyper-v",
            "Check that zm and the hypervisor are of the same release: zm --version",
        ]),
        Verdict::Child => {
            steps(&["Run zm in the parent partition, where this virtual machine is managed."])
        }
        Verdict::HyperVRoot => steps(&[
            "Boot this machine by an entry that starts Zemin instead of Microsoft's hypervisor.",
        ]),
        Verdict::IntelProcessor | Verdict::NoSvm | Verdict::NoNestedPaging => steps(&[
            "Use a machine with an AMD processor that has AMD-V with nested paging (any since about 2010).",
        ]),
        Verdict::NestedWithoutSvm => vec![format!(
            "If the machine below has an AMD processor, let {above} offer nested virtualization to this virtual machine; \
             otherwise use real hardware."
        )],
        Verdict::DisabledByFirmware => steps(&[
            "Restart the machine and enter its firmware setup (BIOS/UEFI).",
            "Enable \"SVM Mode\" (also called AMD-V or virtualization; often under CPU or advanced settings).",
            "Save, switch the machine off and on again, and run zm doctor.",
        ]),
        Verdict::InContainer => {
            steps(&["Run zm doctor on the machine itself, outside the container."])
        }
        Verdict::NotInstalled
        | Verdict::NotInBootMenu
        | Verdict::SecureBoot
        | Verdict::NotBooted => to_boot(verdict, facts),
    }
}

/// Everything that is still missing before Zemin can be booted, then the boot itself.
fn to_boot(verdict: Verdict, facts: &Facts) -> Vec<String> {
    let mut steps = Vec::new();
    if facts.kernel.is_too_old() || facts.kernel.mshv_root == Configured::Off {
        steps.push(fit_kernel());
    }
    if verdict == Verdict::NotInstalled {
        steps.push("Install Zemin: the hypervisor goes to /boot, beside the kernels.".to_owned());
    }
    if matches!(verdict, Verdict::NotInstalled | Verdict::NotInBootMenu) {
        steps.push("Add it to the boot menu: update-grub".to_owned());
    }
    if facts.boot.secure_boot == Some(true) {
        steps.push("Switch Secure Boot off in the firmware setup (BIOS/UEFI).".to_owned());
    }
    steps.push(reboot_with_zemin(facts));
    steps
}

fn fit_kernel() -> String {
    let (major, minor) = OLDEST_KERNEL;
    format!(
        "Install a kernel of version {major}.{minor} or later that was built with CONFIG_MSHV_ROOT, to be the parent."
    )
}

fn reboot_with_zemin(facts: &Facts) -> String {
    match &facts.boot.menu {
        Menu::Entries(titles) if !titles.is_empty() => {
            let title = titles.first().map_or("", String::as_str).replace('\'', r"'\''");
            format!(
                "Reboot into it: grub-reboot '{title}' && reboot (or choose that entry in the boot menu)"
            )
        }
        _ => "Reboot, and choose the entry with Zemin in the boot menu.".to_owned(),
    }
}

fn steps(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
