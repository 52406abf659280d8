//! A connection that does not wait for ever for a client that says nothing, or takes nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// As many bytes tell which version of HTTP a client speaks. From there on the protocol watches the time
/// of what it reads; before, nobody else does.
const FIRST_WORDS: usize = 24;

/// A stream with patience.
///
/// Reading fails when the first bytes have not come in time; writing when the peer has taken nothing for
/// too long, which ends the answer and frees all that it held.
pub struct Timed<S> {
    stream: S,
    heard: usize,
    listening: Pin<Box<Sleep>>,
    writing: Pin<Box<Sleep>>,
    write_patience: Duration,
    is_stalled: bool,
}

impl<S> Timed<S> {
    /// `stream`, whose first bytes have to come within `read_patience`, and whose peer may take nothing for
    /// `write_patience`.
    pub fn new(stream: S, read_patience: Duration, write_patience: Duration) -> Self {
        Self {
            stream,
            heard: 0,
            listening: Box::pin(tokio::time::sleep(read_patience)),
            writing: Box::pin(tokio::time::sleep(Duration::ZERO)),
            write_patience,
            is_stalled: false,
        }
    }

    /// Passes on how a write went, and begins or ends the wait.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_stalled = false;
            // Whoever is answered has been heard.
            self.heard = FIRST_WORDS;
            return written;
        }
        if !self.is_stalled {
            self.is_stalled = true;
            self.writing
                .as_mut()
                .reset(Instant::now() + self.write_patience);
        }
        ready!(self.writing.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client takes nothing of its answer",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.heard += buffer.filled().len() - before;
        } else if self.heard < FIRST_WORDS {
            ready!(self.listening.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client says nothing",
            )));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        match flushed {
            // Nothing waits to be sent, so nothing is said of the client.
            Poll::Ready(flushed) => {
                self.is_stalled = false;
                Poll::Ready(flushed)
            }
            Poll::Pending => self.watch(context, Poll::Pending),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, shut)
    }
}
