//! One test for each situation that the doctor tells apart.

use super::checks::State;
use super::facts::{Boot, Configured, Cpu, Device, Facts, Firmware, Hypervisor, Kernel, Menu};
use super::verdict::Verdict;
use super::{Report, diagnose, render};

/// A machine on which everything is ready and Zemin was simply not booted.
fn ready() -> Facts {
    Facts {
        cpu: Cpu {
            vendor: "AuthenticAMD".into(),
            svm: true,
            vmx: false,
            nested_paging: Some(true),
        },
        hypervisor: None,
        firmware: Firmware::Allows,
        kernel: Kernel {
            release: "6.19.2-zemin".into(),
            mshv_root: Configured::BuiltIn,
            driver_loaded: true,
        },
        device: Device::Missing,
        container: None,
        boot: Boot {
            images: vec!["/boot/zemin-0.1".into()],
            menu: Menu::Entries(vec!["Debian on Zemin".into()]),
            secure_boot: Some(false),
        },
        is_root: true,
    }
}

fn above(signature: &str) -> Option<Hypervisor> {
    Some(Hypervisor {
        signature: signature.into(),
        other_signature: None,
        is_root: false,
        zemin: None,
    })
}

fn zemin(is_root: bool) -> Option<Hypervisor> {
    let zemin = Some("0.1.0".into());
    Some(Hypervisor { signature: "Microsoft Hv".into(), other_signature: None, is_root, zemin })
}

/// The parent on Zemin, with AMD-V hidden from it.
fn parent() -> Facts {
    let cpu = Cpu { vendor: "AuthenticAMD".into(), svm: false, vmx: false, nested_paging: None };
    Facts { cpu, hypervisor: zemin(true), device: Device::Answers, ..ready() }
}

