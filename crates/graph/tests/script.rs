//! TorchScript: what is learnt of inputs, what becomes of the language, and what is said where there is no graph.

mod script_archive;

use std::path::PathBuf;

use hearth_formats::torchscript::{DeclaredInput, ScriptArchive};
use hearth_graph::onnx::{Model, ValueInfo};
use hearth_graph::script::lower;
use proptest::prelude::*;
use script_archive::archive;

/// A module whose `forward` takes these parameters and does this.
fn source(parameters: &str, body: &str) -> String {
    let lines: Vec<String> = body.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "class Net(Module):\n  weight : Tensor\n  def forward(self: __torch__.Net, {parameters}) -> Tensor:\n{}\
         class Inner(Module):\n  weight : Tensor\n  def forward(self: __torch__.Inner, x: Tensor) -> Tensor:\n    \
         return torch.linear(x, self.weight)\n",
        lines.concat()
    )
}

fn net(parameters: &str, body: &str, declared: &[&str]) -> hearth_graph::Result<Model> {
    let declared: Vec<DeclaredInput> = declared.iter().map(|text| text.parse().unwrap()).collect();
    lower(&archive(&source(parameters, body)).unwrap(), &declared)
}

fn text(values: &[ValueInfo]) -> String {
    let all: Vec<String> = values.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// The inputs and outputs of a module.
fn signature(parameters: &str, body: &str, declared: &[&str]) -> String {
    let model = net(parameters, body, declared).unwrap_or_else(|e| panic!("{body}: {e}"));
    format!(
        "{} -> {}",
        text(&model.graph.inputs),
        text(&model.graph.outputs)
    )
}

fn problem(parameters: &str, body: &str, declared: &[&str]) -> String {
    let error = net(parameters, body, declared).expect_err(body);
    error.to_string()
}

fn operators(body: &str) -> Vec<String> {
    let model =
        net("x: Tensor", body, &["x=float32[batch,3]"]).unwrap_or_else(|e| panic!("{body}: {e}"));
    let nodes = model.graph.nodes.iter();
    let nodes = nodes.filter(|node| node.op_type != "Identity");
    nodes.map(|node| node.op_type.to_owned()).collect()
}

#[test]
fn inputs_are_what_the_first_operators_take() {
    for (body, want) in [
        (
            "return torch.linear(x, self.weight)",
            "x: float32 [batch, 3] -> linear: float32 [batch, 4]",
        ),
        (
            "y = torch.relu(x)\nreturn torch.linear(y, self.weight)",
            "x: float32 [batch, 3] -> linear: float32 [batch, 4]",
        ),
        (
            "return torch.conv2d(x, self.kernel, None, [1, 1], [1, 1])",
            "x: float32 [batch, 3, height, width] -> conv2d: float32 [batch, 2, height, width]",
        ),
        (
            "return torch.embedding(self.table, x)",
            "x: int64 [batch, length] -> embedding: float32 [batch, length, 4]",
        ),
        (
            "y = torch.add(x, 1)\nreturn torch.embedding(self.table, y)",
            "x: int64 [batch, length] -> embedding: float32 [batch, length, 4]",
        ),
        (
            "n = torch.size(x, 2)\ny = torch.permute(x, [0, 2, 1])\nreturn torch.linear(torch.view(y, [-1, 3]), self.weight)",
            "x: float32 [batch, length, dim_2] -> linear: float32 [?, 4]",
        ),
    ] {
        let said = signature("x: Tensor", body, &[]);
        assert_eq!(said, want, "{body}");
    }
}

#[test]
fn sizes_that_have_to_be_are_worked_out() {
    // Two by six by six numbers are what is left of an image of 14 by 14, or of 15 by 15.
    let body = "y = torch.max_pool2d(torch.conv2d(x, self.kernel), [2, 2])\nz = torch.reshape(torch.flatten(y, 1), [torch.size(x, 0), 24, 3])\n\
                return torch.linear(z, self.weight)";
    let said = signature("x: Tensor", body, &[]);
    assert_eq!(
        said,
        "x: float32 [batch, 3, 14, 14] -> linear: float32 [batch, 24, 4]"
    );
    // Two inputs of one number of rows.
    let said = signature(
        "x: Tensor, y: Tensor",
        "return torch.add(torch.linear(x, self.weight), torch.linear(y, self.weight))",
        &[],
    );
    assert_eq!(
        said,
        "x: float32 [batch, 3]; y: float32 [batch, 3] -> add: float32 [batch, 4]"
    );
    // A batch that was written down as a number.
    let said = signature(
        "x: Tensor",
        "return torch.reshape(torch.linear(x, self.weight), [2, 4])",
        &[],
    );
    assert_eq!(said, "x: float32 [2, 3] -> reshape: float32 [2, 4]");
}

#[test]
fn what_is_declared_holds() {
    let body = "return torch.mul(x, 2.)";
    assert_eq!(
        signature("x: Tensor", body, &["x=float16[rows,-1,7]"]),
        "x: float16 [rows, length, 7] -> mul: float16 [rows, length, 7]"
    );
    let wrong = problem(
        "x: Tensor",
        "return torch.linear(x, self.weight)",
        &["x=float32[batch,5]"],
    );
    assert!(
        wrong.contains("line 4: aten::linear: the sizes 5 and 3 differ"),
        "{wrong}"
    );
    let wrong = problem("x: Tensor", body, &["y=float32"]);
    assert!(
        wrong.contains("\"y\" is declared, but forward takes x"),
        "{wrong}"
    );
    // An input with a default is left out unless it is declared.
    let optional = "x: Tensor, y: Optional[Tensor]=None";
    let body = "if torch.__is__(y, None):\n  z = x\nelse:\n  z = torch.add(x, y)\nreturn torch.linear(z, self.weight)";
    assert_eq!(
        signature(optional, body, &[]),
        "x: float32 [batch, 3] -> linear: float32 [batch, 4]"
    );
    let both = signature(optional, body, &["x=float32[b,3]", "y=float32[3]"]);
    assert_eq!(
        both,
        "x: float32 [b, 3]; y: float32 [3] -> linear: float32 [b, 4]"
    );
}

#[test]
fn the_language_is_done_at_once() {
    let lines = [
        (
            "y = x\nfor i in range(self.n):\n  y = torch.relu(y)\nreturn y",
            "Relu Relu Relu",
        ),
        (
            "y = x\nwhile torch.lt(torch.len([y]), 1):\n  y = torch.exp(y)\nreturn torch.neg(y)",
            "Neg",
        ),
        (
            "if self.flag:\n  y = torch.relu(x)\nelse:\n  y = torch.exp(x)\nreturn y",
            "Relu",
        ),
        (
            "n = torch.size(x, 1)\nif torch.ne(n, 3):\n  ops.prim.RaiseException(\"no\")\nelse:\n  pass\nreturn torch.exp(x)",
            "Exp",
        ),
        (
            "n = torch.size(x, 0)\nif torch.lt(n, 1):\n  ops.prim.RaiseException(\"no\")\nelse:\n  pass\nreturn torch.exp(x)",
            "Exp",
        ),
        (
            "l = annotate(List[Tensor], [])\nl1 = torch.append(l, x)\nl2 = torch.append(l, torch.exp(x))\nreturn torch.cat(l, 1)",
            "Exp Concat",
        ),
        (
            "d = {\"a\": x}\ny = d[\"a\"]\nz, w, = (torch.exp(y), 1)\nreturn z",
            "Exp",
        ),
        (
            "inner = self.inner\nreturn (inner).forward(torch.linear(x, self.weight))",
            "MatMul MatMul",
        ),
        (
            "return torch.exp(x) if self.n > 2 and not self.flag else torch.neg(x)",
            "Neg",
        ),
        ("y = torch.relu_(x)\nreturn torch.add_(x, y)", "Relu Add"),
        (
            "return torch.dropout(torch.to(torch.detach(x), 6), 0.5, False)",
            "",
        ),
        (
            "d = {\"n3\": x}\nreturn torch.exp(d[torch.format(\"n{}\", torch.size(x, 1))])",
            "Exp",
        ),
        (
            "n = torch.size(x, 0)\nif torch.ne([n, 3], torch.size(x)):\n  ops.prim.RaiseException(\"no\")\nelse:\n  pass\n\
             if torch.ne([torch.mul(n, 2), 3], torch.size(x)):\n  ops.prim.RaiseException(\"no\")\nelse:\n  pass\n\
             return torch.exp(x)",
            "Exp",
        ),
        (
            "l = [torch.gt(torch.size(x, 0), 5), True]\nreturn torch.exp(x) if torch.any(l) and not torch.all([True, False]) else x",
            "Exp",
        ),
        (
            "d = torch.dict()\ntorch._set_item(d, str(self.n), x)\nreturn torch.neg(d[\"3\"])",
            "Neg",
        ),
        (
            "n = ops.prim.NumToTensor(torch.size(x, 1))\nm = torch.clamp(torch.rsub(torch.remainder(n, 2), 2), 0)\n\
             return torch.exp(x) if int(torch.sub(m, 1)) == 0 else x",
            "Exp",
        ),
    ];
    for (body, want) in lines {
        let found = operators(body).join(" ").replace("Gemm", "MatMul");
        assert_eq!(found.replace("Transpose ", ""), want, "{body}");
    }
}

#[test]
fn what_is_no_graph_is_named_with_its_place() {
    for (body, says) in [
        (
            "y = torch.relu(x)\nif bool(torch.sum(y)):\n  pass\nelse:\n  pass\nreturn y",
            "net.pt: code/__torch__.py, line 5: a condition that depends on the numbers in a tensor",
        ),
        (
            "if torch.gt(torch.size(x, 0), 5):\n  y = x\nelse:\n  y = torch.relu(x)\nreturn y",
            "line 4: an if whose condition depends on the sizes of inputs",
        ),
        (
            "for i in range(torch.size(x, 0)):\n  pass\nreturn x",
            "a loop whose number of rounds is not known",
        ),
        (
            "i = int(torch.sum(x))\nreturn x",
            "line 4: a number that depends on the numbers in a tensor",
        ),
        (
            "return torch.no_such_thing(x)",
            "line 4: no lowering for aten::no_such_thing",
        ),
        (
            "return ops.torchvision.nms(x, x, 0.5)",
            "no lowering for ops.torchvision.nms",
        ),
        ("return torch.randn([2])", "random numbers"),
        ("self.n = 5\nreturn x", "keeps no state"),
        (
            "if torch.eq(str(torch.size(x, 0)), \"2\"):\n  y = x\nelse:\n  y = torch.relu(x)\nreturn y",
            "an if whose condition depends on the sizes of inputs",
        ),
        (
            "d = {\"2\": x}\nreturn d[torch.format(\"{}\", torch.size(x, 0))]",
            "line 5: a string that is not known as a key",
        ),
        (
            "s = \"some text\"\nfor i in range(64):\n  s = torch.add(s, s)\nreturn x",
            "a string of more than 65536 bytes",
        ),
        ("with x:\n  y = x\nreturn y", "a with of a tensor"),
        (
            "y = x\nfor i in range(100):\n  y = torch.unsqueeze(y, 0)\nreturn y",
            "a result of more than 64 dimensions",
        ),
        (
            "for i in range(100000):\n  y = torch.chunk(torch.reshape(x, [-1]), 4096)\nreturn x",
            "more than 262144 arguments and results",
        ),
        (
            "l = [1]\nfor i in range(15):\n  l = torch.add(l, l)\nfor j in range(1000000):\n  k = torch.add(l, l)\nreturn x",
            "takes too many steps",
        ),
        (
            "y = torch.add_(self.weight, 1)\nreturn x",
            "a tensor of the module's own",
        ),
        ("return torch.relu(y)", "the name y was given no value"),
        ("return (self.inner).backward(x)", "has no method backward"),
        (
            "return torch.relu(x, x, x)",
            "aten::relu: no overload of it that has a lowering takes",
        ),
        (
            "return torch.linear(x, self.kernel)",
            "its weight is no matrix",
        ),
        ("return torch.view(x, [7])", "line 4"),
        ("return self.nothing", "has no attribute nothing"),
        (
            "ops.prim.RaiseException(\"no\")\nreturn x",
            "the module raises an error of its own",
        ),
        (
            "return torch.index(x, [torch.gt(x, 0)])",
            "as many elements as are true in it",
        ),
        ("return \"text\"", "an output that is a string"),
        ("while True:\n  pass\nreturn x", "statements are run"),
        (
            "y = [x]\nfor i in range(100):\n  y = [y]\nreturn x",
            "deep in each other",
        ),
        ("return (self).forward(x)", "deep"),
        (
            "n = torch.size(x, 0)\nfor i in range(64):\n  n = torch.mul(n, n)\nreturn torch.zeros([n])",
            "too long an expression",
        ),
    ] {
        let said = problem("x: Tensor", body, &["x=float32[batch,3]"]);
        assert!(said.contains(says), "{body}: {said}");
    }
    let said = problem("x: int", "return x", &[]);
    assert!(
        said.contains("line 3: the input x of forward is no tensor, nor a list"),
        "{said}"
    );
    let said = problem(
        "x: Tensor",
        "return torch.matmul(torch.reshape(x, [2, 3, 5]), self.weight)",
        &[],
    );
    assert!(said.contains("declare type and shape of x"), "{said}");
}

/// A body in a context of PyTorch's, made with these arguments.
fn within(class: &str, arguments: &str) -> String {
    let class = format!("__torch__.torch.{class}");
    format!(
        "c = {class}.__new__({class})\n_0 = (c).__init__({arguments})\nwith c:\n  y = torch.exp(x)\nreturn y"
    )
}

#[test]
fn precision_that_autocast_chooses_is_refused_and_other_contexts_change_nothing() {
    let autocast = |arguments| within("amp.autocast_mode.autocast", arguments);
    for arguments in [
        "\"cpu\", 15, True, None",
        "\"cpu\"",
        "\"cpu\", enabled=self.flag",
    ] {
        let said = problem("x: Tensor", &autocast(arguments), &["x=float32[batch,3]"]);
        assert!(
            said.contains("line 6: torch.autocast, in which operators compute"),
            "{said}"
        );
    }
    // That of one device says first whether it does anything.
    let of_cpu = |arguments| within("cpu.amp.autocast_mode.autocast", arguments);
    let said = problem(
        "x: Tensor",
        &of_cpu("True, 15, False"),
        &["x=float32[batch,3]"],
    );
    assert!(said.contains("torch.autocast, in which"), "{said}");
    for body in [
        of_cpu("False, 15, True"),
        autocast("\"cpu\", None, False, None"),
        autocast("\"cpu\", enabled=False"),
        within("autograd.grad_mode.no_grad", ""),
        within("autograd.profiler.record_function", "\"a name\", None"),
    ] {
        assert_eq!(operators(&body), ["Exp"], "{body}");
    }
    let other = within("some.other", "");
    assert!(problem("x: Tensor", &other, &[]).contains("no code of __torch__.torch.some.other"));
}

#[test]
fn members_of_lists_tuples_and_dictionaries_are_inputs() {
    let sum = "return torch.linear(torch.add(x[0], x[1]), self.weight)";
    assert_eq!(
        signature("x: Tuple[Tensor, Tensor]", sum, &[]),
        "x_0: float32 [batch, 3]; x_1: float32 [batch, 3] -> linear: float32 [batch, 4]"
    );
    assert_eq!(
        signature(
            "x: List[Tensor]",
            sum,
            &["x_0=float32[b,3]", "x_1=float32[b,3]"]
        ),
        "x_0: float32 [b, 3]; x_1: float32 [b, 3] -> linear: float32 [b, 4]"
    );
    assert_eq!(
        signature(
            "x: Dict[str, Tensor], y: Optional[List[Tensor]]=None",
            "return torch.linear(x[\"left\"], self.weight)",
            &["x_left=float32[n,3]", "x_right=int64[n]"]
        ),
        "x_left: float32 [n, 3]; x_right: int64 [n] -> linear: float32 [n, 4]"
    );
    assert_eq!(
        signature(
            "x: Tuple[Tensor, List[Tensor]]",
            "return torch.add(x[0], x[1][0])",
            &["x_1_0=float32[b,2]"]
        ),
        "x_0: float32 [b, 2]; x_1_0: float32 [b, 2] -> add: float32 [b, 2]"
    );
    // A parameter is no member of another, however its name begins.
    assert_eq!(
        signature(
            "x: Dict[str, Tensor], x_len: Tensor",
            "return torch.linear(torch.add(x[\"left\"], x_len), self.weight)",
            &["x_left=float32[n,3]", "x_len=float32[n,3]"]
        ),
        "x_left: float32 [n, 3]; x_len: float32 [n, 3] -> linear: float32 [n, 4]"
    );
    for (parameters, says) in [
        (
            "x: Dict[str, List[Tensor]]",
            "whose keys only a traced module tells",
        ),
        (
            "x: List[Tensor]",
            "the input x of forward is a list of a length that is not known; declare its members, x_0, x_1",
        ),
        (
            "x: Dict[str, Tensor]",
            "is a dictionary whose keys are not known; declare its members, x_KEY",
        ),
        ("x: Dict[int, Tensor]", "is no tensor, nor a list"),
        ("x: Tuple[Tensor, int]", "is no tensor, nor a list"),
    ] {
        let said = problem(parameters, "return x[0]", &[]);
        assert!(said.contains(says), "{parameters}: {said}");
    }
}

#[test]
fn traced_modules_have_the_types_and_shapes_that_they_were_traced_with() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/script");
    for (name, want) in [
        ("mlp", "x: float32 [batch, 6]"),
        ("flat", "x: float32 [batch, 1, 12, 12]"),
        ("flat-scripted", "x: float32 [batch, 1, 12, 12]"),
        ("residual", "x: float32 [batch, 3, 16, 16]"),
        (
            "bert",
            "input_ids: int64 [batch, length]; attention_mask: int64 [batch, length]",
        ),
        ("segmenter", "x: float32 [batch, 3, 12, 10]"),
        (
            "lists",
            "images_0: float32 [batch, 4]; images_1: float32 [batch, 4]; sizes_height: float32 [batch, 1]; \
             sizes_width: float32 [batch, 1]; pair_0: float32 [batch, 1]; pair_1: float32 [batch, 5]",
        ),
        ("branches-scripted", "ids: int64 [batch, length]"),
    ] {
        let archive = ScriptArchive::open(&path.join(format!("{name}.pt"))).unwrap();
        let model = lower(&archive, &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(text(&model.graph.inputs), want, "{name}");
    }
    let archive = ScriptArchive::open(&path.join("bert.pt")).unwrap();
    assert_eq!(
        text(&lower(&archive, &[]).unwrap().graph.outputs),
        "logits: float32 [batch, 2]"
    );
}

/// Modules that use much of the language and many operators.
const BODIES: [&str; 4] = [
    "y = torch.linear(x, self.weight, None)\nz = torch.view(y, [torch.size(x, 0), 2, -1])\nreturn torch.softmax(torch.transpose(z, 1, 2), -1)",
    "l = annotate(List[Tensor], [])\nfor i in range(4):\n  l1 = torch.append(l, torch.slice(x, 1, i, 3, 1))\nreturn torch.cat([l[0], torch.add_(l[1], 2, alpha=3)], 1)",
    "a, b, = torch.split(x, [1, 2], 1)\nc = torch.expand(torch.unsqueeze(a, 2), [-1, 4, 3])\nreturn torch.matmul(c, torch.permute(torch.stack([x, x, x], 0), [1, 2, 0]))",
    "y = torch.reshape(x, [-1, 3, 1, 1])\nz = torch.constant_pad_nd(y, [3, 3, 2, 2], 0.5)\nk = torch.conv2d(z, self.kernel, None, [2, 1], [1, 0], [1, 1], 1)\nreturn torch.max_pool2d(k, [2, 2], [1, 1], [0, 0], [1, 1], True)",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn tampered_code_is_survived(
        which in 0..BODIES.len(),
        changes in prop::collection::vec((any::<usize>(), 0..6usize, any::<i8>()), 1..4),
        is_declared in any::<bool>(),
    ) {
        let mut text = source("x: Tensor", BODIES[which]);
        for (n, kind, value) in changes {
            let places: Vec<usize> = match kind {
                0..=2 => text.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect(),
                3 => text.match_indices("torch.").map(|(at, _)| at + 6).collect(),
                _ => text.match_indices([',', '(', '[', '=']).map(|(at, _)| at).collect(),
            };
            let at = places[n % places.len()];
            let new = match kind {
                0 => value.to_string(),
                1 => "9223372036854775807".to_owned(),
                2 => "x".to_owned(),
                3 => ["relu_", "sum(x, ", "chunk(x, ", "mul(x, ", "neg(", "arange("][n % 6].to_owned(),
                4 => " ".to_owned(),
                _ => ",".to_owned(),
            };
            let end = if kind == 3 { at } else { at + 1 };
            text.replace_range(at..end, &new);
        }
        let declared = ["x=float32[batch,3]".parse().unwrap()];
        if let Ok(archive) = archive(&text)
            && let Ok(model) = lower(&archive, if is_declared { &declared } else { &[] })
        {
            model.to_bytes().expect("it is small");
        }
    }
}
