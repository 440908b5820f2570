//! A Debian under `zm`, with a shell on its console that tests type into.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::Running;
use system_tests::number;

/// Until the guest's shell answers.
const BOOT: Duration = Duration::from_secs(600);
/// One command, unless its test says otherwise.
pub const COMMAND: Duration = Duration::from_secs(300);
/// An image's check.
const RECOVERY: Duration = Duration::from_secs(1200);

/// What the shell is told first. What follows runs with the tools' root, in which the guest's own is
/// `/proc/1/root`.
const PREPARE: &str = "stty -echo; PS1= PS2=; modprobe -a sr_mod isofs; mount -t tmpfs tmp /mnt";
const ENTER: &str = "mkdir /mnt/t; mount -t ext4 -o ro $tools /mnt/t; for d in proc sys dev run; do mount --rbind /$d /mnt/t/$d; done; \
    mount -t tmpfs tmp /mnt/t/tmp; echo 0 > /proc/sys/kernel/printk";

/// What may differ from child to child.
pub struct Shape {
    /// Memory, as `zm vm create` takes it.
    pub memory: &'static str,
    /// Added to the kernel's command line.
    pub cmdline: &'static str,
}

/// A running child. Its files in the parent are `/tmp/NAME.in` and `/tmp/NAME.out`.
pub struct Child<'a> {
    pub parent: &'a mut Running,
    name: String,
    commands: u32,
    /// What a command runs with.
    root: &'static str,
}

/// Ends what an earlier test may have left.
pub fn tidy_up(parent: &mut Running) -> Result<()> {
    let command = "for f in /var/lib/zemin/vms/*.toml; do [ -e \"$f\" ] || continue; n=$(basename $f .toml); zm vm stop $n; zm vm delete $n; done; \
        killall zm; umount /small; echo 0 > /proc/sys/vm/nr_hugepages; rm -rf /store/t /tmp/*.in /tmp/*.out; mkdir -p /store/t; true";
    parent.shell(command)?.success()?;
    Ok(())
}

impl<'a> Child<'a> {
    /// Boots one whose root is on a disk of its own, with more options of `zm vm create`.
    pub fn boot(parent: &'a mut Running, options: &str) -> Result<Self> {
        new_root(parent)?;
        let mut child = Self::start(parent, &format!("--disk /store/t/root.vhdx {options}"))?;
        child.enter()?;
        Ok(child)
    }

    /// The same without the disk: options name it. The shell has only the guest's own programs.
    pub fn start(parent: &'a mut Running, options: &str) -> Result<Self> {
        Self::start_as(parent, &Shape { memory: "512M", cmdline: "" }, options)
    }

    /// The same with another memory, and more words for its kernel.
    pub fn start_as(parent: &'a mut Running, shape: &Shape, options: &str) -> Result<Self> {
        let name = "debian".to_owned();
        let Shape { memory, cmdline } = shape;
        let create = format!(
            "zm vm create {name} --kernel /store/vmlinuz --initrd /store/initrd.img --cpus 2 --memory {memory} \
             --cmdline 'console=ttyS0 root=/dev/sda rw quiet loglevel=1 panic=-1 init=/bin/sh {cmdline}' {options}"
        );
        parent.shell(&create)?.success()?;
        let mut child = Self { parent, name, commands: 0, root: "" };
        child.power_on()?;
        Ok(child)
    }

    /// Starts it anew after [`Self::cut_power`].
    pub fn power_on(&mut self) -> Result<()> {
        let name = &self.name;
        self.root = "";
        // The console's reader holds both ends of the FIFO: it never ends before the VM does.
        let script = format!(
            "rm -f /tmp/{name}.in /tmp/{name}.out; mkfifo /tmp/{name}.in; zm vm start {name} || exit 1; \
             zm vm console {name} <> /tmp/{name}.in > /tmp/{name}.out 2>&1 & sleep 0.1"
        );
        self.parent.shell(&script)?.success()?;
        self.wait_for("# $", BOOT).context("the guest's shell")?;
        self.prepare()
    }

    /// Has the shell of a kernel that just started do without echo and prompts.
    fn prepare(&mut self) -> Result<()> {
        self.commands += 1;
        let number = self.commands;
        self.type_in(PREPARE)?;
        self.type_in(&format!("echo child-''ready-{number}"))?;
        self.wait_for(&format!("^child-ready-{number}$"), BOOT)
    }

