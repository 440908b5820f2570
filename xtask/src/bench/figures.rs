//! What measured programs print: `bench NAME TICKS OPERATIONS`.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

/// Instructions per operation, or bytes, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    names: Vec<String>,
    values: BTreeMap<String, f64>,
}

impl Figures {
    /// The figures in a console's output.
    pub fn parse(console: &str) -> Result<Self> {
        let complaint = |line: &&str| line.contains("bench-error") || line.contains("FAILED");
        if let Some(line) = console.lines().find(complaint) {
            bail!("the guest says: {line}");
        }
        let mut figures = Self::default();
        for line in console.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["bench", name, ticks, operations] = words.as_slice() {
                let (ticks, operations): (f64, f64) = (ticks.parse()?, operations.parse()?);
                figures.add(name, ticks / operations.max(1.0));
            }
        }
        ensure!(!figures.names.is_empty(), "the guest has printed no figures");
        Ok(figures)
    }

    /// Adds one.
    pub fn add(&mut self, name: &str, value: f64) {
        self.names.push(name.to_owned());
        self.values.insert(name.to_owned(), value);
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    /// All, in the order of measurement.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.names.iter().filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }

    /// With those of another machine; a name that both have keeps its value here.
    pub fn and(mut self, other: &Self) -> Self {
        for (name, value) in other.iter() {
            if self.get(name).is_none() {
                self.add(name, value);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str =
        "[    0.1] booted\nbench boot_to_init 2000 1\nbench cpu_loop 1200 100\nbench-end\n";

    #[test]
    fn figures_are_per_operation() {
        let figures = Figures::parse(OUTPUT).expect("figures");
        let all: Vec<_> = figures.iter().collect();
        assert_eq!(all, [("boot_to_init", 2000.0), ("cpu_loop", 12.0)]);
    }

    #[test]
    fn guests_error_is_passed_on() {
        let error = Figures::parse("bench-error fork: no memory\n").expect_err("it failed");
        assert!(error.to_string().contains("fork: no memory"), "{error}");
    }

    #[test]
    fn a_console_without_figures_is_an_error() {
        assert!(Figures::parse("[    0.1] booted\n").is_err());
    }

    #[test]
    fn a_name_that_both_machines_have_keeps_the_first_value() {
        let first = Figures::parse("bench cpuid 3 1\n").expect("figures");
        let second = Figures::parse("bench cpuid 4 1\nbench create 5 1\n").expect("figures");
        let both = first.and(&second);
        assert_eq!((both.get("cpuid"), both.get("create")), (Some(3.0), Some(5.0)));
    }
}
