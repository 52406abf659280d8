//! Compute kernels over slices.
//!
//! Everything that is hot in Hearth ends here: matrix products with quantized weights, attention over the paged KV
//! cache, norms, rotary embeddings. A kernel is a safe function that checks its lengths and then calls the widest
//! implementation that the processor has, chosen once at run time; each SIMD path is tested against the scalar one.

mod dequantize;
mod dtype;

pub use dequantize::dequantize;
pub use dtype::DType;