    /// The guest starts another kernel by `command`, whose shell is then as after [`Self::power_on`].
    pub fn reboot_by(&mut self, command: &str) -> Result<()> {
        // One prompt for each kernel so far, this one's among them: there are none once they are switched off.
        let prompts = "# $";
        let before = self.count(prompts)?;
        self.begin(command)?;
        self.root = "";
        self.wait_for_more(prompts, before, BOOT).context("the next kernel's shell")?;
        self.prepare()
    }

    /// Gives the shell the tools, from a disk that is added.
    pub fn enter(&mut self) -> Result<()> {
        let tools = self.add_disk("/dev/vdb,ro,format=raw --lun 60")?;
        self.shell(&format!("tools=/dev/{tools}; {ENTER}"))?;
        self.root = "chroot /mnt/t ";
        Ok(())
    }

    /// Runs a command in the guest, which must succeed; what it prints.
    pub fn shell(&mut self, command: &str) -> Result<String> {
        let (status, text) = self.run(command, COMMAND)?;
        ensure!(status == 0, "{command:?} in the guest ended with {status}:\n{text}");
        Ok(text)
    }

    /// Runs a command in the guest: its status and what it prints.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<(i32, String)> {
        let number = self.begin(command)?;
        self.finish(number, limit)
    }

    /// Begins a command; its number.
    pub fn begin(&mut self, command: &str) -> Result<u32> {
        self.commands += 1;
        let (number, root) = (self.commands, self.root);
        ensure!(command.len() < 3500, "a terminal takes no line of {} bytes", command.len());
        let quoted = command.replace('\'', "'\\''");
        self.type_in(&format!(
            "echo begin''-{number}; {root}sh -c '{quoted}' < /dev/null 2>&1; echo end''-{number} $?"
        ))?;
        Ok(number)
    }

    /// Waits for the end of a command.
    pub fn finish(&mut self, number: u32, limit: Duration) -> Result<(i32, String)> {
        self.wait_for(&format!("^end-{number} "), limit)?;
        let text = self.parent.shell(&format!(
            "tr -d '\\r' < /tmp/{}.out | sed -n '/begin-{number}$/,/^end-{number} /p'",
            self.name
        ))?;
        let text = text.success()?;
        let (_, rest) = text.split_once('\n').context("a beginning")?;
        let (output, status) = rest.rsplit_once(&format!("end-{number} ")).context("an end")?;
        Ok((status.trim().parse()?, output.to_owned()))
    }

    /// What it has printed so far.
    pub fn console(&mut self) -> Result<String> {
        Ok(self.parent.shell(&format!("tr -d '\\r' < /tmp/{}.out", self.name))?.success()?)
    }

    /// Waits until a line of the console matches. Fails when the worker ends.
    pub fn wait_for(&mut self, pattern: &str, limit: Duration) -> Result<()> {
        self.wait_for_more(pattern, 0, limit)
    }

    /// How many lines of the console match.
    fn count(&mut self, pattern: &str) -> Result<u64> {
        let name = &self.name;
        let command = format!("tr -d '\\r' < /tmp/{name}.out | grep -c -e '{pattern}'; true");
        number(self.parent, &command)
    }

    /// Waits until more than `count` lines of the console match. Fails when the worker ends.
    fn wait_for_more(&mut self, pattern: &str, count: u64, limit: Duration) -> Result<()> {
        let name = &self.name;
        let script = format!(
            "end=$(($(date +%s) + {})); until [ $(tr -d '\\r' < /tmp/{name}.out | grep -c -e '{pattern}') -gt {count} ]; do \
             kill -0 $(cat /run/zemin/vms/{name}.lock) || exit 99; [ $(date +%s) -lt $end ] || exit 98; sleep 0.05; done",
            limit.as_secs()
        );
        let output = self.parent.shell_within(&script, limit * 2)?;
        if output.status != 0 {
            let text = self.evidence()?;
            anyhow::bail!("waiting for {pattern:?}: {} {}\n{text}", output.status, output.text);
        }
        Ok(())
    }

    /// What it and its worker said last, where the worker's threads are, and the parent's kernel's last words.
    pub fn evidence(&mut self) -> Result<String> {
        let name = &self.name;
        let log = format!(
            "tail -n 30 /tmp/{name}.out /run/zemin/vms/{name}.log; for t in /proc/$(cat /run/zemin/vms/{name}.lock)/task/*; do \
             echo $(cat $t/comm $t/wchan); done; dmesg | tail -n 20"
        );
        Ok(self.parent.shell(&log)?.text)
    }

    fn type_in(&mut self, line: &str) -> Result<()> {
        let quoted = line.replace('\'', "'\\''");
        self.parent
            .shell(&format!("printf '%s\\n' '{quoted}' > /tmp/{}.in", self.name))?
            .success()?;
        Ok(())
    }

    /// `zm vm disk VERB NAME ARGUMENTS`, which must succeed.
    pub fn disk(&mut self, verb: &str, arguments: &str) -> Result<String> {
        let command = format!("zm vm disk {verb} {} {arguments}", self.name);
        Ok(self.parent.shell(&command)?.success()?)
    }

    /// `zm vm controller VERB NAME ARGUMENTS`, which must succeed.
    pub fn controller(&mut self, verb: &str, arguments: &str) -> Result<String> {
        let command = format!("zm vm controller {verb} {} {arguments}", self.name);
        Ok(self.parent.shell(&command)?.success()?)
    }

    /// `zm vm disk VERB NAME ARGUMENTS` where it must fail; what it says.
    pub fn no_disk(&mut self, verb: &str, arguments: &str) -> Result<String> {
        let command = format!("zm vm disk {verb} {} {arguments}", self.name);
        let output = self.parent.shell(&command)?;
        ensure!(output.status == 1, "{output:?}");
        Ok(output.text)
    }

    /// Adds a disk; the guest's name of it, once it is there.
    pub fn add_disk(&mut self, option: &str) -> Result<String> {
        let text = self.disk("add", option)?;
        let lun = text.trim().strip_prefix("LUN ").context("a LUN")?;
        self.block_device(lun)
    }

    /// The guest's name of the disk or drive at a LUN, once it is there.
    pub fn block_device(&mut self, lun: &str) -> Result<String> {
        let command = format!(
            "until ls /sys/bus/scsi/devices/*:0:0:{lun}/block; do sleep 0.05; done 2> /dev/null"
        );
        let name = self.shell(&command)?.trim().to_owned();
        self.shell(&format!("until [ -b /dev/{name} ]; do sleep 0.05; done"))?;
        Ok(name)
    }

    /// Waits until the guest has no LUN of that number.
    pub fn wait_gone(&mut self, lun: u8) -> Result<()> {
        self.shell(&format!(
            "while ls -d /sys/bus/scsi/devices/*:0:0:{lun}; do sleep 0.05; done > /dev/null 2>&1"
        ))?;
        Ok(())
    }

    /// Kills the worker, wherever it is, and waits until it is gone.
    pub fn cut_power(&mut self) -> Result<()> {
        let name = &self.name;
        let script = format!(
            "p=$(cat /run/zemin/vms/{name}.lock); kill -9 $p; while [ -d /proc/$p ]; do sleep 0.02; done; killall zm; true"
        );
        self.parent.shell(&script)?.success()?;
        Ok(())
    }
}

/// What a power cut may leave of a VHDX and of a VHD, and nothing else.
const LEFT_BEHIND: [&str; 2] = ["its log has been replayed", "its copy counts"];

/// Whether an image is sound once what a power cut leaves has been set right.
pub fn recovers(parent: &mut Running, path: &str) -> Result<()> {
    // It opens the image anew after the repair, and fails unless that is sound.
    let check = format!("zm disk check --repair {path}");
    let text = parent.shell_within(&check, RECOVERY)?.success()?;
    let is_expected = |line: &str| LEFT_BEHIND.iter().any(|what| line.ends_with(what));
    let all_expected = text.lines().filter(|line| line.starts_with("repaired: ")).all(is_expected);
    ensure!(all_expected && text.contains(": sound ("), "{path}: {text}");
    Ok(())
}

/// A differencing disk over Debian's, which stays as it is.
pub fn new_root(parent: &mut Running) -> Result<()> {
    let command = "zm disk create /store/t/root.vhdx --parent /store/debian.vhdx --force";
    parent.shell(command)?.success()?;
    Ok(())
}
