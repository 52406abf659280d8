//! `hearth doctor`: what of the machine Hearth uses, and why.

use anyhow::Result;
use hearth_graph::runtime::{Engines, find};

/// Tell which engine runs exported networks, and why.
///
/// ONNX Runtime is used where its library is found: given in HEARTH_ONNXRUNTIME, by the system's loader, or in a Python
/// environment that has the package onnxruntime. tract is part of Hearth and always there.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(Args {}: Args) -> Result<()> {
    let candidates = find::candidates();
    let (engines, refused) = Engines::with_libraries(candidates.clone(), 1);
    println!("exported networks run on {}", engines.preferred());
    if let Some(runtime) = engines.onnx_runtime() {
        let source = candidates
            .iter()
            .find(|candidate| candidate.path == runtime.path())
            .map(|candidate| format!(", {}", candidate.source))
            .unwrap_or_default();
        println!(
            "  onnxruntime  version {} at {}{source}",
            runtime.version(),
            runtime.path().display()
        );
    } else {
        println!(
            "  onnxruntime  not found; `pip install onnxruntime`, or give its library in HEARTH_ONNXRUNTIME"
        );
    }
    for (candidate, problem) in refused {
        println!("    not {}: {problem}", candidate.path.display());
    }
    println!("  tract        built in");
    Ok(())
}
