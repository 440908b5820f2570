//! `zm hv counters --hypercalls`.

use super::client::{Hypervisor, PropertySource};
use super::names;
use crate::args::CounterOptions;
use crate::output::Table;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};
use zemindef::property::HypercallEntry;

/// Prints hypercalls since the start, or again and again those made since the last time.
pub fn run<S: PropertySource>(
    hypervisor: &Hypervisor<S>,
    options: &CounterOptions,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Some(seconds) = options.watch else {
        let entries = hypervisor.hypercalls()?;
        if options.json {
            writeln!(out, "{:#}", json(&entries))?
        } else {
            writeln!(out, "{}", text(&entries))?
        }
        return Ok(());
    };
    let (mut before, mut then) = (hypervisor.hypercalls()?, Instant::now());
    loop {
        std::thread::sleep(Duration::from_secs(seconds));
        let (after, now) = (hypervisor.hypercalls()?, Instant::now());
        let mut rates = per_second_since(&after, &before, now - then);
        rates.retain(|entry| options.all || entry.calls != 0);
        if options.json {
            writeln!(out, "{}", json(&rates))?
        } else {
            writeln!(out, "per second\n{}\n", text(&rates))?
        }
        out.flush()?;
        (before, then) = (after, now);
    }
}

fn per_second_since(
    after: &[HypercallEntry],
    before: &[HypercallEntry],
    elapsed: Duration,
) -> Vec<HypercallEntry> {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds).round() as u64;
    let old = |code: u16| {
        before
            .iter()
            .find(|entry| entry.code == code)
            .map_or((0, 0), |entry| (entry.calls, entry.errors))
    };
    let since = |entry: &HypercallEntry| {
        let (calls, errors) = old(entry.code);
        HypercallEntry {
            calls: rate(entry.calls, calls),
            errors: rate(entry.errors, errors),
            ..*entry
        }
    };
    after.iter().map(since).collect()
}

fn text(entries: &[HypercallEntry]) -> String {
    let header = ["code", "calls", "errors", "last error"].map(str::to_owned);
    let mut table = Table::numbers(header.to_vec());
    for entry in entries {
        let code = format!("{:#06x} {}", entry.code, names::hypercall(entry.code));
        table.row(vec![
            code,
            entry.calls.to_string(),
            entry.errors.to_string(),
            last_error(entry).unwrap_or_default(),
        ]);
    }
    table.render()
}

fn json(entries: &[HypercallEntry]) -> Value {
    let entry = |entry: &HypercallEntry| {
        json!({
            "code": entry.code,
            "name": names::hypercall(entry.code),
            "calls": entry.calls,
            "errors": entry.errors,
            "last_error": last_error(entry),
        })
    };
    json!({ "hypercalls": entries.iter().map(entry).collect::<Vec<_>>() })
}

fn last_error(entry: &HypercallEntry) -> Option<String> {
    (entry.last_error_status != 0).then(|| names::status(entry.last_error_status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(code: u16, calls: u64, errors: u64, last_error_status: u16) -> HypercallEntry {
        HypercallEntry { code, last_error_status, reserved: 0, calls, errors }
    }

    #[test]
    fn codes_and_statuses_are_named() {
        let text = text(&[entry(0x4, 12, 0, 0), entry(0xFFF0, 3, 3, 2)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("0x0004 GET_LOGICAL_PROCESSOR_RUN_TIME     12       0"),
            "{text}"
        );
        assert!(lines[2].ends_with("INVALID_HYPERCALL_CODE (0x0002)"), "{text}");
        assert_eq!(json(&[entry(0x4, 1, 0, 0)])["hypercalls"][0]["last_error"], Value::Null);
    }

    #[test]
    fn a_code_called_for_the_first_time_counts_from_zero() {
        let rates = per_second_since(
            &[entry(1, 10, 4, 5), entry(2, 6, 0, 0)],
            &[entry(1, 6, 2, 5)],
            Duration::from_secs(2),
        );
        assert_eq!(rates, [entry(1, 2, 1, 5), entry(2, 3, 0, 0)]);
    }
}
