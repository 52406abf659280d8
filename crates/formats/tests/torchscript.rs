//! Archives of TorchScript: what is read of one, and what is said of those that are none, or not sound.

mod zip;

use hearth_formats::torch::ScalarType;
use hearth_formats::torchscript::syntax::{Expr, StatementKind};
use hearth_formats::torchscript::{ScriptArchive, ScriptValue, TracedInput};
use hearth_kernels::Bytes;

const MLP: &[u8] = include_bytes!("../../graph/tests/fixtures/script/mlp.pt");

fn open(bytes: Vec<u8>) -> hearth_formats::Result<ScriptArchive> {
    ScriptArchive::from_bytes(Bytes::from(bytes), "file.pt".into())
}

fn problem(bytes: Vec<u8>) -> String {
    open(bytes).expect_err("a defect").to_string()
}

/// An object of `__torch__.Net` without attributes.
const NET: &[u8] = b"\x80\x02c__torch__\nNet\n)\x81}b.";
/// An empty tuple.
const NO_CONSTANTS: &[u8] = b"\x80\x02).";

/// An archive with this source.
fn with_source(source: &str) -> Vec<u8> {
    zip::archive(&[
        ("net/data.pkl", NET),
        ("net/constants.pkl", NO_CONSTANTS),
        ("net/code/__torch__.py", source.as_bytes()),
    ])
}

#[test]
fn sources_weights_and_traced_inputs_are_read() {
    let archive = open(MLP.to_vec()).unwrap();
    let data = archive.data();
    let ScriptValue::Object { class, attributes } = data.get(data.root()) else {
        panic!("a module");
    };
    let code = archive.method(class, "forward").expect("a forward");
    assert_eq!(code.function.parameters[1].name, "x");
    assert!(code.file.starts_with("code/__torch__/"), "{}", code.file);
    assert!(matches!(
        code.function.body.last().map(|s| &s.kind),
        Some(StatementKind::Return(Some(_)))
    ));
    assert!(attributes.contains_key("layers"));
    let weights: Vec<_> = data
        .iter()
        .filter_map(|value| match value {
            ScriptValue::Tensor(t) => Some((t.dtype(), t.sizes().to_vec())),
            _ => None,
        })
        .collect();
    assert_eq!(weights.len(), 6);
    assert!(weights.contains(&(ScalarType::Float, vec![8, 6])));
    assert_eq!(
        archive.traced_inputs(),
        Some(&[TracedInput::Tensor(ScalarType::Float, vec![3, 6])][..])
    );
}

#[test]
fn a_file_cut_short_is_an_error() {
    for len in (0..MLP.len()).step_by(97) {
        let error = problem(MLP[..len].to_vec());
        assert!(error.starts_with("file.pt: "), "{error}");
    }
}

#[test]
fn the_language_is_read_as_python_has_it() {
    let archive = open(with_source(
        r#"
class Net(Module):
  __parameters__ = ["w", ]
  __annotations__["0"] = __torch__.Other
  training : bool
  def forward(self: __torch__.Net,
    x: Tensor,
    n: Optional[int]=None) -> Tuple[Tensor, int]:
    # a comment
    a, b, = torch.split(x, [1, 2], -1)
    c = -1 + 2 * 3 if n is not None else 1.5e-05
    if torch.__is__(n, None):
      pass
    else:
      for i in range(3):
        a = torch.add(a, {"k": [i, (i,)]}["k"][0], alpha=2)
    return (a, 'it\'s\t\x41')
def helper(x: Tensor) -> Tensor:
  return (x).relu()
"#,
    ))
    .unwrap();
    let class = archive.class("__torch__.Net").unwrap();
    let fields: Vec<&str> = class.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (class.base.as_str(), fields),
        ("Module", vec!["0", "training"])
    );
    assert!(archive.function("__torch__.helper").is_some());
    let body = &archive
        .method("__torch__.Net", "forward")
        .unwrap()
        .function
        .body;
    let StatementKind::Assign {
        targets, unpacks, ..
    } = &body[0].kind
    else {
        panic!("an assignment");
    };
    assert_eq!((targets.len(), unpacks), (2, &true));
    let StatementKind::Assign {
        value: Expr::Choice { then, .. },
        ..
    } = &body[1].kind
    else {
        panic!("a choice");
    };
    let product = Expr::Binary("*", Box::new(Expr::Int(2)), Box::new(Expr::Int(3)));
    let sum = Expr::Binary("+", Box::new(Expr::Int(-1)), Box::new(product));
    assert_eq!(**then, sum);
    assert_eq!(body[2].line, 12);
    let StatementKind::Return(Some(Expr::Tuple(items))) = &body[3].kind else {
        panic!("a tuple");
    };
    assert_eq!(items[1], Expr::Str("it's\tA".into()));
}

