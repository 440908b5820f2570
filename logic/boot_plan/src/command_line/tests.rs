use super::*;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

fn options(line: &str) -> Options {
    let parsed = parse(line.as_bytes());
    assert!(parsed.errors.is_empty(), "{line}: {}", parsed.errors[0]);
    parsed.options
}

fn errors(line: &str) -> Vec<String> {
    parse(line.as_bytes()).errors.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_line_means_the_defaults() {
    assert_eq!(options("  \t "), Options::DEFAULT);
}

#[test]
fn every_option_is_read() {
    let all = options(
        "console=com2,9600 loglevel=debug parent_mem=2G lps=4 boot_lp=off x2apic=off noreboot exit_port=0xf4",
    );
    assert_eq!(all.console, Console::Serial { port: 0x2F8, baud: 9600 });
    assert_eq!(all.loglevel, LogLevel::Debug);
    assert_eq!(all.parent_mem, Some(2 << 30));
    assert_eq!(all.lps, Some(4));
    assert!(!all.boot_lp);
    assert!(!all.x2apic);
    assert!(all.noreboot);
    assert_eq!(all.exit_port, Some(0xF4));
    assert_eq!(options("console=none").console, Console::None);
    assert_eq!(options("console=0x2e8").console, Console::Serial { port: 0x2E8, baud: 115_200 });
    assert_eq!(options("parent_mem=70000K").parent_mem, Some(70_000 << 10));
}

#[test]
fn an_unknown_option_is_named() {
    let errors = errors("paren_mem=1G loglevel=info");
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("option \"paren_mem=1G\": unknown; known are console, loglevel"),
        "{}",
        errors[0]
    );
}

#[test]
fn bad_values_say_what_is_expected() {
    for line in [
        "console=com3",
        "console=com1,",
        "console=com1,7",
        "console=none,9600",
        "console=0x0",
        "console=1016",
        "loglevel=loud",
        "parent_mem=1",
        "parent_mem=99999999999999999999G",
        "parent_mem=M",
        "lps=0",
        "lps=257",
        "lps=-1",
        "boot_lp=1",
        "x2apic=maybe",
        "exit_port=0x10000",
        "exit_port=0xZZ",
    ] {
        let found = errors(line);
        assert_eq!(found.len(), 1, "{line}");
        assert!(found[0].contains("bad value, expected "), "{}", found[0]);
    }
}

#[test]
fn values_are_neither_forgotten_nor_invented() {
    assert_eq!(errors("lps lps=2")[0], "option \"lps\": needs a value: a number from 1 to 256");
    assert!(errors("lps=")[0].contains("needs a value"));
    assert_eq!(errors("noreboot=1"), ["option \"noreboot=1\": takes no value"]);
}

#[test]
fn the_second_of_two_equal_options_is_refused() {
    let parsed = parse(b"lps=2 lps=3");
    assert_eq!(parsed.options.lps, Some(2));
    assert_eq!(parsed.errors[0].to_string(), "option \"lps=3\": given twice");
}

#[test]
fn the_rest_counts_in_spite_of_mistakes_and_all_are_counted() {
    let parsed = parse(b"a b c d e f g h i j loglevel=warn");
    assert_eq!((parsed.errors.len(), parsed.more_errors), (8, 2));
    assert_eq!(parsed.options.loglevel, LogLevel::Warn);
}

#[test]
fn a_long_word_is_cut_and_odd_bytes_are_escaped() {
    let mut line = std::vec![b'x'; 300];
    line[0] = 0x1B;
    let text = parse(&line).errors[0].to_string();
    assert!(text.starts_with("option \"\\x1bxxx") && text.contains("xxx...\": unknown"), "{text}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        let parsed = parse(&line);
        for error in &parsed.errors {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn sizes_survive(mib in 64_u64..1 << 20) {
        let line = std::format!("parent_mem={mib}M");
        prop_assert_eq!(parse(line.as_bytes()).options.parent_mem, Some(mib << 20));
    }
}
