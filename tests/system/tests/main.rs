//! The whole machine, in an emulator.

mod root;

fn main() -> std::process::ExitCode {
    system_tests::run(vec![root::tests()])
}