#[test]
fn each_defect_of_a_source_is_named_with_its_line() {
    let of = |source: &str| problem(with_source(source));
    let in_function = |text: &str| of(&format!("def f(x: Tensor) -> Tensor:\n  {text}\n"));
    for (text, says) in [
        ("return (x", "a bracket is left open"),
        ("return x)", "closes nothing"),
        ("x = 'a", "a string without an end"),
        ("x = 1 +", "an expression expected, not the end of the line"),
        ("x = $", "begins nothing"),
        ("x = 99999999999999999999", "too large"),
        ("yield x", "line 2"),
        ("raise x", "none that TorchScript writes"),
        ("def g(): pass", "inside of a function"),
        ("if x:", "its body is missing"),
        ("a, b", "\"=\" expected"),
    ] {
        let said = in_function(text);
        assert!(said.contains(says), "{text}: {said}");
        assert!(said.contains("code/__torch__.py, line "), "{text}: {said}");
    }
    assert!(of("x = 1\n").contains("a class or a function expected"));
    assert!(of("class A:\n    pass\n  pass\n").contains("indentation"));
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("-", ""),
        ("not ", ""),
        ("f(", ")"),
        ("x if x else ", ""),
    ] {
        let nested = format!("return {}x{}", open.repeat(100_000), close.repeat(100_000));
        assert!(in_function(&nested).contains("deep"), "{open}");
    }
    for row in ["()", ".a", "[0]", " + x"] {
        let chain = format!("return x{}", row.repeat(100_000));
        assert!(in_function(&chain).contains("in a row"), "{row}");
    }
    let mut deep = String::from("def f(x: Tensor) -> Tensor:\n");
    for level in 1..500 {
        deep.push_str(&format!("{}if x:\n", " ".repeat(level)));
    }
    assert!(of(&deep).contains("levels of indentation"));
}

