//! ONNX models: the types, and writing them as protocol buffers.
//!
//! Only what a lowered program needs: one graph without functions, with its weights inside.

mod model;
mod proto;

pub use model::{Attribute, AttributeValue, DataType, Dim, Graph, Model, Node, Tensor, ValueInfo};
