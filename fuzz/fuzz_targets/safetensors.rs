//! Any bytes as a safetensors file: an error or a sound file, all of whose tensors of a known type can be read.

#![no_main]

use hearth_formats::safetensors::SafetensorsFile;
use hearth_kernels::{Bytes, dequantize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(file) = SafetensorsFile::from_bytes(Bytes::from(data.to_vec()), "fuzz".into()) else {
        return;
    };
    for name in file.tensors().keys() {
        if let Ok(Some(t)) = file.tensor(name) {
            let mut values = vec![0.0; t.shape.iter().product()];
            dequantize(t.dtype, &t.bytes, &mut values);
        }
    }
});
