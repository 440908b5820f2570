//! The tests inside the published crate `mshv-ioctls`, each by itself, in the parent.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Running;
use system_tests::{Tests, on};

use super::machine::parent;

const LIMIT: Duration = Duration::from_secs(600);

/// Cannot pass on this kernel whatever the hypervisor does: it has no ioctl for devices.
const IMPOSSIBLE: [&str; 1] = ["ioctls::device::tests::test_create_device"];

/// Those that wait for something the hypervisor does not have yet.
const NOT_YET: [&str; 0] = [];

/// Runs each, and prints its name behind `pass`, `fail` or `skip`; a failed one's words follow.
const SCRIPT: &str = r#"cd /tmp
for name in $(mshv-ioctls-tests --list | sed -n 's/: test$//p'); do
    if timeout 60 mshv-ioctls-tests --exact $name --test-threads=1 > out 2>&1
    then grep -q ' 1 ignored' out && echo "skip $name" || echo "pass $name"
    else echo "fail $name"; grep -A 2 panicked out; fi
done"#;

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    tests.add("ioctls::published_crates_own_tests_pass", || {
        on("children-2lp", || parent(2, 2048), own_tests)
    });
}

fn own_tests(parent: &mut Running) -> Result<()> {
    let text = parent.shell_within(SCRIPT, LIMIT)?.success()?;
    let named = |word: &str| -> BTreeSet<&str> {
        text.lines().filter_map(|line| line.strip_prefix(word)).collect()
    };
    let (passed, failed) = (named("pass "), named("fail "));
    let excused: BTreeSet<&str> = IMPOSSIBLE.into_iter().chain(NOT_YET).collect();
    let broken: Vec<_> = failed.difference(&excused).collect();
    println!("mshv-ioctls: {} passed, failed: {failed:?}", passed.len());
    ensure!(broken.is_empty(), "{broken:?}\n{text}");
    ensure!(passed.len() + failed.len() > 30, "{text}");
    Ok(())
}
