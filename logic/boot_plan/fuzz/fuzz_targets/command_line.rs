//! The hypervisor's command line: any bytes are read, every mistake prints as one line.
#![no_main]

use boot_plan::command_line::{OPTIONS, parse};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// A word: mostly an option that exists with a value that might be right.
#[derive(Arbitrary, Debug)]
enum Word {
    Option(u8, Value),
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Value {
    None,
    Number(u64, u8),
    Port(u32),
    Console(u8, u32),
    Name(u8),
    Raw(Vec<u8>),
}

impl Value {
    fn text(&self) -> Vec<u8> {
        const SUFFIXES: [&str; 5] = ["", "K", "M", "G", "T"];
        const NAMES: [&str; 9] =
            ["error", "warn", "info", "debug", "trace", "on", "off", "none", "com1"];
        let pick = |list: &[&'static str], index: u8| list[usize::from(index) % list.len()];
        match self {
            Self::None => Vec::new(),
            Self::Number(number, suffix) => {
                format!("={number}{}", pick(&SUFFIXES, *suffix)).into_bytes()
            }
            Self::Port(port) => format!("={port:#x}").into_bytes(),
            Self::Console(name, baud) => format!("={},{baud}", pick(&NAMES, *name)).into_bytes(),
            Self::Name(name) => format!("={}", pick(&NAMES, *name)).into_bytes(),
            Self::Raw(bytes) => [b"=", &bytes[..]].concat(),
        }
    }
}

fuzz_target!(|words: Vec<Word>| {
    let mut line = Vec::new();
    for word in &words {
        match word {
            Word::Option(index, value) => {
                line.extend(OPTIONS[usize::from(*index) % OPTIONS.len()].name.as_bytes());
                line.extend(value.text());
            }
            Word::Raw(bytes) => line.extend(bytes),
        }
        line.push(b' ');
    }
    let parsed = parse(&line);
    for error in &parsed.errors {
        let text = error.to_string();
        assert!(text.starts_with("option \"") && !text.contains('\n') && text.is_ascii());
        assert!(!error.word.is_empty());
    }
    if let Some(bytes) = parsed.options.parent_mem {
        assert!(bytes >= 64 << 20);
    }
    assert!(parsed.options.lps.is_none_or(|lps| (1..=256).contains(&lps)));
});
