//! `hearth convert`: an exported program or a checkpoint as an ONNX model.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use hearth_formats::torchscript::DeclaredInput;
use hearth_graph::lower::lower;
use hearth_graph::onnx::Model;
use hearth_graph::{architectures, script};
use hearth_hub::catalog::{NetworkConfig, NetworkFile, NetworkPlace};
use hearth_hub::{ConvertError, PendingFile};
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt::{self, Interrupted};
use crate::units;

/// Write a program that torch.export has saved, a TorchScript module or a checkpoint as an ONNX model, without PyTorch.
///
/// An archive is one of `torch.export.save`, of PyTorch 2.5 or later, or of `torch.jit.save`. Dynamic dimensions stay
/// dynamic. Where the program uses operators that have no lowering, they are named and no file is written. A checkpoint is the
/// folder of a network of transformers or timm, or a state dict of torchvision. Ctrl-C cancels and leaves no file.
#[derive(clap::Args)]
pub struct Args {
    /// What to read: a .pt2 file, a .pt file of TorchScript, the folder of a checkpoint, or a .pth file.
    input: PathBuf,
    /// The .onnx file to write.
    output: PathBuf,
    /// Replace OUTPUT where it exists.
    #[arg(long)]
    force: bool,
    /// What an input of a .pt file is, such as x=float32[batch,3,224,224]; else as it was traced, or as its use tells.
    #[arg(long = "input", value_name = "NAME=TYPE[SIZES]")]
    inputs: Vec<DeclaredInput>,
}

pub fn run(args: Args) -> Result<()> {
    let cancel = interrupt::flag()?;
    let pending = PendingFile::create(&args.output, args.force)
        .map_err(|error| refused(error, &args.output))?;
    let model = read(&args.input, args.inputs)?;
    let bar = ProgressBar::new(model.file_bytes()?).with_style(
        ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}, {eta} left")
            .context("the progress bar's template is sound; this is a bug")?,
    );
    let written = write(&model, pending, &cancel, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let file_bytes = written.map_err(|error| refused(error, &args.output))?;
    println!(
        "{}: {}, operator set {}, {} nodes",
        args.output.display(),
        units::bytes(file_bytes),
        model.opset,
        model.graph.nodes.len(),
    );
    for (what, values) in [
        ("input", &model.graph.inputs),
        ("output", &model.graph.outputs),
    ] {
        for value in values {
            println!("  {what} {value}");
        }
    }
    Ok(())
}

/// The network as an ONNX model. What is said of its inputs goes before what a `config.toml` beside it says.
fn read(path: &Path, said: Vec<DeclaredInput>) -> Result<Model> {
    let place = NetworkPlace::find(path);
    let file = place.as_ref().map_or(path, |place| &place.file);
    let network = NetworkFile::open(file)?;
    if !matches!(network, NetworkFile::Script(_))
        && let Some(input) = said.first()
    {
        bail!(
            "--input {}: only the inputs of a .pt file can be declared",
            input.name
        );
    }
    match network {
        NetworkFile::Pt2(archive) => Ok(lower(&archive)?),
        NetworkFile::Checkpoint(checkpoint) => Ok(architectures::build(&checkpoint)?),
        NetworkFile::Onnx(_) => bail!("{} is an ONNX model already", file.display()),
        NetworkFile::Script(archive) => {
            let config = place.as_ref().map(NetworkConfig::of);
            let config = config.transpose().map_err(anyhow::Error::msg)?;
            let mut declared = config.unwrap_or_default().inputs;
            declared.retain(|input| said.iter().all(|other| other.name != input.name));
            declared.extend(said);
            Ok(script::lower(&archive, &declared)?)
        }
    }
}

/// The error as the user is told of it.
fn refused(error: ConvertError, output: &Path) -> anyhow::Error {
    match error {
        ConvertError::Cancelled => Interrupted.into(),
        ConvertError::Exists(_) => {
            anyhow!("{error}; choose another name, or replace it with --force")
        }
        error => anyhow::Error::from(error).context(format!("cannot make {}", output.display())),
    }
}

/// Writes the whole file, or none. `progress` is told of the bytes as they are written; returns the file's size in bytes.
fn write(
    model: &Model,
    pending: PendingFile,
    cancel: &AtomicBool,
    progress: impl FnMut(u64),
) -> Result<u64, ConvertError> {
    let mut out = Watched {
        out: pending.writer()?,
        cancel,
        progress,
    };
    let written = model.write(&mut out).and_then(|()| out.flush());
    let cancelled = || Err(ConvertError::Cancelled);
    match written {
        _ if cancel.load(Ordering::Relaxed) => cancelled(),
        Ok(()) => pending.publish(out.out),
        Err(error) => Err(pending.failed(error)),
    }
}

/// A writer that is watched, and stopped by a flag.
struct Watched<'a, W, P> {
    out: W,
    cancel: &'a AtomicBool,
    progress: P,
}

impl<W: Write, P: FnMut(u64)> Write for Watched<'_, W, P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// So much at once, for the flag to be seen in the middle of a large tensor.
        const STEP: usize = 1 << 20;
        if self.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let written = self.out.write(&bytes[..bytes.len().min(STEP)])?;
        (self.progress)(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    use hearth_formats::pt2::Pt2Archive;

    const PROGRAM: &[u8] = include_bytes!("../../graph/tests/fixtures/resnet.pt2");

    #[test]
    fn a_file_is_counted_to_its_end_or_not_there_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Pt2Archive::from_bytes(PROGRAM.to_vec().into(), "resnet".into()).unwrap();
        let model = lower(&archive).unwrap();
        let output = folder.path().join("resnet.onnx");
        let left = || fs::read_dir(folder.path()).unwrap().count();
        let begin = || PendingFile::create(&output, false).unwrap();

        // In the middle: something has been written by then.
        let cancel = AtomicBool::new(false);
        let cancelled = write(&model, begin(), &cancel, |_| {
            cancel.store(true, Ordering::Relaxed);
        });
        assert!(matches!(cancelled, Err(ConvertError::Cancelled)));
        assert_eq!(left(), 0);

        let mut counted = 0;
        let cancel = AtomicBool::new(false);
        let written = write(&model, begin(), &cancel, |bytes| counted += bytes).unwrap();
        assert_eq!(counted, model.file_bytes().unwrap());
        assert_eq!(written, counted);
        assert_eq!(fs::read(&output).unwrap(), model.to_bytes().unwrap());
        assert_eq!(left(), 1);
    }
}
