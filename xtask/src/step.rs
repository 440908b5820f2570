//! A long step: a spinner with the elapsed time on a terminal, plain lines elsewhere, and a log file. Several may be
//! under way at once.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::context::Context;

/// How many lines of a failed command are repeated in the error.
const TAIL: usize = 25;
/// Without a terminal, a step says this often that it is still at work.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// The spinners of all steps under way, each with a line of the terminal.
static SPINNERS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A step under way.
pub struct Step {
    title: String,
    bar: Option<ProgressBar>,
    log: PathBuf,
    start: Instant,
}

impl Step {
    /// Begins a step called `title`, whose commands write to `out/logs/<name>.log`.
    pub fn begin(context: &Context, name: &str, title: &str) -> Result<Self> {
        let log = context.out.join("logs").join(format!("{name}.log"));
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let bar = std::io::stderr().is_terminal().then(|| spinner(title));
        if bar.is_none() {
            say(&format!("{title} ..."));
        }
        Ok(Self { title: title.to_owned(), bar, log, start: Instant::now() })
    }

    /// Runs `command` to its end; an exit status other than 0 is an error that ends with the last lines.
    pub fn run(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (reader, writer) = std::io::pipe()?;
        let mut log = OpenOptions::new().append(true).open(&self.log)?;
        writeln!(log, "$ {command:?}")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        // The pipe's write ends must close for the loop below to end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let tail = self.follow(BufReader::new(reader), &mut log)?;
        let status = child.wait()?;
        if !status.success() {
            let tail = tail.into_iter().collect::<Vec<_>>().join("\n");
            bail!(
                "{}: {program} failed ({status}):\n{tail}\n(all of it: {})",
                self.title,
                self.log.display()
            );
        }
        Ok(())
    }

    fn follow(
        &self,
        mut output: impl std::io::BufRead,
        log: &mut File,
    ) -> Result<VecDeque<String>> {
        let mut tail = VecDeque::new();
        let mut line = Vec::new();
        let mut spoken = Instant::now();
        while output.read_until(b'\n', &mut line)? > 0 {
            log.write_all(&line)?;
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.show(&text, &mut spoken);
            tail.push_back(text);
            if tail.len() > TAIL {
                tail.pop_front();
            }
            line.clear();
        }
        Ok(tail)
    }

    fn show(&self, line: &str, spoken: &mut Instant) {
        match &self.bar {
            Some(bar) => bar.set_message(line.trim().to_owned()),
            None if spoken.elapsed() >= HEARTBEAT => {
                say(&format!(
                    "  {}, {} s: {}",
                    self.title,
                    self.start.elapsed().as_secs(),
                    line.trim()
                ));
                *spoken = Instant::now();
            }
            None => {}
        }
    }

    /// Ends the step and says how long it took.
    pub fn done(self) {
        let line =
            format!("{} ... done in {:.1} s", self.title, self.start.elapsed().as_secs_f64());
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(&line);
    }

    /// Where the output of the step's commands goes.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

fn spinner(title: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar =
        SPINNERS.add(ProgressBar::new_spinner()).with_style(style).with_prefix(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Prints a line for the user, above the spinners if there are any.
pub fn say(line: &str) {
    SPINNERS.suspend(|| eprintln!("{line}"));
}

/// Runs a short command and returns what it prints.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command whose output belongs to the user's terminal (tests, lints).
pub fn visible(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", readable(command));
    let status =
        command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{} failed ({status})", readable(command));
    }
    Ok(())
}

fn readable(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