fn with(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Report {
    change(&mut facts);
    diagnose(facts)
}

/// The verdict is `expected`, and what is said and advised holds each of `words`.
#[track_caller]
fn expect(report: &Report, expected: Verdict, words: &[&str]) {
    assert_eq!(report.verdict, expected, "{}", render::text(report));
    let text = render::text(report);
    words.iter().for_each(|word| assert!(text.contains(word), "\"{word}\" is not in\n{text}"));
}

fn state(report: &Report, name: &str) -> Option<State> {
    report.checks.iter().find(|check| check.name == name).map(|check| check.state)
}

#[test]
fn the_parent_with_a_working_driver_is_told_that_all_is_well() {
    let report = diagnose(parent());
    expect(&report, Verdict::Running, &["Zemin 0.1.0 is running", "✓", "/dev/mshv answers"]);
    assert!(report.steps.is_empty() && report.verdict.is_running());
    assert!(report.checks.iter().all(|check| check.state == State::Good));
}

#[test]
fn an_ordinary_user_of_the_parent_is_told_to_become_root() {
    let report =
        with(parent(), |facts| (facts.device, facts.is_root) = (Device::NotPermitted, false));
    expect(&report, Verdict::RunningNotPermitted, &["sudo zm hv status"]);
    assert!(report.verdict.is_running());
}

#[test]
fn a_container_in_the_parent_has_no_access() {
    let report = with(parent(), |facts| {
        (facts.device, facts.container) = (Device::Missing, Some("docker".into()))
    });
    expect(&report, Verdict::RunningInContainer, &["docker", "outside the container"]);
    assert!(!report.verdict.is_running());
}

#[test]
fn a_parent_whose_kernel_lacks_the_driver_needs_another_kernel() {
    let report = with(parent(), |facts| {
        facts.device = Device::Missing;
        facts.kernel =
            Kernel { mshv_root: Configured::Off, driver_loaded: false, ..facts.kernel.clone() };
    });
    expect(
        &report,
        Verdict::DriverNotBuilt,
        &["CONFIG_MSHV_ROOT", "1. Install a kernel of version 6.15 or later"],
    );
}

#[test]
fn a_parent_with_an_old_kernel_needs_a_newer_one() {
    let report = with(parent(), |facts| {
        facts.device = Device::Missing;
        facts.kernel = Kernel {
            release: "6.12.48+deb13-amd64".into(),
            mshv_root: Configured::Off,
            driver_loaded: false,
        };
    });
    expect(&report, Verdict::DriverKernelTooOld, &["6.12.48+deb13-amd64", "6.15"]);
}

#[test]
fn a_driver_that_is_a_module_has_to_be_loaded() {
    for configured in [Configured::Module, Configured::Unknown] {
        let report = with(parent(), |facts| {
            facts.device = Device::Missing;
            facts.kernel =
                Kernel { mshv_root: configured, driver_loaded: false, ..facts.kernel.clone() };
        });
        expect(&report, Verdict::DriverNotLoaded, &["modprobe mshv_root"]);
    }
}

#[test]
fn a_driver_that_is_there_and_does_not_work_is_looked_for_in_the_kernels_log() {
    for device in
        [Device::Missing, Device::Silent("refused".into()), Device::Failed("no memory".into())]
    {
        expect(&with(parent(), |facts| facts.device = device), Verdict::DriverFailed, &["dmesg"]);
    }
}

#[test]
fn a_child_partition_is_no_place_for_zm() {
    let report =
        with(parent(), |facts| (facts.hypervisor, facts.device) = (zemin(false), Device::Missing));
    expect(&report, Verdict::Child, &["child partition", "parent"]);
    assert_eq!(state(&report, "hypervisor"), Some(State::Bad));
}

#[test]
fn microsofts_root_is_not_taken_for_zemins() {
    let report = with(ready(), |facts| {
        facts.hypervisor =
            above("Microsoft Hv").map(|hypervisor| Hypervisor { is_root: true, ..hypervisor });
    });
    expect(&report, Verdict::HyperVRoot, &["Microsoft"]);
}

#[test]
fn a_virtual_machine_without_amd_v_names_the_hypervisor_above() {
    let names = [
        ("Microsoft Hv", "Hyper-V"),
        ("KVMKVMKVM", "KVM"),
        ("VMwareVMware", "VMware"),
        ("XenVMMXenVMM", "Xen"),
    ];
    for (signature, name) in names {
        let report = with(ready(), |facts| {
            (facts.hypervisor, facts.cpu.svm, facts.cpu.nested_paging) =
                (above(signature), false, None);
        });
        expect(&report, Verdict::NestedWithoutSvm, &[name, "nested virtualization"]);
    }
}

#[test]
fn a_virtual_machine_with_amd_v_may_still_boot_zemin() {
    let report = with(ready(), |facts| facts.hypervisor = above("TCGTCGTCGTCG"));
    expect(&report, Verdict::NotBooted, &["QEMU (emulation): this system is a virtual machine"]);
}

#[test]
fn an_intel_processor_is_not_supported_yet() {
    let report = with(ready(), |facts| {
        facts.cpu =
            Cpu { vendor: "GenuineIntel".into(), svm: false, vmx: true, nested_paging: None };
    });
    expect(&report, Verdict::IntelProcessor, &["Intel", "this release"]);
}

#[test]
fn a_processor_without_amd_v_cannot_run_zemin() {
    let report = with(ready(), |facts| (facts.cpu.svm, facts.cpu.nested_paging) = (false, None));
    expect(&report, Verdict::NoSvm, &["no AMD-V"]);
}

#[test]
fn firmware_that_disabled_amd_v_is_to_be_set_up() {
    let report = with(ready(), |facts| facts.firmware = Firmware::Forbids);
    expect(&report, Verdict::DisabledByFirmware, &["SVM Mode", "BIOS/UEFI"]);
}

#[test]
fn amd_v_without_nested_paging_is_not_enough() {
    let report = with(ready(), |facts| facts.cpu.nested_paging = Some(false));
    expect(&report, Verdict::NoNestedPaging, &["nested paging"]);
}

#[test]
fn in_a_container_boot_files_are_not_judged() {
    let report = with(ready(), |facts| {
        facts.container = Some("podman".into());
        facts.boot = Boot { images: vec![], menu: Menu::Missing, secure_boot: None };
    });
    expect(&report, Verdict::InContainer, &["podman", "outside the container"]);
    assert_eq!(state(&report, "installed"), Some(State::Open));
}

#[test]
fn what_is_missing_before_the_first_boot_is_listed_in_order() {
    let report = with(ready(), |facts| {
        facts.boot = Boot { images: vec![], menu: Menu::Entries(vec![]), secure_boot: Some(true) };
        facts.kernel = Kernel {
            release: "6.1.0-40-amd64".into(),
            mshv_root: Configured::Off,
            driver_loaded: false,
        };
    });
    expect(
        &report,
        Verdict::NotInstalled,
        &[
            "1. Install a kernel",
            "2. Install Zemin",
            "3. Add it",
            "4. Switch Secure Boot off",
            "5. Reboot",
        ],
    );
}

#[test]
fn an_image_without_an_entry_needs_the_menu_to_be_made_again() {
    let report = with(ready(), |facts| facts.boot.menu = Menu::Entries(vec![]));
    expect(&report, Verdict::NotInBootMenu, &["update-grub"]);
}

#[test]
fn a_menu_that_cannot_be_read_is_not_blamed() {
    let report =
        with(ready(), |facts| (facts.boot.menu, facts.is_root) = (Menu::Unreadable, false));
    expect(&report, Verdict::NotBooted, &["only root may read GRUB's configuration"]);
}

#[test]
fn secure_boot_stands_in_the_way_of_an_installed_zemin() {
    let report = with(ready(), |facts| facts.boot.secure_boot = Some(true));
    expect(&report, Verdict::SecureBoot, &["1. Switch Secure Boot off"]);
}

#[test]
fn another_entry_was_booted() {
    let report = diagnose(ready());
    expect(&report, Verdict::NotBooted, &["grub-reboot 'Debian on Zemin' && reboot"]);
    assert!(!report.verdict.is_running());
}

#[test]
fn json_says_the_same_for_programs() {
    let value: serde_json::Value = serde_json::from_str(&render::json(&diagnose(ready()))).unwrap();
    assert_eq!(value["running"], false);
    assert_eq!(value["verdict"], "not_booted");
    assert_eq!(value["checks"][0]["state"], "bad");
    assert_eq!(value["facts"]["kernel"]["mshv_root"], "built_in");
    assert_eq!(value["facts"]["boot"]["menu"]["titles"][0], "Debian on Zemin");
}
