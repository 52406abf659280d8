//! Where this process' errors go: a terminal, a journal, a pipe.

use std::io::{self, Write};
use std::sync::Arc;

use super::{MOST_WAITING, passed_over};
use crate::writer::{Batch, Writer};

/// Standard error, written by a thread of its own, so that whoever reads it slowly holds up nobody. Clones
/// are the same.
#[derive(Debug, Clone)]
pub struct Console(Arc<Writer<Vec<u8>>>);

impl Console {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start() -> io::Result<Self> {
        let writer = Writer::start("console", MOST_WAITING, |batch: &mut Batch<Vec<u8>>| {
            let mut bytes = batch.items.concat();
            if batch.lost > 0 {
                bytes.extend_from_slice(passed_over(batch.lost).as_bytes());
                bytes.push(b'\n');
            }
            // There is nowhere to tell of errors that nobody takes.
            let _ = io::stderr().lock().write_all(&bytes);
        });
        Ok(Self(Arc::new(writer?)))
    }

    /// Waits until all so far is written.
    pub fn flush(&self) {
        self.0.flush();
    }
}

/// Takes a whole line at a time.
impl Write for Console {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.offer(line.to_vec());
        Ok(line.len())
    }

    /// Nothing waits here; the thread writes what it was handed by itself.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
