//! The progress bar: on a terminal, on standard error.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};
use twinsid::pipeline::replay::ReplayProgress;

/// Log lines go above the progress bar, not through it.
pub struct BesideBar(pub ProgressBar);

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

pub struct Bar(pub ProgressBar);

impl ReplayProgress for Bar {
    fn started(&mut self, total_bytes: u64) {
        let template = if total_bytes > 0 {
            "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}"
        } else {
            "{spinner} {bytes}  {bytes_per_sec}  {msg}"
        };
        let style = ProgressStyle::with_template(template);
        self.0.set_style(style.expect("the template is a constant that tests have drawn"));
        if total_bytes > 0 {
            self.0.set_length(total_bytes);
        }
    }

    fn advanced(&mut self, bytes: u64, _: u64) {
        self.0.inc(bytes);
    }

    fn finished(&mut self) {
        self.0.finish_and_clear();
    }
}
