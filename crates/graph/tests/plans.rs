//! tract's plans: for which networks there is one for each number of inputs, and what they take.

use std::path::PathBuf;

use hearth_formats::pt2::Pt2Archive;
use hearth_graph::lower::lower;
use hearth_graph::onnx::{DataType, Dim, Graph, Model, Node, Tensor, ValueInfo};
use hearth_graph::runtime::{Engine, Engines, HostTensor, Network, predicted_bytes, summarize};

/// A network of the fixtures on tract, and the bytes of its weights.
fn load(name: &str) -> (Box<dyn Network>, u64) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let model = lower(&Pt2Archive::open(&path).unwrap()).unwrap();
    let bytes = model.to_bytes().unwrap();
    let weights = summarize(&bytes).unwrap().tensor_bytes;
    let network = Engines::tract(2).load(&bytes, Engine::Tract).unwrap();
    (network, weights)
}

/// A convolution of images, of which the mean of all of them is taken.
fn centred() -> Vec<u8> {
    let (n, size) = (Dim::Symbol("n".into()), Dim::Fixed);
    let value = |name: &str, dims: [Dim; 4]| ValueInfo {
        name: name.into(),
        dtype: DataType::Float,
        dims: dims.to_vec(),
    };
    let node = |op_type, inputs: &[&str], output: &str, attributes| Node {
        name: output.into(),
        op_type,
        inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
        outputs: vec![output.into()],
        attributes,
    };
    let axes = [0i64]
        .iter()
        .flat_map(|axis| axis.to_le_bytes())
        .collect::<Vec<u8>>();
    let model = Model {
        opset: 18,
        graph: Graph {
            name: "centred".into(),
            nodes: vec![
                node("Conv", &["x", "weight"], "features", Vec::new()),
                node("ReduceMean", &["features", "axes"], "mean", Vec::new()),
                node("Sub", &["features", "mean"], "y", Vec::new()),
            ],
            initializers: vec![
                Tensor {
                    name: "weight".into(),
                    dtype: DataType::Float,
                    dims: vec![64, 32, 3, 3],
                    bytes: vec![0; 64 * 32 * 9 * 4].into(),
                },
                Tensor {
                    name: "axes".into(),
                    dtype: DataType::Int64,
                    dims: vec![1],
                    bytes: axes.into(),
                },
            ],
            inputs: vec![value("x", [n.clone(), size(32), size(8), size(8)])],
            outputs: vec![value("y", [n, size(64), size(6), size(6)])],
        },
        metadata: Vec::new(),
    };
    model.to_bytes().unwrap()
}

#[test]
fn where_images_depend_on_each_other_there_is_a_plan_for_each_number_of_them() {
    let bytes = centred();
    let weights = summarize(&bytes).unwrap().tensor_bytes;
    let network = Engines::tract(2).load(&bytes, Engine::Tract).unwrap();
    assert_eq!(network.plans_kept(), Some(8));
    let shape = |images: usize| vec![images, 32, 8, 8];
    let zeros = |images: usize| HostTensor::zeros(DataType::Float, &shape(images)).unwrap();
    network.run(&[zeros(1)]).unwrap();
    let [one, six] = [1, 6].map(|plans| network.weight_bytes(plans).unwrap());
    let plan = (six - one) / 5;
    // The weights as they were read, and once for each plan.
    assert!(
        plan + 8 >= weights && one > plan && six > 6 * plan,
        "{one} {six} {weights}"
    );
    // More than are kept are not there.
    assert_eq!(network.weight_bytes(8), network.weight_bytes(80));
    let file = bytes.len() as u64;
    assert!(predicted_bytes(Engine::Tract, file, 6) >= 7 * file);
    network.plan(&[shape(4)]).unwrap();
    assert_eq!(network.run(&[zeros(4)]).unwrap()[0].shape()[0], 4);
    assert!(network.plan(&[vec![4, 5, 8, 8]]).is_err());
}

#[test]
fn one_plan_serves_any_number_of_images_that_are_computed_apart() {
    let (network, weights) = load("resnet.pt2");
    assert_eq!(network.plans_kept(), None);
    let bytes = network.weight_bytes(1).unwrap();
    assert!(bytes >= 2 * weights, "{bytes} {weights}");
    assert_eq!(network.weight_bytes(6), Some(bytes));
}

#[test]
fn other_networks_run_any_number_by_one_plan() {
    let (network, weights) = load("mlp.pt2");
    assert_eq!(network.plans_kept(), None);
    let bytes = network.weight_bytes(1).unwrap();
    assert!(bytes >= 2 * weights, "{bytes} {weights}");
    assert_eq!(network.weight_bytes(6), Some(bytes));
}
