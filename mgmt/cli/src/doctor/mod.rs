//! `zm doctor`: why the hypervisor is, or is not, running.
//!
//! ```text
//! cpu · boot · kernel · system   gather ──▶ facts ──▶ verdict   one answer
//!                                                 ├─▶ checks    what it rests on
//!                                                 └─▶ steps     what to do
//!                                                        └─▶ render   text, JSON
//! ```
//!
//! Everything after the facts is a pure function of them, so each situation is a test without the machine in it.
//! Gathering changes nothing, and what cannot be read is "unknown", never an error.

mod boot;
mod checks;
mod cpu;
mod facts;
mod kernel;
pub mod render;
mod steps;
mod system;
#[cfg(test)]
mod tests;
mod verdict;

use checks::Check;
use facts::Facts;
use serde::Serialize;
use verdict::Verdict;

/// The answer.
#[derive(Debug, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    /// The verdict in a sentence.
    pub summary: String,
    pub checks: Vec<Check>,
    /// What to do, in order.
    pub steps: Vec<String>,
    pub facts: Facts,
}

/// Examines this machine.
pub fn examine() -> Report {
    diagnose(system::gather(std::path::Path::new("/"), &cpu::read))
}

fn diagnose(facts: Facts) -> Report {
    let verdict = Verdict::of(&facts);
    let (checks, steps) = (checks::all(&facts), steps::for_verdict(verdict, &facts));
    Report { verdict, summary: verdict.sentence(&facts), checks, steps, facts }
}
