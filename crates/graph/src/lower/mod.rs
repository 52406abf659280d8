//! Lowering: an exported program of ATen operators to an ONNX model.
//!
//! Exported programs come in two dialects: as `torch.export.export` writes them, with composite operators
//! (`aten.linear`, `aten.scaled_dot_product_attention`, `aten.lstm`) and in-place ones, and after `run_decompositions`,
//! in the core operators alone. Both are lowered directly: each operator has an entry in a table ([`supported`]) with its
//! ATen schema and the ONNX operators it becomes.
//!
//! The archive says type, sizes and strides of every value, so a lowering never infers shapes. Dynamic sizes are
//! expressions of symbols; where a runtime has to know one, it is computed from the shape of the input that the symbol
//! is a dimension of.

mod alias;
pub(crate) mod builder;
mod call;
pub(crate) mod expr;
pub(crate) mod ops;
mod outputs;
mod program;
mod sizes;
pub(crate) mod value;

pub use ops::{SupportedOperator, supported};
pub use program::lower;
pub(crate) use program::{Program, ProgramInput, ProgramWeight, Scope, lower_program};

/// The ONNX operator set that programs are lowered to.
pub const OPSET: i64 = 18;

/// A step of a lowering; the error is a sentence that the node's name is put before.
type Step<T = ()> = std::result::Result<T, String>;
