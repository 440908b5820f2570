//! A machine that is powered on.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use regex::Regex;

use crate::artefacts::Artefacts;
use crate::channel::Channel;
use crate::console::{Console, WaitError};
use crate::error::{Error, Result};
use crate::limit;
use crate::machine::{Machine, Parent};
use crate::qmp::Qmp;
use crate::shell::{Output, Progress, READY, progress, wrap};

/// How many lines of the console an error repeats.
const TAIL: usize = 40;

/// How often a hanging machine's processors are looked at.
const SAMPLES: usize = 3;

/// Lets the hypervisor end the emulator when it crashes or refuses to start, so that nobody waits in vain.
const EXIT_DEVICE: &str = "isa-debug-exit,iobase=0xf4,iosize=4";

/// How the emulator ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Its exit status.
    pub status: ExitStatus,
    /// The reason of its `SHUTDOWN` event: `guest-shutdown`, `guest-reset`, `guest-panic`, ….
    pub reason: Option<String>,
}

impl Exit {
    /// The hypervisor crashed, and said so on the console (`hv/zemin/src/crash.rs`).
    pub fn is_crash(&self) -> bool {
        self.status.code() == Some(2 * 0x5A + 1)
    }

    /// The hypervisor refused to start, and said why on the console.
    pub fn is_refusal(&self) -> bool {
        self.status.code() == Some(2 * 0x5B + 1)
    }
}

/// A machine that is powered on; dropping it pulls the plug.
pub struct Running {
    child: Child,
    console: Arc<Console>,
    shell: Arc<Console>,
    shell_input: UnixStream,
    console_input: std::process::ChildStdin,
    qmp: Qmp,
    shell_is_ready: bool,
    logs: PathBuf,
    /// The thread that QEMU's life hangs on waits for the end of this.
    _keep_alive: Sender<()>,
    _sockets: tempfile::TempDir,
}

