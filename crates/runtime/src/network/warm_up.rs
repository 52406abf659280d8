//! A first run, before requests come: engines plan, allocate and start threads within it.

use hearth_graph::onnx::{Dim, ValueInfo};
use hearth_graph::runtime::{HostTensor, Network};

/// Most bytes of an input that is made up. A file's shapes are only what it says.
const MOST_BYTES: usize = 256 << 20;

/// Runs a network once on zeros, one for each dimension of any size, and tells whether it could. Such sizes may be none that
/// it takes; then the first request does what this would have done.
pub(super) fn warm_up(network: &dyn Network) -> Result<(), String> {
    let inputs: Result<Vec<HostTensor>, String> = network.inputs().iter().map(zeros).collect();
    let outputs = network.run(&inputs?);
    outputs.map(|_| ()).map_err(|error| error.to_string())
}

fn zeros(input: &ValueInfo) -> Result<HostTensor, String> {
    let sizes = input.dims.iter().map(|dim| match dim {
        Dim::Fixed(size) => usize::try_from(*size).ok(),
        Dim::Symbol(_) | Dim::Unknown => Some(1),
    });
    let shape: Option<Vec<usize>> = sizes.collect();
    let fits = |shape: &Vec<usize>| {
        let mut sizes = shape.iter();
        let bytes = sizes.try_fold(input.dtype.bytes(), |n, &size| n.checked_mul(size));
        bytes.is_some_and(|bytes| bytes <= MOST_BYTES)
    };
    match shape.filter(fits) {
        Some(shape) => HostTensor::zeros(input.dtype, &shape),
        None => Err(format!("{input} is too large to be made up")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hearth_graph::onnx::DataType;
    use hearth_graph::runtime::Engine;

    use super::*;

    /// Notes the shapes that it is run on.
    struct Witness {
        info: Vec<ValueInfo>,
        seen: Mutex<Vec<Vec<usize>>>,
    }

    impl Network for Witness {
        fn inputs(&self) -> &[ValueInfo] {
            &self.info
        }

        fn outputs(&self) -> &[ValueInfo] {
            &self.info
        }

        fn run(&self, inputs: &[HostTensor]) -> hearth_graph::Result<Vec<HostTensor>> {
            let shapes = inputs.iter().map(|input| input.shape().to_vec());
            self.seen.lock().unwrap().extend(shapes);
            Ok(inputs.to_vec())
        }

        fn engine(&self) -> Engine {
            Engine::Tract
        }
    }

    fn witness(dims: &[Dim]) -> Witness {
        Witness {
            info: vec![ValueInfo {
                name: "x".into(),
                dtype: DataType::Float,
                dims: dims.to_vec(),
            }],
            seen: Mutex::default(),
        }
    }

    #[test]
    fn a_network_runs_once_on_the_shape_that_it_declares() {
        let network = witness(&[Dim::Symbol("n".into()), Dim::Fixed(3), Dim::Unknown]);
        assert_eq!(warm_up(&network), Ok(()));
        assert_eq!(*network.seen.lock().unwrap(), [[1, 3, 1]]);
    }

    #[test]
    fn an_absurd_shape_is_not_made_up() {
        for dims in [vec![1 << 40], vec![1 << 40, 1 << 40], vec![-1]] {
            let dims: Vec<Dim> = dims.into_iter().map(Dim::Fixed).collect();
            let network = witness(&dims);
            assert!(warm_up(&network).unwrap_err().contains("too large"));
            assert!(network.seen.lock().unwrap().is_empty());
        }
    }
}
