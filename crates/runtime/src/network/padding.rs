//! Sequences of different lengths as one batch: the shorter ones are filled up, and what comes out is cut again.
//!
//! That is done where it is known to change nothing: the network takes tokens with a mask of those that count, the token
//! that fills up is known, and a trial has shown that what the mask leaves out does not matter.

use hearth_graph::onnx::{Dim, ValueInfo};
use hearth_graph::runtime::{HostTensor, Network};

use super::texts::{Role, element, role};

/// The dimension of sequences, in inputs and outputs that count samples in their first.
const SEQUENCE: usize = 1;

/// How the sequences of a network are filled up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Padding {
    /// For each input, the element that fills it up.
    fills: Vec<Vec<u8>>,
    /// For each output, the dimension that is as long as the sequences.
    outputs: Vec<Option<usize>>,
}

impl Padding {
    /// How sequences are filled up with the token `pad`; `None` where a network takes something beside tokens, their mask and
    /// their types, all of one length, or gives something whose size is not known.
    pub fn of(network: &dyn Network, pad: u32) -> Option<Padding> {
        let (inputs, outputs) = (network.inputs(), network.outputs());
        let length = inputs
            .first()
            .and_then(|input| symbol(input.dims.get(SEQUENCE)?))?;
        let fills = inputs.iter().map(|input| {
            let is_sequence =
                input.dims.len() == 2 && symbol(&input.dims[SEQUENCE]) == Some(length);
            let number = match role(input).filter(|_| is_sequence)? {
                Role::Ids => pad,
                Role::Mask | Role::Types => 0,
            };
            Some(element(input.dtype, number))
        });
        let fills: Vec<Vec<u8>> = fills.collect::<Option<_>>()?;
        let has = |wanted: Role| inputs.iter().any(|input| role(input) == Some(wanted));
        if !has(Role::Ids) || !has(Role::Mask) {
            return None;
        }
        let outputs = outputs.iter().map(|output| place(output, length));
        Some(Padding {
            fills,
            outputs: outputs.collect::<Option<_>>()?,
        })
    }

    /// Whether a network gives for a sequence alone what it gives for it filled up, as far as its type tells them apart.
    pub fn is_harmless(&self, network: &dyn Network) -> bool {
        const SHORT: usize = 3;
        const LONG: usize = 8;
        let alone = network.inputs().iter().map(|input| {
            let number = match role(input) {
                Some(Role::Types) => 0,
                _ => 1,
            };
            let bytes = element(input.dtype, number).repeat(SHORT);
            HostTensor::new(input.dtype, vec![1, SHORT], bytes).ok()
        });
        let Some(alone) = alone.collect::<Option<Vec<HostTensor>>>() else {
            return false;
        };
        let filled = self.lengthened(&alone, LONG);
        let ran = |inputs: &[HostTensor]| network.run(inputs).ok();
        let (Some(want), Some(got)) = (ran(&alone), filled.and_then(|filled| ran(&filled))) else {
            return false;
        };
        let cut = got
            .iter()
            .zip(&self.outputs)
            .map(|(output, dim)| match dim {
                Some(dim) => output.shortened(*dim, SHORT),
                None => Some(output.clone()),
            });
        let Some(got) = cut.collect::<Option<Vec<HostTensor>>>() else {
            return false;
        };
        want.len() == got.len() && want.iter().zip(&got).all(|(want, got)| is_close(want, got))
    }

    /// The length of sequences.
    pub fn length(tensors: &[HostTensor]) -> Option<usize> {
        tensors.first()?.shape().get(SEQUENCE).copied()
    }

    /// Inputs with their sequences filled up.
    pub fn lengthened(&self, tensors: &[HostTensor], length: usize) -> Option<Vec<HostTensor>> {
        let tensors = tensors.iter().zip(&self.fills);
        let tensors = tensors.map(|(tensor, fill)| tensor.lengthened(SEQUENCE, length, fill));
        tensors.collect()
    }

