//! Networks on tract: convolutions and products by our own kernels give what tract's own operators give, a sample's answer does
//! not depend on its batch, and names are only names.

mod golden_format;

use std::path::Path;

use golden_format::Golden;
use hearth_formats::pt2::Pt2Archive;
use hearth_graph::lower::lower;
use hearth_graph::onnx::{
    Attribute, AttributeValue, DataType, Dim, Graph, Model, Node, Tensor, ValueInfo,
};
use hearth_graph::runtime::{Engine, Engines, HostTensor, Network, join};

/// Numbers that are always the same.
fn numbers(seed: u32, shape: &[usize]) -> HostTensor {
    let mut state = seed.wrapping_mul(2_654_435_761);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    HostTensor::from_f32(shape.to_vec(), &values).unwrap()
}

/// A network in the making, of images `x` (`[N, 6, 13, 11]`).
struct Build {
    nodes: Vec<Node>,
    weights: Vec<(String, HostTensor)>,
}

impl Build {
    fn new() -> Build {
        Build {
            nodes: vec![],
            weights: vec![],
        }
    }

    fn node(
        &mut self,
        op_type: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, AttributeValue)],
    ) -> String {
        let name = format!("n{}", self.nodes.len());
        let attributes = attributes.iter().map(|(name, value)| Attribute {
            name,
            value: value.clone(),
        });
        self.nodes.push(Node {
            name: name.clone(),
            op_type,
            inputs: inputs.iter().map(|input| input.to_string()).collect(),
            outputs: vec![name.clone()],
            attributes: attributes.collect(),
        });
        name
    }

    fn weight(&mut self, shape: &[usize]) -> String {
        let name = format!("w{}", self.weights.len());
        let value = numbers(self.weights.len() as u32 + 7, shape);
        self.weights.push((name.clone(), value));
        name
    }

    fn integer(&mut self, value: i64) -> String {
        let value = Tensor {
            name: String::new(),
            dtype: DataType::Int64,
            dims: vec![1],
            bytes: hearth_kernels::Bytes::from(value.to_le_bytes().to_vec()),
        };
        self.node("Constant", &[], &[("value", AttributeValue::Tensor(value))])
    }

    /// A convolution of `inputs` to `outputs` channels, with a bias.
    fn conv(
        &mut self,
        x: &str,
        outputs: usize,
        inputs: usize,
        kernel: usize,
        group: usize,
        more: &[(&'static str, &[i64])],
    ) -> String {
        let weight = self.weight(&[outputs, inputs / group, kernel, kernel]);
        let bias = self.weight(&[outputs]);
        let mut attributes = vec![("group", AttributeValue::Int(group as i64))];
        attributes.extend(
            more.iter()
                .map(|(name, values)| (*name, AttributeValue::Ints(values.to_vec()))),
        );
        self.node("Conv", &[x, &weight, &bias], &attributes)
    }

    fn model(&self, output: &str, dims: usize, are_constant: bool) -> Vec<u8> {
        let value = |name: &str, dims: Vec<Dim>| ValueInfo {
            name: name.into(),
            dtype: DataType::Float,
            dims,
        };
        let sized = |sizes: &[usize]| {
            sizes
                .iter()
                .map(|size| Dim::Fixed(*size as i64))
                .collect::<Vec<_>>()
        };
        let batch = Dim::Symbol("N".into());
        let mut graph = Graph {
            name: "test".into(),
            nodes: self.nodes.clone(),
            inputs: vec![value(
                "x",
                [vec![batch.clone()], sized(&[6, 13, 11])].concat(),
            )],
            outputs: vec![value(
                output,
                [vec![batch], vec![Dim::Unknown; dims - 1]].concat(),
            )],
            ..Graph::default()
        };
        for (name, weight) in &self.weights {
            if are_constant {
                graph.initializers.push(Tensor {
                    name: name.clone(),
                    dtype: DataType::Float,
                    dims: weight.shape().iter().map(|size| *size as i64).collect(),
                    bytes: hearth_kernels::Bytes::from(weight.bytes().to_vec()),
                });
            } else {
                graph.inputs.push(value(name, sized(weight.shape())));
            }
        }
        let model = Model {
            opset: 18,
            graph,
            metadata: vec![],
        };
        model.to_bytes().unwrap()
    }

    /// What tract's own operators give, which are at work where weights are inputs, and what ours do, for all of `x` and for
    /// each of it.
    fn check(&self, output: &str, dims: usize, x: &HostTensor) {
        let engines = Engines::tract(2);
        let load = |model: &[u8]| engines.load(model, Engine::Tract).unwrap();
        let theirs = load(&self.model(output, dims, false));
        let weights = self.weights.iter().map(|(_, weight)| weight.clone());
        let inputs: Vec<HostTensor> = [x.clone()].into_iter().chain(weights).collect();
        let expected = theirs.run(&inputs).unwrap();
        let ours = load(&self.model(output, dims, true));
        let got = ours.run(std::slice::from_ref(x)).unwrap();
        assert_eq!(got[0].shape(), expected[0].shape());
        let (got_values, expected) = (got[0].to_f64(), expected[0].to_f64());
        let size = expected.iter().fold(0.0f64, |size, x| size.max(x.abs()));
        assert!(size > 1e-3, "nothing to compare");
        for (i, (got, expected)) in got_values.iter().zip(&expected).enumerate() {
            let off = (got - expected).abs();
            assert!(
                off <= 1e-5 * size,
                "{output}, number {i}: {got}, not {expected}"
            );
        }
        alone_as_together(&*ours, &got, std::slice::from_ref(x));
    }
}

/// Each sample alone gives the bits that it gives in the batch.
fn alone_as_together(network: &dyn Network, together: &[HostTensor], inputs: &[HostTensor]) {
    for row in 0..inputs[0].rows().unwrap() {
        let one = |tensor: &HostTensor| tensor.slice_rows(row..row + 1).unwrap();
        let inputs: Vec<HostTensor> = inputs.iter().map(one).collect();
        let alone = network.run(&inputs).unwrap();
        let expected: Vec<HostTensor> = together.iter().map(one).collect();
        assert!(alone == expected, "sample {row} is another alone");
    }
}

#[test]
fn images_through_layers_of_each_kind() {
    let mut net = Build::new();
    let pads: (&str, &[i64]) = ("pads", &[1, 0, 2, 1]);
    let first = net.conv("x", 20, 6, 3, 1, &[("strides", &[2, 1]), pads]);
    let relu = net.node("Relu", &[&first], &[]);
    let depthwise = net.conv(&relu, 20, 20, 3, 20, &[("pads", &[1, 1, 1, 1])]);
    let scale = net.weight(&[1, 20, 1, 1]);
    let scaled = net.node("Mul", &[&depthwise, &scale], &[]);
    let swish = net.node("HardSwish", &[&scaled], &[]);
    let wide = net.conv(&swish, 37, 20, 1, 1, &[]);
    let grouped = net.conv(
        &relu,
        20,
        20,
        3,
        4,
        &[("pads", &[2, 2, 2, 2]), ("dilations", &[2, 2])],
    );
    let narrow = net.conv(&wide, 20, 37, 1, 1, &[]);
    let sum = net.node("Add", &[&narrow, &grouped], &[]);
    let sum = net.node("Relu", &[&sum], &[]);
    let pooled = net.node(
        "MaxPool",
        &[&sum],
        &[
            ("kernel_shape", AttributeValue::Ints(vec![3, 3])),
            ("strides", AttributeValue::Ints(vec![2, 2])),
            ("pads", AttributeValue::Ints(vec![1, 1, 1, 1])),
        ],
    );
    let mean = net.node(
        "AveragePool",
        &[&sum],
        &[
            ("kernel_shape", AttributeValue::Ints(vec![2, 2])),
            ("strides", AttributeValue::Ints(vec![2, 2])),
            ("pads", AttributeValue::Ints(vec![0, 0, 1, 1])),
        ],
    );
    let stepped = net.conv(&sum, 9, 20, 1, 1, &[("strides", &[2, 2])]);
    let both = net.node(
        "Concat",
        &[&pooled, &mean, &stepped],
        &[("axis", AttributeValue::Int(1))],
    );
    let last = net.conv(&both, 12, 49, 3, 1, &[]);
    let all = net.node("GlobalAveragePool", &[&last], &[]);
    let flat = net.node("Flatten", &[&all], &[]);
    let (weight, bias) = (net.weight(&[12, 5]), net.weight(&[5]));
    let out = net.node("Gemm", &[&flat, &weight, &bias], &[]);
    for samples in [1, 2, 5] {
        net.check(&out, 2, &numbers(3, &[samples, 6, 13, 11]));
    }
    // Images come out too.
    let mut net = Build::new();
    let first = net.conv("x", 7, 6, 3, 1, &[("pads", &[1, 1, 1, 1])]);
    let second = net.conv(&first, 7, 7, 5, 1, &[("pads", &[2, 2, 2, 2])]);
    let out = net.node("Sub", &[&first, &second], &[]);
    net.check(&out, 4, &numbers(4, &[3, 6, 13, 11]));
}

#[test]
fn networks_that_mix_samples_see_all_of_them() {
    type Mix = fn(&mut Build, &str) -> String;
    let mixes: [Mix; 3] = [
        |net, x| {
            let axes = net.integer(0);
            let mean = net.node("ReduceMean", &[x, &axes], &[]);
            net.node("Sub", &[x, &mean], &[])
        },
        |net, x| net.node("Softmax", &[x], &[("axis", AttributeValue::Int(0))]),
        |net, x| {
            let (zero, one) = (net.integer(0), net.integer(1));
            let first = net.node("Slice", &[x, &zero, &one, &zero], &[]);
            net.node("Sub", &[x, &first], &[])
        },
    ];
    for (i, mix) in mixes.into_iter().enumerate() {
        let mut net = Build::new();
        let conv = net.conv("x", 4, 6, 3, 1, &[("pads", &[1, 1, 1, 1])]);
        let out = mix(&mut net, &conv);
        let model = |constant| net.model(&out, 4, constant);
        let engines = Engines::tract(2);
        let x = numbers(5, &[3, 6, 13, 11]);
        let weights = net.weights.iter().map(|(_, weight)| weight.clone());
        let inputs: Vec<HostTensor> = [x.clone()].into_iter().chain(weights).collect();
        let theirs = engines.load(&model(false), Engine::Tract).unwrap();
        let ours = engines.load(&model(true), Engine::Tract).unwrap();
        let expected = theirs.run(&inputs).unwrap()[0].to_f64();
        let got = ours.run(&[x]).unwrap()[0].to_f64();
        for (got, expected) in got.iter().zip(&expected) {
            assert!(
                (got - expected).abs() < 1e-4,
                "mix {i}: {got}, not {expected}"
            );
        }
    }
}

#[test]
fn nodes_may_have_any_names() {
    let mut net = Build::new();
    let shape = Tensor {
        name: String::new(),
        dtype: DataType::Int64,
        dims: vec![4],
        bytes: hearth_kernels::Bytes::from(
            [0, 2, 3, -1].map(i64::to_le_bytes).as_flattened().to_vec(),
        ),
    };
    let shape = net.node("Constant", &[], &[("value", AttributeValue::Tensor(shape))]);
    let mut out = net.node("Reshape", &["x", &shape], &[]);
    for _ in 0..3 {
        out = net.node("Relu", &[&out], &[]);
    }
    // As tract calls the parts of the first.
    for (i, name) in ["", "a", "a.0", "a.1", "a.cast"].into_iter().enumerate() {
        net.nodes[i].name = name.into();
    }
    net.check(&out, 4, &numbers(6, &[2, 6, 13, 11]));
}

#[test]
fn a_sample_of_an_exported_network_is_the_same_alone() {
    for name in ["cnn", "resnet", "convnext", "vit", "segmenter"] {
        let fixture = |ending: &str| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.{ending}"))
        };
        let archive = Pt2Archive::open(&fixture("pt2")).unwrap();
        let model = lower(&archive).unwrap().to_bytes().unwrap();
        let network = Engines::tract(2).load(&model, Engine::Tract).unwrap();
        let symbol = |dim: &Dim| matches!(dim, Dim::Symbol(_));
        if !network
            .inputs()
            .iter()
            .all(|input| input.dims.first().is_some_and(symbol))
        {
            continue;
        }
        let golden = Golden::read(&fixture("json"));
        let first = golden.cases[0].inputs();
        let other = |tensor: &HostTensor| match tensor.dtype() {
            DataType::Float => numbers(9, tensor.shape()),
            _ => tensor.clone(),
        };
        let inputs: Vec<HostTensor> = first
            .iter()
            .map(|tensor| join(&[tensor, &other(tensor), tensor]).unwrap())
            .collect();
        let together = network.run(&inputs).unwrap();
        let rows = first[0].rows().unwrap();
        let outputs = together
            .iter()
            .map(|tensor| tensor.slice_rows(0..rows).unwrap());
        let off = golden.cases[0].compare(&outputs.collect::<Vec<_>>());
        assert!(off.unwrap() <= 1.0, "{name}");
        alone_as_together(&*network, &together, &inputs);
    }
}
