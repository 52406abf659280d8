//! Any bytes as an archive of TorchScript: an error, or a module all of whose tensors can be read.

#![no_main]

use hearth_formats::torchscript::{ScriptArchive, ScriptValue};
use hearth_kernels::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = ScriptArchive::from_bytes(Bytes::from(data.to_vec()), "fuzz".into()) else {
        return;
    };
    for value in archive.data().iter() {
        if let ScriptValue::Tensor(tensor) = value
            && tensor.dense_bytes() < 1 << 24
        {
            tensor.dense();
        }
    }
});
