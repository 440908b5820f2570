//! The kernel's command line: `name=value` words.

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args<'a> {
    /// `test=`: names separated by `+` or commas (QEMU takes a comma in `-initrd` for itself); "all" for every test that leaves the machine running.
    pub test: &'a str,
    /// `seed=`: start of the random sequences.
    pub seed: u64,
    /// `count=`: how much a test with random input does, in its own units; 0 for its default.
    pub count: u64,
    /// `exit_port=`: I/O port of an isa-debug-exit device; 0 for none.
    pub exit_port: u16,
    /// `serial=`: I/O port of the UART that gets the report.
    pub serial: u16,
    /// `cpus=`: most processors to use.
    pub cpus: u64,
    /// `x2apic=on`: put the APICs into x2APIC mode at the start, where that is offered.
    pub x2apic: bool,
    /// `hv_range=START-END`: memory that must not be accessible, where the memory map alone does not tell.
    pub hv_ranges: [Option<(u64, u64)>; 4],
    /// `end=`: what to do without an exit port: "halt", "poweroff" or "reset".
    pub end: &'a str,
    /// The first word that was not understood.
    pub unknown: Option<&'a str>,
}

impl Default for Args<'_> {
    fn default() -> Self {
        Self {
            test: "all",
            seed: 1,
            count: 0,
            exit_port: 0,
            serial: 0x3F8,
            cpus: u64::MAX,
            x2apic: false,
            hv_ranges: [None; 4],
            end: "halt",
            unknown: None,
        }
    }
}

impl<'a> Args<'a> {
    /// Parses a command line. A word that is not understood is remembered, not fatal: loaders add their own.
    pub fn parse(line: &'a str) -> Self {
        let mut args = Self::default();
        for word in line.split_ascii_whitespace() {
            if args.take(word).is_none() && args.unknown.is_none() {
                args.unknown = Some(word);
            }
        }
        args
    }

    /// `count=`, or `default` without it.
    pub fn count_or(&self, default: u64) -> u64 {
        if self.count == 0 { default } else { self.count }
    }

    fn take(&mut self, word: &'a str) -> Option<()> {
        let (name, value) = word.split_once('=')?;
        match name {
            "test" => self.test = value,
            "seed" => self.seed = number(value)?,
            "count" => self.count = number(value)?,
            "cpus" => self.cpus = number(value)?,
            "exit_port" => self.exit_port = number(value)?.try_into().ok()?,
            "serial" => self.serial = number(value)?.try_into().ok()?,
            "x2apic" if matches!(value, "on" | "off") => self.x2apic = value == "on",
            "end" if matches!(value, "halt" | "poweroff" | "reset") => self.end = value,
            "hv_range" => {
                let (start, end) = value.split_once('-')?;
                let slot = self.hv_ranges.iter_mut().find(|slot| slot.is_none())?;
                *slot = Some((number(start)?, number(end)?));
            }
            _ => return None,
        }
        Some(())
    }

    /// The names asked for.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.test.split([',', '+'])
    }

    /// Whether the test `name` is asked for; `by_default` says whether "all" includes it.
    pub fn selects(&self, name: &str, by_default: bool) -> bool {
        self.names().any(|wanted| wanted == name || wanted == "all" && by_default)
    }
}

/// A decimal number, or a hexadecimal one after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_taken_and_others_remembered() {
        let args =
            Args::parse("test=cpuid,msr seed=0x10 exit_port=0xf4 quiet hv_range=0x1000-0x3000 x=1");
        assert_eq!((args.test, args.seed, args.exit_port), ("cpuid,msr", 16, 0xF4));
        assert_eq!(args.hv_ranges[0], Some((0x1000, 0x3000)));
        assert_eq!(args.unknown, Some("quiet"));
    }

    #[test]
    fn all_leaves_out_the_tests_that_end_the_machine() {
        let all = Args::parse("");
        assert!(all.selects("cpuid", true) && !all.selects("triple-fault", false));
        let one = Args::parse("test=triple-fault+x");
        assert!(one.selects("triple-fault", false) && !one.selects("cpuid", true));
    }

    #[test]
    fn a_mode_of_the_apic_can_be_asked_for() {
        assert!(Args::parse("x2apic=on").x2apic && !Args::parse("x2apic=off").x2apic);
        assert_eq!(Args::parse("x2apic=maybe").unknown, Some("x2apic=maybe"));
    }

    #[test]
    fn a_number_out_of_range_is_not_taken() {
        let args = Args::parse("exit_port=70000 end=explode");
        assert_eq!((args.exit_port, args.end, args.unknown), (0, "halt", Some("exit_port=70000")));
    }

    proptest! {
        #[test]
        fn any_line_parses(line in ".*") {
            let _ = Args::parse(&line);
        }
    }
}
