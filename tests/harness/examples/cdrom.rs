//! Boots the built hypervisor and the parent OS from a CD with GRUB: `cargo run -p harness --example cdrom -- uefi`.

use std::time::Duration;

use harness::{Artefacts, Error, Iso, Machine, Media};

fn main() -> Result<(), Error> {
    let artefacts = Artefacts::load()?;
    let arguments = "console=ttyS0 panic=-1 root=/dev/vda rw zemin.test_shell";
    let image =
        Iso::new().module(&artefacts.kernel, arguments).write(artefacts.out.join("zemin.iso"))?;
    let uefi = std::env::args().any(|word| word == "uefi");
    let media = if uefi { Media::CdromUefi(image) } else { Media::Cdrom(image) };
    let mut machine = Machine::new().name("cdrom").lps(2).media(media).boot()?;
    machine.wait_for(r"\(zemin\)", Duration::from_secs(120))?;
    println!("{}", machine.shell("dmesg | grep -i hyper-v; ls /sys/firmware")?.text);
    machine.start("poweroff")?;
    println!("{:?}", machine.wait_exit(Duration::from_secs(120))?);
    Ok(())
}
