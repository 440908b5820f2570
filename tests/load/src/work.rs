//! Kinds of work. Each goes on until the time is up and checks every result it gets.

mod processes;
mod threads;

use std::io;
use std::time::{Duration, Instant};

/// A kind of work: its name, and a round of it. A wrong result is an error.
type Kind = (&'static str, fn(u64) -> Result<(), String>);

const KINDS: [Kind; 7] = [
    ("integer", integer),
    ("float", float),
    ("memory", memory),
    ("timer", timer),
    ("clock", threads::clock),
    ("futex", threads::futex),
    ("fork", processes::fork),
];

/// All kinds at once, one thread of each for every processor.
pub fn all(seconds: u64) -> io::Result<()> {
    let processors = std::thread::available_parallelism()?.get() as u64;
    let end = Instant::now() + Duration::from_secs(seconds);
    let start = |(number, kind): (u64, Kind)| {
        let (name, round) = kind;
        (name, std::thread::spawn(move || until(end, number, round)))
    };
    let kinds = (0..processors).flat_map(|number| KINDS.map(|kind| (number, kind)));
    let threads: Vec<_> = kinds.map(start).collect();
    let mut counts = KINDS.map(|(name, _)| (name, 0));
    for (name, thread) in threads {
        let done = thread.join().map_err(|_| io::Error::other(format!("{name} panicked")))?;
        let done = done.map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        counts.iter_mut().filter(|(other, _)| *other == name).for_each(|(_, sum)| *sum += done);
    }
    let counts = counts.map(|(name, count)| format!("{name}={count}"));
    println!("load done: {}", counts.join(" "));
    Ok(())
}

fn until(end: Instant, number: u64, round: fn(u64) -> Result<(), String>) -> Result<u64, String> {
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < end {
        round(number)?;
        rounds += 1;
    }
    Ok(rounds)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("{what} is {is:?}, and should be {should:?}")) }
}

/// The sum of the first squares, once by adding and once by the formula.
fn integer(_: u64) -> Result<(), String> {
    const COUNT: u64 = 100_000;
    let sum = (1..=COUNT).fold(0u64, |sum, n| std::hint::black_box(sum + n * n));
    expect("a sum of squares", sum, COUNT * (COUNT + 1) * (2 * COUNT + 1) / 6)
}

/// A series in vector registers, which other processors' threads use with other values at the same time.
fn float(number: u64) -> Result<(), String> {
    let start = number as f64 + 0.5;
    let walk = |steps: u32| {
        let mut lanes = [start; 4];
        for _ in 0..steps {
            lanes = std::hint::black_box(lanes.map(|lane| lane * 0.999 + 1.0));
        }
        lanes
    };
    let lanes = walk(20_000);
    expect("the lanes of a vector", lanes.map(f64::to_bits), [lanes[0].to_bits(); 4])?;
    expect("a series computed twice", walk(20_000).map(f64::to_bits), lanes.map(f64::to_bits))
}

/// Fresh pages are zero, and keep what is written to them.
fn memory(number: u64) -> Result<(), String> {
    const WORDS: usize = 1 << 18;
    let mut block = vec![0u64; WORDS];
    let value = |index: usize| (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number;
    // A word in every eighth of a page.
    for index in (0..WORDS).step_by(64) {
        let word = block.get_mut(index).ok_or("no word")?;
        expect("a fresh word", std::mem::replace(word, value(index)), 0)?;
    }
    std::hint::black_box(&mut block);
    let wrong = (0..WORDS).step_by(64).find(|&index| block.get(index) != Some(&value(index)));
    expect("the index of a wrong word", wrong, None)
}

/// A sleep is never shorter than was asked for.
fn timer(number: u64) -> Result<(), String> {
    for microseconds in [50, 700, 1_000 + 100 * number, 9_000] {
        let (wish, start) = (Duration::from_micros(microseconds), Instant::now());
        std::thread::sleep(wish);
        let slept = start.elapsed();
        if slept < wish {
            return Err(format!("a sleep of {wish:?} took {slept:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_work_succeeds_on_a_sound_machine() {
        for (name, round) in KINDS {
            assert_eq!(round(3), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_wrong_result_is_told() {
        let error = expect("one", 1, 2).unwrap_err();
        assert_eq!(error, "one is 1, and should be 2");
    }
}
