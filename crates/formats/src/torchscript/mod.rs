//! TorchScript archives: `.pt` files by `torch.jit.save`.
//!
//! A zip archive with one folder:
//!
//! | entry | what it holds |
//! |---|---|
//! | `code/__torch__/PATH.py` | classes and functions, in the part of Python that TorchScript is written in |
//! | `data.pkl`, `data/N` | the module: objects by the names of their classes, and the tensors among their attributes |
//! | `constants.pkl`, `constants/N` | a tuple of the tensors that the code calls `CONSTANTS.cN` |
//! | `traced_inputs.pkl` | of traced modules: type and shape of what each method was traced with |
//! | `version`, `byteorder`, `.data/…` | what wrote it |
//!
//! Sources are compressed, tensors are not. Nothing of it is run here: the sources become trees, the pickles data.
//!
//! Sources: `torch/csrc/jit/serialization/export_module.cpp`, `python_print.cpp`, `pickler.cpp`, `import_source.cpp`.

mod archive;
mod declared;
mod lexer;
mod parser;
pub mod syntax;
mod values;

pub use archive::{Code, ScriptArchive, TracedInput};
pub use declared::{DeclaredDim, DeclaredInput};
pub use values::{Attributes, ScriptValue, ValueId, Values};
