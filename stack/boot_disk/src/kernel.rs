//! The kernel that a file system's own system starts.

use crate::{BootFile, BootFiles, Error, INITRD_MAX, KERNEL_MAX, version};
use ext4_view::Ext4;

/// Where kernels and their initrds lie: in the root file system, or in one that is for /boot alone.
const DIRECTORIES: [&str; 2] = ["/boot", ""];
/// Links that Debian keeps at the kernel to start, and at its initrd.
const LINKS: [(&str, &str); 2] =
    [("/vmlinuz", "/initrd.img"), ("/boot/vmlinuz", "/boot/initrd.img")];
/// Beginnings of names, before the release.
const KERNEL: &str = "vmlinuz-";
const INITRDS: [&str; 2] = ["initrd.img-", "initramfs-"];

/// Paths of a kernel and of its initrd.
struct Pair {
    kernel: String,
    initrd: Option<String>,
}

/// The files, if there is a kernel.
pub fn find(fs: &Ext4) -> Result<Option<BootFiles>, Error> {
    let Some(pair) = linked(fs).or_else(|| newest(fs)) else { return Ok(None) };
    let kernel = read(fs, &pair.kernel, KERNEL_MAX)?;
    let initrd = pair.initrd.map(|path| read(fs, &path, INITRD_MAX)).transpose()?;
    let is_root = is_there(fs, "/etc");
    let root_uuid = is_root.then(|| fs.uuid().to_string());
    Ok(Some(BootFiles { kernel, initrd, root_uuid }))
}

/// What the links point to.
fn linked(fs: &Ext4) -> Option<Pair> {
    let (kernel, initrd) = LINKS.into_iter().find(|(kernel, _)| is_there(fs, kernel))?;
    Some(Pair {
        kernel: kernel.to_owned(),
        initrd: is_there(fs, initrd).then(|| initrd.to_owned()),
    })
}

/// The kernel with the highest release.
fn newest(fs: &Ext4) -> Option<Pair> {
    DIRECTORIES.into_iter().find_map(|directory| {
        let releases = releases(fs, directory);
        let release = releases.into_iter().max_by(|a, b| version::compare(a, b))?;
        let path = |beginning: &str| format!("{directory}/{beginning}{release}");
        let initrds = INITRDS.into_iter().flat_map(|name| [path(name), path(name) + ".img"]);
        let initrd = initrds.into_iter().find(|path| is_there(fs, path));
        Some(Pair { kernel: path(KERNEL), initrd })
    })
}

/// Releases of the kernels in a directory.
fn releases(fs: &Ext4, directory: &str) -> Vec<String> {
    let root = if directory.is_empty() { "/" } else { directory };
    let Ok(entries) = fs.read_dir(root) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| {
        entry.file_name().as_str().ok()?.strip_prefix(KERNEL).map(str::to_owned)
    });
    // Copies that package managers and people leave behind are no releases.
    let is_copy =
        |name: &String| [".old", ".bak", ".dpkg-new"].iter().any(|end| name.ends_with(end));
    names.filter(|name| !is_copy(name)).collect()
}

fn is_there(fs: &Ext4, path: &str) -> bool {
    // A link that points nowhere is not.
    fs.exists(path).unwrap_or(false)
}

fn read(fs: &Ext4, path: &str, limit: u64) -> Result<BootFile, Error> {
    let error = |reason: ext4_view::Ext4Error| Error::Read {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let size = fs.metadata(path).map_err(error)?.len();
    if size > limit {
        return Err(Error::TooLarge { path: path.to_owned(), size, limit });
    }
    let real = fs.canonicalize(path).map_err(error)?;
    let bytes = fs.read(&real).map_err(error)?;
    Ok(BootFile { path: real.display().to_string(), bytes })
}
