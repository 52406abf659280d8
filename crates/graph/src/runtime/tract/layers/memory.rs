//! The memory of a network's intermediate values, which stays for its next run: fresh memory costs as much time as a layer.

use std::sync::{Mutex, PoisonError};

use tract_onnx::tract_hir::internal::*;

/// Bytes that are kept at most while nobody uses them, for all plans of a network.
const KEPT_BYTES: usize = 128 << 20;

/// Values that were given out, the last ones last.
#[derive(Default)]
pub(in crate::runtime::tract) struct Memory(Mutex<Vec<TValue>>);

impl Memory {
    /// A tensor of this shape with any content.
    pub(super) fn take(&self, shape: &[usize]) -> TractResult<Tensor> {
        let len: usize = shape.iter().product();
        let free = {
            let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |value: &TValue| value.is_exclusive() && value.len() == len;
            let found = given.iter().rposition(fits);
            found.map(|at| given.remove(at))
        };
        match free {
            Some(value) => {
                let mut tensor = value.into_tensor();
                tensor.set_shape(shape)?;
                Ok(tensor)
            }
            None => Tensor::zero::<f32>(shape),
        }
    }

    /// Gives a tensor out; once nobody else has it, it can be taken again.
    pub(super) fn lend(&self, tensor: Tensor) -> TValue {
        let value = tensor.into_tvalue();
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.push(value.clone());
        let bytes = |value: &TValue| {
            if value.is_exclusive() {
                4 * value.len()
            } else {
                0
            }
        };
        let mut idle: usize = given.iter().map(bytes).sum();
        // The oldest go first.
        given.retain(|value| {
            let goes = idle > KEPT_BYTES && value.is_exclusive();
            idle -= if goes { 4 * value.len() } else { 0 };
            !goes
        });
        value
    }
}
