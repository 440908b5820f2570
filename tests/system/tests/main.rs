//! The whole machine, in an emulator.

mod bad_input;
mod children;
mod crash;
mod debian;
mod endings;
mod firmware;
mod guests;
mod isolation;
mod loaders;
mod root;
mod zm;

fn main() -> std::process::ExitCode {
    system_tests::run(vec![
        root::tests(),
        endings::tests(),
        bad_input::tests(),
        firmware::tests(),
        crash::tests(),
        guests::tests(),
        children::tests(),
        isolation::tests(),
        zm::tests(),
        loaders::tests(),
        debian::tests(),
    ])
}
