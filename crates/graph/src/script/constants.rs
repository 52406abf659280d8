//! Tensors of one number, whose value is looked at.

use hearth_formats::torch::{ScalarType, StridedTensor};

use super::value::Number;
use crate::lower::expr::Expr;
use crate::lower::value::Scalar;

/// The number that a tensor without dimensions is, of the types that sizes and factors have.
pub(super) fn number(tensor: &StridedTensor) -> Option<Number> {
    if !tensor.sizes().is_empty() {
        return None;
    }
    let bytes = tensor.dense();
    let value = match tensor.dtype() {
        ScalarType::Bool => Scalar::Bool(*bytes.first()? != 0),
        ScalarType::Int => Scalar::Int(Expr::Int(
            i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?).into(),
        )),
        ScalarType::Long => Scalar::Int(Expr::Int(i64::from_le_bytes(
            bytes.get(..8)?.try_into().ok()?,
        ))),
        ScalarType::Float => {
            Scalar::Float(f32::from_le_bytes(bytes.get(..4)?.try_into().ok()?).into())
        }
        ScalarType::Double => Scalar::Float(f64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)),
        _ => return None,
    };
    Some(Number {
        value,
        dtype: tensor.dtype(),
    })
}