impl Running {
    /// Powers `machine` on.
    pub(crate) fn power_on(mut machine: Machine, artefacts: &Artefacts) -> Result<Self> {
        if machine.parent == Parent::Debian {
            machine = machine.parent_args("zemin.test_shell");
        }
        if !machine.bare {
            machine = machine.hv_args("exit_port=0xf4").extra(["-device", EXIT_DEVICE]);
        }
        let sockets = tempfile::tempdir().map_err(Error::io("a temporary directory"))?;
        let (shell, monitor) =
            (Channel::listen(sockets.path(), "shell")?, Channel::listen(sockets.path(), "qmp")?);
        let mut words = crate::command::words(&machine, artefacts)?;
        let ports = [
            ["-chardev", "stdio,id=console,signal=off"].map(str::to_owned),
            ["-serial".to_owned(), "chardev:console".to_owned()],
            ["-chardev".to_owned(), shell.option("shell")],
            ["-serial".to_owned(), "chardev:shell".to_owned()],
            ["-chardev".to_owned(), monitor.option("qmp")],
            ["-mon".to_owned(), "chardev=qmp,mode=control".to_owned()],
        ];
        words.extend(ports.into_iter().flatten());
        let logs = log_directory(&machine, artefacts)?;
        fs::write(logs.join("qemu.command"), quoted(&words))
            .map_err(Error::io("writing the log"))?;
        let console = Arc::new(Console::default());
        let (mut child, keep_alive) = spawn(&words, artefacts, &logs, &console)?;
        let console_input = child.stdin.take().ok_or(Error::NotBuilt(logs.clone()))?;
        let connected = connect(&mut child, &shell, &monitor);
        let (stream, qmp) = match connected {
            Ok(Some(both)) => both,
            Ok(None) => return Err(ended(&mut child, &console, &logs, "it was powered on")),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let shell = Arc::new(Console::default());
        follow(&shell, &stream, &logs)?;
        Ok(Self {
            child,
            console,
            shell,
            shell_input: stream,
            console_input,
            qmp,
            shell_is_ready: false,
            logs,
            _keep_alive: keep_alive,
            _sockets: sockets,
        })
    }

    /// Waits until `pattern` matches on the console after the previous match; returns what its first group
    /// matched, or all of the match. Fails at once if the machine ends, which it does when its
    /// kernel panics or the hypervisor crashes.
    pub fn wait_for(&mut self, pattern: &str, limit: Duration) -> Result<String> {
        let regex = Regex::new(pattern)?;
        let found = self.console.wait_for(&regex, limit::scaled(limit));
        found.map_err(|error| self.explain(error, &format!("{pattern:?} on the console"), limit))
    }

    /// Types a line on the console.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        let sent = self
            .console_input
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| self.console_input.flush());
        sent.map_err(Error::io("typing on the console"))
    }

    /// All text of the console.
    pub fn console(&self) -> String {
        self.console.text()
    }

    /// Runs a command in the machine and waits for its end, for at most two minutes.
    pub fn shell(&mut self, command: &str) -> Result<Output> {
        self.shell_within(command, limit::COMMAND)
    }

    /// Runs a command in the machine and waits for its end. The first call waits for the machine to boot.
    pub fn shell_within(&mut self, command: &str, limit: Duration) -> Result<Output> {
        if !self.shell_is_ready {
            self.wait_for_shell(limit::BOOT)?;
        }
        let mark = mark();
        self.type_in_shell(&wrap(&mark, command))?;
        let answer = self.shell.wait(limit::scaled(limit), |text| match progress(&mark, text) {
            Progress::Ended { used, status, text } => Some((used, Some((status, text)))),
            Progress::Restarted => Some((0, None)),
            Progress::Running => None,
        });
        match answer {
            Ok(Some((status, text))) => Ok(Output { command: command.to_owned(), status, text }),
            Ok(None) => {
                self.shell_is_ready = false;
                Err(Error::ShellRestarted(command.to_owned()))
            }
            Err(error) => Err(self.explain(error, &format!("end of {command:?}"), limit)),
        }
    }

    /// Starts a command in the machine and does not wait for it: for `poweroff`, `reboot` and the like.
    pub fn start(&mut self, command: &str) -> Result<()> {
        if !self.shell_is_ready {
            self.wait_for_shell(limit::BOOT)?;
        }
        self.type_in_shell(&wrap(&mark(), command))
    }

    /// Waits until a shell answers that has not answered before: at boot, and again after a reboot.
    pub fn wait_for_shell(&mut self, limit: Duration) -> Result<()> {
        let ready = Regex::new(&format!("{READY}(\\S+)\n"))?;
        self.shell_is_ready = false;
        let boot = self.shell.wait_for(&ready, limit::scaled(limit));
        boot.map_err(|error| self.explain(error, "answer of the machine's shell", limit))?;
        self.shell_is_ready = true;
        Ok(())
    }

    /// Waits until the emulator ends.
    pub fn wait_exit(&mut self, limit: Duration) -> Result<Exit> {
        let deadline = Instant::now() + limit::scaled(limit);
        loop {
            if let Some(status) = self.child.try_wait().map_err(Error::io("waiting for QEMU"))? {
                // Its last words and its last event may still be on their way to us.
                let _ = self.console.wait::<()>(Duration::from_secs(30), |_| None);
                let _ = self.qmp.wait_event(
                    "no such event: until the connection closes",
                    Duration::from_secs(5),
                );
                return Ok(Exit { status, reason: self.qmp.shutdown_reason() });
            }
            if Instant::now() >= deadline {
                return Err(self.explain(WaitError::TimedOut, "end of the machine", limit));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The emulator's exit status, if it ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The emulator's monitor.
    pub fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// Where this machine's logs are.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    fn type_in_shell(&mut self, line: &str) -> Result<()> {
        self.shell_input
            .write_all(line.as_bytes())
            .map_err(Error::io("typing in the machine's shell"))
    }

    fn explain(&mut self, error: WaitError, what: &str, limit: Duration) -> Error {
        match error {
            WaitError::Closed => ended(&mut self.child, &self.console, &self.logs, what),
            WaitError::TimedOut => Error::TimedOut {
                what: what.to_owned(),
                limit: limit::scaled(limit),
                tail: format!(
                    "{}\n--- processors ---\n{}",
                    self.console.tail(TAIL),
                    self.processors()
                ),
                logs: self.logs.clone(),
            },
        }
    }

    /// What each processor of a machine that hangs is at, a few times over: where, and whether it is halted. The
    /// whole of their registers goes to `registers` among the logs.
    fn processors(&self) -> String {
        let mut whole = String::new();
        for _ in 0..SAMPLES {
            match self.qmp.human_within("info registers -a", Duration::from_secs(5)) {
                Ok(registers) => whole += &registers,
                Err(error) => {
                    whole += &format!("not known: {error}\n");
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let _ = fs::write(self.logs.join("registers"), &whole);
        let told = ["CPU#", "RIP=", "RSP=", "GS =", "not known"];
        whole
            .lines()
            .filter(|line| told.iter().any(|word| line.starts_with(word)))
            .fold(String::new(), |text, line| text + line + "\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "the machine's logs are in {}; its console's last lines:",
                self.logs.display()
            );
            eprintln!("{}", self.console.tail(TAIL));
        }
    }
}

/// Starts QEMU, which is told to end when the thread that started it ends: so it never outlives a killed
/// test. Hence a thread of its own, which copies QEMU's output and stays until the returned sender is dropped.
fn spawn(
    words: &[String],
    artefacts: &Artefacts,
    logs: &Path,
    console: &Arc<Console>,
) -> Result<(Child, Sender<()>)> {
    let create =
        |name: &str| File::create(logs.join(name)).map_err(Error::io(format!("writing {name}")));
    let (log, complaints) = (create("console.log")?, create("qemu.stderr")?);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).args(words).envs(&artefacts.qemu_environment);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints);
    let (sender, receiver) = channel();
    let (keep_alive, end) = channel::<()>();
    let console = Arc::clone(console);
    std::thread::spawn(move || {
        let mut spawned = command.spawn();
        let output = spawned.as_mut().ok().and_then(|child| child.stdout.take());
        let _ = sender.send(spawned);
        if let Some(output) = output {
            console.follow(output, log);
        }
        let _ = end.recv();
    });
    let spawned = receiver.recv().map_err(|_| Error::NotBuilt(logs.to_owned()))?;
    Ok((spawned.map_err(Error::io("starting setpriv (package util-linux)"))?, keep_alive))
}

/// Waits for both of QEMU's connections; nothing if it ended instead.
fn connect(
    child: &mut Child,
    shell: &Channel,
    monitor: &Channel,
) -> Result<Option<(UnixStream, Qmp)>> {
    let mut alive = || matches!(child.try_wait(), Ok(None));
    let limit = limit::scaled(limit::MONITOR);
    let Some(stream) = shell.accept(limit, &mut alive)? else { return Ok(None) };
    let Some(qmp) = monitor.accept(limit, &mut alive)? else { return Ok(None) };
    match Qmp::new(qmp) {
        // One that finds a file missing has connected by then.
        Err(_) if ends_by_itself(child) => Ok(None),
        greeted => greeted.map(|qmp| Some((stream, qmp))),
    }
}

/// Whether a process that closed its sockets is about to end.
fn ends_by_itself(child: &mut Child) -> bool {
    let deadline = Instant::now() + limit::scaled(limit::ENDING);
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            ended => return matches!(ended, Ok(Some(_))),
        }
    }
}

