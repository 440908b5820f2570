//! The test kernel: which tests there are, and their run.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod tests;

/// Runs what the command line asks for; the framework calls it when the machine is set up.
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "the framework's entry names it")]
#[unsafe(no_mangle)]
fn guest_main() -> ! {
    tests::run_selected();
    guests::report::end()
}

/// On a host there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("guest is a freestanding kernel: see tests/guests/README.md");
    std::process::exit(2);
}
