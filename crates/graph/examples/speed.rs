//! Runs a network again and again and tells how long each run took, for `bench/networks.py`.
//!
//! `speed MODEL.onnx ENGINE THREADS` reads lines of JSON, `{"inputs": [{"dtype": "float32", "shape": [1, 3], "file": "x.bin"}],
//! "runs": 5}` with the elements as they lie in memory, and answers each with a line: the milliseconds of each run.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use hearth_graph::onnx::DataType;
use hearth_graph::runtime::{Engine, Engines, HostTensor, find};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    inputs: Vec<Input>,
    runs: usize,
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

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, engine, threads] = args.as_slice() else {
        return Err("speed MODEL.onnx ENGINE THREADS".into());
    };
    let (engines, _) = Engines::with_libraries(find::candidates(), threads.parse()?);
    let all = [Engine::Tract, Engine::OnnxRuntime];
    let engine = all.into_iter().find(|each| each.to_string() == *engine);
    let network = engines.load(&std::fs::read(model)?, engine.ok_or("no such engine")?)?;
    for line in std::io::stdin().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let inputs = order.inputs.iter().map(Input::tensor);
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let mut took = Vec::new();
        for _ in 0..order.runs {
            let start = Instant::now();
            network.run(&inputs)?;
            took.push(start.elapsed().as_secs_f64() * 1e3);
        }
        println!("{}", serde_json::to_string(&took)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}
