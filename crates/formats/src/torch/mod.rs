//! What PyTorch writes: its element types, strided tensors, and the zip of a pickle and storages that `torch.save` makes.

pub(crate) mod pickle;
pub(crate) mod save;
mod scalar;
mod strided;

pub use save::TorchFile;
pub(crate) use save::check_copies;
pub use scalar::ScalarType;
pub use strided::StridedTensor;

/// More dimensions than any tensor in use has; PyTorch itself stops at 64.
pub(crate) const MAX_DIMENSIONS: usize = 64;
/// Tensors that are not laid out densely are copied; copies of up to this many bytes beyond the file's own size are
/// fine, such as masks that repeat one row.
pub(crate) const SPARE_COPY_BYTES: usize = 64 << 20;
