//! Runs a network again and again and tells how long each run took, for `bench/networks.py` and `bench/checkpoints.py`.
//!
//! `speed MODEL ENGINE THREADS`, with an ONNX model, a program of torch.export (`.pt2`) or a checkpoint's folder or `.pth`, tells
//! in a line how many milliseconds it took to load. Then it reads lines of JSON, `{"inputs": [{"dtype": "float32", "shape": [1, 3],
//! "file": "x.bin"}], "runs": 5}` with the elements as they lie in memory, and answers each with a line: the milliseconds of each
//! run. With `"output": "y.bin"` the first output of the last run is written there.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use hearth_formats::NetworkCheckpoint;
use hearth_formats::pt2::Pt2Archive;
use hearth_graph::architectures::build;
use hearth_graph::lower::lower;
use hearth_graph::onnx::DataType;
use hearth_graph::runtime::{Engine, Engines, HostTensor, find};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    inputs: Vec<Input>,
    runs: usize,
    output: Option<String>,
}

#[derive(Deserialize)]
struct Input {
    dtype: String,
    shape: Vec<usize>,
    file: String,
}

impl Input {
    fn tensor(&self) -> Result<HostTensor, Box<dyn Error>> {
        let dtype = match self.dtype.as_str() {
            "float32" => DataType::Float,
            "int64" => DataType::Int64,
            other => return Err(format!("unknown type {other}").into()),
        };
        let bytes = std::fs::read(&self.file)?;
        Ok(HostTensor::new(dtype, self.shape.clone(), bytes)?)
    }
}

/// The network as an ONNX model.
fn onnx(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let ends_in = |end: &str| path.extension().is_some_and(|e| e == end);
    Ok(if path.is_dir() || ends_in("pth") {
        build(&NetworkCheckpoint::open(path, None)?)?.to_bytes()?
    } else if ends_in("pt2") {
        lower(&Pt2Archive::open(path)?)?.to_bytes()?
    } else {
        std::fs::read(path)?
    })
}

fn say(milliseconds: &[f64]) -> Result<(), Box<dyn Error>> {
    println!("{}", serde_json::to_string(milliseconds)?);
    Ok(std::io::stdout().flush()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, engine, threads] = args.as_slice() else {
        return Err("speed MODEL ENGINE THREADS".into());
    };
    let start = Instant::now();
    let (engines, _) = Engines::with_libraries(find::candidates(), threads.parse()?);
    let all = [Engine::Tract, Engine::OnnxRuntime];
    let engine = all.into_iter().find(|each| each.to_string() == *engine);
    let network = engines.load(&onnx(Path::new(model))?, engine.ok_or("no such engine")?)?;
    say(&[start.elapsed().as_secs_f64() * 1e3])?;
    for line in std::io::stdin().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let inputs = order.inputs.iter().map(Input::tensor);
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let mut took = Vec::new();
        for _ in 0..order.runs {
            let start = Instant::now();
            let outputs = network.run(&inputs)?;
            took.push(start.elapsed().as_secs_f64() * 1e3);
            if let (Some(file), Some(output)) = (&order.output, outputs.first()) {
                std::fs::write(file, output.bytes())?;
            }
        }
        say(&took)?;
    }
    Ok(())
}
