//! What PyTorch writes: its element types, strided tensors, and the zip of a pickle and storages that `torch.save` makes.

mod pickle;
mod save;
mod scalar;
mod strided;

pub use save::TorchFile;
pub use scalar::ScalarType;
pub use strided::StridedTensor;
