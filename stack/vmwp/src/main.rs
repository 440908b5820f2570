//! The worker process; see the library.
fn main() {}
