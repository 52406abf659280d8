//! Any bytes as a GGUF file: an error or a sound file, all of whose tensors can be read, and which survives being
//! written and read again.

#![no_main]

use hearth_formats::gguf::{GgufFile, GgufWriter, TensorSpec};
use hearth_kernels::{Bytes, dequantize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(file) = GgufFile::from_bytes(Bytes::from(data.to_vec()), "fuzz".into()) else {
        return;
    };
    let mut specs = Vec::new();
    for t in file.tensors() {
        let mut values = vec![0.0; t.elements()];
        dequantize(t.dtype, &file.bytes(t), &mut values);
        specs.push(TensorSpec {
            name: t.name.clone(),
            dtype: t.dtype,
            shape: t.shape.clone(),
        });
    }
    // Names that llama.cpp would refuse are read, but not written.
    let Ok(mut writer) = GgufWriter::new(Vec::new(), file.metadata(), specs) else {
        return;
    };
    for t in file.tensors() {
        writer.write(&file.bytes(t)).expect("the announced size");
    }
    let written = writer.finish().expect("all tensors are written");
    let again = GgufFile::from_bytes(Bytes::from(written), "again".into()).expect("a sound file");
    assert_eq!(again.tensors().len(), file.tensors().len());
    for (a, b) in again.tensors().iter().zip(file.tensors()) {
        assert_eq!((&a.name, a.dtype, &a.shape), (&b.name, b.dtype, &b.shape));
        assert!(*again.bytes(a) == *file.bytes(b));
    }
});
