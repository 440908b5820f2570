//! The running kernel: its release, and whether it has the root side of the mshv driver.

use super::facts::{Configured, Kernel};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Most bytes of a configuration; real ones are a few hundred KiB.
const CONFIG_MAX: u64 = 8 << 20;

/// Looks below `root`.
pub fn gather(root: &Path) -> Kernel {
    let release = fs::read_to_string(root.join("proc/sys/kernel/osrelease"))
        .unwrap_or_default()
        .trim()
        .to_owned();
    let mshv_root = config(root, &release)
        .map_or(Configured::Unknown, |text| option(&text, "CONFIG_MSHV_ROOT"));
    let driver_loaded =
        mshv_root == Configured::BuiltIn || root.join("sys/module/mshv_root").exists();
    Kernel { release, mshv_root, driver_loaded }
}

/// The configuration from the first place that has it: the kernel itself, or its package.
fn config(root: &Path, release: &str) -> Option<String> {
    let own = File::open(root.join("proc/config.gz")).ok().and_then(|file| {
        let mut text = String::new();
        GzDecoder::new(file).take(CONFIG_MAX).read_to_string(&mut text).ok().map(|_| text)
    });
    let places = [format!("boot/config-{release}"), format!("lib/modules/{release}/config")];
    own.or_else(|| places.iter().find_map(|place| fs::read_to_string(root.join(place)).ok()))
}

fn option(config: &str, name: &str) -> Configured {
    let value = config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    match value {
        Some("y") => Configured::BuiltIn,
        Some("m") => Configured::Module,
        _ => Configured::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn options_are_told_apart_by_their_whole_name() {
        let config =
            "CONFIG_MSHV_ROOT_X=y\n# CONFIG_MSHV_ROOT is not set\nCONFIG_A=m\nCONFIG_B=y\n";
        let values = ["CONFIG_MSHV_ROOT", "CONFIG_A", "CONFIG_B", "CONFIG_C"]
            .map(|name| option(config, name));
        assert_eq!(
            values,
            [Configured::Off, Configured::Module, Configured::BuiltIn, Configured::Off]
        );
    }

    #[test]
    fn the_kernels_own_configuration_wins_over_the_packages() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"CONFIG_MSHV_ROOT=y\n").unwrap();
        let release = ("proc/sys/kernel/osrelease", &b"6.19.0-zemin\n"[..]);
        let package = ("boot/config-6.19.0-zemin", &b"CONFIG_MSHV_ROOT=m\n"[..]);
        let from_package = gather(tree(&[release, package]).path());
        assert_eq!(
            (from_package.mshv_root, from_package.driver_loaded),
            (Configured::Module, false)
        );
        let own =
            gather(tree(&[release, package, ("proc/config.gz", &gzip.finish().unwrap())]).path());
        assert_eq!(
            (own.mshv_root, own.driver_loaded, own.version()),
            (Configured::BuiltIn, true, Some((6, 19)))
        );
    }

    #[test]
    fn a_kernel_without_a_known_configuration_is_unknown() {
        let kernel = gather(tree(&[("proc/config.gz", b"not gzip")]).path());
        assert_eq!(
            (kernel.mshv_root, kernel.version(), kernel.is_too_old()),
            (Configured::Unknown, None, false)
        );
    }
}
