//! The whole machine, in an emulator.

mod bad_input;
mod endings;
mod root;

fn main() -> std::process::ExitCode {
    system_tests::run(vec![root::tests(), endings::tests(), bad_input::tests()])
}