    /// An output, by its place, for sequences of this length.
    pub fn shortened(
        &self,
        place: usize,
        output: &HostTensor,
        length: usize,
    ) -> Option<HostTensor> {
        match self.outputs.get(place)? {
            Some(dim) => output.shortened(*dim, length),
            None => Some(output.clone()),
        }
    }
}

fn symbol(dim: &Dim) -> Option<&str> {
    match dim {
        Dim::Symbol(name) => Some(name),
        _ => None,
    }
}

/// The dimension of an output that is `length`; `None` where another one than the first is not known.
fn place(output: &ValueInfo, length: &str) -> Option<Option<usize>> {
    let mut place = None;
    for (at, dim) in output.dims.iter().enumerate().skip(1) {
        match (symbol(dim) == Some(length), place) {
            (true, None) => place = Some(at),
            (true, Some(_)) => return None,
            (false, _) if matches!(dim, Dim::Fixed(_)) => {}
            (false, _) => return None,
        }
    }
    Some(place)
}

/// Whether two outputs are the same but for the order in which they were added up.
fn is_close(want: &HostTensor, got: &HostTensor) -> bool {
    const TOLERANCE: f64 = 1e-3;
    let (want_numbers, got_numbers) = (want.to_f64(), got.to_f64());
    let largest = want_numbers.iter().fold(0f64, |most, x| most.max(x.abs()));
    let bound = TOLERANCE * largest.max(f64::MIN_POSITIVE);
    let mut pairs = want_numbers.iter().zip(&got_numbers);
    want.shape() == got.shape() && pairs.all(|(a, b)| (a - b).abs() <= bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_graph::onnx::DataType;
    use hearth_graph::runtime::Engine;

    /// Gives for each sequence the sum of its tokens, and each token again; of those that the mask has, or of all.
    struct Sums {
        inputs: Vec<ValueInfo>,
        outputs: Vec<ValueInfo>,
        minds_mask: bool,
    }

    fn info(name: &str, dims: &[&str]) -> ValueInfo {
        let dim = |name: &&str| match name.parse() {
            Ok(size) => Dim::Fixed(size),
            Err(_) => Dim::Symbol((*name).into()),
        };
        ValueInfo {
            name: name.into(),
            dtype: DataType::Int64,
            dims: dims.iter().map(dim).collect(),
        }
    }

    impl Network for Sums {
        fn inputs(&self) -> &[ValueInfo] {
            &self.inputs
        }

        fn outputs(&self) -> &[ValueInfo] {
            &self.outputs
        }

        fn run(&self, inputs: &[HostTensor]) -> hearth_graph::Result<Vec<HostTensor>> {
            let (ids, mask) = (inputs[0].to_f64(), inputs[1].to_f64());
            let length = inputs[0].shape()[1];
            let counted = ids
                .iter()
                .zip(&mask)
                .map(|(id, mask)| match self.minds_mask {
                    true => (id * mask) as i64,
                    false => *id as i64,
                });
            let counted: Vec<i64> = counted.collect();
            let sums: Vec<i64> = counted.chunks(length).map(|row| row.iter().sum()).collect();
            let tensor =
                |shape: Vec<usize>, numbers: &[i64]| HostTensor::from_i64(shape, numbers).unwrap();
            Ok(vec![
                tensor(vec![sums.len(), 1], &sums),
                tensor(inputs[0].shape().to_vec(), &counted),
            ])
        }

        fn engine(&self) -> Engine {
            Engine::Tract
        }
    }

    fn sums(minds_mask: bool) -> Sums {
        Sums {
            inputs: vec![
                info("input_ids", &["b", "l"]),
                info("attention_mask", &["b", "l"]),
            ],
            outputs: vec![info("sum", &["b", "1"]), info("each", &["b", "l"])],
            minds_mask,
        }
    }

    #[test]
    fn a_trial_tells_whether_the_mask_is_minded() {
        let padding = Padding::of(&sums(true), 9).unwrap();
        assert_eq!(padding.outputs, [None, Some(1)]);
        assert!(padding.is_harmless(&sums(true)));
        assert!(!padding.is_harmless(&sums(false)));
    }

    #[test]
    fn only_tokens_with_a_mask_and_outputs_of_known_sizes_are_filled_up() {
        let with = |inputs: Vec<ValueInfo>, outputs: Vec<ValueInfo>| {
            Padding::of(
                &Sums {
                    inputs,
                    outputs,
                    minds_mask: true,
                },
                9,
            )
            .is_some()
        };
        let (ids, mask) = (
            || info("input_ids", &["b", "l"]),
            || info("attention_mask", &["b", "l"]),
        );
        let sum = || vec![info("sum", &["b", "1"])];
        assert!(with(vec![ids(), mask()], sum()));
        assert!(with(
            vec![ids(), info("token_type_ids", &["b", "l"]), mask()],
            sum()
        ));
        assert!(!with(vec![ids()], sum()));
        assert!(!with(
            vec![ids(), mask(), info("position_ids", &["b", "l"])],
            sum()
        ));
        assert!(!with(
            vec![ids(), info("attention_mask", &["b", "m"])],
            sum()
        ));
        assert!(!with(
            vec![ids(), info("attention_mask", &["b", "l", "l"])],
            sum()
        ));
        assert!(!with(
            vec![
                info("input_ids", &["b", "8"]),
                info("attention_mask", &["b", "8"])
            ],
            sum()
        ));
        assert!(!with(
            vec![ids(), mask()],
            vec![info("pairs", &["b", "l", "l"])]
        ));
        assert!(!with(vec![ids(), mask()], vec![info("odd", &["b", "l+1"])]));
    }

    #[test]
    fn sequences_of_different_lengths_run_together_unless_too_much_is_filled_up() {
        use super::super::batcher::{Batcher, Batching, Piece};
        use hearth_llm::engine::Shutdown;

        let network = sums(true);
        let batching = Batching {
            is_batched: true,
            most: 8,
            delay: std::time::Duration::from_secs(3600),
            preferred: Vec::new(),
            padding: Padding::of(&network, 9),
        };
        let batcher = Batcher::start(std::sync::Arc::new(network), batching, Vec::new()).unwrap();
        let piece = |ids: &[i64]| {
            let tensor =
                |numbers: &[i64]| HostTensor::from_i64(vec![1, ids.len()], numbers).unwrap();
            Piece {
                tensors: vec![tensor(ids), tensor(&vec![1; ids.len()])],
                rows: 1,
                alone: false,
                priority: 0,
                deadline: None,
                request: 1,
            }
        };
        let pieces = vec![
            piece(&[1, 2]),
            piece(&[3; 40]),
            piece(&[4, 5, 6]),
            piece(&[7]),
        ];
        let answers = batcher.submit(pieces).unwrap();
        // At the end all run that wait: three together, and the long one by itself.
        batcher.shutdown(Shutdown::Drain);
        let ran = answers.into_iter().map(|answer| {
            let ran = answer.blocking_recv().unwrap().unwrap();
            let numbers = ran
                .outputs
                .iter()
                .map(HostTensor::to_f64)
                .collect::<Vec<_>>();
            (numbers, ran.batch, ran.padded)
        });
        let ran: Vec<_> = ran.collect();
        assert_eq!(ran[0], (vec![vec![3.0], vec![1.0, 2.0]], 3, true));
        assert_eq!(ran[1], (vec![vec![120.0], vec![3.0; 40]], 1, false));
        assert_eq!(ran[2], (vec![vec![15.0], vec![4.0, 5.0, 6.0]], 3, false));
        assert_eq!(ran[3], (vec![vec![7.0], vec![7.0]], 3, true));
    }
}
