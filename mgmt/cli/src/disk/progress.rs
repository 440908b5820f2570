//! How far long work has come, on standard error, if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of bytes, with speed and time left.
pub struct Bar(ProgressBar);

impl Bar {
    pub fn new(work: &'static str) -> Self {
        let bar = ProgressBar::new(0).with_message(work);
        let template =
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Hears how far the work has come.
    pub fn listener(&self) -> impl FnMut(u64, u64) + use<> {
        let bar = self.0.clone();
        move |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
