//! A console that remembers, for tests.

use super::{ConsoleEnds, OutputPort};
use std::sync::{Arc, Mutex};

/// Keeps what the guest printed.
#[derive(Default)]
pub struct Recorder(Mutex<Vec<u8>>);

impl Recorder {
    /// A console that ends here.
    pub fn console() -> (ConsoleEnds, Arc<Self>) {
        let recorder = Arc::new(Self::default());
        let output: Arc<dyn OutputPort> = Arc::clone(&recorder) as _;
        (ConsoleEnds { output, input: Arc::default() }, recorder)
    }

    /// What was printed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl OutputPort for Recorder {
    fn write(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }
}
