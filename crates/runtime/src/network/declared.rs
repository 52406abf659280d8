//! What a network's files say of its tensors, held against what it takes and gives.

use hearth_graph::onnx::{DataType, Dim, ValueInfo};
use hearth_graph::runtime::is_batched;
use hearth_hub::catalog::{DeclaredTensor, NetworkConfig};

/// A network's inputs and outputs as its files narrow them.
#[derive(Debug, PartialEq)]
pub(super) struct Declared {
    pub inputs: Vec<ValueInfo>,
    pub outputs: Vec<ValueInfo>,
    /// The first dimension counts inputs, so that several run as one.
    pub is_batched: bool,
}

impl Declared {
    /// Holds what `config` says against the network. A dimension of any size that is said to be of one size takes that.
    ///
    /// # Errors
    /// What is said and not so.
    pub fn check(
        inputs: &[ValueInfo],
        outputs: &[ValueInfo],
        config: &NetworkConfig,
    ) -> Result<Declared, String> {
        let counts = is_batched(inputs, outputs);
        if config.counts_inputs == Some(true) && !counts {
            let most = config.max_batch_size;
            return Err(format!(
                "max_batch_size is {most}, but the first dimensions of the network's tensors do not count inputs; say 0"
            ));
        }
        let is_batched = counts && config.counts_inputs != Some(false);
        // Where it isn't said whether dimensions are given with the one that counts, both are understood.
        let is_open = counts && config.counts_inputs.is_none();
        let mut declared = Declared {
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            is_batched,
        };
        for tensor in &config.takes {
            let info = find("input", &mut declared.inputs, tensor)?;
            narrow("input", info, tensor, is_batched, is_open)?;
        }
        let is_said =
            |info: &&ValueInfo| config.takes.iter().any(|tensor| tensor.name == info.name);
        if let Some(other) =
            { inputs.iter() }.find(|info| !config.takes.is_empty() && !is_said(info))
        {
            return Err(format!("the network's input {:?} is not there", other.name));
        }
        for tensor in &config.gives {
            let info = find("output", &mut declared.outputs, tensor)?;
            narrow("output", info, tensor, is_batched, is_open)?;
        }
        Ok(declared)
    }
}

fn find<'a>(
    kind: &str,
    infos: &'a mut [ValueInfo],
    tensor: &DeclaredTensor,
) -> Result<&'a mut ValueInfo, String> {
    let each: Vec<String> = infos.iter().map(ValueInfo::to_string).collect();
    let found = infos.iter_mut().find(|info| info.name == tensor.name);
    found.ok_or_else(|| {
        format!(
            "the network has no {kind} {:?}; it has {}",
            tensor.name,
            each.join("; ")
        )
    })
}

/// Gives the dimensions of any size those that are said.
fn narrow(
    kind: &str,
    info: &mut ValueInfo,
    tensor: &DeclaredTensor,
    is_batched: bool,
    is_open: bool,
) -> Result<(), String> {
    let is = info.to_string();
    let wrong = |said: String| {
        Err(format!(
            "{kind} {:?} is said to {said}; the network's is {is}",
            tensor.name
        ))
    };
    if let Some(name) = tensor
        .data_type
        .as_ref()
        .filter(|name| type_name(info.dtype) != name.as_str())
    {
        return wrong(format!("have elements of TYPE_{name}"));
    }
    let skip = match tensor.dims.len() == info.dims.len() {
        true if is_open => 0,
        _ => usize::from(is_batched),
    };
    let dims = info.dims.get_mut(skip..).unwrap_or_default();
    let fits = |(dim, said): (&Dim, &i64)| match dim {
        Dim::Fixed(size) => size == said,
        _ => true,
    };
    if dims.len() != tensor.dims.len() || !dims.iter().zip(&tensor.dims).all(fits) {
        return wrong(format!("have the dimensions {:?}", tensor.dims));
    }
    for (dim, said) in dims.iter_mut().zip(&tensor.dims) {
        if *said >= 0 {
            *dim = Dim::Fixed(*said);
        }
    }
    Ok(())
}

