//! `zm hv counters`.

use super::client::{Hypervisor, PropertySource, ReadError};
use crate::args::CounterOptions;
use crate::output::Table;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::time::{Duration, Instant};
use zemindef::counters::Counter;

/// Beyond this many LPs only their sum is shown.
const COLUMNS_MAX: usize = 8;

/// Values by LP, then by counter number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Snapshot {
    lps: Vec<(u32, Vec<u64>)>,
}

/// Prints counters since the start, or again and again per second.
pub fn run<S: PropertySource>(
    hypervisor: &Hypervisor<S>,
    options: &CounterOptions,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Some(seconds) = options.watch else {
        let snapshot = Snapshot::take(hypervisor, options.lp)?;
        match options.json {
            true => writeln!(out, "{:#}", snapshot.json(options.all))?,
            false => writeln!(out, "{}", snapshot.text(options.all))?,
        }
        return Ok(());
    };
    let (mut before, mut then) = (Snapshot::take(hypervisor, options.lp)?, Instant::now());
    loop {
        std::thread::sleep(Duration::from_secs(seconds));
        let (after, now) = (Snapshot::take(hypervisor, options.lp)?, Instant::now());
        let rates = after.per_second_since(&before, now - then);
        match options.json {
            true => writeln!(out, "{}", rates.json(options.all))?,
            false => {
                writeln!(out, "{}\n", rates.text(options.all).replacen("counter", "per second", 1))?
            }
        }
        out.flush()?;
        (before, then) = (after, now);
    }
}

/// Prints what each counter means.
pub fn describe(as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if as_json {
        let all: Map<String, Value> = Counter::ALL
            .into_iter()
            .map(|counter| (counter.name().to_owned(), json!(counter.description())))
            .collect();
        writeln!(out, "{:#}", Value::Object(all))?;
        return Ok(());
    }
    let mut table = Table::prose();
    Counter::ALL
        .into_iter()
        .for_each(|counter| table.row(vec![counter.name().into(), counter.description().into()]));
    writeln!(out, "{}", table.render())?;
    Ok(())
}

impl Snapshot {
    fn take<S: PropertySource>(
        hypervisor: &Hypervisor<S>,
        only: Option<u32>,
    ) -> Result<Self, ReadError> {
        let count = hypervisor.lp_count()?;
        let wanted = match only {
            Some(lp) if lp >= count => return Err(ReadError::NoSuchLp { lp, count }),
            Some(lp) => lp..lp + 1,
            None => 0..count,
        };
        let lps = wanted
            .map(|lp| Ok((lp, hypervisor.lp_counters(lp)?)))
            .collect::<Result<_, ReadError>>()?;
        Ok(Self { lps })
    }

    fn per_second_since(&self, before: &Self, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let old = |lp: u32, index: usize| {
            let values = before.lps.iter().find(|&&(other, _)| other == lp);
            values.and_then(|(_, values)| values.get(index)).copied().unwrap_or(0)
        };
        let rate = |lp, (index, &now): (usize, &u64)| {
            (now.saturating_sub(old(lp, index)) as f64 / seconds).round() as u64
        };
        let rates = |(lp, values): &(u32, Vec<u64>)| {
            (*lp, values.iter().enumerate().map(|at| rate(*lp, at)).collect())
        };
        Self { lps: self.lps.iter().map(rates).collect() }
    }

    /// Counter numbers to show.
    fn shown(&self, all: bool) -> impl Iterator<Item = usize> + '_ {
        let count = self.lps.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        (0..count).filter(move |&index| all || self.total(index) != 0)
    }

    fn value(values: &[u64], index: usize) -> u64 {
        values.get(index).copied().unwrap_or(0)
    }

    fn total(&self, index: usize) -> u64 {
        self.lps.iter().fold(0, |sum, (_, values)| sum.saturating_add(Self::value(values, index)))
    }

    fn text(&self, all: bool) -> String {
        let columns = if self.lps.len() <= COLUMNS_MAX { self.lps.as_slice() } else { &[] };
        let with_total = self.lps.len() != 1;
        let lp_names = columns.iter().map(|(lp, _)| format!("lp{lp}"));
        let header = ["counter".to_owned()]
            .into_iter()
            .chain(lp_names)
            .chain(with_total.then(|| "total".to_owned()));
        let mut table = Table::numbers(header.collect());
        for index in self.shown(all) {
            let values = columns.iter().map(|(_, values)| Self::value(values, index).to_string());
            let total = with_total.then(|| self.total(index).to_string());
            table.row([name(index)].into_iter().chain(values).chain(total).collect());
        }
        table.render()
    }

    fn json(&self, all: bool) -> Value {
        let named = |value: &dyn Fn(usize) -> u64| {
            let entries = self.shown(all).map(|index| (name(index), json!(value(index))));
            Value::Object(entries.collect::<Map<_, _>>())
        };
        let lps: Vec<Value> = (self.lps.iter())
            .map(|(lp, values)| json!({ "lp": lp, "counters": named(&|index| Self::value(values, index)) }))
            .collect();
        json!({ "total": named(&|index| self.total(index)), "lps": lps })
    }
}

