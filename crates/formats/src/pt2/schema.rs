//! The graph of an exported program, as its JSON has it.
//!
//! Types and fields carry the names of `torch/_export/serde/schema.py`; fields that nothing here needs are left out.
//! Schema versions 7.3 (PyTorch 2.5) to 8.20 (2.15) read alike: newer ones only add fields and kinds of arguments.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};

use crate::torch::ScalarType;

/// An exported program.
#[derive(Debug, Deserialize)]
pub struct ExportedProgram {
    /// The graph and its signature.
    pub graph_module: GraphModule,
    /// The ranges of the symbols that sizes are made of, by symbol.
    #[serde(default)]
    pub range_constraints: BTreeMap<String, RangeConstraint>,
    /// The schema's version.
    pub schema_version: SchemaVersion,
    /// The PyTorch that wrote it.
    #[serde(default)]
    pub torch_version: String,
}

/// A schema's version.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct SchemaVersion {
    /// Raised by breaking changes.
    pub major: u32,
    /// Raised by compatible ones.
    pub minor: u32,
}

/// The values a symbol can have.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct RangeConstraint {
    /// The least value; `None` where there is none.
    #[serde(default, deserialize_with = "bound")]
    pub min_val: Option<i64>,
    /// The greatest value; `None` where there is none.
    #[serde(default, deserialize_with = "bound")]
    pub max_val: Option<i64>,
}

/// A graph with its signature.
#[derive(Debug, Deserialize)]
pub struct GraphModule {
    /// The nodes.
    pub graph: Graph,
    /// What each input and output is.
    pub signature: GraphSignature,
    /// How the modules were called; the first entry is the whole program.
    #[serde(default)]
    pub module_call_graph: Vec<ModuleCallEntry>,
}

/// How a module was called.
#[derive(Debug, Deserialize)]
pub struct ModuleCallEntry {
    /// The module's path; empty for the program.
    #[serde(default)]
    pub fqn: String,
    /// The call's structure, where it was kept.
    #[serde(default)]
    pub signature: Option<ModuleCallSignature>,
}

/// The structure of a call's arguments and results.
#[derive(Debug, Deserialize)]
pub struct ModuleCallSignature {
    /// The arguments' tree, as JSON in a string.
    #[serde(default)]
    pub in_spec: String,
    /// The results' tree, as JSON in a string.
    #[serde(default)]
    pub out_spec: String,
}

/// A graph: nodes in an order in which each can be computed.
#[derive(Debug, Clone, Deserialize)]
pub struct Graph {
    /// The graph's inputs: weights first, then those of the user.
    pub inputs: Vec<Argument>,
    /// The graph's outputs.
    pub outputs: Vec<Argument>,
    /// The nodes in order.
    pub nodes: Vec<Node>,
    /// What is known of each tensor, by name.
    pub tensor_values: BTreeMap<String, TensorMeta>,
    /// The integers that are computed, by name.
    #[serde(default)]
    pub sym_int_values: BTreeMap<String, SymInt>,
    /// Whether the graph gives one tensor rather than a list; of graphs inside of others.
    #[serde(default)]
    pub is_single_tensor_return: bool,
}

/// One operator at work.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// The operator, such as `torch.ops.aten.relu.default`.
    pub target: String,
    /// The arguments by the names of the operator's schema; those at their default may be left out.
    pub inputs: Vec<NamedArgument>,
    /// The results.
    pub outputs: Vec<Argument>,
    /// The node's name, which PyTorch 2.9 and later write.
    #[serde(default)]
    pub name: Option<String>,
}

/// An argument with its name.
#[derive(Debug, Clone, Deserialize)]
pub struct NamedArgument {
    /// The name in the operator's schema.
    pub name: String,
    /// The value.
    pub arg: Argument,
}

/// A value that a node takes or gives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Argument {
    /// Nothing.
    None,
    /// A tensor, by name.
    Tensor(String),
    /// Tensors, by name.
    Tensors(Vec<String>),
    /// Tensors of which some may be missing.
    OptionalTensors(Vec<Option<String>>),
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(Vec<i64>),
    /// A floating-point number.
    Float(f64),
    /// Floating-point numbers.
    Floats(Vec<f64>),
    /// A string.
    String(String),
    /// A computed integer.
    SymInt(SymArgument),
    /// Integers, some of them computed.
    SymInts(Vec<SymArgument>),
    /// A computed floating-point number.
    SymFloat(SymFloatArgument),
    /// An element type.
    ScalarType(ScalarType),
    /// A memory format, by number.
    MemoryFormat(i64),
    /// A layout, by number.
    Layout(i64),
    /// A device's type, such as `cpu`.
    Device(String),
    /// A boolean.
    Bool(bool),
    /// Booleans.
    Bools(Vec<bool>),
    /// A computed boolean.
    SymBool,
    /// A graph that the node runs.
    Graph(Box<Graph>),
    /// The name of an operator.
    Operator(String),
    /// Another kind of argument: its name in the schema.
    Other(&'static str),
}

/// An integer: a number, or the name of a computed one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum SymArgument {
    /// A computed integer.
    #[serde(rename = "as_name")]
    Name(String),
    /// A number.
    #[serde(rename = "as_int")]
    Int(i64),
}

