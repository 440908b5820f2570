//! Work for a guest, and its clock. Linked statically: it runs in any initial RAM file system.
//!
//! * `load work SECONDS`: every kind of [`work`] on every processor at once; ends with one line that counts what was
//!   done, or with status 1 and what was wrong.
//! * `load clock COUNT`: prints its monotonic clock COUNT times, as `T nanoseconds`.
//! * `load stamp`: copies its input, and puts its own monotonic clock behind each line that begins with `T`: the time at
//!   which the line's first byte came.
//! * `load spin`: burns a processor and prints how often it went round so far, with its clock, now and then.

mod clock;
mod work;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Work of all kinds on all processors
    Work {
        /// For how long
        seconds: u64,
    },
    /// Print the monotonic clock again and again
    Clock {
        /// How often
        count: u32,
    },
    /// Put the time of their arrival behind the lines of `clock`
    Stamp,
    /// Burn one processor and say now and then how far it got
    Spin,
}

fn main() -> ExitCode {
    let result = match Cli::parse().what {
        What::Work { seconds } => work::all(seconds),
        What::Clock { count } => clock::print(count),
        What::Stamp => clock::stamp(),
        What::Spin => clock::spin(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
