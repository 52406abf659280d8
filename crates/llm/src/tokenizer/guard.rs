//! A last line of defence against files that nobody foresaw.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the `tokenizers` crate and makes errors of its panics.
///
/// Files are checked before they get there; but that crate expects things of its input that it does not state, and a
/// file from anywhere must not end the program. Nothing that the closure changes is used after a panic.
pub(super) fn catch<T>(f: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it panicked");
            Err(format!("tokenizers: {message}"))
        }
    }
}
