//! Gathers all facts from a running system.

use super::facts::{Device, Facts, Firmware};
use super::{boot, cpu, kernel};
use crate::hv;
use crate::hv::client::ReadError;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// AMD's VM_CR (APM volume 2, 15.30.1).
const MSR_VM_CR: u64 = 0xC001_0114;
const VM_CR_SVM_DISABLED: u64 = 1 << 4;
/// Intel's IA32_FEATURE_CONTROL (SDM volume 3, 25.7).
const MSR_FEATURE_CONTROL: u64 = 0x3A;
const FEATURE_CONTROL_LOCKED: u64 = 1 << 0;
const FEATURE_CONTROL_VMX: u64 = 1 << 2;

/// Gathers from the file system at `root` and from `cpuid`; the device is always the real one.
pub fn gather(root: &Path, cpuid: cpu::Cpuid<'_>) -> Facts {
    let processor = cpu::processor(cpuid);
    Facts {
        firmware: firmware(root, &processor),
        cpu: processor,
        hypervisor: cpu::hypervisor(cpuid),
        kernel: kernel::gather(root),
        device: device(),
        container: container(root),
        boot: boot::gather(root),
        is_root: rustix::process::geteuid().is_root(),
    }
}

fn device() -> Device {
    match hv::open() {
        Ok(hypervisor) => hypervisor
            .info()
            .map_or_else(|error| Device::Silent(error.to_string()), |_| Device::Answers),
        Err(ReadError::NoDevice) => Device::Missing,
        Err(ReadError::NoPermission) => Device::NotPermitted,
        Err(error) => Device::Failed(format!("{:#}", anyhow::Error::from(error))),
    }
}

fn firmware(root: &Path, cpu: &super::facts::Cpu) -> Firmware {
    let read = |msr| {
        let mut value = [0; 8];
        let file = File::open(root.join("dev/cpu/0/msr")).ok()?;
        file.read_exact_at(&mut value, msr).ok().map(|()| u64::from_le_bytes(value))
    };
    let forbids = match (cpu.svm, cpu.vmx) {
        (true, _) => read(MSR_VM_CR).map(|value| value & VM_CR_SVM_DISABLED != 0),
        (_, true) => read(MSR_FEATURE_CONTROL)
            .map(|value| value & FEATURE_CONTROL_LOCKED != 0 && value & FEATURE_CONTROL_VMX == 0),
        _ => None,
    };
    match forbids {
        Some(true) => Firmware::Forbids,
        Some(false) => Firmware::Allows,
        None => Firmware::Unknown,
    }
}

/// The kind of container, by the signs that systemd looks for, and a few more.
fn container(root: &Path) -> Option<String> {
    let exists = |path: &str| root.join(path).exists();
    let read = |path: &str| {
        String::from_utf8_lossy(&fs::read(root.join(path)).unwrap_or_default()).into_owned()
    };
    let from_init = read("proc/1/environ")
        .split('\0')
        .find_map(|variable| Some(variable.strip_prefix("container=")?.to_owned()));
    let from_systemd = || Some(read("run/systemd/container")).filter(|kind| !kind.is_empty());
    let from_files = || match () {
        () if exists("run/.containerenv") => Some("podman"),
        () if exists(".dockerenv") => Some("docker"),
        () if exists("proc/vz") && !exists("proc/bc") => Some("openvz"),
        () if read("proc/sys/kernel/osrelease")
            .to_lowercase()
            .contains("microsoft-standard-wsl") =>
        {
            Some("wsl")
        }
        () => from_cgroup(&read("proc/1/cgroup")),
    };
    let kind = from_init.or_else(from_systemd).or_else(|| from_files().map(str::to_owned))?;
    Some(kind.trim().to_owned()).filter(|kind| !kind.is_empty())
}

fn from_cgroup(paths: &str) -> Option<&'static str> {
    let signs = [
        ("/docker", "docker"),
        ("/kubepods", "kubernetes"),
        ("/libpod", "podman"),
        ("/lxc", "lxc"),
    ];
    signs.into_iter().find_map(|(sign, kind)| paths.contains(sign).then_some(kind))
}

#[cfg(test)]
mod tests {
    use super::super::facts::Cpu;
    use super::*;

    fn container_with(files: &[(&str, &str)]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        container(root.path())
    }

    #[test]
    fn containers_are_recognised_by_any_of_their_signs() {
        assert_eq!(
            container_with(&[("proc/1/environ", "PATH=/bin\0container=lxc\0")]).as_deref(),
            Some("lxc")
        );
        assert_eq!(
            container_with(&[("run/systemd/container", "systemd-nspawn\n")]).as_deref(),
            Some("systemd-nspawn")
        );
        assert_eq!(container_with(&[(".dockerenv", "")]).as_deref(), Some("docker"));
        assert_eq!(container_with(&[("run/.containerenv", "")]).as_deref(), Some("podman"));
        assert_eq!(
            container_with(&[("proc/1/cgroup", "0::/kubepods/pod1")]).as_deref(),
            Some("kubernetes")
        );
        assert_eq!(
            container_with(&[
                ("proc/1/environ", "PATH=/bin\0"),
                ("proc/1/cgroup", "0::/init.scope")
            ]),
            None
        );
    }

    #[test]
    fn an_msr_that_cannot_be_read_leaves_firmware_unknown() {
        let cpu =
            Cpu { vendor: "AuthenticAMD".into(), svm: true, vmx: false, nested_paging: Some(true) };
        let root = tempfile::tempdir().unwrap();
        assert_eq!(firmware(root.path(), &cpu), Firmware::Unknown);
    }

    #[test]
    fn firmware_that_disabled_amd_v_is_seen_in_vm_cr() {
        let cpu =
            Cpu { vendor: "AuthenticAMD".into(), svm: true, vmx: false, nested_paging: Some(true) };
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dev/cpu/0")).unwrap();
        // A sparse file that holds the register's value at the register's number.
        let file = File::create(root.path().join("dev/cpu/0/msr")).unwrap();
        file.write_all_at(&0x18u64.to_le_bytes(), MSR_VM_CR).unwrap();
        assert_eq!(firmware(root.path(), &cpu), Firmware::Forbids);
        file.write_all_at(&0u64.to_le_bytes(), MSR_VM_CR).unwrap();
        assert_eq!(firmware(root.path(), &cpu), Firmware::Allows);
    }
}
