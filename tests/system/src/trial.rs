//! A test, and how all of them are run.

use std::process::ExitCode;

use anyhow::Result;
use harness::Artefacts;
use libtest_mimic::{Arguments, Failed, Trial};

/// One behaviour of the machine.
pub struct Test {
    name: String,
    is_long: bool,
    body: Box<dyn FnOnce() -> Result<()> + Send>,
}

/// The tests of one subject, in the order in which they run.
pub struct Tests {
    subject: &'static str,
    tests: Vec<Test>,
}

impl Tests {
    /// None yet.
    pub fn of(subject: &'static str) -> Self {
        Self { subject, tests: Vec::new() }
    }

    /// Adds a test that belongs to every run.
    pub fn add(
        &mut self,
        name: impl AsRef<str>,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        self.add_if(true, name, body);
    }

    /// Adds a test that is too long for every run.
    pub fn add_long(
        &mut self,
        name: impl AsRef<str>,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        self.add_if(false, name, body);
    }

    /// Adds a test that belongs to every run if `always`, and is one of the long ones otherwise.
    pub fn add_if(
        &mut self,
        always: bool,
        name: impl AsRef<str>,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        let name = format!("{}::{}", self.subject, name.as_ref());
        self.tests.push(Test { name, is_long: !always, body: Box::new(body) });
    }
}

/// Runs what the command line asks for.
pub fn run(subjects: Vec<Tests>) -> ExitCode {
    let arguments = Arguments::from_args();
    let is_full = std::env::var_os("ZEMIN_FULL").is_some();
    let tests = subjects.into_iter().flat_map(|subject| subject.tests);
    let trials = tests.map(|test| trial(test, is_full)).collect();
    if let Err(error) = Artefacts::load()
        && !arguments.list
    {
        eprintln!("{error}");
        return match std::env::var_os("ZEMIN_OUT") {
            Some(_) => ExitCode::FAILURE,
            // A plain `cargo test` of the workspace has built no machine.
            None => {
                eprintln!("the system tests are not run: `cargo xtask test` does");
                ExitCode::SUCCESS
            }
        };
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    crate::shared::end();
    conclusion.exit_code()
}

fn trial(test: Test, is_full: bool) -> Trial {
    let Test { name, is_long, body } = test;
    let thread = name.clone();
    let body = move || {
        // The harness names its logs after the thread.
        let thread = std::thread::Builder::new().name(thread).spawn(body)?;
        match thread.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failed::from(format!("{error:#}"))),
            Err(panic) => Err(Failed::from(message(panic.as_ref()))),
        }
    };
    Trial::test(name, body).with_ignored_flag(is_long && !is_full)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
