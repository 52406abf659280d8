//! What can go wrong with an exported network.

/// An error of reading, lowering or running a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive is not sound.
    #[error(transparent)]
    Formats(#[from] hearth_formats::Error),
    /// The program uses operators that have no lowering.
    #[error("{file}: no lowering for {}", list(operators))]
    UnsupportedOperators {
        /// The file's label, usually its path.
        file: String,
        /// Each operator with the first node that uses it.
        operators: Vec<(String, String)>,
    },
    /// An operator is used in a way that is not lowered, or that makes no sense.
    #[error("{file}: node {node} ({operator}): {problem}")]
    Node {
        /// The file's label, usually its path.
        file: String,
        /// The node's name.
        node: String,
        /// The operator.
        operator: String,
        /// What is wrong.
        problem: String,
    },
    /// The program as a whole is one that can't be lowered.
    #[error("{file}: {problem}")]
    Program {
        /// The file's label, usually its path.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// An ONNX file is not sound.
    #[error("not a sound ONNX model: {problem}")]
    Onnx {
        /// What is wrong.
        problem: String,
    },
    /// An engine refuses a model or fails at it.
    #[error("{runtime}: {problem}")]
    Runtime {
        /// The engine.
        runtime: &'static str,
        /// What it says.
        problem: String,
    },
    /// A tensor is not what an input of the network takes.
    #[error("input {name:?}: {problem}")]
    Input {
        /// The input.
        name: String,
        /// What was expected, and what came.
        problem: String,
    },
    /// The model is larger than an ONNX file can be.
    #[error(
        "the model takes {bytes} bytes, and an ONNX file holds at most {}",
        i32::MAX
    )]
    TooLarge {
        /// What it would take.
        bytes: u64,
    },
}

fn list(operators: &[(String, String)]) -> String {
    let each: Vec<String> = operators
        .iter()
        .map(|(operator, node)| format!("{operator} (node {node})"))
        .collect();
    each.join(", ")
}

/// The result of working with a network.
pub type Result<T, E = Error> = std::result::Result<T, E>;
