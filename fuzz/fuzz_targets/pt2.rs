//! Any bytes as an exported program: an error, or a program all of whose weights can be read.

#![no_main]

use hearth_formats::pt2::Pt2Archive;
use hearth_kernels::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = Pt2Archive::from_bytes(Bytes::from(data.to_vec()), "fuzz".into()) else {
        return;
    };
    for spec in &archive.program().graph_module.signature.input_specs {
        archive.dense(spec).expect("checked when it was opened");
    }
});
