//! Threads that wait for each other, and that look at the clock one after the other.

use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Two threads take turns by a mutex and a condition: futex calls, wake-ups and interrupts between processors.
pub fn futex(_: u64) -> Result<(), String> {
    const TURNS: u32 = 200;
    let (count, turned) = (Mutex::new(0u32), Condvar::new());
    let play = |remainder: u32| {
        let mut turn = count.lock().unwrap_or_else(PoisonError::into_inner);
        while *turn < TURNS {
            if *turn % 2 == remainder {
                *turn += 1;
                turned.notify_one();
            } else {
                turn = turned.wait(turn).unwrap_or_else(PoisonError::into_inner);
            }
        }
        turned.notify_one();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| play(0));
        play(1);
    });
    let turns = *count.lock().unwrap_or_else(PoisonError::into_inner);
    super::expect("the count of turns", turns, TURNS)
}

/// A time that one thread read is never later than what the other reads after it heard of it.
pub fn clock(_: u64) -> Result<(), String> {
    const TIMES: u32 = 500;
    let (sender, receiver) = sync_channel::<Instant>(1);
    std::thread::scope(|scope| {
        scope.spawn(move || (0..TIMES).try_for_each(|_| sender.send(Instant::now())));
        receiver.iter().try_for_each(|sent| match Instant::now().checked_duration_since(sent) {
            Some(_) => Ok(()),
            None => Err("the clock of one processor is behind that of another".to_owned()),
        })
    })
}
