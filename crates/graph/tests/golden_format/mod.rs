//! The files of `oracle/graph_golden.py`: inputs, and what PyTorch answered.

use std::path::Path;

use hearth_graph::onnx::DataType;
use hearth_graph::runtime::HostTensor;
use serde::Deserialize;

/// A number may differ by this part of itself and of its tensor's root mean square: next to large numbers, those close to
/// zero are as exact as the large ones.
pub const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
pub struct Golden {
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
pub struct Case {
    pub inputs: Vec<Values>,
    pub outputs: Vec<Values>,
}

#[derive(Deserialize)]
pub struct Values {
    dtype: String,
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Golden {
    pub fn read(path: &Path) -> Golden {
        let json = std::fs::read(path).unwrap();
        serde_json::from_slice(&json).unwrap()
    }
}

impl Case {
    pub fn inputs(&self) -> Vec<HostTensor> {
        self.inputs.iter().map(Values::tensor).collect()
    }

    /// The largest difference, in parts of what may be; more than 1 is wrong.
    ///
    /// # Errors
    /// A sentence: another number of outputs, another type or shape.
    pub fn compare(&self, outputs: &[HostTensor]) -> Result<f64, String> {
        if outputs.len() != self.outputs.len() {
            return Err(format!(
                "{} outputs, not {}",
                outputs.len(),
                self.outputs.len()
            ));
        }
        let mut worst: f64 = 0.0;
        for (i, (output, want)) in outputs.iter().zip(&self.outputs).enumerate() {
            let (dtype, shape) = (want.tensor().dtype(), &want.shape);
            if output.dtype() != dtype || output.shape() != shape {
                return Err(format!(
                    "output {i} is {:?} of {:?}, not {shape:?} of {dtype:?}",
                    output.shape(),
                    output.dtype()
                ));
            }
            let finite = want.data.iter().filter(|x| x.is_finite());
            let (sum, count) = finite.fold((0.0, 0.0), |(sum, n), x| (sum + x * x, n + 1.0));
            let rms = if count > 0.0 {
                f64::sqrt(sum / count)
            } else {
                0.0
            };
            for (is, want) in output.to_f64().iter().zip(&want.data) {
                if is == want {
                    continue;
                }
                let part = (is - want).abs() / (TOLERANCE * (want.abs() + rms));
                // What is no number on one side has to be none on the other.
                let part = if is.is_nan() != want.is_nan() {
                    f64::INFINITY
                } else {
                    part
                };
                worst = if part.is_nan() {
                    worst
                } else {
                    worst.max(part)
                };
            }
        }
        Ok(worst)
    }
}

impl Values {
    fn tensor(&self) -> HostTensor {
        let (dtype, bytes): (DataType, Vec<u8>) = match self.dtype.as_str() {
            "float32" => (
                DataType::Float,
                self.data
                    .iter()
                    .flat_map(|&x| (x as f32).to_le_bytes())
                    .collect(),
            ),
            "int64" => (
                DataType::Int64,
                self.data
                    .iter()
                    .flat_map(|&x| (x as i64).to_le_bytes())
                    .collect(),
            ),
            "bool" => (DataType::Bool, self.data.iter().map(|&x| x as u8).collect()),
            other => panic!("the file has {other}"),
        };
        HostTensor::new(dtype, self.shape.clone(), bytes).unwrap()
    }
}