/// Triton's name of a type, without `TYPE_`.
fn type_name(dtype: DataType) -> &'static str {
    match dtype {
        DataType::Bool => "BOOL",
        DataType::Uint8 => "UINT8",
        DataType::Uint16 => "UINT16",
        DataType::Uint32 => "UINT32",
        DataType::Uint64 => "UINT64",
        DataType::Int8 => "INT8",
        DataType::Int16 => "INT16",
        DataType::Int32 => "INT32",
        DataType::Int64 => "INT64",
        DataType::Float16 => "FP16",
        DataType::Float => "FP32",
        DataType::Double => "FP64",
        DataType::Bfloat16 => "BF16",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, dims: &[Dim]) -> ValueInfo {
        ValueInfo {
            name: name.into(),
            dtype: DataType::Float,
            dims: dims.to_vec(),
        }
    }

    fn said(name: &str, data_type: &str, dims: &[i64]) -> DeclaredTensor {
        DeclaredTensor {
            name: name.into(),
            data_type: Some(data_type.into()),
            dims: dims.to_vec(),
        }
    }

    fn config(counts_inputs: Option<bool>, input: DeclaredTensor) -> NetworkConfig {
        NetworkConfig {
            counts_inputs,
            takes: vec![input],
            ..NetworkConfig::default()
        }
    }

    #[test]
    fn what_is_said_holds_or_is_refused() {
        let (n, m) = (Dim::Symbol("n".into()), Dim::Symbol("m".into()));
        let inputs = [info("x", &[n.clone(), Dim::Fixed(3), m.clone()])];
        let outputs = [info("y", &[n.clone(), Dim::Fixed(2)])];
        let check = |config: &NetworkConfig| Declared::check(&inputs, &outputs, config);
        let dims = |config: &NetworkConfig| {
            let declared = check(config).unwrap();
            (declared.inputs[0].dims.clone(), declared.is_batched)
        };
        let nothing = NetworkConfig::default();
        assert_eq!(dims(&nothing), (inputs[0].dims.clone(), true));
        let narrowed = vec![n.clone(), Dim::Fixed(3), Dim::Fixed(5)];
        let five = config(Some(true), said("x", "FP32", &[3, 5]));
        assert_eq!(dims(&five), (narrowed.clone(), true));
        for said_dims in [&[3, 5][..], &[-1, 3, 5]] {
            let open = config(None, said("x", "FP32", said_dims));
            assert_eq!(dims(&open), (narrowed.clone(), true));
        }
        let whole = config(Some(false), said("x", "FP32", &[1, 3, -1]));
        assert_eq!(
            dims(&whole),
            (vec![Dim::Fixed(1), Dim::Fixed(3), m.clone()], false)
        );
        for (config, problem) in [
            (
                config(Some(true), said("z", "FP32", &[3, 5])),
                "no input \"z\"",
            ),
            (
                config(Some(true), said("x", "INT8", &[3, 5])),
                "elements of TYPE_INT8",
            ),
            (
                config(Some(true), said("x", "FP32", &[4, 5])),
                "dimensions [4, 5]",
            ),
            (
                config(Some(true), said("x", "FP32", &[-1, 3, 5])),
                "dimensions [-1, 3, 5]",
            ),
            (
                config(Some(false), said("x", "FP32", &[3, 5])),
                "dimensions [3, 5]",
            ),
            (config(None, said("x", "FP32", &[5])), "dimensions [5]"),
            (
                config(Some(true), said("x", "FP32", &[-1, 5])),
                "dimensions [-1, 5]",
            ),
        ] {
            let error = check(&config).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let any = [info("y", &[n.clone(), m.clone()])];
        let mut narrower = five.clone();
        narrower.gives = vec![said("y", "FP32", &[4])];
        let outputs_of = |config: &NetworkConfig| {
            let declared = Declared::check(&inputs, &any, config).unwrap();
            declared.outputs[0].dims.clone()
        };
        assert_eq!(outputs_of(&narrower), [n.clone(), Dim::Fixed(4)]);
        assert_eq!(outputs_of(&five), [n.clone(), m.clone()]);
        let mut absent = five.clone();
        absent.gives = vec![said("z", "FP32", &[4])];
        assert!(check(&absent).unwrap_err().contains("no output \"z\""));
        let mut both = five;
        both.gives = vec![said("y", "FP32", &[7])];
        assert!(check(&both).unwrap_err().contains("output \"y\""));
        let two = [inputs[0].clone(), info("w", std::slice::from_ref(&n))];
        let error = Declared::check(&two, &outputs, &config(None, said("x", "FP32", &[3, 5])));
        assert!(error.unwrap_err().contains("input \"w\" is not there"));
        let alone = [info("x", &[Dim::Fixed(1), Dim::Fixed(3), Dim::Fixed(5)])];
        let error = Declared::check(
            &alone,
            &outputs,
            &config(Some(true), said("x", "FP32", &[3, 5])),
        );
        assert!(error.unwrap_err().contains("do not count inputs"));
    }
}
