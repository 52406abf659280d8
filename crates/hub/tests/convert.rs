//! Conversion as an operation on files: what appears, what is left behind, what is refused.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_formats::Checkpoint;
use hearth_formats::gguf::{GgufFile, GgufWriter, Metadata, TensorSpec};
use hearth_hub::{ConvertError, ConvertOptions, Summary, Target, convert};
use hearth_kernels::DType;

/// A llama of one layer with rows of 256, enough of them for several pieces.
fn write_model(path: &Path) {
    let mut m = Metadata::new("source");
    m.insert("general.architecture", "llama");
    m.insert("llama.block_count", 1u32);
    m.insert("split.count", 1u32);
    let specs: Vec<TensorSpec> = [
        ("token_embd.weight", vec![9000, 256]),
        ("blk.0.attn_norm.weight", vec![256]),
        ("blk.0.attn_q.weight", vec![301, 256]),
        ("blk.0.ffn_down.weight", vec![5, 96]),
    ]
    .into_iter()
    .map(|(name, shape)| TensorSpec {
        name: name.to_owned(),
        dtype: DType::F32,
        shape,
    })
    .collect();
    let mut writer = GgufWriter::new(Vec::new(), &m, specs.clone()).unwrap();
    for spec in specs {
        let n: usize = spec.shape.iter().product();
        let bytes: Vec<u8> = (0..n)
            .flat_map(|i| ((i as f32 * 0.7).sin() * 0.1).to_le_bytes())
            .collect();
        writer.write(&bytes).unwrap();
    }
    std::fs::write(path, writer.finish().unwrap()).unwrap();
}

struct Folder {
    dir: tempfile::TempDir,
    source: Checkpoint,
}

