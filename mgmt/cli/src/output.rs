//! Text for people: aligned tables, units, and strings that came from elsewhere.

use std::io;

/// Rows of cells, the first column left-aligned, the others right-aligned or, for `prose` tables, left-aligned.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    prose: bool,
}

impl Table {
    /// A table of numbers under a header.
    pub fn numbers(header: Vec<String>) -> Self {
        Self { rows: vec![header], prose: false }
    }

    /// A table of text without a header.
    pub fn prose() -> Self {
        Self { rows: Vec::new(), prose: true }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, without trailing blanks.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let lines: Vec<String> = self.rows.iter().map(|row| self.line(row, &widths)).collect();
        lines.join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cell = |(column, (cell, &width)): (usize, (&String, &usize))| match column == 0
            || self.prose
        {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        };
        let cells: Vec<String> = row.iter().zip(widths).enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    }
}

/// Bytes with a binary unit: `7.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while value >= 1023.95
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = Some(next);
    }
    format!("{value:.1} {}", unit.unwrap_or(&"PiB"))
}

/// A length of time in 100 ns: `1 d 02:03:04`, below an hour `3 min 4 s`, below a minute `4.56 s`.
pub fn duration(units_100ns: u64) -> String {
    let seconds = units_100ns / 10_000_000;
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}.{:02} s", units_100ns / 100_000 % 100),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, ..) => format!("{hours}:{minutes:02}:{rest:02} h"),
        _ => format!("{days} d {hours:02}:{minutes:02}:{rest:02}"),
    }
}

/// A frequency: `2.400 GHz`.
pub fn hertz(hz: u64) -> String {
    match hz {
        0 => "unknown".to_owned(),
        1_000_000_000.. => format!("{:.3} GHz", hz as f64 / 1e9),
        _ => format!("{:.3} MHz", hz as f64 / 1e6),
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text that somebody else wrote, made safe for a terminal: control characters appear as escapes.
pub fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut safe = String::with_capacity(text.len());
    for character in text.trim_end_matches(['\n', '\r']).chars() {
        match character {
            '\t' => safe.push(' '),
            _ if is_unsafe(character) => safe.extend(character.escape_default()),
            _ => safe.push(character),
        }
    }
    safe
}

/// Control characters, and those that change the direction of what follows.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether the reader of our output has gone away, which is no failure.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().map(io::Error::kind)
    };
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_line_up_on_the_right() {
        let mut table = Table::numbers(vec!["counter".into(), "lp0".into()]);
        table.row(vec!["a".into(), "5".into()]);
        table.row(vec!["longer.name".into(), "12345".into()]);
        assert_eq!(table.render(), "counter        lp0\na                5\nlonger.name  12345");
    }

    #[test]
    fn prose_lines_up_on_the_left_without_trailing_blanks() {
        let mut table = Table::prose();
        table.row(vec!["a".into(), "short".into()]);
        table.row(vec!["ş".into(), "a bit longer".into(), "x".into()]);
        assert_eq!(table.render(), "a  short\nş  a bit longer  x");
    }

    #[test]
    fn units_fit_the_number() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!(duration(45_678_901), "4.56 s");
        assert_eq!(duration(184 * 10_000_000), "3 min 4 s");
        assert_eq!(duration(3_661 * 10_000_000), "1:01:01 h");
        assert_eq!(duration(93_784 * 10_000_000), "1 d 02:03:04");
        assert_eq!(hertz(2_400_000_000), "2.400 GHz");
        assert_eq!(hertz(62_500_000), "62.500 MHz");
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(printable(b"\x1b[31mred\x07\r\n"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(printable("bölüm\tbir".as_bytes()), "bölüm bir");
        assert_eq!(printable(b"a\xFFb"), "a\u{FFFD}b");
        assert_eq!(printable("x\u{202E}y".as_bytes()), "x\\u{202e}y");
    }
}
