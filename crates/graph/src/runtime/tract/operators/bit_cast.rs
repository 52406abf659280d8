//! BitCast: the same bits as elements of another type.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct BitCast {
    to: DatumType,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    let to = node.get_attr::<DatumType>("to")?;
    Ok(Arc::new(BitCast { to }))
}

impl Operator for BitCast {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = input(inputs, 0)?;
        ensure!(
            x.datum_type.size_of() == self.to.size_of(),
            "elements of {:?} and {:?} are of different sizes",
            x.datum_type,
            self.to
        );
        Ok(tvec!(self.to.fact(x.shape.clone())))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = input(inputs, 0)?;
        let mut y = Tensor::zero_dt(self.to, x.shape())?;
        let bytes = y.as_bytes_mut();
        bytes.copy_from_slice(x.as_bytes());
        if self.to == DatumType::Bool {
            bytes
                .iter_mut()
                .for_each(|byte| *byte = (*byte != 0).into());
        }
        Ok(tvec!(y))
    }
}