impl Folder {
    fn new() -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("source.gguf");
        write_model(&path);
        let source = Checkpoint::open(&path).unwrap();
        Folder { dir, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn convert(&self, name: &str, options: &ConvertOptions) -> Result<Summary, ConvertError> {
        let cancel = AtomicBool::new(false);
        convert(
            &self.source,
            &self.path(name),
            options,
            &mut |_| {},
            &cancel,
        )
    }

    /// The names of all files, hidden ones too.
    fn files(&self) -> Vec<String> {
        let items = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = items
            .map(|i| i.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let f = Folder::new();
    for target in [Target::Q4_K_M, Target::Q8_0, Target::BF16] {
        let mut files = Vec::new();
        for threads in [1, 3] {
            let mut options = ConvertOptions::new(target);
            options.threads = threads;
            let name = format!("{target}-{threads}.gguf");
            let summary = f.convert(&name, &options).unwrap();
            let bytes = std::fs::read(f.path(&name)).unwrap();
            assert_eq!(summary.file_bytes, bytes.len() as u64);
            let file = GgufFile::open(&f.path(&name)).unwrap();
            let weights: usize = file.tensors().iter().map(|t| t.len).sum();
            assert_eq!(summary.weight_bytes, weights as u64);
            assert_eq!(file.metadata().get("split.count"), None);
            // Rows of 96 values do not divide into blocks of 256.
            let fallbacks = match target {
                Target::Q4_K_M => vec![("blk.0.ffn_down.weight".to_owned(), DType::Q8_0)],
                _ => Vec::new(),
            };
            assert_eq!(summary.fallbacks, fallbacks);
            files.push(bytes);
        }
        assert!(files[0] == files[1], "{target}");
    }
}

#[test]
fn progress_grows_to_the_whole() {
    let f = Folder::new();
    let mut seen = Vec::new();
    let mut tensors = Vec::new();
    let summary = convert(
        &f.source,
        &f.path("out.gguf"),
        &ConvertOptions::new(Target::F16),
        &mut |p| {
            seen.push(p.done_bytes);
            assert!(p.done_bytes <= p.total_bytes);
            if tensors.last().map(String::as_str) != Some(p.tensor) {
                tensors.push(p.tensor.to_owned());
            }
        },
        &AtomicBool::new(false),
    )
    .unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&summary.weight_bytes));
    assert_eq!(tensors.len(), summary.tensors);
}

#[test]
fn a_cancelled_conversion_leaves_nothing() {
    let f = Folder::new();
    let cancel = AtomicBool::new(false);
    let mut calls = 0;
    let result = convert(
        &f.source,
        &f.path("out.gguf"),
        &ConvertOptions::new(Target::Q6_K),
        &mut |_| {
            calls += 1;
            cancel.store(true, Ordering::Relaxed);
        },
        &cancel,
    );
    assert!(matches!(result, Err(ConvertError::Cancelled)));
    assert_eq!(calls, 1);
    assert_eq!(f.files(), ["source.gguf"]);
}

#[test]
fn a_file_is_replaced_only_when_asked() {
    let f = Folder::new();
    let mut options = ConvertOptions::new(Target::F16);
    std::fs::write(f.path("out.gguf"), b"precious").unwrap();
    let error = f.convert("out.gguf", &options).unwrap_err();
    assert!(matches!(error, ConvertError::Exists(_)), "{error}");
    assert_eq!(std::fs::read(f.path("out.gguf")).unwrap(), b"precious");
    options.overwrite = true;
    f.convert("out.gguf", &options).unwrap();
    assert!(GgufFile::open(&f.path("out.gguf")).is_ok());
    assert_eq!(f.files(), ["out.gguf", "source.gguf"]);
}

#[test]
fn the_source_is_never_overwritten() {
    let f = Folder::new();
    let mut options = ConvertOptions::new(Target::F16);
    options.overwrite = true;
    let before = std::fs::read(f.path("source.gguf")).unwrap();
    let error = f.convert("source.gguf", &options).unwrap_err();
    assert!(
        matches!(error, ConvertError::OverwritesSource(_)),
        "{error}"
    );
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(f.path("source.gguf"), f.path("link.gguf")).unwrap();
        let error = f.convert("link.gguf", &options).unwrap_err();
        assert!(
            matches!(error, ConvertError::OverwritesSource(_)),
            "{error}"
        );
    }
    assert!(before == std::fs::read(f.path("source.gguf")).unwrap());
}

#[test]
fn quantizing_twice_has_to_be_asked_for() {
    let f = Folder::new();
    f.convert("q8.gguf", &ConvertOptions::new(Target::Q8_0))
        .unwrap();
    let q8 = Checkpoint::open(&f.path("q8.gguf")).unwrap();
    let again = |options: &ConvertOptions, name: &str| {
        let cancel = AtomicBool::new(false);
        convert(&q8, &f.path(name), options, &mut |_| {}, &cancel)
    };
    let mut options = ConvertOptions::new(Target::Q4_0);
    let error = again(&options, "q4.gguf").unwrap_err().to_string();
    assert!(error.contains("is Q8_0 already"), "{error}");
    assert!(!f.path("q4.gguf").exists());
    options.allow_requantize = true;
    again(&options, "q4.gguf").unwrap();
    // To the same type, and to plain numbers, is no second quantization.
    again(&ConvertOptions::new(Target::Q8_0), "same.gguf").unwrap();
    again(&ConvertOptions::new(Target::F32), "f32.gguf").unwrap();
    let same = std::fs::read(f.path("same.gguf")).unwrap();
    assert!(same == std::fs::read(f.path("q8.gguf")).unwrap());
}

#[test]
fn a_target_that_can_not_be_written_is_an_error() {
    let f = Folder::new();
    let error = f.convert("absent/out.gguf", &ConvertOptions::new(Target::F16));
    assert!(error.unwrap_err().to_string().contains("absent"));
    assert!(f.convert("..", &ConvertOptions::new(Target::F16)).is_err());
    assert_eq!(f.files(), ["source.gguf"]);
}
