//! Processes: a child that computes, and tells by a pipe and by its exit status.
#![expect(unsafe_code, reason = "fork, and what may be done in a fork of a program with threads")]

use std::io;

/// A child that changes its copy of our memory, sends it and ends.
pub fn fork(number: u64) -> Result<(), String> {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors into `ends`.
    check("pipe", unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let [read, write] = ends;
    let mut word = number;
    // SAFETY: the child calls nothing but `write` and `_exit`, which are safe whatever other threads were doing.
    let child = check("fork", unsafe { libc::fork() })?;
    if child == 0 {
        word = word.wrapping_mul(3) + 1;
        // SAFETY: sends the eight bytes of `word`; `_exit` does not return.
        unsafe {
            libc::write(write, (&raw const word).cast(), 8);
            libc::_exit(7 + number as i32);
        }
    }
    let (mut answer, mut status) = (0u64, 0);
    // SAFETY: reads at most eight bytes into `answer`, then closes what was opened above; waits for our own child.
    let (count, ended) = unsafe {
        let count = libc::read(read, (&raw mut answer).cast(), 8);
        libc::close(read);
        libc::close(write);
        (count, libc::waitpid(child, &mut status, 0))
    };
    super::expect("what came from a child", (count, answer), (8, number.wrapping_mul(3) + 1))?;
    super::expect("the child that ended", ended, child)?;
    super::expect("its status", status, (7 + number as i32) << 8)?;
    super::expect("our own word", word, number)
}

fn check(what: &str, result: i32) -> Result<i32, String> {
    if result < 0 { Err(format!("{what}: {}", io::Error::last_os_error())) } else { Ok(result) }
}
