//! Any text as the source of a module: an error, or a tree that can be copied, compared and dropped.
//!
//! In an archive the sources are compressed, which changes to its bytes do not get through.

#![no_main]

#[path = "../../crates/formats/tests/zip/mod.rs"]
mod zip;

use hearth_formats::torchscript::ScriptArchive;
use hearth_formats::torchscript::syntax::StatementKind;
use hearth_kernels::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = zip::archive(&[
        ("net/data.pkl", b"\x80\x02c__torch__\nNet\n)\x81}b."),
        ("net/constants.pkl", b"\x80\x02)."),
        ("net/code/__torch__.py", data),
    ]);
    let Ok(archive) = ScriptArchive::from_bytes(Bytes::from(bytes), "fuzz".into()) else {
        return;
    };
    let Some(code) = archive.method("__torch__.Net", "forward") else {
        return;
    };
    for statement in &code.function.body {
        if let StatementKind::Return(Some(expr)) = &statement.kind {
            // A number that is none equals nothing.
            let _ = expr.clone() == *expr;
        }
    }
});
