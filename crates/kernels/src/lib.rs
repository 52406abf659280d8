//! Compute kernels over slices.
//!
//! Everything that is hot in Hearth ends here: matrix products with quantized weights, attention over the paged KV
//! cache, norms, rotary embeddings. A kernel is a safe function that checks its lengths and then calls the widest
//! implementation that the processor has, chosen once at run time; each SIMD path is tested against the scalar one.

mod activation;
mod attention;
mod convolution;
mod cpu;
mod dequantize;
mod dtype;
mod elementwise;
mod error;
mod matrix;
mod memory;
mod norm;
mod pool;
pub mod probe;
mod rope;
mod scratch;
mod simd;
mod softmax;
mod storage;
#[cfg(test)]
mod testing;

pub use activation::{gelu, gelu_tanh, silu_mul};
pub use attention::{AttentionSpan, KvDType, KvLayer, UnknownKvDType, attention, attention_full};
pub use convolution::{
    Activation, Along, Convolution, Depthwise, Filters, Images, Products, Window, products,
    products_of_products,
};
pub use cpu::{Tier, cpu_tier};
pub use dequantize::dequantize;
pub use dtype::DType;
pub use elementwise::{add, add_bias};
pub use error::KernelError;
pub use matrix::{
    Activations, Inputs, Matrix, Precision, Product, matmul, matmul_add, matmul_each,
    matmul_silu_mul,
};
pub use norm::{layer_norm, rms_norm};
pub use pool::Pool;
pub use rope::{Rope, RopeStyle};
pub use softmax::softmax;
pub use storage::{Bytes, Storage};
