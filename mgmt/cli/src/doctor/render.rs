//! The report as text and as JSON.

use super::Report;
use super::checks::State;
use crate::output::Table;
use serde_json::json;

/// Verdict, checks, steps.
pub fn text(report: &Report) -> String {
    let mut table = Table::prose();
    for check in &report.checks {
        let mark = match check.state {
            State::Good => "✓",
            State::Bad => "✗",
            State::Open => "–",
        };
        table.row(vec![format!("  {mark}"), check.name.to_owned(), check.detail.clone()]);
    }
    let mut text = format!("{}\n\n{}", report.summary, table.render());
    if !report.steps.is_empty() {
        text.push_str("\n\nWhat to do:");
    }
    for (number, step) in (1..).zip(&report.steps) {
        text.push_str(&format!("\n  {number}. {step}"));
    }
    text
}

/// Everything, the facts included.
pub fn json(report: &Report) -> String {
    let value = json!({
        "running": report.verdict.is_running(),
        "verdict": report.verdict,
        "summary": report.summary,
        "checks": report.checks,
        "steps": report.steps,
        "facts": report.facts,
    });
    format!("{value:#}")
}
