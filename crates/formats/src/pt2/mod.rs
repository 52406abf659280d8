//! Exported programs: `.pt2` archives by `torch.export.save` of PyTorch 2.5 and later.
//!
//! An archive holds a graph of ATen operators as JSON and the tensors it uses. Three layouts are about; all are read:
//!
//! | PyTorch | graph | weights |
//! |---|---|---|
//! | 2.5 to 2.7 | `serialized_exported_program.json` | `serialized_state_dict.pt`, `serialized_constants.pt` by `torch.save` |
//! | 2.8 | `ROOT/models/NAME.json` | `ROOT/data/weights/NAME.pt`, `ROOT/data/constants/NAME.pt` by `torch.save` |
//! | 2.9 on | `ROOT/models/NAME.json` | raw bytes in `ROOT/data/weights/weight_N`, described by `NAME_weights_config.json`; constants alike |
//!
//! Sources: `torch/_export/serde/schema.py`, `torch/export/pt2_archive/_package.py`, `torch/export/__init__.py`.

mod archive;
mod check;
mod json;
mod schema;

pub use archive::{Pt2Archive, Pt2Tensor};
pub use schema::{
    Argument, ExportedProgram, Graph, GraphModule, GraphSignature, InputSpec, ModuleCallEntry,
    ModuleCallSignature, NamedArgument, Node, OutputSpec, RangeConstraint, SchemaVersion,
    SymArgument, SymFloatArgument, SymInt, TensorMeta,
};
