//! A first run, before requests come: engines plan, allocate and start threads within it.

use hearth_graph::onnx::{DataType, Dim, ValueInfo};
use hearth_graph::runtime::{HostTensor, Network};

/// Most bytes of an input that is made up. A file's shapes are only what it says.
const MOST_BYTES: usize = 256 << 20;

/// Why a network was not run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cold {
    /// What was made up may be none that it takes; then the first request does what this would have done.
    Unfit(String),
    /// It fails at the very shapes that it declares, whatever is in them.
    Broken(String),
}

/// Runs a network once, on inputs of the shapes of `inputs`: on zeros, one for each dimension of any size. Where it does not take
/// zeros of shapes that leave nothing open but the number of inputs, it is run on ones before it is given up.
pub(super) fn warm_up(
    network: &dyn Network,
    inputs: &[ValueInfo],
    is_batched: bool,
) -> Result<(), Cold> {
    let run = |number: u32| {
        let made: Result<Vec<HostTensor>, Cold> =
            inputs.iter().map(|input| filled(input, number)).collect();
        let outputs = network.run(&made?);
        outputs
            .map(|_| ())
            .map_err(|error| Cold::Broken(error.to_string()))
    };
    let is_fixed = |input: &ValueInfo| {
        let mut dims = input.dims.iter().skip(usize::from(is_batched));
        dims.all(|dim| matches!(dim, Dim::Fixed(_)))
    };
    match run(0) {
        Err(Cold::Broken(problem)) if !inputs.iter().all(is_fixed) => Err(Cold::Unfit(problem)),
        Err(Cold::Broken(problem)) => run(1).map_err(|_| Cold::Broken(problem)),
        other => other,
    }
}

/// A tensor of one number.
fn filled(input: &ValueInfo, number: u32) -> Result<HostTensor, Cold> {
    let sizes = input.dims.iter().map(|dim| match dim {
        Dim::Fixed(size) => usize::try_from(*size).ok(),
        Dim::Symbol(_) | Dim::Unknown => Some(1),
    });
    let shape: Option<Vec<usize>> = sizes.collect();
    let elements = |shape: &[usize]| {
        let mut sizes = shape.iter();
        sizes.try_fold(1usize, |n, &size| n.checked_mul(size))
    };
    let fits = |shape: &Vec<usize>| {
        let bytes = elements(shape).and_then(|n| n.checked_mul(input.dtype.bytes()));
        bytes.is_some_and(|bytes| bytes <= MOST_BYTES)
    };
    let Some(shape) = shape.filter(fits) else {
        let problem = format!("{input} is too large to be made up");
        return Err(Cold::Unfit(problem));
    };
    let made = match (number, input.dtype) {
        (0, _) | (_, DataType::Bool) => HostTensor::zeros(input.dtype, &shape),
        (number, dtype) => {
            let count = elements(&shape).unwrap_or(0);
            HostTensor::from_numbers(dtype, shape, &vec![number as f32; count])
        }
    };
    made.map_err(Cold::Unfit)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hearth_graph::runtime::Engine;

    use super::*;

    /// Notes the shapes that it is run on, and takes only tensors that begin with some number.
    struct Witness {
        info: Vec<ValueInfo>,
        takes: Option<f64>,
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
            match self
                .takes
                .is_none_or(|takes| inputs[0].to_f64()[0] == takes)
            {
                true => Ok(inputs.to_vec()),
                false => Err(hearth_graph::Error::Runtime {
                    runtime: "witness",
                    problem: "not these".into(),
                }),
            }
        }

        fn engine(&self) -> Engine {
            Engine::Tract
        }
    }

    fn witness(dims: &[Dim], takes: Option<f64>) -> Witness {
        Witness {
            info: vec![ValueInfo {
                name: "x".into(),
                dtype: DataType::Float,
                dims: dims.to_vec(),
            }],
            takes,
            seen: Mutex::default(),
        }
    }

    #[test]
    fn a_network_runs_once_on_the_shape_that_is_said() {
        let network = witness(
            &[Dim::Symbol("n".into()), Dim::Fixed(3), Dim::Unknown],
            None,
        );
        let mut said = network.info.clone();
        assert_eq!(warm_up(&network, &said, true), Ok(()));
        said[0].dims[2] = Dim::Fixed(5);
        assert_eq!(warm_up(&network, &said, true), Ok(()));
        assert_eq!(*network.seen.lock().unwrap(), [[1, 3, 1], [1, 3, 5]]);
    }

    #[test]
    fn a_network_is_broken_that_fails_at_its_own_shapes() {
        let batch = Dim::Symbol("n".into());
        let run = |dims: &[Dim], takes: f64, is_batched: bool| {
            let network = witness(dims, Some(takes));
            let outcome = warm_up(&network, &network.info, is_batched);
            let runs = network.seen.lock().unwrap().len();
            (outcome, runs)
        };
        let problem = || "witness: not these".to_owned();
        let fixed = [batch, Dim::Fixed(2)];
        assert_eq!(run(&fixed, 0.0, true), (Ok(()), 1));
        assert_eq!(run(&fixed, 1.0, true), (Ok(()), 2));
        assert_eq!(run(&fixed, 7.0, true), (Err(Cold::Broken(problem())), 2));
        // The first dimension may have been given a size that it never has.
        assert_eq!(run(&fixed, 7.0, false), (Err(Cold::Unfit(problem())), 1));
        let open = [Dim::Fixed(2), Dim::Unknown];
        assert_eq!(run(&open, 7.0, true), (Err(Cold::Unfit(problem())), 1));
    }

    #[test]
    fn an_absurd_shape_is_not_made_up() {
        for dims in [vec![1 << 40], vec![1 << 40, 1 << 40], vec![-1]] {
            let dims: Vec<Dim> = dims.into_iter().map(Dim::Fixed).collect();
            let network = witness(&dims, None);
            let outcome = warm_up(&network, &network.info, false);
            let Err(Cold::Unfit(problem)) = outcome else {
                panic!("{outcome:?}")
            };
            assert!(problem.contains("too large"));
            assert!(network.seen.lock().unwrap().is_empty());
        }
    }
}
