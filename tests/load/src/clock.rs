//! The guest's clock, line by line.

use std::io::{self, Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two lines.
const PACE: Duration = Duration::from_millis(50);

/// Nanoseconds of the monotonic clock: since boot, as the kernel counts.
#[expect(unsafe_code, reason = "the standard library does not tell what its clock counts from")]
fn now() -> u128 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec`, which is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128
}

/// Prints the clock `count` times.
pub fn print(count: u32) -> io::Result<()> {
    let mut out = io::stdout();
    for _ in 0..count {
        sleep(PACE);
        out.write_all(format!("T {}\n", now()).as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

/// Copies the input with the times of arrival.
pub fn stamp() -> io::Result<()> {
    let (mut input, mut out) = (io::stdin(), io::stdout());
    let (mut line, mut at) = (Vec::new(), 0);
    let mut buffer = [0; 4096];
    loop {
        let count = input.read(&mut buffer)?;
        let time = now();
        for &byte in buffer.get(..count).unwrap_or_default() {
            if line.is_empty() {
                at = time;
            }
            line.push(byte);
            if byte == b'\n' {
                out.write_all(&stamped(&line, at))?;
                out.flush()?;
                line.clear();
            }
        }
        if count == 0 {
            return out.write_all(&line);
        }
    }
}

fn stamped(line: &[u8], at: u128) -> Vec<u8> {
    match line.strip_prefix(b"T ") {
        Some(rest) => [b"T ", rest.trim_ascii_end(), format!(" {at}\n").as_bytes()].concat(),
        None => line.to_vec(),
    }
}

/// Counts rounds of a loop, and prints the sum and the time every two seconds. Ends only when nobody reads.
pub fn spin() -> io::Result<()> {
    let mut rounds: u64 = 0;
    let mut next = Instant::now() + Duration::from_secs(1);
    loop {
        for step in 0..10_000u64 {
            std::hint::black_box(step);
        }
        rounds += 1;
        if Instant::now() >= next {
            println!("S {rounds} {}", now());
            next += Duration::from_secs(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_clock_are_stamped() {
        assert_eq!(stamped(b"T 12\r\n", 34), b"T 12 34\n");
        assert_eq!(stamped(b"hello\n", 34), b"hello\n");
    }
}
