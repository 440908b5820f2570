//! Commands over a serial line on which a plain shell reads: how they are wrapped, and how their output and
//! exit status are found again.
//!
//! The shell echoes nothing. Each command travels as base64, so that quoting and line ends cannot harm
//! it, runs in a shell of its own, and its output stands between two marks that no other text contains:
//! the number in them is drawn anew for each command, and is never written in one piece when it is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};

/// What the in-guest side says when it begins to listen (`/usr/lib/zemin/test-shell`).
pub(crate) const READY: &str = "zemin-test-shell ready ";

/// What a command in the machine printed (both its outputs, in order) and its exit status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// The command.
    pub command: String,
    /// Its exit status.
    pub status: i32,
    /// What it printed.
    pub text: String,
}

impl Output {
    /// The text, if the command succeeded.
    pub fn success(self) -> Result<String> {
        match self.status {
            0 => Ok(self.text),
            status => Err(Error::Command { command: self.command, status, text: self.text }),
        }
    }
}

/// The line that makes the shell run `command`.
pub(crate) fn wrap(mark: &str, command: &str) -> String {
    let encoded = STANDARD.encode(command);
    let run = format!("sh -c \"$(printf %s {encoded} | base64 -d)\" </dev/null 2>&1");
    format!("printf '\\n%s%s\\n' begin- {mark}; {run}; printf '\\n%s%s %s\\n' end- {mark} $?\n")
}

/// What is known about a command from the text that came so far.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// It ended; the text up to the given length is used up.
    Ended { used: usize, status: i32, text: String },
    /// Another shell answered in the meantime: the machine was restarted.
    Restarted,
    /// Not yet.
    Running,
}

/// Looks for the output of the command that was wrapped with `mark`.
pub(crate) fn progress(mark: &str, text: &str) -> Progress {
    if let Some(ended) = ended(mark, text) {
        return ended;
    }
    if text.contains(READY) { Progress::Restarted } else { Progress::Running }
}

fn ended(mark: &str, text: &str) -> Option<Progress> {
    let begin = format!("begin-{mark}\n");
    let end = format!("\nend-{mark} ");
    let start = text.find(&begin)? + begin.len();
    let rest = text.get(start..)?;
    // A command without output leaves the line end before the end mark only.
    let length = if rest.starts_with(end.get(1..)?) { 0 } else { rest.find(&end)? };
    let after = rest.get(length..)?.trim_start_matches('\n');
    let (line, _) = after.split_once('\n')?;
    let status = line.rsplit(' ').next()?.parse().ok()?;
    let used = text.len() - after.len() + line.len() + 1;
    Some(Progress::Ended { used, status, text: rest.get(..length)?.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn by_a_real_shell(command: &str) -> Progress {
        let script = wrap("77", command);
        let output = Command::new("sh").arg("-c").arg(script).output().expect("there is a shell");
        progress("77", &String::from_utf8(output.stdout).expect("text"))
    }

    fn ended_with(status: i32, text: &str, progress: &Progress) -> bool {
        matches!(progress, Progress::Ended { status: s, text: t, .. } if *s == status && t == text)
    }

    #[test]
    fn output_and_status_come_back_exactly() {
        let progress = by_a_real_shell("echo 'a \"quoted\" $HOME'; echo b >&2; exit 3");
        assert!(ended_with(3, "a \"quoted\" $HOME\nb\n", &progress), "{progress:?}");
    }

    #[test]
    fn silent_command_has_empty_output() {
        assert!(ended_with(0, "", &by_a_real_shell("true")));
        assert!(ended_with(1, "", &by_a_real_shell("false")));
    }

    #[test]
    fn output_without_line_end_is_kept() {
        assert!(ended_with(0, "x", &by_a_real_shell("printf x")));
    }

    #[test]
    fn command_cannot_eat_the_line_that_follows_it() {
        assert!(ended_with(0, "", &by_a_real_shell("cat")));
    }

    #[test]
    fn line_that_is_sent_contains_no_mark() {
        let line = wrap("123", "echo hello");
        assert_eq!(progress("123", &line), Progress::Running);
    }

    #[test]
    fn half_an_answer_is_no_answer() {
        let whole = "\nbegin-5\nhello\n\nend-5 0\n";
        for length in 0..whole.len() {
            assert_eq!(progress("5", whole.get(..length).expect("ascii")), Progress::Running);
        }
        assert_eq!(
            progress("5", whole),
            Progress::Ended { used: whole.len(), status: 0, text: "hello\n".to_owned() }
        );
    }

    #[test]
    fn reboot_is_noticed() {
        assert_eq!(progress("5", "\nbegin-5\nzemin-test-shell ready 1-2\n"), Progress::Restarted);
    }
}