/// A floating-point number, or the name of a computed one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub enum SymFloatArgument {
    /// A computed number.
    #[serde(rename = "as_name")]
    Name(String),
    /// A number.
    #[serde(rename = "as_float", deserialize_with = "float")]
    Float(f64),
}

/// What is known of a tensor before it is computed.
#[derive(Debug, Clone, Deserialize)]
pub struct TensorMeta {
    /// The type of the elements.
    pub dtype: ScalarType,
    /// The dimensions, slowest first.
    pub sizes: Vec<SymInt>,
    /// The strides in elements.
    pub strides: Vec<SymInt>,
    /// Where in its storage the tensor begins, in elements.
    pub storage_offset: SymInt,
}

/// An integer that is known, or an expression of symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SymInt {
    /// The integer.
    Int(i64),
    /// An expression as sympy prints it: plainly (PyTorch 2.5) or as constructors (`Symbol('s0')`).
    Expr(String),
}

/// What each input and output of a graph is.
#[derive(Debug, Deserialize)]
pub struct GraphSignature {
    /// One for each input of the graph.
    pub input_specs: Vec<InputSpec>,
    /// One for each output of the graph.
    pub output_specs: Vec<OutputSpec>,
}

/// What an input of a graph is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum InputSpec {
    /// What the user gives.
    User(Argument),
    /// A parameter: the argument's name in the graph, and the parameter's.
    Parameter(String, String),
    /// A buffer: the argument's name in the graph, and the buffer's.
    Buffer(String, String),
    /// A constant tensor: the argument's name in the graph, and the constant's.
    TensorConstant(String, String),
    /// A user's input that was constant when the program was exported: its name.
    Constant(String),
    /// Another kind of input: its name in the schema.
    Other(&'static str),
}

/// What an output of a graph is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OutputSpec {
    /// What the user gets.
    User(Argument),
    /// Another kind of output: its name in the schema.
    Other(&'static str),
}

// The JSON of a union is an object with one key that names the kind.

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Device {
    r#type: String,
}

#[derive(Deserialize)]
enum OptionalTensor {
    #[serde(rename = "as_tensor")]
    Tensor(Name),
    #[serde(rename = "as_none")]
    None(IgnoredAny),
}

