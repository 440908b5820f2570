//! What was installed to be booted, and whether the boot menu starts it.

use super::facts::{Boot, Menu};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const MENUS: [&str; 2] = ["boot/grub/grub.cfg", "boot/grub2/grub.cfg"];
/// The UEFI variable: four bytes of attributes, then 1 if Secure Boot is on.
const SECURE_BOOT: &str =
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Looks below `root`.
pub fn gather(root: &Path) -> Boot {
    Boot { images: images(root), menu: menu(root), secure_boot: secure_boot(root) }
}

fn images(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("boot")).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let mut images: Vec<String> = names
        .filter(|name| name.starts_with("zemin"))
        .map(|name| format!("/boot/{name}"))
        .collect();
    images.sort();
    images
}

fn menu(root: &Path) -> Menu {
    for path in MENUS {
        match fs::read(root.join(path)) {
            Ok(text) => return Menu::Entries(entries_with_zemin(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Menu::Unreadable,
            Err(_) => {}
        }
    }
    Menu::Missing
}

fn secure_boot(root: &Path) -> Option<bool> {
    match fs::read(root.join(SECURE_BOOT)) {
        Ok(bytes) => bytes.get(4).map(|&value| value == 1),
        Err(_) if root.join("sys/firmware/efi").exists() => None,
        // Without UEFI there is no Secure Boot.
        Err(_) => Some(false),
    }
}

/// Titles of the menu entries that load Zemin, as `grub-reboot` takes them: `submenu>entry`.
fn entries_with_zemin(config: &str) -> Vec<String> {
    let (mut blocks, mut found): (Vec<Option<String>>, Vec<String>) = (Vec::new(), Vec::new());
    for line in config.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or("");
        if line.ends_with('{') {
            blocks.push(matches!(command, "menuentry" | "submenu").then(|| title(line)));
        } else if command == "}" {
            blocks.pop();
        } else if command.starts_with("multiboot")
            && words.any(|word| file_name(word).starts_with("zemin"))
        {
            let path: Vec<&str> = blocks.iter().flatten().map(String::as_str).collect();
            found.push(path.join(">"));
        }
    }
    found.dedup();
    found
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What stands between the first pair of quotes, or the second word.
fn title(line: &str) -> String {
    let quoted = |quote: char| {
        let (start, rest) = line.split_once(quote)?;
        (!start.contains(['\'', '"'])).then(|| rest.split(quote).next().unwrap_or(rest).to_owned())
    };
    quoted('\'')
        .or_else(|| quoted('"'))
        .unwrap_or_else(|| line.split_whitespace().nth(1).unwrap_or("").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
function load_video {
  insmod all_video
}
menuentry 'Debian GNU/Linux' --class debian {
	linux /boot/vmlinuz-6.19 root=/dev/sda1
}
submenu "Zemin's entries" {
	menuentry "Debian on Zemin" --class debian {
		insmod multiboot2
		multiboot2	/boot/zemin-0.1 loglevel=info
		module2 /boot/vmlinuz-6.19
	}
}
menuentry 'Old Xen' {
	multiboot2 /boot/xen.gz
}
"#;

    #[test]
    fn the_entry_that_loads_zemin_is_found_with_its_submenu() {
        assert_eq!(entries_with_zemin(CONFIG), ["Zemin's entries>Debian on Zemin"]);
    }

    #[test]
    fn a_mention_of_zemin_elsewhere_is_no_entry() {
        assert!(
            entries_with_zemin("menuentry 'zemin' {\n linux /boot/vmlinuz zemin\n}").is_empty()
        );
    }

    #[test]
    fn a_directory_tree_is_examined() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(
            gather(root.path()),
            Boot { images: vec![], menu: Menu::Missing, secure_boot: Some(false) }
        );
        fs::create_dir_all(root.path().join("boot/grub")).unwrap();
        fs::create_dir_all(root.path().join(SECURE_BOOT).parent().unwrap()).unwrap();
        fs::write(root.path().join("boot/zemin-0.1"), "").unwrap();
        fs::write(root.path().join("boot/grub/grub.cfg"), CONFIG).unwrap();
        fs::write(root.path().join(SECURE_BOOT), [6, 0, 0, 0, 1]).unwrap();
        let boot = gather(root.path());
        assert_eq!(
            (boot.images, boot.secure_boot),
            (vec!["/boot/zemin-0.1".to_owned()], Some(true))
        );
        assert!(matches!(boot.menu, Menu::Entries(titles) if titles.len() == 1));
    }
}