/// A counter's name; those of later hypervisors have a number only.
fn name(index: usize) -> String {
    Counter::from_index(index)
        .map_or_else(|| format!("counter.{index}"), |counter| counter.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Answer, Fake};
    use super::*;
    use zemindef::property::{self, CountersHeader};
    use zerocopy::IntoBytes;

    fn values(set: &[(Counter, u64)]) -> Vec<u64> {
        let mut values = vec![0; Counter::COUNT];
        set.iter().for_each(|&(counter, value)| values[counter as usize] = value);
        values
    }

    fn two_lps() -> Hypervisor<Fake> {
        let lps = [
            values(&[(Counter::Exits, 1000), (Counter::ExitHlt, 7)]),
            values(&[(Counter::Exits, 5)]),
        ];
        let answer = |(lp, values): (usize, Vec<u64>)| {
            let header = CountersHeader { count: values.len() as u32, lp_count: 2 };
            let bytes = [header.as_bytes(), values.as_bytes()].concat();
            Answer { code: property::LP_COUNTERS, argument: Some(lp as u64), bytes }
        };
        Hypervisor::new(Fake(lps.into_iter().enumerate().map(answer).collect()))
    }

    fn show(options: &CounterOptions) -> anyhow::Result<String> {
        let mut out = Vec::new();
        run(&two_lps(), options, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn counters_that_moved_are_shown_per_lp_and_in_total() {
        let text = show(&CounterOptions::default()).unwrap();
        assert_eq!(
            text,
            "counter       lp0  lp1  total\nexits.total  1000    5   1005\nexits.hlt       7    0      7\n"
        );
    }

    #[test]
    fn one_lp_has_no_total_and_all_shows_zeros() {
        let text =
            show(&CounterOptions { lp: Some(1), all: true, ..CounterOptions::default() }).unwrap();
        assert_eq!(text.lines().count(), Counter::COUNT + 1);
        assert!(text.starts_with("counter") && !text.contains("  total\n"));
    }

    #[test]
    fn an_lp_that_is_not_there_is_named() {
        let error = show(&CounterOptions { lp: Some(2), ..CounterOptions::default() }).unwrap_err();
        assert_eq!(error.to_string(), "there is no logical processor 2: they are numbered 0 to 1");
    }

    #[test]
    fn json_has_totals_and_lps() {
        let text = show(&CounterOptions { json: true, ..CounterOptions::default() }).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["total"], json!({ "exits.total": 1005, "exits.hlt": 7 }));
        assert_eq!(
            value["lps"][1],
            json!({ "lp": 1, "counters": { "exits.total": 5, "exits.hlt": 0 } })
        );
    }

    #[test]
    fn rates_are_differences_over_time() {
        let before = Snapshot { lps: vec![(0, vec![100, 5])] };
        let after = Snapshot { lps: vec![(0, vec![150, 5, 8])] };
        let rates = after.per_second_since(&before, Duration::from_secs(2));
        assert_eq!(rates, Snapshot { lps: vec![(0, vec![25, 0, 4])] });
    }

    #[test]
    fn a_counter_of_a_later_release_has_a_number() {
        let snapshot = Snapshot { lps: vec![(0, [values(&[]), vec![3]].concat())] };
        assert!(snapshot.text(false).ends_with(&format!("counter.{}    3", Counter::COUNT)));
    }

    #[test]
    fn many_lps_are_shown_as_their_sum() {
        let snapshot = Snapshot { lps: (0..9).map(|lp| (lp, vec![1])).collect() };
        assert_eq!(snapshot.text(false), "counter      total\nexits.total      9");
    }
}
