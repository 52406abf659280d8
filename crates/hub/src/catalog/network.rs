//! Exported networks: a file, and what its `config.toml` says about running it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_formats::pt2::Pt2Archive;
use hearth_formats::torchscript::{DeclaredDim, DeclaredInput, ScriptArchive};
use hearth_kernels::Bytes;
use serde::Deserialize;

use super::built_in::BUILT_IN;
use super::{Entry, Kind, Location};

/// The names that a network's file has in its folder, the first that is there.
const FILES: [&str; 3] = ["model.pt2", "model.pt", "model.onnx"];
/// The file beside it.
const CONFIG: &str = "config.toml";
/// Longest `config.toml`, in bytes.
const LONGEST_CONFIG: u64 = 1 << 20;

/// How a network is run, as `config.toml` beside it says.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// Most inputs that run as one batch, of one request or several; 32 unless told otherwise.
    pub max_batch_size: usize,
    /// How long an input waits for others to run with; not at all unless told otherwise, so that only those run together
    /// that arrive while others run.
    pub max_delay: Duration,
    /// The engine, where it is not left to the server.
    pub engine: Option<NetworkEngine>,
    /// What the inputs are, of a TorchScript module, which does not say so itself.
    pub inputs: Vec<DeclaredInput>,
}

/// An engine that networks run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkEngine {
    /// Part of the program.
    Tract,
    /// ONNX Runtime, a library of its own.
    OnnxRuntime,
}

/// The file, field by field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default = "most")]
    max_batch_size: usize,
    #[serde(default)]
    max_delay_ms: f64,
    engine: Option<NetworkEngine>,
    #[serde(default)]
    inputs: BTreeMap<String, InputTable>,
}

/// An input of the file, below `inputs.NAME`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    dtype: Option<String>,
    shape: Option<Vec<DimField>>,
}

/// A size, -1 for any size, or a name for one that is the same wherever it stands.
#[derive(Deserialize)]
#[serde(untagged)]
enum DimField {
    Size(i64),
    Name(String),
}

impl InputTable {
    fn declared(self, name: String) -> Result<DeclaredInput, String> {
        let dim = |dim: DimField| match dim {
            DimField::Size(size) => DeclaredDim::of(size),
            DimField::Name(name) => name.parse(),
        };
        let shape = self.shape.map(|shape| shape.into_iter().map(dim).collect());
        DeclaredInput::new(name, self.dtype.as_deref(), shape.transpose()?)
    }
}

fn most() -> usize {
    32
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            max_batch_size: most(),
            max_delay: Duration::ZERO,
            engine: None,
            inputs: Vec::new(),
        }
    }
}

impl NetworkConfig {
    /// Reads the text of a `config.toml`.
    fn parse(text: &str) -> Result<NetworkConfig, String> {
        /// Longest wait that makes sense for a request, in milliseconds.
        const LONGEST_DELAY_MS: f64 = 10_000.0;
        let file: ConfigFile = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.max_batch_size == 0 {
            return Err("max_batch_size is 0; a batch is one input or more".into());
        }
        if !(0.0..=LONGEST_DELAY_MS).contains(&file.max_delay_ms) {
            return Err(format!(
                "max_delay_ms is {}; it goes from 0 to {LONGEST_DELAY_MS}",
                file.max_delay_ms
            ));
        }
        let inputs = file.inputs.into_iter().map(|(name, input)| {
            let key = format!("inputs.{name}");
            input
                .declared(name)
                .map_err(|problem| format!("{key}: {problem}"))
        });
        Ok(NetworkConfig {
            inputs: inputs.collect::<Result<_, _>>()?,
            max_batch_size: file.max_batch_size,
            max_delay: Duration::from_secs_f64(file.max_delay_ms / 1e3),
            engine: file.engine,
        })
    }
}

/// A network's file, open.
#[derive(Debug)]
pub enum NetworkFile {
    /// A program of torch.export.
    Pt2(Box<Pt2Archive>),
    /// A module in TorchScript.
    Script(Box<ScriptArchive>),
    /// An ONNX model.
    Onnx(Bytes),
}

impl NetworkFile {
    /// Opens the file of a network. An ONNX file is not looked into.
    ///
    /// # Errors
    /// It can't be read, or is no sound archive.
    pub fn open(path: &Path) -> hearth_formats::Result<NetworkFile> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("pt2") => Ok(NetworkFile::Pt2(Pt2Archive::open(path)?.into())),
            Some("pt") => Ok(NetworkFile::Script(ScriptArchive::open(path)?.into())),
            _ => Ok(NetworkFile::Onnx(hearth_formats::map_file(path)?)),
        }
    }
}

/// The file of the network at `path`, itself one or a folder with one; `None` where it is something else.
pub fn file(path: &Path) -> Option<PathBuf> {
    let is_network = |path: &Path| {
        let extension = path.extension().and_then(|e| e.to_str());
        matches!(extension, Some("pt2" | "pt" | "onnx"))
    };
    if is_network(path) && path.is_file() {
        return Some(path.to_owned());
    }
    let mut files = FILES.iter().map(|name| path.join(name));
    files.find(|file| file.is_file())
}

