//! Runs an exported program or a checkpoint on both engines and tells how far they are from what PyTorch answered.
//!
//! `golden PROGRAM GOLDEN.json MODEL.onnx [NAME=TYPE[SIZE,SIZE]...]`, with a `.pt2` archive, a `.pt` of TorchScript, whose inputs may
//! be declared, or a checkpoint's folder: writes the ONNX model, and prints a line of JSON for each engine, with `off`, the largest difference as part of a number and its tensor's root mean
//! square, or `error`. The table in `docs/models.md` is made of such lines, by `oracle/graph_matrix.py`.

#[path = "../tests/golden_format/mod.rs"]
mod golden_format;

use std::error::Error;
use std::path::PathBuf;

use golden_format::{Golden, TOLERANCE};
use hearth_formats::NetworkCheckpoint;
use hearth_formats::pt2::Pt2Archive;
use hearth_formats::torchscript::{DeclaredInput, ScriptArchive};
use hearth_graph::architectures::build;
use hearth_graph::lower::lower;
use hearth_graph::runtime::{Engine, Engines, find};
use hearth_graph::script;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [program, golden, onnx, declared @ ..] = args.as_slice() else {
        return Err("golden PROGRAM GOLDEN.json MODEL.onnx [INPUT...]".into());
    };
    let declared = declared.iter().map(|text| text.to_string_lossy().parse());
    let declared: Vec<DeclaredInput> = declared.collect::<Result<_, _>>()?;
    let golden = Golden::read(golden);
    let is_script = program.extension().is_some_and(|e| e == "pt");
    let model = if program.is_dir() {
        build(&NetworkCheckpoint::open(program, None)?)?
    } else if is_script {
        script::lower(&ScriptArchive::open(program)?, &declared)?
    } else {
        lower(&Pt2Archive::open(program)?)?
    };
    let model = model.to_bytes()?;
    std::fs::write(onnx, &model)?;
    let (engines, _) = Engines::with_libraries(find::candidates(), 1);
    let mut all = vec![Engine::Tract];
    all.extend(engines.onnx_runtime().map(|_| Engine::OnnxRuntime));
    for engine in all {
        let off = || -> Result<f64, Box<dyn Error>> {
            let network = engines.load(&model, engine)?;
            let mut off: f64 = 0.0;
            for case in &golden.cases {
                off = off.max(case.compare(&network.run(&case.inputs())?)?);
            }
            Ok(off * TOLERANCE)
        };
        let name = engine.to_string();
        let line = match off() {
            Ok(off) if off.is_finite() => json!({"engine": name, "off": off}),
            Ok(_) => {
                json!({"engine": name, "error": "numbers where there are none, or none where there are"})
            }
            Err(error) => json!({"engine": name, "error": error.to_string()}),
        };
        println!("{line}");
    }
    Ok(())
}
