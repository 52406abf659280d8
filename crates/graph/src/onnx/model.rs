//! The parts of a model, by the names of ONNX's own schema (`onnx/onnx.proto` in the ONNX repository).

use hearth_kernels::Bytes;

/// A model.
#[derive(Debug, Clone)]
pub struct Model {
    /// The version of the operator set that the nodes are of.
    pub opset: i64,
    /// The nodes and weights.
    pub graph: Graph,
    /// Free-form facts.
    pub metadata: Vec<(String, String)>,
}

/// Nodes in order of computation, with inputs, outputs and weights.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The graph's name.
    pub name: String,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Weights and constants.
    pub initializers: Vec<Tensor>,
    /// What the user gives.
    pub inputs: Vec<ValueInfo>,
    /// What the user gets.
    pub outputs: Vec<ValueInfo>,
}

/// One operator at work.
#[derive(Debug, Clone)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// The operator, of the default domain.
    pub op_type: &'static str,
    /// The names of what it takes; empty where an optional input is left out.
    pub inputs: Vec<String>,
    /// The names of what it gives.
    pub outputs: Vec<String>,
    /// Its settings.
    pub attributes: Vec<Attribute>,
}

/// A setting of a node.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// The name.
    pub name: &'static str,
    /// The value.
    pub value: AttributeValue,
}

/// The value of a setting.
#[derive(Debug, Clone)]
pub enum AttributeValue {
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f32),
    /// A string.
    String(String),
    /// Integers.
    Ints(Vec<i64>),
    /// A tensor.
    Tensor(Tensor),
}

/// A constant tensor.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The name; empty in attributes.
    pub name: String,
    /// The type of the elements.
    pub dtype: DataType,
    /// The dimensions.
    pub dims: Vec<i64>,
    /// The elements in row-major order, little-endian.
    pub bytes: Bytes,
}

/// What is known of a graph's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueInfo {
    /// The name.
    pub name: String,
    /// The type of the elements.
    pub dtype: DataType,
    /// The dimensions.
    pub dims: Vec<Dim>,
}

/// A dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Known.
    Fixed(i64),
    /// Any size; dimensions of one name are of one size.
    Symbol(String),
    /// Any size.
    Unknown,
}

/// The element types, with the numbers that files have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum DataType {
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Bfloat16 = 16,
}

impl DataType {
    /// The type of a number in a file, where it is one of these.
    pub fn from_number(number: i32) -> Option<DataType> {
        use DataType::*;
        [
            Float, Uint8, Int8, Uint16, Int16, Int32, Int64, Bool, Float16, Double, Uint32, Uint64,
            Bfloat16,
        ]
        .into_iter()
        .find(|&dtype| dtype as i32 == number)
    }

    /// The size of an element in bytes.
    pub const fn bytes(self) -> usize {
        use DataType::*;
        match self {
            Uint8 | Int8 | Bool => 1,
            Uint16 | Int16 | Float16 | Bfloat16 => 2,
            Float | Int32 | Uint32 => 4,
            Int64 | Double | Uint64 => 8,
        }
    }

    /// The name that numpy and PyTorch have for it.
    pub const fn name(self) -> &'static str {
        use DataType::*;
        match self {
            Float => "float32",
            Double => "float64",
            Float16 => "float16",
            Bfloat16 => "bfloat16",
            Int8 => "int8",
            Int16 => "int16",
            Int32 => "int32",
            Int64 => "int64",
            Uint8 => "uint8",
            Uint16 => "uint16",
            Uint32 => "uint32",
            Uint64 => "uint64",
            Bool => "bool",
        }
    }
}

impl std::fmt::Display for ValueInfo {
    /// Name, type and shape: `logits: float32 [s0, 2]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} [", self.name, self.dtype.name())?;
        for (i, dim) in self.dims.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match dim {
                Dim::Fixed(n) => write!(f, "{n}")?,
                Dim::Symbol(name) => f.write_str(name)?,
                Dim::Unknown => f.write_str("?")?,
            }
        }
        f.write_str("]")
    }
}
