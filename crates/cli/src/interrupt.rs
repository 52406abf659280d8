//! Ctrl-C and SIGTERM, for commands that have something to finish or clean up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// The user ended the command.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The next Ctrl-C or SIGTERM. Once this was polled, neither ends the process by itself any more.
pub async fn next() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// A flag that the first Ctrl-C or SIGTERM sets. The second ends the process at once.
pub fn flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot wait for Ctrl-C")?;
    let set = Arc::clone(&flag);
    std::thread::Builder::new()
        .name("ctrl-c".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                // Where nobody tells us of Ctrl-C, it keeps its default: the process ends.
                if next().await.is_ok() {
                    set.store(true, Ordering::Relaxed);
                    exit_at_next().await;
                }
            });
        })
        .context("cannot wait for Ctrl-C")?;
    Ok(flag)
}

/// Ends the process at the next Ctrl-C or SIGTERM.
pub async fn exit_at_next() {
    if next().await.is_ok() {
        std::process::exit(130);
    }
}
