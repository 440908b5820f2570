//! Boots a machine and runs a few commands in it: `cargo run -p harness --example boot -- bare nvme e1000e`.

use std::time::{Duration, Instant};

use harness::{Disk, Error, Machine, Nic};

fn main() -> Result<(), Error> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|other| other == word);
    let start = Instant::now();
    let disk = if has("nvme") {
        Disk::Nvme
    } else if has("ahci") {
        Disk::Ahci
    } else {
        Disk::Virtio
    };
    let nic = if has("e1000e") { Nic::E1000e } else { Nic::Virtio };
    let machine = Machine::new()
        .name("example")
        .lps(2)
        .bare(has("bare"))
        .xapic(has("xapic"))
        .disk(disk)
        .nic(nic);
    let mut machine = machine.boot()?;
    println!("{}", machine.shell("uname -a; nproc; cat /proc/interrupts")?.success()?);
    println!("shell after {:.1} s", start.elapsed().as_secs_f64());
    println!("{:?}", machine.shell("ls /dev/mshv")?);
    println!(
        "{}",
        machine.shell("systemctl is-system-running --wait; systemd-analyze; ip -br address")?.text
    );
    println!("{:02x?}", machine.qmp().physical_memory(0, 16)?);
    machine.start("poweroff")?;
    println!(
        "{:?} after {:.1} s",
        machine.wait_exit(Duration::from_secs(120))?,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