impl OptionalTensor {
    fn name(self) -> Option<String> {
        match self {
            OptionalTensor::Tensor(tensor) => Some(tensor.name),
            OptionalTensor::None(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct GraphArgument {
    graph: Graph,
}

/// A float as a number, or as the string that stands for what JSON has no number for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Float(f64),
    Word(String),
}

impl Number {
    fn value(self) -> Result<f64, String> {
        Ok(match self {
            Number::Float(value) => value,
            Number::Word(word) => match word.as_str() {
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                "NaN" => f64::NAN,
                _ => return Err(format!("{word:?} is no number")),
            },
        })
    }
}

fn float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Number::deserialize(deserializer)?
        .value()
        .map_err(D::Error::custom)
}

/// A bound; PyTorch 2.5 writes infinity where later versions write nothing.
fn bound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Bound {
        Int(i64),
        None(IgnoredAny),
    }
    Ok(match Bound::deserialize(deserializer)? {
        Bound::Int(n) => Some(n),
        Bound::None(_) => None,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // The schema's own names.
enum RawArgument {
    AsNone(IgnoredAny),
    AsTensor(Name),
    AsTensors(Vec<Name>),
    AsInt(i64),
    AsInts(Vec<i64>),
    AsFloat(Number),
    AsFloats(Vec<Number>),
    AsString(String),
    AsStrings(IgnoredAny),
    AsSymInt(SymArgument),
    AsSymInts(Vec<SymArgument>),
    AsScalarType(ScalarType),
    AsMemoryFormat(i64),
    AsLayout(i64),
    AsDevice(Device),
    AsBool(bool),
    AsBools(Vec<bool>),
    AsSymBool(IgnoredAny),
    AsSymBools(IgnoredAny),
    AsGraph(Box<GraphArgument>),
    AsOptionalTensors(Vec<OptionalTensor>),
    AsCustomObj(IgnoredAny),
    AsOperator(String),
    AsSymFloat(SymFloatArgument),
    AsSymFloats(IgnoredAny),
    AsOptionalTensor(OptionalTensor),
    AsComplex(IgnoredAny),
    AsNestedTensors(IgnoredAny),
    AsIntLists(IgnoredAny),
    AsStringToArgument(IgnoredAny),
    AsFloatLists(IgnoredAny),
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Argument, D::Error> {
        use RawArgument::*;
        Ok(match RawArgument::deserialize(deserializer)? {
            AsNone(_) => Argument::None,
            AsTensor(tensor) => Argument::Tensor(tensor.name),
            AsTensors(list) => Argument::Tensors(list.into_iter().map(|t| t.name).collect()),
            AsInt(n) => Argument::Int(n),
            AsInts(list) => Argument::Ints(list),
            AsFloat(x) => Argument::Float(x.value().map_err(D::Error::custom)?),
            AsFloats(list) => Argument::Floats(
                list.into_iter()
                    .map(Number::value)
                    .collect::<Result<_, _>>()
                    .map_err(D::Error::custom)?,
            ),
            AsString(text) => Argument::String(text),
            AsStrings(_) => Argument::Other("as_strings"),
            AsSymInt(n) => Argument::SymInt(n),
            AsSymInts(list) => Argument::SymInts(list),
            AsScalarType(dtype) => Argument::ScalarType(dtype),
            AsMemoryFormat(n) => Argument::MemoryFormat(n),
            AsLayout(n) => Argument::Layout(n),
            AsDevice(device) => Argument::Device(device.r#type),
            AsBool(b) => Argument::Bool(b),
            AsBools(list) => Argument::Bools(list),
            AsSymBool(_) => Argument::SymBool,
            AsSymBools(_) => Argument::Other("as_sym_bools"),
            AsGraph(graph) => Argument::Graph(Box::new(graph.graph)),
            AsOptionalTensors(list) => {
                Argument::OptionalTensors(list.into_iter().map(OptionalTensor::name).collect())
            }
            AsCustomObj(_) => Argument::Other("as_custom_obj"),
            AsOperator(name) => Argument::Operator(name),
            AsSymFloat(x) => Argument::SymFloat(x),
            AsSymFloats(_) => Argument::Other("as_sym_floats"),
            AsOptionalTensor(tensor) => match tensor.name() {
                Some(name) => Argument::Tensor(name),
                None => Argument::None,
            },
            AsComplex(_) => Argument::Other("as_complex"),
            AsNestedTensors(_) => Argument::Other("as_nested_tensors"),
            AsIntLists(_) => Argument::Other("as_int_lists"),
            AsStringToArgument(_) => Argument::Other("as_string_to_argument"),
            AsFloatLists(_) => Argument::Other("as_float_lists"),
        })
    }
}

impl<'de> Deserialize<'de> for SymInt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SymInt, D::Error> {
        #[derive(Deserialize)]
        struct Expr {
            expr_str: String,
        }
        #[derive(Deserialize)]
        enum Raw {
            #[serde(rename = "as_int")]
            Int(i64),
            #[serde(rename = "as_expr")]
            Expr(Expr),
        }
        Ok(match Raw::deserialize(deserializer)? {
            Raw::Int(n) => SymInt::Int(n),
            Raw::Expr(expr) => SymInt::Expr(expr.expr_str),
        })
    }
}

impl<'de> Deserialize<'de> for InputSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<InputSpec, D::Error> {
        #[derive(Deserialize)]
        struct User {
            arg: Argument,
        }
        #[derive(Deserialize)]
        struct Parameter {
            arg: Name,
            parameter_name: String,
        }
        #[derive(Deserialize)]
        struct Buffer {
            arg: Name,
            buffer_name: String,
        }
        #[derive(Deserialize)]
        struct Constant {
            arg: Name,
            tensor_constant_name: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Raw {
            UserInput(User),
            Parameter(Parameter),
            Buffer(Buffer),
            TensorConstant(Constant),
            CustomObj(IgnoredAny),
            Token(IgnoredAny),
            ConstantInput(Name),
        }
        Ok(match Raw::deserialize(deserializer)? {
            Raw::UserInput(user) => InputSpec::User(user.arg),
            Raw::Parameter(p) => InputSpec::Parameter(p.arg.name, p.parameter_name),
            Raw::Buffer(b) => InputSpec::Buffer(b.arg.name, b.buffer_name),
            Raw::TensorConstant(c) => InputSpec::TensorConstant(c.arg.name, c.tensor_constant_name),
            Raw::CustomObj(_) => InputSpec::Other("custom_obj"),
            Raw::Token(_) => InputSpec::Other("token"),
            Raw::ConstantInput(c) => InputSpec::Constant(c.name),
        })
    }
}

impl<'de> Deserialize<'de> for OutputSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OutputSpec, D::Error> {
        #[derive(Deserialize)]
        struct User {
            arg: Argument,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Raw {
            UserOutput(User),
            LossOutput(IgnoredAny),
            BufferMutation(IgnoredAny),
            ParameterMutation(IgnoredAny),
            GradientToParameter(IgnoredAny),
            GradientToUserInput(IgnoredAny),
            UserInputMutation(IgnoredAny),
            Token(IgnoredAny),
        }
        Ok(match Raw::deserialize(deserializer)? {
            Raw::UserOutput(user) => OutputSpec::User(user.arg),
            Raw::LossOutput(_) => OutputSpec::Other("loss_output"),
            Raw::BufferMutation(_) => OutputSpec::Other("buffer_mutation"),
            Raw::ParameterMutation(_) => OutputSpec::Other("parameter_mutation"),
            Raw::GradientToParameter(_) => OutputSpec::Other("gradient_to_parameter"),
            Raw::GradientToUserInput(_) => OutputSpec::Other("gradient_to_user_input"),
            Raw::UserInputMutation(_) => OutputSpec::Other("user_input_mutation"),
            Raw::Token(_) => OutputSpec::Other("token"),
        })
    }
}