/// What is said about the network in `file`.
///
/// # Errors
/// A sentence: which file is wrong, and what.
pub fn config(file: &Path) -> Result<NetworkConfig, String> {
    let Some(path) = file.parent().map(|folder| folder.join(CONFIG)) else {
        return Ok(NetworkConfig::default());
    };
    // Only a folder of its own has one: other files may lie beside each other.
    let is_own = FILES.iter().any(|name| file.ends_with(name));
    if !is_own || !path.is_file() {
        return Ok(NetworkConfig::default());
    }
    let about = |problem: String| format!("{}: {problem}", path.display());
    let size = std::fs::metadata(&path).map_err(|e| about(e.to_string()))?;
    if size.len() > LONGEST_CONFIG {
        return Err(about(format!("it is longer than {LONGEST_CONFIG} bytes")));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| about(e.to_string()))?;
    NetworkConfig::parse(&text).map_err(about)
}

impl Entry {
    /// Whether its file is that of an exported network, usable or not.
    pub fn is_network(&self) -> bool {
        self.kind == Kind::Network || self.network_path().is_some()
    }

    /// The file of an exported network; `None` for other models, and for what is a part of the program.
    pub fn network_path(&self) -> Option<PathBuf> {
        match &self.location {
            Location::Path(path) => file(path),
            Location::BuiltIn => None,
        }
    }

    /// Opens an exported network.
    ///
    /// # Errors
    /// The file can't be read or is no sound archive; the model is no network. An ONNX file is not looked into here.
    pub fn open_network(&self) -> hearth_formats::Result<NetworkFile> {
        let no_network =
            || hearth_formats::Error::unsupported(&self.name, "a model that is no network");
        let path = match &self.location {
            Location::Path(path) => file(path).ok_or_else(no_network)?,
            Location::BuiltIn => {
                let model = BUILT_IN.iter().find(|model| model.name == self.name);
                return model.ok_or_else(no_network)?.open_network();
            }
        };
        NetworkFile::open(&path)
    }

    /// How the network is run.
    ///
    /// # Errors
    /// A sentence: what is wrong with its `config.toml`.
    pub fn network_config(&self) -> Result<NetworkConfig, String> {
        match &self.location {
            Location::Path(path) => {
                file(path).map_or_else(|| Ok(Default::default()), |f| config(&f))
            }
            Location::BuiltIn => Ok(NetworkConfig::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_config_toml_says_is_read_or_refused() {
        let read = |text: &str| NetworkConfig::parse(text);
        assert_eq!(read(""), Ok(NetworkConfig::default()));
        let all = "max_batch_size = 8\nmax_delay_ms = 2.5\nengine = \"tract\"";
        assert_eq!(
            read(all),
            Ok(NetworkConfig {
                max_batch_size: 8,
                max_delay: Duration::from_micros(2500),
                engine: Some(NetworkEngine::Tract),
                inputs: Vec::new(),
            })
        );
        let inputs = "[inputs.x]\ndtype = \"float32\"\nshape = [\"batch\", 3, -1]\n[inputs.mask]";
        let inputs = read(inputs).unwrap().inputs;
        assert_eq!(
            inputs[0],
            "mask=[]"
                .parse::<DeclaredInput>()
                .map(|mut mask| {
                    mask.shape = None;
                    mask
                })
                .unwrap()
        );
        assert_eq!(inputs[1], "x=float32[batch,3,-1]".parse().unwrap());
        for (text, problem) in [
            ("max_batch_size = 0", "max_batch_size is 0"),
            ("max_delay_ms = -1.0", "max_delay_ms is -1"),
            ("max_delay_ms = nan", "max_delay_ms is NaN"),
            ("engine = \"torch\"", "torch"),
            ("batch = 8", "batch"),
            (
                "[inputs.x]\ndtype = \"float\"",
                "inputs.x: \"float\" is no type",
            ),
            ("[inputs.x]\nshape = [-3]", "-3 is no size"),
            ("[inputs.x]\nsize = 3", "size"),
            ("max_batch_size = ", "max_batch_size"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_folder_has_one_network_and_files_beside_each_other_no_config() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        assert_eq!(file(home.path()), None);
        std::fs::write(at("model.onnx"), "").unwrap();
        assert_eq!(file(home.path()), Some(at("model.onnx")));
        std::fs::write(at("model.pt2"), "").unwrap();
        assert_eq!(file(home.path()), Some(at("model.pt2")));
        std::fs::write(at("other.onnx"), "").unwrap();
        assert_eq!(file(&at("other.onnx")), Some(at("other.onnx")));
        std::fs::write(at("config.toml"), "max_batch_size = 4").unwrap();
        assert_eq!(config(&at("model.pt2")).unwrap().max_batch_size, 4);
        assert_eq!(config(&at("other.onnx")), Ok(NetworkConfig::default()));
        std::fs::write(at("config.toml"), "max_batch_size = 0").unwrap();
        assert!(
            config(&at("model.pt2"))
                .unwrap_err()
                .contains("config.toml: max_batch_size")
        );
    }
}
