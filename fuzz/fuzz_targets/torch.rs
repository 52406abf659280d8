//! Any bytes as a file by `torch.save`: an error, or tensors all of which can be read.

#![no_main]

use hearth_formats::torch::TorchFile;
use hearth_kernels::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(file) = TorchFile::from_bytes(Bytes::from(data.to_vec()), "fuzz".into()) else {
        return;
    };
    for tensor in file.tensors().values() {
        // A view may repeat what it holds without end; who makes it dense asks for its size first.
        if tensor.dense_bytes() <= 1 << 20 {
            assert_eq!(tensor.dense().len(), tensor.dense_bytes());
        }
    }
});
