//! `zm hv log`.

use super::client::{Hypervisor, PropertySource, ReadError};
use crate::args::LogOptions;
use crate::output::printable;
use serde_json::json;
use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;
use zemindef::log::Record;

/// How often to look for new lines.
const POLL: Duration = Duration::from_millis(250);

/// Prints the log, and what is added to it if that is wanted.
pub fn run<S: PropertySource>(
    hypervisor: &Hypervisor<S>,
    options: &LogOptions,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut reader = Reader { hypervisor, options, position: 0 };
    let mut lines = reader.until(hypervisor.info()?.log_next)?;
    if let Some(wanted) = options.lines {
        lines.drain(..lines.len().saturating_sub(wanted));
    }
    print(lines, out)?;
    if !options.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(POLL);
        print(reader.next_lines()?.1, out)?;
    }
}

fn print(lines: impl IntoIterator<Item = String>, out: &mut dyn Write) -> std::io::Result<()> {
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// Reads the log piece by piece, as formatted lines.
struct Reader<'a, S> {
    hypervisor: &'a Hypervisor<S>,
    options: &'a LogOptions,
    position: u64,
}

impl<S: PropertySource> Reader<'_, S> {
    /// Lines up to `end`: what was there when the command began, however fast lines are added.
    fn until(&mut self, end: u64) -> Result<VecDeque<String>, ReadError> {
        let mut lines = VecDeque::new();
        while self.position < end {
            let (more, next) = self.next_lines()?;
            lines.extend(next);
            if !more {
                break;
            }
        }
        Ok(lines)
    }

    /// The next lines, and whether the hypervisor returned any. Says so when some were overwritten before we came.
    fn next_lines(&mut self) -> Result<(bool, Vec<String>), ReadError> {
        let part = self.hypervisor.log(self.position)?;
        let lost = part.chunk.first.saturating_sub(self.position);
        let mut lines = Vec::new();
        if lost > 0 && self.position > 0 {
            lines.push(self.gap(lost));
        }
        let mut records = part.records();
        let wanted = records.by_ref().filter(|record| self.options.level.admits(record.level));
        lines.extend(wanted.map(|record| self.line(&record)));
        if !records.rest().1.is_empty() {
            return Err(ReadError::Malformed("a damaged log record"));
        }
        self.position = part.chunk.next;
        Ok((part.chunk.len > 0, lines))
    }

    fn line(&self, record: &Record<'_>) -> String {
        if self.options.json { json_line(record) } else { text_line(record) }
    }

    fn gap(&self, bytes: u64) -> String {
        match self.options.json {
            true => json!({ "lost_bytes": bytes }).to_string(),
            false => {
                format!("-- {bytes} bytes of log were overwritten before they could be read --")
            }
        }
    }
}

fn text_line(record: &Record<'_>) -> String {
    let (seconds, micros) = (record.time_100ns / 10_000_000, record.time_100ns % 10_000_000 / 10);
    let lp = record.lp.map_or_else(|| "-".to_owned(), |lp| format!("lp{lp}"));
    let level = record
        .level()
        .map_or_else(|| format!("level {}", record.level), |level| level.name().to_owned());
    format!("[{seconds:>5}.{micros:06}] {lp:<4} {level:<5} {}", printable(record.text))
}

fn json_line(record: &Record<'_>) -> String {
    json!({
        "time_us": record.time_100ns / 10,
        "lp": record.lp,
        "level": record.level().map_or_else(|| json!(record.level), |level| json!(level.name())),
        "position": record.position,
        "text": String::from_utf8_lossy(record.text),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::LogLevel;
    use std::cell::RefCell;
    use zemindef::info::HvInfo;
    use zemindef::log::{Level, LogRing};
    use zemindef::property;
    use zerocopy::{FromZeros, IntoBytes};

    /// A real ring behind the property, so that positions and overwriting are the hypervisor's own.
    #[derive(Default)]
    struct Ring(RefCell<LogRing<2048>>);

    impl PropertySource for &Ring {
        fn property(&self, code: u32, argument: u64, out: &mut [u8]) -> Result<(), ReadError> {
            let ring = self.0.borrow();
            if code == property::STATUS {
                let info = HvInfo { size: 144, log_next: ring.next(), ..HvInfo::new_zeroed() };
                out[..144].copy_from_slice(info.as_bytes());
            } else {
                let (header, rest) = out.split_at_mut(24);
                header.copy_from_slice(ring.read_from(argument, rest).as_bytes());
            }
            Ok(())
        }
    }

    impl Ring {
        fn push(&self, level: Level, text: &str) {
            self.0.borrow_mut().push(level, 1, 12_345_678, text.as_bytes());
        }

        fn show(&self, options: &LogOptions) -> String {
            let mut out = Vec::new();
            run(&Hypervisor::new(self), options, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        }
    }

    #[test]
    fn lines_carry_time_processor_and_level() {
        let ring = Ring::default();
        ring.push(Level::Warn, "odd \x1b thing");
        assert_eq!(
            ring.show(&LogOptions::default()),
            "[    1.234567] lp1  warn  odd \\u{1b} thing\n"
        );
        let json = ring.show(&LogOptions { json: true, ..LogOptions::default() });
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&value["level"], &value["time_us"]), (&json!("warn"), &json!(1_234_567)));
    }

    #[test]
    fn level_and_number_of_lines_restrict_what_is_shown() {
        let ring = Ring::default();
        for number in 0..5 {
            ring.push(Level::Error, &format!("bad {number}"));
            ring.push(Level::Debug, &format!("detail {number}"));
        }
        let shown = ring.show(&LogOptions {
            level: LogLevel::Warn,
            lines: Some(2),
            ..LogOptions::default()
        });
        let texts: Vec<&str> =
            shown.lines().map(|line| line.rsplit("error ").next().unwrap()).collect();
        assert_eq!(texts, ["bad 3", "bad 4"]);
    }

    #[test]
    fn a_log_longer_than_one_answer_is_read_to_its_end() {
        let ring = Ring::default();
        (0..500).for_each(|number| ring.push(Level::Info, &format!("line {number}")));
        let shown = ring.show(&LogOptions::default());
        assert!(shown.lines().count() > 50 && shown.ends_with("line 499\n"));
    }

    #[test]
    fn a_reader_that_falls_behind_is_told() {
        let ring = Ring::default();
        ring.push(Level::Info, "first");
        let (hypervisor, options) = (Hypervisor::new(&ring), LogOptions::default());
        let mut reader = Reader { hypervisor: &hypervisor, options: &options, position: 0 };
        assert_eq!(reader.next_lines().unwrap().1.len(), 1);
        (0..500).for_each(|number| ring.push(Level::Info, &format!("line {number}")));
        let (more, lines) = reader.next_lines().unwrap();
        assert!(more && lines[0].contains("bytes of log were overwritten"), "{lines:?}");
    }
}
