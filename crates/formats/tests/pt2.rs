//! Exported programs: the three layouts that PyTorch has written, and what is wrong with others.
//!
//! The fixtures are `mlp` of `oracle/graph_golden.py`, saved by PyTorch 2.5, 2.8 and 2.15.

mod zip;

use hearth_formats::pt2::{Argument, InputSpec, Pt2Archive, SymInt};
use hearth_formats::torch::ScalarType;
use hearth_kernels::Bytes;

const LAYOUTS: [(&str, &[u8]); 3] = [
    ("2.5", include_bytes!("fixtures/mlp-2.5.pt2")),
    ("2.8", include_bytes!("fixtures/mlp-2.8.pt2")),
    ("2.15", include_bytes!("fixtures/mlp.pt2")),
];

fn open(bytes: &[u8]) -> hearth_formats::Result<Pt2Archive> {
    Pt2Archive::from_bytes(Bytes::from(bytes.to_vec()), "file.pt2".into())
}

#[test]
fn all_layouts_hold_the_same_program_and_weights() {
    let mut all = Vec::new();
    for (version, bytes) in LAYOUTS {
        let archive = open(bytes).unwrap_or_else(|e| panic!("{version}: {e}"));
        let program = archive.program();
        if !program.torch_version.is_empty() {
            assert!(program.torch_version.starts_with(version));
        }
        let targets: Vec<&str> = program
            .graph_module
            .graph
            .nodes
            .iter()
            .map(|node| node.target.as_str())
            .collect();
        assert_eq!(
            targets,
            [
                "torch.ops.aten.linear.default",
                "torch.ops.aten.gelu.default",
                "torch.ops.aten.layer_norm.default",
                "torch.ops.aten.linear.default",
                "torch.ops.aten.softmax.int",
            ],
            "{version}"
        );
        let mut weights = Vec::new();
        let mut users = Vec::new();
        for spec in &program.graph_module.signature.input_specs {
            match spec {
                InputSpec::User(Argument::Tensor(name)) => users.push(name.clone()),
                InputSpec::Parameter(_, name) => {
                    let tensor = archive.dense(spec).unwrap().unwrap();
                    assert_eq!(tensor.dtype, ScalarType::Float);
                    weights.push((name.clone(), tensor.sizes, tensor.bytes.to_vec()));
                }
                other => panic!("{version}: {other:?}"),
            }
        }
        assert_eq!(users, ["x"]);
        let x = &program.graph_module.graph.tensor_values["x"];
        assert!(matches!(x.sizes[0], SymInt::Expr(_)), "{version}: {x:?}");
        assert_eq!(x.sizes[1], SymInt::Int(6));
        all.push(weights);
    }
    assert_eq!(all[0].len(), 6);
    assert_eq!(all[0][0].0, "layers.0.weight");
    assert_eq!(all[0][0].1, [8, 6]);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[1], all[2]);
}

#[test]
fn a_file_cut_short_is_an_error() {
    for (version, bytes) in LAYOUTS {
        for len in (0..bytes.len()).step_by(97) {
            let error = open(&bytes[..len]).err();
            let error = error.unwrap_or_else(|| panic!("{version}: {len} bytes are enough"));
            assert!(error.to_string().starts_with("file.pt2: "), "{error}");
        }
    }
}

/// A program of one node, `y = relu(p)` with the parameter `w`, of which `edit` may change the text.
fn program(edit: impl Fn(String) -> String) -> Vec<u8> {
    let meta = r#"{"dtype": 7, "sizes": [{"as_int": 2}], "requires_grad": false, "device": {"type": "cpu", "index": null},
        "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}, "layout": 7}"#;
    edit(format!(
        r#"{{"graph_module": {{"graph": {{"inputs": [{{"as_tensor": {{"name": "p"}}}}], "outputs": [{{"as_tensor": {{"name": "y"}}}}],
        "nodes": [{{"target": "torch.ops.aten.relu.default", "inputs": [{{"name": "self", "arg": {{"as_tensor": {{"name": "p"}}}}}}],
        "outputs": [{{"as_tensor": {{"name": "y"}}}}], "metadata": {{}}}}],
        "tensor_values": {{"p": {meta}, "y": {meta}}}, "sym_int_values": {{}}, "sym_bool_values": {{}}}},
        "signature": {{"input_specs": [{{"parameter": {{"arg": {{"name": "p"}}, "parameter_name": "w"}}}}],
        "output_specs": [{{"user_output": {{"arg": {{"as_tensor": {{"name": "y"}}}}}}}}]}}, "module_call_graph": []}},
        "opset_version": {{}}, "range_constraints": {{}}, "schema_version": {{"major": 8, "minor": 8}}}}"#
    ))
    .into_bytes()
}