fn follow(shell: &Arc<Console>, stream: &UnixStream, logs: &Path) -> Result<()> {
    let log = File::create(logs.join("shell.log")).map_err(Error::io("writing shell.log"))?;
    let reader = stream.try_clone().map_err(Error::io("the shell's connection"))?;
    let shell = Arc::clone(shell);
    std::thread::spawn(move || shell.follow(reader, log));
    Ok(())
}

/// The error for an emulator that is gone, with its last words.
fn ended(child: &mut Child, console: &Console, logs: &Path, what: &str) -> Error {
    let _ = child.kill();
    let status = match child.wait() {
        Ok(status) => status,
        Err(source) => return Error::Io { what: "waiting for QEMU".to_owned(), source },
    };
    let complaints = fs::read_to_string(logs.join("qemu.stderr")).unwrap_or_default();
    let tail = format!("{}\n{complaints}", console.tail(TAIL));
    Error::Ended { what: what.to_owned(), status, tail, logs: logs.to_owned() }
}

/// A word that no text of the machine contains.
fn mark() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{count}-{:016x}", RandomState::new().hash_one(count))
}

/// `out/test-logs/<test>/`, emptied; a test's further machines get a number.
fn log_directory(machine: &Machine, artefacts: &Artefacts) -> Result<PathBuf> {
    static USED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let thread = std::thread::current();
    let name = machine
        .name
        .as_deref()
        .or(thread.name())
        .unwrap_or("machine")
        .replace("::", ".")
        .replace('/', "-");
    let mut used = USED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let again = used.iter().filter(|other| **other == name).count();
    used.push(name.clone());
    let name = if again == 0 { name } else { format!("{name}-{}", again + 1) };
    let path = artefacts.out.join("test-logs").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).map_err(Error::io(format!("creating {}", path.display())))?;
    Ok(path)
}

/// A command that a person can paste into a shell.
pub fn quoted(words: &[String]) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "-_=+,./:@%".contains(character);
    let quote = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_quoted_for_a_shell() {
        let words = ["qemu", "-append", "a b 'c'", ""].map(str::to_owned);
        assert_eq!(quoted(&words), "qemu -append 'a b '\\''c'\\''' ''");
    }

    #[test]
    fn marks_differ() {
        assert_ne!(mark(), mark());
    }
}
