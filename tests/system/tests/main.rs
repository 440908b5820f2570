//! The whole machine, in an emulator.

mod bad_input;
mod crash;
mod endings;
mod firmware;
mod root;

fn main() -> std::process::ExitCode {
    system_tests::run(vec![
        root::tests(),
        endings::tests(),
        bad_input::tests(),
        firmware::tests(),
        crash::tests(),
    ])
}