/// The weights' configuration, of which `edit` may change the text.
fn config(edit: impl Fn(String) -> String) -> Vec<u8> {
    edit(
        r#"{"config": {"w": {"path_name": "weight_0", "is_param": true, "use_pickle": false, "tensor_meta":
        {"dtype": 7, "sizes": [{"as_int": 2}], "requires_grad": false, "device": {"type": "cpu", "index": null},
        "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}, "layout": 7}}}}"#
            .to_owned(),
    )
    .into_bytes()
}

fn packed(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries.iter().map(|(name, content)| (*name, &content[..]));
    zip::archive(&entries.collect::<Vec<_>>())
}

fn archive(program: Vec<u8>, config: Vec<u8>, weights: &[(&str, usize)]) -> Vec<u8> {
    let mut entries = vec![
        ("m/archive_format", b"pt2".to_vec()),
        ("m/models/model.json", program),
        ("m/data/weights/model_weights_config.json", config),
        (
            "m/data/constants/model_constants_config.json",
            br#"{"config": {}}"#.to_vec(),
        ),
    ];
    for (name, len) in weights {
        entries.push((name, vec![0; *len]));
    }
    packed(&entries)
}

const WEIGHT: &[(&str, usize)] = &[("m/data/weights/weight_0", 8)];

fn same(text: String) -> String {
    text
}

fn of_program(edit: impl Fn(String) -> String) -> String {
    open(&archive(program(edit), config(same), WEIGHT))
        .expect_err("a defect")
        .to_string()
}

fn of_config(edit: impl Fn(String) -> String) -> String {
    open(&archive(program(same), config(edit), WEIGHT))
        .expect_err("a defect")
        .to_string()
}

#[test]
fn each_defect_of_a_graph_is_named() {
    open(&archive(program(same), config(same), WEIGHT)).expect("it is sound");
    let replaced =
        |from: &'static str, to: &'static str| move |text: String| text.replacen(from, to, 1);
    // A node that uses its own result.
    let cycle = of_program(replaced(
        r#""arg": {"as_tensor": {"name": "p"}}}"#,
        r#""arg": {"as_tensor": {"name": "y"}}}"#,
    ));
    assert_eq!(
        cycle,
        "file.pt2: graph.nodes[0] (torch.ops.aten.relu.default): self: it uses \"y\", which only this node or a later one gives: a cycle"
    );
    let unknown = of_program(replaced(
        r#""arg": {"as_tensor": {"name": "p"}}}"#,
        r#""arg": {"as_tensor": {"name": "q"}}}"#,
    ));
    assert!(unknown.contains("\"q\", which nothing gives"), "{unknown}");
    let twice = of_program(replaced(
        r#""outputs": [{"as_tensor": {"name": "y"}}], "metadata""#,
        r#""outputs": [{"as_tensor": {"name": "p"}}], "metadata""#,
    ));
    assert!(twice.contains("p: it is given twice"), "{twice}");
    let undescribed = of_program(replaced(r#""p": {"dtype""#, r#""r": {"dtype""#));
    assert!(
        undescribed.contains("tensor_values.p: it is missing"),
        "{undescribed}"
    );
    let kind = of_program(replaced(r#""as_tensor""#, r#""as_magic""#));
    assert!(
        kind.contains("m/models/model.json") && kind.contains("as_magic"),
        "{kind}"
    );
    let future = of_program(replaced(r#""major": 8"#, r#""major": 9"#));
    assert!(
        future.contains("schema version 9.8; 7 to 8 are read"),
        "{future}"
    );
    let dtype = of_program(replaced(r#""dtype": 7"#, r#""dtype": 77"#));
    assert!(dtype.contains("77 is no scalar type"), "{dtype}");
    let dimensions = "{\"as_int\": 1}, ".repeat(70);
    let many =
        of_program(|text| text.replacen("\"sizes\": [", &format!("\"sizes\": [{dimensions}"), 1));
    assert!(many.contains("71 dimensions are more than 64"), "{many}");
    let signature = of_program(replaced(
        r#""arg": {"name": "p"}, "parameter"#,
        r#""arg": {"name": "z"}, "parameter"#,
    ));
    assert!(
        signature.contains("it has \"z\" where the graph has"),
        "{signature}"
    );
    let deep = of_program(|_| "[".repeat(100_000));
    assert!(deep.contains("m/models/model.json"), "{deep}");
}

#[test]
fn each_defect_of_the_weights_is_named() {
    let replaced =
        |from: &'static str, to: &'static str| move |text: String| text.replacen(from, to, 1);
    let missing = of_config(replaced("\"w\"", "\"v\""));
    assert_eq!(missing, "file.pt2: tensor w is missing");
    let no_entry = of_config(replaced("weight_0", "weight_1"));
    assert!(
        no_entry.contains("tensor w: the archive has no entry \"m/data/weights/weight_1\""),
        "{no_entry}"
    );
    let climbs = of_config(replaced("weight_0", "../../../etc/passwd"));
    assert!(
        climbs.contains("tensor w: the archive has no entry"),
        "{climbs}"
    );
    let size = of_config(replaced("\"as_int\": 2", "\"as_int\": 3"));
    assert!(
        size.contains("reaches past the 2 elements stored"),
        "{size}"
    );
    let absurd = of_config(replaced("\"as_int\": 2", "\"as_int\": 9223372036854775807"));
    assert!(absurd.contains("tensor w"), "{absurd}");
    let negative = of_config(replaced("\"as_int\": 2", "\"as_int\": -2"));
    assert!(negative.contains("-2 is no size"), "{negative}");
    let dtype = of_config(replaced("\"dtype\": 7", "\"dtype\": 8"));
    assert!(dtype.contains("reaches past the 1 elements"), "{dtype}");
    let other = of_config(replaced("\"as_int\": 2", "\"as_int\": 1"));
    assert!(other.contains("is not what the graph says"), "{other}");
    let symbolic = of_config(replaced(
        "{\"as_int\": 2}",
        "{\"as_expr\": {\"expr_str\": \"s0\"}}",
    ));
    assert!(
        symbolic.contains("\"s0\", which is no number"),
        "{symbolic}"
    );
}

#[test]
fn views_that_repeat_their_storage_do_not_fill_memory() {
    // One row of 8 bytes, repeated a billion times.
    let repeat = |text: String| {
        text.replacen(
            "[{\"as_int\": 2}]",
            "[{\"as_int\": 1000000000}, {\"as_int\": 2}]",
            1,
        )
        .replacen("[{\"as_int\": 1}]", "[{\"as_int\": 0}, {\"as_int\": 1}]", 1)
    };
    let error = open(&archive(program(repeat), config(repeat), WEIGHT)).expect_err("too large");
    assert!(
        error
            .to_string()
            .contains("weights: laid out densely they are much larger"),
        "{error}"
    );
}

#[test]
fn other_archives_are_told_what_they_are() {
    let of =
        |entries: &[(&str, Vec<u8>)]| open(&packed(entries)).expect_err("no program").to_string();
    assert!(of(&[("m/constants.pkl", vec![]), ("m/data.pkl", vec![])]).contains("TorchScript"));
    assert!(of(&[("m/data.pkl", vec![])]).contains("a checkpoint of weights alone"));
    assert!(of(&[("readme", vec![])]).contains("without an exported program"));
    let pt2 = ("m/archive_format", b"pt2".to_vec());
    assert!(of(std::slice::from_ref(&pt2)).contains("the archive holds no program"));
    let code = ("m/data/aotinductor/model/x.so", vec![]);
    assert!(of(&[pt2.clone(), code]).contains("AOTInductor"));
    let two = [
        pt2.clone(),
        ("m/models/a.json", vec![]),
        ("m/models/b.json", vec![]),
    ];
    assert!(of(&two).contains("2 programs in one archive: a, b"));
    let big = [pt2, ("m/byteorder", b"big".to_vec())];
    assert!(of(&big).contains("byte order"));
}
