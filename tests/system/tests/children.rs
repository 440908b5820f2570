//! Child partitions: Debian's stock kernels in the worker, through the parent's own driver.
//!
//! Everything runs in a parent that is one initial RAM file system, and the children in another ([`machine`]).

mod boot;
mod cycles;
mod debian;
mod guests;
mod hostile;
mod ioctls;
mod kept;
mod machine;
mod many;
mod storage;
mod tiny;
mod work;
mod worker;

use system_tests::Tests;

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("children");
    boot::add(&mut tests);
    work::add(&mut tests);
    worker::add(&mut tests);
    ioctls::add(&mut tests);
    cycles::add(&mut tests);
    debian::add(&mut tests);
    storage::add(&mut tests);
    kept::add(&mut tests);
    many::add(&mut tests);
    guests::add(&mut tests);
    hostile::add(&mut tests);
    tests
}
