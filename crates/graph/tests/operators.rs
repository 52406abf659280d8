//! The page of operators is the table in the code.

use std::fmt::Write;
use std::path::Path;

use hearth_graph::lower::{OPSET, supported};

#[test]
fn the_page_of_operators_is_the_table() {
    let operators = supported();
    let mut page = format!(
        "# Operators of exported programs\n\n\
         The {} ATen operators that have a lowering to ONNX (operator set {OPSET}). In-place variants (`aten.relu_.default`) are\n\
         lowered as the operator itself. The page is made from the code: `UPDATE_DOCS=1 cargo test -p hearth-graph --test operators`.\n\n\
         | ATen | ONNX |\n|---|---|\n",
        operators.len()
    );
    for operator in &operators {
        let schema = operator.schema.replace('|', "\\|");
        writeln!(page, "| `{schema}` | {} |", operator.onnx).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operators.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/operators.md is not what the table says"
    );
}