#[test]
fn other_files_are_told_what_they_are() {
    let archive =
        |pickle: &[u8]| problem(zip::archive(&[("m/data.pkl", pickle), ("m/version", b"3")]));
    let state = archive(b"\x80\x02ccollections\nOrderedDict\n)R.");
    assert!(
        state.contains("weights alone") && state.contains("torch.jit.save"),
        "{state}"
    );
    assert!(archive(b"\x80\x02}.").contains("weights alone"));
    let module = archive(b"\x80\x02c__main__\nNet\n)\x81}b.");
    assert!(
        module.contains("the class __main__.Net") && module.contains("torch.jit.save"),
        "{module}"
    );
    let program = zip::archive(&[("m/archive_format", b"pt2"), ("m/models/model.json", b"{}")]);
    assert!(problem(program).contains("call the file .pt2"));
    assert!(problem(zip::archive(&[("a.txt", b"")])).contains("not TorchScript"));
    assert!(problem(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9".to_vec()).contains("before PyTorch 1.6"));
    assert!(problem(b"hello".to_vec()).contains("not TorchScript"));
}

#[test]
fn each_defect_of_the_pickles_is_named() {
    let with = |data: &[u8], constants: &[u8]| {
        open(zip::archive(&[
            ("net/data.pkl", data),
            ("net/constants.pkl", constants),
            ("net/data/0", &[0; 16]),
            ("net/code/__torch__.py", b"class Net(Module):\n  pass\n"),
        ]))
    };
    assert!(with(NET, NO_CONSTANTS).is_ok());
    let said = |data: &[u8], constants: &[u8]| with(data, constants).unwrap_err().to_string();
    assert!(said(b"\x80\x02", NO_CONSTANTS).contains("net/data.pkl at byte 2"));
    assert!(said(b"\x80\x02cos\nsystem\n)R.", NO_CONSTANTS).contains("no code from files"));
    assert!(said(NET, b"\x80\x02cos\nsystem\n)R.").contains("constants.pkl"));
    // A tensor of five floats in a storage of four.
    let tensor = |size: u8, key: &str| {
        let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0".to_vec();
        pickle.extend(key.as_bytes());
        pickle.extend(b"X\x03\0\0\0cpuK\x04tQK\0(K");
        pickle.push(size);
        pickle.extend(b"t(K\x01t\x89NtR.");
        pickle
    };
    assert!(with(&tensor(4, "0"), NO_CONSTANTS).is_ok());
    assert!(said(&tensor(5, "0"), NO_CONSTANTS).contains("reaches past"));
    assert!(said(&tensor(4, "1"), NO_CONSTANTS).contains("no entry \"net/data/1\""));
}

/// Rows of operators in brackets in each other are each short, and high together; who drops them goes as deep.
#[test]
fn high_trees_fit_on_a_small_stack() {
    let grown = |inner: &str, row: usize| {
        let operators = [
            "", ".a", "(x)", "[0]", " * x", " + x", " & x", " < x", " and x", " or x",
        ];
        let rows = operators.map(|operator| operator.repeat(row));
        format!("({inner}{})", rows.concat())
    };
    let source = move |levels: usize, row: usize| {
        let expr = (0..levels).fold("x".to_owned(), |inner, _| grown(&inner, row));
        format!("def f(x: Tensor) -> Tensor:\n  return {expr}\n")
    };
    let read = move || {
        let said = problem(with_source(&source(60, 10)));
        assert!(said.contains("nested more than 128 deep"), "{said}");
        let archive = open(with_source(&source(12, 1))).expect("it is high, and not too high");
        let body = &archive.function("__torch__.f").unwrap().function.body;
        let StatementKind::Return(Some(expr)) = &body[0].kind else {
            panic!("a value");
        };
        assert_eq!(expr.clone(), *expr);
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(read);
    thread.unwrap().join().unwrap();
}

#[test]
fn lists_and_dictionaries_that_a_module_was_traced_with_are_told() {
    let tensor = |size: u8| {
        let mut out = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nLongStorage\nX\x01\0\0\x000".to_vec();
        out.extend(b"X\x03\0\0\0cpuK\x04tQK\0(K");
        out.push(size);
        out.extend(b"t(K\x01t\x89NtR");
        out
    };
    let traced = [
        &b"\x80\x02}(X\x07\0\0\0forward](]("[..],
        &tensor(2),
        &tensor(3),
        b"e}(X\x01\0\0\0k",
        &tensor(4),
        b"ueu.",
    ];
    let archive = open(zip::archive(&[
        ("net/data.pkl", NET),
        ("net/constants.pkl", NO_CONSTANTS),
        ("net/traced_inputs.pkl", &traced.concat()),
        ("net/code/__torch__.py", b"class Net(Module):\n  pass\n"),
    ]));
    let of = |size| TracedInput::Tensor(ScalarType::Long, vec![size]);
    assert_eq!(
        archive.unwrap().traced_inputs(),
        Some(
            &[
                TracedInput::List(vec![of(2), of(3)]),
                TracedInput::Dict(vec![("k".into(), of(4))])
            ][..]
        )
    );
}
