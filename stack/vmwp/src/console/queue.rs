//! What was typed and the guest has not read.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that may wait.
pub const LIMIT: usize = 4096;

/// How long input waits for a guest that does not read before it is dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bounded queue of bytes.
#[derive(Default)]
pub struct InputQueue {
    bytes: Mutex<VecDeque<u8>>,
    taken: Condvar,
}

impl InputQueue {
    /// Appends `bytes`, at most [`LIMIT`]. While the queue is full the caller waits, up to a second; then what does not
    /// fit is dropped, or a guest that never reads would stop the reader for ever.
    pub fn push(&self, bytes: &[u8]) {
        let fits = |queue: &VecDeque<u8>| queue.len() + bytes.len() <= LIMIT;
        let waited = self.taken.wait_timeout_while(self.lock(), PATIENCE, |queue| !fits(queue));
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        let room = LIMIT - queue.len();
        queue.extend(bytes.iter().take(room));
    }

    /// Takes at most `most` bytes.
    pub fn take(&self, most: usize) -> Vec<u8> {
        let mut queue = self.lock();
        let count = most.min(queue.len());
        let bytes = queue.drain(..count).collect();
        self.taken.notify_all();
        bytes
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn bytes_come_out_in_order_and_in_parts() {
        let queue = InputQueue::default();
        queue.push(b"abc");
        queue.push(b"de");
        assert_eq!(queue.take(4), b"abcd");
        assert_eq!(queue.take(4), b"e");
        assert_eq!(queue.take(4), b"");
    }

    #[test]
    fn a_full_queue_makes_the_writer_wait_for_the_reader() {
        let queue = Arc::new(InputQueue::default());
        queue.push(&[1; LIMIT]);
        let writer = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.push(&[2; 10])
        });
        assert_eq!(queue.take(LIMIT).len(), LIMIT);
        writer.join().unwrap();
        assert_eq!(queue.take(LIMIT), [2; 10]);
    }
}
