//! The rows of one tensor in another type, in pieces, on all threads.

use hearth_formats::Tensor;
use hearth_formats::quant::{dequantize, quantize};
use hearth_kernels::{DType, Pool};

use super::ConvertError;

/// About how many values one task converts: small enough to share work evenly, and for its buffer to stay in cache.
const TASK_VALUES: usize = 1 << 15;
/// How many tasks a thread gets between two pieces.
const TASKS_PER_PIECE: usize = 16;
/// The size of pieces where nothing is converted.
const COPY_BYTES: usize = 8 << 20;

/// Gives the elements of `tensor` as `dtype` to `sink`, in order.
///
/// The rows must divide into blocks of `dtype`.
pub(super) fn convert(
    pool: &Pool,
    tensor: &Tensor,
    dtype: DType,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), ConvertError>,
) -> Result<(), ConvertError> {
    if tensor.dtype == dtype {
        return tensor.bytes.chunks(COPY_BYTES).try_for_each(sink);
    }
    // Rows divide into blocks of both types, so a task of whole rows begins and ends between blocks.
    let cols = tensor.shape.last().copied().unwrap_or(1);
    let rows = tensor.elements() / cols;
    let from_row = tensor.bytes.len() / rows;
    let to_row = cols / dtype.block_len() * dtype.block_bytes();
    let task_rows = (TASK_VALUES / cols).max(1);
    let piece_rows = task_rows * TASKS_PER_PIECE * pool.threads();
    let mut piece = Vec::new();
    for first in (0..rows).step_by(piece_rows) {
        let n = piece_rows.min(rows - first);
        piece.resize(n * to_row, 0);
        pool.for_each_chunk(&mut piece, task_rows * to_row, |task, out| {
            let from = (first + task * task_rows) * from_row;
            let n = out.len() / to_row;
            let mut values = vec![0.0; n * cols];
            dequantize(
                tensor.dtype,
                &tensor.bytes[from..from + n * from_row],
                &mut values,
            );
            quantize(dtype, &values, out);
        });
        sink(&piece)?;
    }
    Ok(())
}
